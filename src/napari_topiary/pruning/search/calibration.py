"""The random mini-batches that all candidates of a search are tried on.

The same patches serve every step, so that the losses of a curve can be compared and a
candidate is never chosen for having met easier patches (Roels et al. 2017).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from napari_topiary.annotations import rescaled
from napari_topiary.annotations.labels import object_distances
from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import Balance, DistanceScale, TrainConfig
from napari_topiary.data.annotated_area import (
    AnnotatedArea,
    as_learned,
    learned_distance,
)
from napari_topiary.data.centre_sampling import CentreSampler
from napari_topiary.data.odd_images import opposite_notes, unlike_notes
from napari_topiary.data.sampling import Batch, Field, PatchSampler
from napari_topiary.io.dataset import Sample
from napari_topiary.networks import recipe_config
from napari_topiary.networks.base import Network

CENTRES = 128
"""Patches of a mini-batch of a network that classifies centre pixels."""
PATCHES = 2
"""Patches of a mini-batch of a network that answers at every pixel."""
SIDE = 64
"""Side of those, in working pixels, rounded up to the network's stride."""
PIECE = 2**21
"""Pixels that the whole network is run on at a time."""


@dataclass(frozen=True, kw_only=True)
class CalibrationBatches:
    """Patches and what is right on them."""

    image: torch.Tensor  #: `(n, c, y, x)`
    #: `(n, k, y, x)` how much each answer counts: the weight of a pixel where its class
    #: is, else 0; every mini-batch adds up to the same, all of them to 1
    shares: torch.Tensor
    #: `(n, r, y, x)` what networks with regressions are to answer after the `k` logits;
    #: None for others
    values: torch.Tensor | None = None
    #: How much their mean square error counts beside the cross-entropy
    value_weight: float = 0.0
    notes: tuple[str, ...] = ()  #: Sentences about the images that they are from

    def __len__(self) -> int:
        """Count the patches."""
        return len(self.image)

    @property
    def device(self) -> torch.device:
        """Where the patches are."""
        return self.image.device

    def pieces(self) -> Iterator[torch.Tensor]:
        """Yield the images, a few at a time."""
        pixels = self.image.shape[-1] * self.image.shape[-2]
        yield from torch.split(self.image, max(1, PIECE // pixels))

    def losses(
        self, logits: torch.Tensor, rows: slice, variants: int
    ) -> NDArray[np.float64]:
        """Training loss of several variants of a network, on some of the patches.

        Parameters
        ----------
        logits
            `(variants * n, k + r, y, x)`: variant by variant.
        rows
            Which `n` patches they are of.
        variants
            How many.

        Returns
        -------
        ndarray
            `(variants,)`; summed over all patches this is the mean of the mini-batches'
            means.
        """
        shares = self.shares[rows]
        likely = logits[:, : shares.shape[1]].log_softmax(dim=1)
        terms = likely.reshape(variants, *shares.shape) * shares
        total = -_summed(terms)
        if self.values is not None:
            wanted = self.values[rows]
            found = logits[:, shares.shape[1] :].reshape(variants, *wanted.shape)
            known = shares.sum(1, keepdim=True) / wanted.shape[1]
            errors = (found - wanted).square() * known
            total += self.value_weight * _summed(errors)
        return total


def _summed(terms: torch.Tensor) -> NDArray[np.float64]:
    """Sum `(variants, n, ...)` over all but the first.

    In double precision over patches, and not on the device: some have none.
    """
    by_patch: NDArray[np.float32] = terms.flatten(2).sum(2).cpu().numpy()
    total: NDArray[np.float64] = by_patch.sum(axis=1, dtype=np.float64)
    return total


def draw_calibration(
    checkpoint: Checkpoint,
    samples: Sequence[Sample],
    *,
    batches: int,
    seed: int,
    device: torch.device,
) -> CalibrationBatches:
    """Draw mini-batches as the network is trained on, without augmentation.

    Parameters
    ----------
    checkpoint
        Says how images are brought to its grid and range, and what it learned there.
    samples
        Annotated images.
    batches
        How many mini-batches.
    seed
        Same seed, same patches.
    device
        Where the search is to run.
    """
    network = checkpoint.build()
    learned = _learned(checkpoint)
    areas = [as_learned(sample, checkpoint) for sample in samples]
    fields = [area.field for area in areas]
    if network.regressions:
        fields = [
            replace(area.field, regression=_distances(area, learned.distance))
            for area in areas
        ]
    drawn = _draw(fields, network, batches, seed=seed, balance=learned.balance)
    classes = len(checkpoint.task.classes)
    dtype = next(network.parameters()).dtype
    shares = [_shares(batch, classes) / len(drawn) for batch in drawn]
    image = torch.cat([batch.image for batch in drawn]).to(device, dtype)
    values = [batch.regression for batch in drawn if batch.regression is not None]
    return CalibrationBatches(
        image=image.contiguous(memory_format=torch.channels_last),
        shares=torch.cat(shares).to(device, dtype),
        values=torch.cat(values).to(device, dtype) if values else None,
        value_weight=learned.distance_weight,
        notes=(
            *opposite_notes(areas, checkpoint.task, checkpoint),
            *unlike_notes(areas, checkpoint),
        ),
    )


def _draw(
    fields: Sequence[Field],
    network: Network,
    batches: int,
    *,
    seed: int,
    balance: Balance,
) -> list[Batch]:
    if network.patch is not None:
        centres = CentreSampler(fields, patch=network.patch, seed=seed, balance=balance)
        return [centres.draw(CENTRES) for _ in range(batches)]
    side = -(-SIDE // network.stride) * network.stride
    sampler = PatchSampler(fields, patch=side, seed=seed)
    return [sampler.draw(PATCHES) for _ in range(batches)]


def _shares(batch: Batch, classes: int) -> torch.Tensor:
    """How much each class counts at each pixel of a mini-batch, 1 in sum."""
    known = (batch.target >= 0) * batch.weight
    one_hot = torch.nn.functional.one_hot(batch.target.clamp(min=0), classes)
    shares = one_hot.movedim(-1, 1) * known.unsqueeze(1)
    return shares / shares.sum().clamp(min=1e-6)


def _learned(checkpoint: Checkpoint) -> TrainConfig:
    """How the network was trained, as far as its loss depends on it.

    Checkpoints of earlier versions did not write it down: as is usual for the network.
    """
    recipe = recipe_config(checkpoint.network, {})
    stored = checkpoint.provenance.get("config")
    known = dict(stored) if isinstance(stored, Mapping) else {}
    given = {
        name: known[name] for name in ("balance", "distance_weight") if name in known
    }
    config = replace(recipe, **given)
    config = recipe if config.problem() is not None else config
    return replace(config, distance=learned_distance(checkpoint) or config.distance)


def _distances(area: AnnotatedArea, relative_to: DistanceScale) -> NDArray[np.float32]:
    """Draw what the distance map `(1, y, x)` of an image should be."""
    sample, shape = area.sample, area.field.target.shape
    ratio = shape[0] / sample.image.shape[1], shape[1] / sample.image.shape[2]
    annotations = [rescaled(item, ratio) for item in sample.annotations]
    found = object_distances(annotations, (shape[0], shape[1]), relative_to=relative_to)
    return found[None]
