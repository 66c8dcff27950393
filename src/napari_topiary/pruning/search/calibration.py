"""The random mini-batches that all candidates of a search are tried on.

The same patches serve every step, so that the losses of a curve can be compared and a
candidate is never chosen for having met easier patches (Roels et al. 2017).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from napari_topiary.annotations import build_target, rescaled
from napari_topiary.annotations.distances import object_distances
from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import Balance, DistanceScale
from napari_topiary.data.sampling import Batch, CentreSampler, Field, PatchSampler
from napari_topiary.data.working_grid import area_to_working, to_working
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


@dataclass(frozen=True)
class CalibrationBatches:
    """Patches and what is right on them.

    Parameters
    ----------
    image
        `(n, c, y, x)`.
    shares
        `(n, k, y, x)` how much each answer counts: the weight of a pixel where its
        class is, else 0; every mini-batch adds up to the same, all of them to 1.
    values
        `(n, r, y, x)` what networks with regressions are to answer after the `k`
        logits; None for others.
    value_weight
        How much their mean square error counts beside the cross-entropy.
    """

    image: torch.Tensor
    shares: torch.Tensor
    values: torch.Tensor | None = None
    value_weight: float = 0.0

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
        total = -terms.flatten(1).sum(1, dtype=torch.float64)
        if self.values is not None:
            wanted = self.values[rows]
            found = logits[:, shares.shape[1] :].reshape(variants, *wanted.shape)
            known = shares.sum(1, keepdim=True) / wanted.shape[1]
            errors = (found - wanted).square() * known
            error = errors.flatten(1).sum(1, dtype=torch.float64)
            total += self.value_weight * error
        return total.cpu().numpy()  # type: ignore[no-any-return]


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
        Says how images are brought to the network's grid and range.
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
    recipe = recipe_config(checkpoint.network, {})
    fields = [_field(checkpoint, sample) for sample in samples]
    if network.regressions:
        fields = [
            replace(field, regression=_distances(sample, field, recipe.distance))
            for sample, field in zip(samples, fields, strict=True)
        ]
    drawn = _draw(fields, network, batches, seed=seed, balance=recipe.balance)
    classes = len(checkpoint.task.classes)
    dtype = next(network.parameters()).dtype
    shares = [_shares(batch, classes) / len(drawn) for batch in drawn]
    image = torch.cat([batch.image for batch in drawn]).to(device, dtype)
    values = [batch.regression for batch in drawn if batch.regression is not None]
    return CalibrationBatches(
        image.contiguous(memory_format=torch.channels_last),
        torch.cat(shares).to(device, dtype),
        torch.cat(values).to(device, dtype) if values else None,
        recipe.distance_weight,
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


def _field(checkpoint: Checkpoint, sample: Sample) -> Field:
    """Bring a sample to the network's grid and range."""
    factor = checkpoint.factor_for(sample.scale)
    normalised = checkpoint.normalisation.apply(sample.image, sample.excerpt)
    image = to_working(normalised, factor)
    height, width = image.shape[1:]
    ratio = height / sample.image.shape[1], width / sample.image.shape[2]
    radii = {n: r / factor for n, r in checkpoint.task.radius_px.items()}
    target = build_target(
        tuple(rescaled(item, ratio) for item in sample.annotations),
        (height, width),
        task=replace(checkpoint.task, radius_px=radii),
        scale=None if sample.scale is None else sample.scale * factor,
    )
    known = area_to_working(sample.area, (height, width))
    target = target.within(known)
    return Field(image, target.classes, target.weight)


def _distances(
    sample: Sample, field: Field, relative_to: DistanceScale
) -> NDArray[np.float32]:
    """Draw what the distance map `(1, y, x)` of a sample should be."""
    height, width = field.target.shape
    ratio = height / sample.image.shape[1], width / sample.image.shape[2]
    annotations = [rescaled(item, ratio) for item in sample.annotations]
    found = object_distances(annotations, (height, width), relative_to=relative_to)
    return found[None]
