"""Whether there is anything to learn from, in sentences; no Qt, for a worker thread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from napari_topiary._napari.widgets import words
from napari_topiary.annotations import (
    Centerlines,
    Labels,
    Points,
    annotation_problem,
)
from napari_topiary.io.dataset import Sample
from napari_topiary.session import Session
from napari_topiary.types import BACKGROUND, Task

_PIXELS = 1_000_000
"""Larger images are judged by evenly spaced rows."""


@dataclass(frozen=True)
class Lesson:
    """What a training would learn from and be judged on.

    Parameters
    ----------
    samples
        Annotated images to learn from.
    validation
        Annotated images that only judge.
    task
        Kind of answer and classes.
    n_images
        How many images the project has, annotated or not.
    """

    samples: tuple[Sample, ...]
    validation: tuple[Sample, ...]
    task: Task
    n_images: int

    @classmethod
    def of(cls, session: Session) -> Lesson:
        """What the session has at this moment."""
        return cls(
            session.samples(), session.hold_out(), session.task, len(session.images)
        )

    @property
    def scale(self) -> float | None:
        """Pixel size of the first image in nm, None if unknown."""
        return self.samples[0].scale if self.samples else None

    @property
    def in_channels(self) -> int:
        """Channels of the first image: 1 grey, 3 colour."""
        return self.samples[0].image.shape[0] if self.samples else 1

    @property
    def smallest_side(self) -> int:
        """Shortest side of any image to learn from, in pixels; 0 without images."""
        return min((min(one.image.shape[1:]) for one in self.samples), default=0)

    def first_step(self) -> str:
        """What is missing altogether; empty if there is something to learn from."""
        if not self.n_images:
            return "There is no image yet: add one on the Data page."
        if len(self.task.classes) < 2:
            return (
                "There is no class yet: on the Annotate page, add one for what you "
                "look for and mark some of it."
            )
        if not self.samples and self.validation:
            return (
                "All annotated images are held back to judge quality: on the Data "
                "page, let at least one be learned from."
            )
        if not self.samples:
            return (
                "Nothing is marked yet: on the Annotate page, mark particles, draw "
                "centerlines or paint areas on at least one image."
            )
        return ""

    def problem(self) -> str:
        """What stops this from being learned from; empty if nothing does.

        Looks at all pixels of labels: not for the main thread.
        """
        missing = self.first_step()
        if missing:
            return missing
        every = (*self.samples, *self.validation)
        if len({sample.image.shape[0] for sample in every}) > 1:
            return (
                "Some images are grey and some are colour: one network learns from "
                "one kind. Convert the colour images to grey on the Data page, or "
                "take them out."
            )
        for sample in every:
            sentence = annotation_problem(
                sample.annotations,
                sample.image.shape[1:],
                task=self.task,
                scale=sample.scale,
            ) or _image_problem(sample.image)
            if sentence:
                return f"{sample.name}: {sentence}"
        return self._classes_problem()

    def summary(self) -> str:
        """What is learned from, in a line or two."""
        if not self.samples:
            return ""
        counts = _counts(self.samples)
        drawn = ", ".join(
            words.plural(n, one, many) for (one, many), n in counts.items() if n
        )
        text = f"Learns from {words.plural(len(self.samples), 'image')}: {drawn}."
        if self.validation:
            return (
                f"{text} Judged on {words.plural(len(self.validation), 'image')} that "
                "it does not see."
            )
        if len(self.samples) > 1:
            return f"{text} Some of them are kept back to judge it."
        return f"{text} A part of it is kept back to judge it."

    def _classes_problem(self) -> str:
        found = _classes_found(self.samples, self.task)
        if not found - {0}:
            return (
                "Only background is marked: mark some of what you look for as well "
                f"({', '.join(self.task.classes[1:])})."
            )
        if found == {next(iter(found - {0}))}:
            name = self.task.classes[next(iter(found))]
            return (
                f"Everything is marked as {name}, so there is nothing to tell it from: "
                "mark background as well, or a second class."
            )
        return ""


def _counts(samples: Sequence[Sample]) -> Mapping[tuple[str, str], int]:
    counts = {
        ("particle", "particles"): 0,
        ("counterexample", "counterexamples"): 0,
        ("centerline", "centerlines"): 0,
        ("painted image", "painted images"): 0,
    }
    particle, counter, line, painted = counts
    for sample in samples:
        for item in sample.annotations:
            if isinstance(item, Points):
                negative = sum(name == BACKGROUND for name in item.classes)
                counts[counter] += negative
                counts[particle] += len(item.classes) - negative
            elif isinstance(item, Centerlines):
                counts[line] += len(item.classes)
            elif isinstance(item, Labels):
                counts[painted] += 1
    return counts


def _classes_found(samples: Sequence[Sample], task: Task) -> set[int]:
    """Classes that are marked anywhere; around points and lines lies background."""
    found: set[int] = set()
    for sample in samples:
        for item in sample.annotations:
            if isinstance(item, Points | Centerlines):
                found |= {0} | {task.classes.index(name) for name in item.classes}
            elif isinstance(item, Labels):
                low, high = int(item.labels.min()), int(item.labels.max())
                if item.instances or task.kind == "instances":
                    found |= {min(low, 1), min(high, 1)}
                else:
                    found |= {low, high}
    return found


def _image_problem(image: np.ndarray) -> str:
    """What stops an image from being learned from."""
    step = max(1, image.size // _PIXELS)
    some = image[:, ::step]
    finite = some[np.isfinite(some)] if some.dtype.kind == "f" else some
    if not finite.size:
        return "the image holds no numbers, only NaN: load it anew or take it out."
    if finite.min() == finite.max():
        whole = image[np.isfinite(image)] if image.dtype.kind == "f" else image
        if whole.min() == whole.max():
            return (
                f"every pixel of the image has the value {finite.min():g}: check that "
                "it was saved and loaded as it should be, or take it out."
            )
    return ""
