"""Random flips, turns and contrast changes of training patches (kornia)."""

from __future__ import annotations

from dataclasses import replace

import kornia.augmentation as K
import torch

from napari_topiary.data.sampling import Batch

MIXING = 0.25
"""Largest share of one channel's difference from grey that comes into another's."""
SATURATION = (0.6, 1.4)
"""Factors of the differences from grey."""


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
        # Free rotations interpolate, so most patches only get the lossless turns.
        self._geometry = K.AugmentationSequential(
            K.RandomAffine(degrees=45.0, scale=(0.85, 1.18), p=0.3),
            data_keys=["input", "mask"],
            extra_args=None,
        )
        self._sharpness = K.RandomGaussianBlur((3, 3), (0.1, 1.0), p=0.15)

    def __call__(self, batch: Batch) -> Batch:
        """Return a changed copy of a batch, same shapes."""
        if self._moves:
            batch = _turned(batch)
        if batch.teacher is not None or not self._moves:
            return replace(batch, image=self._intensity(batch.image))
        # Unknown is stored as 0 while warping: the warp fills with zeros.
        maps = [(batch.target.float() + 1)[:, None], batch.weight[:, None]]
        if batch.regression is not None:
            maps.append(batch.regression)
        image, moved = self._geometry(batch.image, torch.cat(maps, dim=1))
        # A warp may interpolate the mask; a pixel that is not clearly one class any
        # more is unknown.
        target = moved[:, 0].round()
        target = torch.where((moved[:, 0] - target).abs() < 1e-3, target, 0.0)
        image = self._intensity(self._sharpness(image))
        values = None if batch.regression is None else moved[:, 2:]
        return Batch(image, target.long() - 1, moved[:, 1], regression=values)

    def _intensity(self, image: torch.Tensor) -> torch.Tensor:
        n, channels = image.shape[:2]
        if self._colour:
            image = _restained(image)
        maps = channels if self._colour else 1
        contrast = torch.empty(n, 1, 1, 1).uniform_(0.75, 1.3)
        tint = torch.empty(n, maps, 1, 1).uniform_(0.9, 1.1)
        shift = torch.empty(n, maps, 1, 1).uniform_(-0.3, 0.3)
        noise = torch.empty(n, 1, 1, 1).uniform_(0.0, 0.15)
        return image * contrast * tint + shift + noise * torch.randn_like(image)


def _restained(image: torch.Tensor) -> torch.Tensor:
    """Mix the channels of every patch a little, as other stains and cameras would.

    A stain takes a fixed share of each colour, so that another one is nearly a linear
    change of the channels (exactly so in optical density). Greys stay grey: what is
    mixed in is how much a channel differs from the mean of all.
    """
    n, channels = image.shape[:2]
    mixing = torch.empty(n, channels, channels).uniform_(-MIXING, MIXING)
    mixing = mixing + torch.eye(channels) * torch.empty(n, 1, 1).uniform_(*SATURATION)
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
    )
