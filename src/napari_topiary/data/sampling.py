"""Which patches the network sees: every class and every annotated area alike.

A micrograph is mostly background; patches drawn evenly over it would show little else.
So a patch is drawn in three even draws: an image, a class that occurs in it, and one
known pixel of that class, which then lies somewhere in the inner half of the patch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from napari_topiary.errors import TopiaryError
from napari_topiary.types import LabelImage

MAX_CLASS_WEIGHT = 10.0
NOTHING_KNOWN = (
    "There is nothing to learn from: no pixel is annotated. Mark some particles, draw "
    "centerlines or paint labels first."
)


@dataclass(frozen=True)
class Field:
    """One training image on the working grid."""

    image: NDArray[np.float32]  #: `(c, y, x)` float32, normalised
    target: NDArray[np.int16]  #: `(y, x)` int16 class index, −1 = unknown
    weight: NDArray[np.float32]  #: `(y, x)` float32, how much each pixel counts
    #: `(k + r, y, x)` probability, and values where it has any, of the network that is
    #: imitated; None = nobody is
    teacher: NDArray[np.floating] | None = None
    #: `(r, y, x)` float32, values to be learned beside the classes; None = none
    regression: NDArray[np.float32] | None = None
    #: `(y, x)` object numbers of instance tasks, 0 = background; None = none. Not
    #: drawn: what is learned from them is in the other fields.
    objects: LabelImage | None = None
    #: Offset and divisor by which `image` becomes what a part of it looks like that was
    #: saved as an image of its own (`Normalisation.applied`)
    as_part: tuple[float, float] = (0.0, 1.0)

    def each(self, change: Callable[[Any], Any]) -> Field:
        """Return it with every map that it has changed in the same way."""
        names = (row.name for row in fields(self) if row.name != "as_part")
        maps = {name: getattr(self, name) for name in names}
        changed: dict[str, Any] = {
            name: None if m is None else change(m) for name, m in maps.items()
        }
        return replace(self, **changed)


@dataclass(frozen=True)
class Batch:
    """Patches ready for a step.

    `image` `(b, c, y, x)` · `target` `(b, y, x)` int64 · `weight` `(b, y, x)` ·
    `teacher` `(b, k + r, y, x)` probability and values, the probability all zero where
    nothing is known; None = none · `regression` `(b, r, y, x)`; None = none · `as_part`
    `(b, 2)`: `Field.as_part` of the image that each is from; None = 0 and 1.
    """

    image: torch.Tensor
    target: torch.Tensor
    weight: torch.Tensor
    teacher: torch.Tensor | None = None
    regression: torch.Tensor | None = None
    as_part: torch.Tensor | None = None

    def to(self, device: torch.device) -> Batch:
        """Return the same patches elsewhere, the image left where it is."""
        return replace(
            self,
            target=self.target.to(device),
            weight=self.weight.to(device),
            teacher=None if self.teacher is None else self.teacher.to(device),
            regression=None if self.regression is None else self.regression.to(device),
        )


class PatchSampler:
    """Draws balanced random patches from training images.

    Parameters
    ----------
    fields
        Training images on the working grid.
    patch
        Side of the square patches, in working pixels.
    seed
        Same seed, same patches.
    device
        Where the images are kept and patches are cut out of them.

    Raises
    ------
    TopiaryError
        If no pixel is annotated at all.
    """

    def __init__(
        self,
        fields: Sequence[Field],
        *,
        patch: int,
        seed: int,
        device: torch.device | str = "cpu",
    ) -> None:
        self.patch = patch
        self._random = np.random.default_rng(seed)
        self._fields: list[_Maps] = []
        self._pixels: list[list[NDArray[np.int64]]] = []
        for field in (_padded(field, patch) for field in fields):
            self._fields.append(_Maps.of(field, torch.device(device)))
            flat = field.target.ravel()
            classes = np.unique(flat[flat >= 0])
            self._pixels.append([np.flatnonzero(flat == c) for c in classes])
        self._usable = [i for i, pixels in enumerate(self._pixels) if pixels]
        if not self._usable:
            raise TopiaryError(NOTHING_KNOWN)

    @property
    def known_pixels(self) -> int:
        """How many pixels have a known class."""
        return sum(len(p) for pixels in self._pixels for p in pixels)

    def draw(self, n: int) -> Batch:
        """Draw `n` patches."""
        patches = [self._draw_one() for _ in range(n)]
        teachers = [p.teacher for p in patches if p.teacher is not None]
        values = [p.regression for p in patches if p.regression is not None]
        return Batch(
            torch.stack([patch.image for patch in patches]),
            torch.stack([patch.target for patch in patches]).long(),
            torch.stack([patch.weight for patch in patches]),
            torch.stack(teachers).float() if teachers else None,
            torch.stack(values) if values else None,
            torch.tensor([patch.as_part for patch in patches]),
        )

    def class_weight(self, n_classes: int) -> torch.Tensor:
        """Inverse root `(k,)` of how often a class is drawn, at most 10× the least."""
        target = self.draw(32).target.cpu()
        counts = torch.bincount(target[target >= 0], minlength=n_classes).float()
        share = counts / counts.sum().clamp(min=1)
        weight = torch.where(share > 0, share.clamp(min=1e-6).rsqrt(), 0.0)
        weight = weight / weight[weight > 0].min().clamp(min=1e-6)
        return weight.clamp(max=MAX_CLASS_WEIGHT)

    def _draw_one(self) -> _Maps:
        index = self._usable[self._random.integers(len(self._usable))]
        field, pixels = self._fields[index], self._pixels[index]
        candidates = pixels[self._random.integers(len(pixels))]
        flat = int(candidates[self._random.integers(len(candidates))])
        height, width = field.target.shape
        y, x = divmod(flat, width)
        half, quarter = self.patch // 2, max(self.patch // 4, 1)
        jitter = self._random.integers(-quarter, quarter + 1, size=2)
        top = int(np.clip(y - half + jitter[0], 0, height - self.patch))
        left = int(np.clip(x - half + jitter[1], 0, width - self.patch))
        rows, columns = slice(top, top + self.patch), slice(left, left + self.patch)
        return field.cut(rows, columns)


@dataclass(frozen=True, kw_only=True)
class _Maps:
    """A training image where it is learned from, as `Field` describes it."""

    image: torch.Tensor
    target: torch.Tensor
    weight: torch.Tensor
    teacher: torch.Tensor | None
    regression: torch.Tensor | None
    as_part: tuple[float, float]

    @classmethod
    def of(cls, field: Field, device: torch.device) -> _Maps:
        """Bring a field to a device; on the processor nothing is copied."""

        def there(array: NDArray[Any]) -> torch.Tensor:
            return torch.from_numpy(np.require(array, requirements=["C", "W"])).to(
                device
            )

        return cls(
            image=there(field.image),
            target=there(field.target),
            weight=there(field.weight),
            teacher=None if field.teacher is None else there(field.teacher),
            regression=None if field.regression is None else there(field.regression),
            as_part=field.as_part,
        )

    def cut(self, rows: slice, columns: slice) -> _Maps:
        """Cut a patch out."""

        def part(maps: torch.Tensor | None) -> torch.Tensor | None:
            return None if maps is None else maps[:, rows, columns]

        return _Maps(
            image=self.image[:, rows, columns],
            target=self.target[rows, columns],
            weight=self.weight[rows, columns],
            teacher=part(self.teacher),
            regression=part(self.regression),
            as_part=self.as_part,
        )


def _padded(field: Field, patch: int) -> Field:
    """Make an image at least one patch large: reflected, the extra part unknown."""
    height, width = field.target.shape
    grow = ((0, max(0, patch - height)), (0, max(0, patch - width)))
    if grow == ((0, 0), (0, 0)):
        return field
    return Field(
        np.pad(field.image, ((0, 0), *grow), mode="symmetric"),
        np.pad(field.target, grow, constant_values=-1),
        np.pad(field.weight, grow),
        None if field.teacher is None else np.pad(field.teacher, ((0, 0), *grow)),
        None if field.regression is None else np.pad(field.regression, ((0, 0), *grow)),
        as_part=field.as_part,
    )
