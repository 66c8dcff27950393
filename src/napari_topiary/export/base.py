"""What the formats for other programs have in common, and where they are found.

A network leaves as what answers images `(b, c, y, x)`, normalised and on the working
grid, with probabilities `(b, k, y, x)`, and with words on what to do before and after.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import nn

from napari_topiary.checkpoint import Checkpoint
from napari_topiary.errors import TopiaryError
from napari_topiary.inference.noise import lifeless
from napari_topiary.io.atomic import writing
from napari_topiary.io.output_files import check_replaced
from napari_topiary.networks.base import Network, in_shares
from napari_topiary.networks.patch_classifier import PatchClassifier
from napari_topiary.registry import Registry
from napari_topiary.types import Job, Progress, Stop

MOST_OFF = 1e-3
"""A converted network that differs by more, relative to its largest value, is none."""
SMALLEST_SIDE = 64


class AnsweringNetwork(nn.Module):
    """A network whose answer needs nothing more: probabilities, then values."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """`(b, c, y, x)` -> `(b, k + r, y, x)`."""
        return in_shares(self.network, self.network.in_one_piece(image))


@dataclass(frozen=True, eq=False, kw_only=True)
class Exportable:
    """A network that is to be used elsewhere, and what is said of it."""

    checkpoint: Checkpoint
    network: Network  #: On the processor, in evaluation mode
    #: `author`, `licence`: of the network: who made it, and by what licence (an SPDX
    #: name) others may use it; empty if nobody has said
    author: str = ""
    licence: str = ""

    @classmethod
    def of(
        cls, checkpoint: Checkpoint, *, author: str = "", licence: str = ""
    ) -> Exportable:
        """Build the network of a checkpoint; refuse one that needs Topiary to run."""
        network = checkpoint.build()
        if not network.dense:
            raise TopiaryError(
                f"A {checkpoint.network} looks at its patch of {network.patch} pixels "
                "for each pixel anew, and no other program leads it over an "
                "image: export another kind of network."
            )
        return cls(
            checkpoint=checkpoint, network=network, author=author, licence=licence
        )

    @property
    def maps(self) -> list[str]:
        """What each map of the answer is."""
        values = self.network.regressions
        named = ["distance"] if values == 1 else [f"value {i}" for i in range(values)]
        return [*self.checkpoint.task.classes, *named]

    @property
    def pixel_size_nm(self) -> float | None:
        """What the network sees, nm per pixel of the working grid."""
        own, factor = self.checkpoint.pixel_size_nm, self.checkpoint.working_factor
        return None if own is None else own * factor

    @property
    def stride(self) -> int:
        """Pixels that the sides of an image are multiples of."""
        network = self.network
        if isinstance(network, PatchClassifier):
            return network.grain
        return network.stride

    @property
    def smallest_side(self) -> int:
        """Pixels of an image that has something left without its border."""
        stride = self.stride
        return -(-max(SMALLEST_SIDE, 2 * self.network.halo + stride) // stride) * stride

    def answer(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return, as torch computes it, `(b, k + r, y, x)` of `(b, c, y, x)`."""
        with torch.inference_mode():
            answered = AnsweringNetwork(self.network)(torch.from_numpy(images))
        result: NDArray[np.float32] = answered.numpy()
        return result

    def probes(self) -> list[NDArray[np.float32]]:
        """Images `(b, c, y, x)` of different sizes to try a converted network on."""
        stride = self.stride
        # What is mirrored at the border of an image has to be in it.
        side = stride * (4 + (self.network.patch or 0) // stride)
        shapes = ((1, side, side), (2, side + stride, side + 3 * stride))
        channels = self.checkpoint.in_channels
        return [
            np.stack([drawn((channels, y, x), seed=i) for i in range(number)])
            for number, y, x in shapes
        ]

    def largest_difference(
        self, run: Callable[[NDArray[np.float32]], NDArray[np.float32]]
    ) -> float:
        """Return how far a converted network is from torch at most, or refuse it.

        Parameters
        ----------
        run
            The converted network, `(b, c, y, x)` -> `(b, k + r, y, x)`.
        """
        largest = 0.0
        for images in self.probes():
            wanted, got = self.answer(images), run(images)
            same = got.shape == wanted.shape and np.isfinite(got).all()
            off = float(np.abs(got - wanted).max()) if same else np.inf
            if off > MOST_OFF * max(1.0, float(np.abs(wanted).max())):
                raise TopiaryError(
                    "The converted network does not answer as it does in torch (off by "
                    f"{off:.2g}), so nothing was written: update torch and onnx."
                )
            largest = max(largest, off)
        return largest


@dataclass(frozen=True, kw_only=True)
class Check:
    """How a converted network was compared with torch."""

    #: What ran it: "onnxruntime", "torchscript"; "structure" where nothing could
    by: str
    #: From torch, in probability; None where nothing ran it
    largest_difference: float | None = None


@dataclass(frozen=True, kw_only=True)
class Exported:
    """A network as other programs read it."""

    model: Exportable  #: The network, and what is said of it
    content: bytes
    checks: tuple[Check, ...]  #: One for each form of the weights in it
    notes: tuple[str, ...] = ()  #: Sentences for the user

    @property
    def largest_difference(self) -> float | None:
        """From torch, of all forms of the weights; None where nothing ran them."""
        off = [one.largest_difference for one in self.checks]
        return max((each for each in off if each is not None), default=None)


@dataclass(frozen=True, kw_only=True)
class ExportFormat:
    """A format as it is chosen."""

    #: Converts a network and checks what came of it; None = stopped
    make: Callable[[Exportable], Job[Exported | None]]
    title: str  #: For forms and sentences
    ending: str  #: Of its files, with the dot
    #: What has to be installed, by the names they are imported under
    packages: tuple[str, ...] = ()


export_formats: Registry[ExportFormat] = Registry("export_format")


def export_target(path: Path, name: str) -> ExportFormat:
    """Return the format that a file is to be written in, or refuse it with a sentence.

    Parameters
    ----------
    path
        Of the file.
    name
        The format is registered under.
    """
    if name not in export_formats:
        known = " or ".join(sorted(export_formats, reverse=True))
        raise TopiaryError(f"There is no format called {name!r}: choose {known}.")
    chosen = export_formats[name]
    if path.suffix.lower() != chosen.ending:
        raise TopiaryError(
            f"{path.name} does not end in {chosen.ending}, as files of the format "
            f"{name} do: give it another name."
        )
    missing = [one for one in chosen.packages if find_spec(one) is None]
    if missing:
        raise TopiaryError(
            f"{chosen.title} needs the package {missing[0]}, which is not installed "
            f"here: pip install {missing[0]}, or pip install 'napari-topiary[fast]'."
        )
    return chosen


def export_network(
    checkpoint: Checkpoint,
    path: Path | str,
    name: str,
    *,
    author: str = "",
    licence: str = "",
    overwrite: bool = False,
) -> Job[Exported | None]:
    """Write a network for other programs once it is seen to answer as it does here.

    Parameters
    ----------
    checkpoint
        Of the network.
    path
        Of the file.
    name
        Of the format: "onnx", "bioimageio".
    author, licence
        As for `Exportable`.
    overwrite
        Replace also a file that Topiary did not write.

    Returns
    -------
    Exported or None
        None where it was stopped: nothing is written then.

    Raises
    ------
    TopiaryError
        With a sentence about what is not possible.
    """
    path = Path(path)
    chosen = export_target(path, name)
    check_replaced((path,), overwrite=overwrite)
    model = Exportable.of(checkpoint, author=author, licence=licence)
    if (yield Progress(0, 0, f"Converting to {chosen.title}")) is Stop:
        return None
    made = yield from chosen.make(model)
    if made is None:
        return None
    with writing(path) as beside:
        beside.write_bytes(made.content)
    dead = lifeless(checkpoint)
    return made if dead is None else replace(made, notes=(dead, *made.notes))


def drawn(shape: tuple[int, int, int], *, seed: int = 0) -> NDArray[np.float32]:
    """Draw an image `(c, y, x)` of mean 0 and deviation 1: discs on a noisy ground."""
    rng = np.random.default_rng(seed)
    channels, *size = shape
    picture = ndimage.gaussian_filter(rng.normal(size=size), 6, mode="mirror") * 4
    rows, columns = np.mgrid[: size[0], : size[1]]
    for _ in range(max(3, size[0] * size[1] // 1500)):
        y, x = rng.uniform(0, size)
        far = np.hypot(rows - y, columns - x) / rng.uniform(4, 8)
        picture -= 1.5 * (1 - np.tanh(3 * (far - 1)))
    image = np.stack([picture * (1 - 0.2 * i) for i in range(channels)])
    image += ndimage.gaussian_filter(rng.normal(size=shape), (0, 0.7, 0.7))
    return np.asarray((image - image.mean()) / image.std(), dtype=np.float32)
