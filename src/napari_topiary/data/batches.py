"""What a network learns from step by step: patches, turned and changed in contrast."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F

from napari_topiary.annotations import distance_map
from napari_topiary.config import TrainConfig
from napari_topiary.data.centre_sampling import CentreSampler
from napari_topiary.data.prepared import PreparedData
from napari_topiary.data.sampling import Batch, Field, PatchSampler
from napari_topiary.errors import TopiaryError
from napari_topiary.networks.base import Network

USUAL_PATCH = 128
USUAL_BATCH = 8
DETECTING_BATCH = 4
"""Particles are on every patch and look alike: more steps are worth more (measured)."""
PROCESSOR = torch.device("cpu")
SHARE_OF_MEMORY = 0.3
"""Of what is free on a graphics card, for the images that are learned from."""
EXAMPLES = 4
"""Batches that the statistics of normalisations are taken from before validating."""

FREELY_TURNED, BLURRED = 0.3, 0.15
"""Shares of the patches. Free turns interpolate: most patches are left as sharp as they
are, and only turned by quarters."""
TURN, SCALE = math.pi / 4, (0.85, 1.18)
"""Radians to either side; factors."""
SIGMA = (0.1, 1.0)
"""Of the blur, in pixels; its kernel has three to a side."""
MIXING = 0.25
"""Largest share of one channel's difference from grey that comes into another's."""
SATURATION = (0.6, 1.4)
"""Factors of the differences from grey."""
AS_PARTS = 0.5
"""Share of the patches shown as parts saved as images of their own will be."""


class Batches:
    """Draws what a network learns from, step by step.

    Parameters
    ----------
    network
        What will be trained.
    config
        Patches a step, their side, balance, augmentation and seed are read from it.
    prepared
        What there is to learn from.
    device
        Where it is learned; images that fit are kept there.
    """

    def __init__(
        self,
        network: Network,
        config: TrainConfig,
        prepared: PreparedData,
        device: torch.device = PROCESSOR,
    ) -> None:
        usual = DETECTING_BATCH if prepared.task.kind == "detect" else USUAL_BATCH
        self.size = config.batch or usual
        by_centre = network.patch is not None
        self._augment = (
            Augmentation(prepared.in_channels, geometry=not by_centre)
            if config.augment
            else None
        )
        self._sampler = _sampler_for(network, config, prepared, device)
        self.examples = [
            self._sampler.draw(max(self.size, USUAL_BATCH)).image
            for _ in range(EXAMPLES)
        ]
        self.class_weight = self._sampler.class_weight(len(prepared.task.classes))
        patch_pixels = self.size * (1 if by_centre else self._sampler.patch**2)
        self.per_epoch = max(1, math.ceil(self._sampler.known_pixels / patch_pixels))

    def draw(self) -> Batch:
        """Draw the next batch."""
        batch = self._sampler.draw(self.size)
        return batch if self._augment is None else self._augment(batch)


class Augmentation:
    """Changes a batch the way another micrograph would differ.

    Geometry moves image and target together; what comes in from outside the patch is
    unknown (−1). Intensity changes contrast, brightness, sharpness and noise, per
    patch and, for colour images, per channel (stains differ between slides).

    A batch with a teacher's answers is only turned and mirrored in space: those answers
    lie where they lie. Its intensities change as usual, so that the pupil gives under
    any contrast the answer that the teacher gave to the image as it is; without that,
    pruned networks were found to lose on other micrographs what they kept on these.

    Parameters
    ----------
    in_channels
        1 (grey) or 3 (colour).
    geometry
        False: only intensities. Patches of which the centre pixel alone is known are
        turned while they are drawn, which costs nothing.
    """

    def __init__(self, in_channels: int, *, geometry: bool = True) -> None:
        self._colour, self._moves = in_channels > 1, geometry

    def __call__(self, batch: Batch) -> Batch:
        """Return a changed copy of a batch, same shapes."""
        batch = replace(batch, image=_as_parts(batch))
        if self._moves:
            batch = _turned(batch)
        if batch.teacher is not None or not self._moves:
            return replace(batch, image=self._intensity(batch.image))
        channels = batch.image.shape[1]
        # Unknown is stored as 0 while warping: the warp fills with zeros.
        pieces = [batch.image, batch.target[:, None] + 1, batch.weight[:, None]]
        if batch.regression is not None:
            pieces.append(batch.regression)
        maps = _freely_turned(torch.cat([p.float() for p in pieces], dim=1))
        image, classes, weight, values = maps.tensor_split(
            [channels, channels + 1, channels + 2], dim=1
        )
        # A warp interpolates; a pixel that is not clearly one class any more is
        # unknown.
        target = classes[:, 0].round()
        target = torch.where((classes[:, 0] - target).abs() < 1e-3, target, 0.0)
        return Batch(
            self._intensity(_blurred(image)),
            target.long() - 1,
            weight[:, 0],
            regression=None if batch.regression is None else values,
        )

    def _intensity(self, image: torch.Tensor) -> torch.Tensor:
        n, channels = image.shape[:2]
        if self._colour:
            image = _restained(image)
        maps = channels if self._colour else 1
        contrast = _between(0.75, 1.3, image, n, 1, 1, 1)
        tint = _between(0.9, 1.1, image, n, maps, 1, 1)
        shift = _between(-0.3, 0.3, image, n, maps, 1, 1)
        noise = _between(0.0, 0.15, image, n, 1, 1, 1)
        return image * contrast * tint + shift + noise * torch.randn_like(image)


def _between(low: float, high: float, like: torch.Tensor, *shape: int) -> torch.Tensor:
    """Random numbers on the device of a tensor, the same ones on every device."""
    drawn = torch.empty(shape).uniform_(low, high)
    return drawn.to(like.device, non_blocking=True)


def _as_parts(batch: Batch) -> torch.Tensor:
    """Return the images `(b, c, y, x)`, some as parts of them by themselves look."""
    as_it_is = torch.tensor([0.0, 1.0])
    if batch.as_part is None or bool((batch.as_part == as_it_is).all()):
        return batch.image
    chosen = torch.rand(len(batch.image), 1) < AS_PARTS
    change = torch.where(chosen, batch.as_part, as_it_is)
    offset, divisor = change.to(batch.image.device)[:, :, None, None, None].unbind(1)
    return (batch.image - offset) / divisor


def _restained(image: torch.Tensor) -> torch.Tensor:
    """Mix the channels of every patch a little, as other stains and cameras would.

    A stain takes a fixed share of each colour, so that another one is nearly a linear
    change of the channels (exactly so in optical density). Greys stay grey: what is
    mixed in is how much a channel differs from the mean of all.
    """
    n, channels = image.shape[:2]
    mixing = _between(-MIXING, MIXING, image, n, channels, channels)
    own = torch.eye(channels, device=image.device)
    mixing = mixing + own * _between(*SATURATION, image, n, 1, 1)
    grey = image.mean(dim=1, keepdim=True)
    return grey + torch.einsum("nij,njyx->niyx", mixing, image - grey)


def _turned(batch: Batch) -> Batch:
    """Turn every patch by quarters and mirror some: no pixel value changes."""
    turns = torch.randint(0, 4, (len(batch.image),)).tolist()
    mirrored = torch.randint(0, 2, (len(batch.image),)).tolist()

    def moved(maps: torch.Tensor) -> torch.Tensor:
        moving = zip(maps, turns, mirrored, strict=True)
        pieces = [torch.rot90(m, k, (-2, -1)) for m, k, _ in moving]
        return torch.stack(
            [m.flip(-1) if f else m for m, f in zip(pieces, mirrored, strict=True)]
        )

    return Batch(
        moved(batch.image),
        moved(batch.target),
        moved(batch.weight),
        None if batch.teacher is None else moved(batch.teacher),
        None if batch.regression is None else moved(batch.regression),
        batch.as_part,
    )


def _some(share: float, maps: torch.Tensor) -> torch.Tensor:
    """Draw which of the patches `(b, ..)` are changed: their numbers."""
    drawn = torch.rand(len(maps)) < share
    return drawn.nonzero()[:, 0].to(maps.device, non_blocking=True)


def _freely_turned(maps: torch.Tensor) -> torch.Tensor:
    """Turn and scale some patches `(b, m, y, x)` about their middles, in place."""
    chosen = _some(FREELY_TURNED, maps)
    if not len(chosen):
        return maps
    n, (height, width) = len(chosen), maps.shape[2:]
    angle, scale = torch.empty(n).uniform_(-TURN, TURN), torch.empty(n)
    scale.uniform_(*SCALE)
    along, across = angle.cos() / scale, angle.sin() / scale
    nothing = torch.zeros(n)
    # From where each pixel comes, in shares of the patch.
    rows = [along, -across * height / width, nothing]
    columns = [across * width / height, along, nothing]
    matrix = torch.stack([*rows, *columns], dim=1).view(n, 2, 3).to(maps.device)
    grid = F.affine_grid(matrix, [n, 1, height, width], align_corners=False)
    maps[chosen] = F.grid_sample(maps[chosen], grid, align_corners=False)
    return maps


def _blurred(image: torch.Tensor) -> torch.Tensor:
    """Blur some patches `(b, c, y, x)` a little, each as much as is drawn."""
    chosen = _some(BLURRED, image)
    if not len(chosen):
        return image
    sigma = _between(*SIGMA, image, len(chosen), 1, 1, 1)
    side = torch.exp(-0.5 / sigma.square())
    middle, side = 1 / (1 + 2 * side), side / (1 + 2 * side)
    wide = F.pad(image[chosen], (1, 1, 1, 1), mode="reflect")
    high = middle * wide[..., 1:-1] + side * (wide[..., :-2] + wide[..., 2:])
    image[chosen] = middle * high[..., 1:-1, :] + side * (
        high[..., :-2, :] + high[..., 2:, :]
    )
    return image


def _sampler_for(
    network: Network, config: TrainConfig, prepared: PreparedData, device: torch.device
) -> PatchSampler | CentreSampler:
    """Return what draws the patches that a network learns from."""
    if network.patch is None:
        patch = _patch_side(config.patch, network.stride, prepared)
        fields = prepared.train
        if network.regressions:
            fields = tuple(_with_distance(field, config) for field in fields)
        place = device if _fit(fields, device) else PROCESSOR
        return PatchSampler(fields, patch=patch, seed=config.seed, device=place)
    return CentreSampler(
        prepared.train,
        patch=network.patch,
        seed=config.seed,
        balance=config.balance,
        pixels=config.training_pixels,
        turn=config.augment,
    )


def _fit(fields: Sequence[Field], device: torch.device) -> bool:
    """Whether all images can stay on a device, beside what learning takes."""
    if device.type != "cuda":
        return True  # the others share the computer's memory
    needed = 0
    for field in fields:
        needed += field.image.nbytes + field.target.nbytes + field.weight.nbytes
        for more in (field.teacher, field.regression):
            needed += 0 if more is None else more.nbytes
    return needed < SHARE_OF_MEMORY * torch.cuda.mem_get_info(device)[0]


def _with_distance(field: Field, config: TrainConfig) -> Field:
    """Add what a network with a distance branch learns beside the classes."""
    if field.objects is None:
        raise TopiaryError(
            "This network learns how deep inside its object a pixel lies, so it needs "
            "numbered objects: choose the task instances, or another network."
        )
    distance = distance_map(field.objects, relative_to=config.distance)
    return replace(field, regression=distance[None])


def _patch_side(asked: int | None, stride: int, prepared: PreparedData) -> int:
    """Side of a patch: as asked, else 128, but not far beyond the images."""
    largest: int = max(max(field.target.shape) for field in prepared.train)
    side = min(asked or USUAL_PATCH, math.ceil(largest / stride) * stride)
    return max(stride, math.ceil(side / stride) * stride)
