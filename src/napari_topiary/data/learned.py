"""What a network has learned from, and how it is known again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_topiary.data.annotated_area import AnnotatedArea
from napari_topiary.io.dataset import Sample

NO_SKETCHES = (
    "The network was trained with an earlier version, which knows an image that it "
    "has learned from again, but not a part of one: the figure counts only if nothing "
    "judged on was cut out of those images."
)
SMALL = 0.05
"""Share of the objects that are smaller than what is called a small one."""


@dataclass(frozen=True, kw_only=True)
class Learned:
    """Images that a network has learned from, and what is mostly a part of one."""

    pixels: frozenset[str]  #: Their fingerprints
    sketches: tuple[Sequence[int], ...]  #: Some rows of pixels of each
    #: `NO_SKETCHES` where those of some are missing, else empty
    note: str = ""

    @classmethod
    def of(cls, history: Mapping[str, Any], samples: Sequence[Sample] = ()) -> Learned:
        """Return those that a checkpoint names, and some that are learned from now.

        Parameters
        ----------
        history
            What the checkpoint says of its annotations; empty = there is none.
        samples
            Learned from now.
        """
        entries = history.get("learned", ())
        named = [one["pixels"] for one in entries]
        return cls(
            pixels=frozenset([*named, *(one.fingerprint for one in samples)]),
            sketches=(
                *(one.get("sketch", ()) for one in entries),
                *(one.sketch for one in samples),
            ),
            note="" if all("sketch" in one for one in entries) else NO_SKETCHES,
        )

    def __contains__(self, sample: Sample) -> bool:
        if sample.fingerprint in self.pixels:
            return True
        return any(self.sketches) and any(sample.shown_by(self.sketches))


def remembered(
    learned: Sequence[AnnotatedArea],
    held: Sequence[AnnotatedArea],
    history: Mapping[str, Any],
) -> dict[str, object]:
    """Which areas were learned from, now and before, and which are held out."""
    own = {one.pixels for one in learned}
    old = [entry for entry in history.get("learned", ()) if entry["pixels"] not in own]
    return {
        "learned": [
            *old,
            *(one.entry() | {"sketch": list(one.sample.sketch)} for one in learned),
        ],
        "held_out": [one.entry() for one in held],
    }


def smallest_object(learned: Sequence[AnnotatedArea]) -> float:
    """Size below which a thing is no object, as far as was learned.

    Half of that of the small ones; those that an edge of the image cuts off count
    with what is there of them.

    Parameters
    ----------
    learned
        What is learned from, with its objects.

    Returns
    -------
    float
        In working pixels; 0 where there are no objects.
    """
    sizes = [np.zeros(0, dtype=np.int64)]
    for area in learned:
        if area.field.objects is not None:
            seen = area.field.objects[area.validated]
            sizes.append(np.unique(seen[seen > 0], return_counts=True)[1])
    every = np.concatenate(sizes)
    return float(np.quantile(every, SMALL, method="lower")) / 2 if len(every) else 0.0


def smallest_learned(summary: Mapping[str, Any]) -> float:
    """Return the `smallest_object` that a checkpoint's summary names; 0 = unknown."""
    known = summary.get("smallest_object")
    return float(known) if isinstance(known, int | float) and known > 0 else 0.0
