"""What every network promises, and the registry they are found in.

Contract: `(b, c, y, x)` float in, logits `(b, k, y, x)` out, for `y` and `x` that are
multiples of `stride`. `halo` is how many pixels around an output pixel can influence
it: with that much context on every side a tile gives the same logits as the whole
image.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Self

import torch
from torch import nn

from napari_topiary.config import PruneKind, TrainConfig
from napari_topiary.errors import TopiaryError
from napari_topiary.forms import form_problem
from napari_topiary.registry import Registry
from napari_topiary.types import TaskKind


class Network(nn.Module):
    """Base of every network."""

    stride: int  #: Input sides must be multiples of it, in pixels
    halo: int  #: Context that an output pixel can see on each side, in pixels
    #: Names of the modules whose maps are the answer (never cut by filter pruning)
    output_layers: tuple[str, ...]
    #: Side of the patch whose centre pixel is classified, in pixels; None for networks
    #: that learn from every pixel of what they see
    patch: int | None = None
    #: Whether an image is answered in one sweep. Some classifiers of centre pixels have
    #: no such form and run once for every pixel, each time on its patch
    dense: bool = True
    #: Longest side that `within` should be asked for at a time, in pixels, where more
    #: would take so long that Stop could not be heard; None = as much as wanted
    largest_side: int | None = None
    #: How many maps, after those of the classes, are values and not logits (the
    #: distance map of the nuclei segmenter)
    regressions: int = 0
    #: Names of modules that are pruned apart from one another: ranked network-wide,
    #: each loses the same share. Empty = the network is one
    branches: tuple[str, ...] = ()

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits `(b, k, y, x)` of an image `(b, c, y, x)`."""
        raise NotImplementedError

    def on_patches(self, patches: torch.Tensor) -> torch.Tensor:
        """Logits of training patches `(b, c, y, x)`: `(b, k, y, x)`.

        A classifier of centre pixels answers `(b, k, 1, 1)` instead.
        """
        logits: torch.Tensor = self(patches)
        return logits

    def in_one_piece(self, image: torch.Tensor) -> torch.Tensor:
        """Logits `(b, k, y, x)` as `forward`, by what other programs can follow.

        Whatever the size of the image, the same operations are done.
        """
        logits: torch.Tensor = self(image)
        return logits

    def within(self, image: torch.Tensor, rows: slice, columns: slice) -> torch.Tensor:
        """Logits of a rectangle of an image `(b, c, y, x)`: `(b, k, rows, columns)`.

        The rest of the image is context; a network that can do without answering there
        saves the time.
        """
        logits: torch.Tensor = self(image)
        return logits[:, :, rows, columns]


def in_shares(network: Network, answer: torch.Tensor) -> torch.Tensor:
    """Turn what a network answers into probabilities; maps of values stay.

    Parameters
    ----------
    network
        Knows how many maps are values.
    answer
        `(..., k + r, y, x)` logits and values.

    Returns
    -------
    Tensor
        Same shape, float32.
    """
    answer = answer.float()
    if network.regressions == 0:
        return answer.softmax(dim=-3)
    # Counted from the end: a network that is converted does not depend on its shape.
    logits = answer[..., : -network.regressions, :, :]
    values = answer[..., -network.regressions :, :, :]
    return torch.cat([logits.softmax(dim=-3), values], dim=-3)


def note_weights(
    digest: hashlib._Hash, state: Iterable[tuple[str, torch.Tensor]]
) -> None:
    """Let a fingerprint depend on weights, their names and shapes."""
    for name, tensor in state:
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())


MOST_WEIGHTS = 1_000_000_000
"""More than this is a mistake (or a hostile file), not a network for a microscope."""


class Sizes:
    """Base of frozen dataclasses that say what a network is made of.

    The limits of a number are those that its form row shows (`min`, `max` of its
    annotation), so a file of a network does not defer annotations.
    """

    network: ClassVar[str]  #: The name for sentences

    @classmethod
    def from_mapping(cls, sizes: Mapping[str, Any]) -> Self:
        """Check sizes that came from a form, a command line or a file.

        Parameters
        ----------
        sizes
            Field name -> value; absent fields have their defaults.

        Raises
        ------
        TopiaryError
            With a sentence for an unknown name or an impossible value.
        """
        known = [field.name for field in fields(cls)]  # type: ignore[arg-type]
        for name in sizes:
            if name not in known:
                raise TopiaryError(
                    f"A {cls.network} has no size called {name!r}: it has "
                    f"{', '.join(known)}."
                )
        made = cls(**sizes)
        problem = made.problem()
        if problem is not None:
            raise TopiaryError(problem)
        return made

    def problem(self) -> str | None:
        """Return what is impossible about these sizes, as a sentence."""
        problem = form_problem(self)
        if problem is not None:
            return problem
        if type(self).parameters is Sizes.parameters:
            return None  # a network that cannot count without being built
        weights = self.parameters(1, 2)
        if weights > MOST_WEIGHTS:
            return (
                f"This {self.network} would have {weights / 1e9:.1f} billion weights: "
                "give smaller sizes."
            )
        return None

    def parameters(self, in_channels: int, n_classes: int) -> int:
        """Count the weights without building anything."""
        raise NotImplementedError


Builder = Callable[[Mapping[str, Any], int, int], Network]
"""Builds a network with fresh weights from its sizes, channels and classes."""


def built_from(module: Callable[[Any, int, int], Network], sizes: type[Any]) -> Builder:
    """Return what builds a module from a mapping of its sizes.

    Parameters
    ----------
    module
        Called with the sizes, channels of the image, and classes with background.
    sizes
        Of the module: a `Sizes`.
    """

    def build(given: Mapping[str, Any], in_channels: int, n_classes: int) -> Network:
        return module(sizes.from_mapping(given), in_channels, n_classes)

    return build


@dataclass(frozen=True, kw_only=True)
class NetworkKind:
    """An entry of the registry: all that is said of a network anywhere."""

    #: Makes the module; raises `ValueError` with a sentence for impossible sizes
    build: Builder
    presets: Mapping[str, Mapping[str, Any]]  #: Preset name -> sizes
    default_preset: str  #: The one a newcomer gets
    #: Preset name -> what it is called where one is chosen, if it is not the name
    preset_titles: Mapping[str, str] = field(default_factory=dict)
    #: Frozen dataclass with all sizes, their defaults, limits and tooltips, and
    #: `problem()`: rendered as a form. None: only the presets can be chosen.
    sizes: type[Any] | None = None
    #: Fields of `TrainConfig` that this network is usually trained with, where they
    #: differ from the form's defaults
    recipe: Mapping[str, Any] = field(default_factory=dict)
    #: Kind of pruning -> fields that differ from the recipe while a pruned network is
    #: fine-tuned
    tuning: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    #: Kinds of task it can answer
    tasks: tuple[TaskKind, ...] = ("detect", "segment", "instances")
    #: `title`, `tip`: what it is called where one is chosen, and what it is good for,
    #: in the words of somebody who has an image to understand
    title: str = ""
    tip: str = "A network of another plugin."
    #: Where it stands among the others: the one to begin with is first
    place: int = 100


networks: Registry[NetworkKind] = Registry("network")


def kind_of(network: str) -> NetworkKind:
    """Return a network's entry; a miss is a sentence for people.

    Raises
    ------
    TopiaryError
        With a sentence that says which there are.
    """
    try:
        return networks[network]
    except ValueError as error:
        raise TopiaryError(str(error)) from None


def suited(task_kind: TaskKind) -> list[str]:
    """Names of the networks that can answer a kind of task, the best known first."""
    known = [name for name in networks if task_kind in networks[name].tasks]
    return sorted(known, key=lambda name: networks[name].place)


def recipe_config(network: str, given: Mapping[str, Any]) -> TrainConfig:
    """Fill a training form: with what is given, else by recipe, else with defaults.

    Parameters
    ----------
    network
        Of a registered network.
    given
        Fields of `TrainConfig` that somebody has chosen.

    Raises
    ------
    TopiaryError
        With a sentence for an unknown network.

    Examples
    --------
    >>> config = recipe_config("membrane_cnn", {"batch": 32})
    >>> config.preset, config.optimizer, config.learning_rate, config.batch
    ('N', 'sgd', 0.01, 32)
    """
    kind = kind_of(network)
    own: dict[str, Any] = {"preset": kind.default_preset, **kind.recipe}
    return TrainConfig(**{**own, **given, "network": network})


def tuning_config(
    network: str, removed: PruneKind, given: Mapping[str, Any]
) -> TrainConfig:
    """Fill the form that a pruned network is fine-tuned by.

    Parameters
    ----------
    network
        Of a registered network.
    removed
        What was pruned. Without whole filters a network goes on from where it was;
        with most of its single weights gone it has to learn much anew.
    given
        Fields of `TrainConfig` that somebody has chosen.

    Raises
    ------
    TopiaryError
        With a sentence for an unknown network.
    """
    return recipe_config(network, {**kind_of(network).tuning.get(removed, {}), **given})
