"""The vocabulary every other module speaks: progress, jobs, tasks and results.

Coordinates are `(y, x)` with pixel centres at integers; images are `(c, y, x)`;
probabilities are `(k, y, x)`; labels are `(y, x)`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")

Image = NDArray[np.generic]
"""`(c, y, x)`: channels first, any numeric dtype."""
LabelImage = NDArray[np.integer]
"""`(y, x)`: class index, or instance ids 1..n with 0 = background."""

Window = tuple[int, int, int, int]
"""Top, bottom, left and right in pixels, ends not included."""

TaskKind = Literal["detect", "segment", "instances"]
BACKGROUND = "background"
UNKNOWN_RADIUS = 10.0
"""Radius taken for classes without one, in pixels: to draw and to match particles."""


class Stop:
    """Sent into a job (`job.send(Stop)`) to end it early and keep what it has.

    `generator.close()` (which is what `worker.quit()` amounts to) would throw the
    best weights so far away; a *sent* Stop is an ordinary value that the job's own
    loop sees at its next boundary, so it can return a result.
    """


@dataclass(frozen=True)
class Progress:
    """How far a job is."""

    #: `done`, `total`: in the job's own unit (seconds, tiles, steps); `total` 0 means
    #: unknown
    done: float
    total: float
    message: str = ""  #: A short phrase for the status line, in words a biologist uses
    eta_s: float | None = None  #: Estimated seconds to the end; None while unknown
    #: What the job has to show at this point (for instance a `TrainReport`)
    report: object | None = None

    @property
    def fraction(self) -> float:
        """Share done, 0..1 (0 while unknown)."""
        return min(1.0, self.done / self.total) if self.total > 0 else 0.0


Job = Generator[Progress, object, T]
"""Yields `Progress`, accepts `Stop` (and other requests), returns its result."""


def middle_of(window: Window, largest: int) -> Window:
    """The middle of a window, no longer than `largest` to any side."""
    top, bottom, left, right = window
    if bottom - top > largest:
        top = (top + bottom - largest) // 2
        bottom = top + largest
    if right - left > largest:
        left = (left + right - largest) // 2
        right = left + largest
    return top, bottom, left, right


def grown(window: Window, by: int, shape: Sequence[int]) -> Window:
    """A window with so much around it, as far as an image `(y, x)` reaches."""
    top, bottom, left, right = window
    height, width = shape
    return (
        max(0, top - by),
        min(height, bottom + by),
        max(0, left - by),
        min(width, right + by),
    )


def seconds_left(begun: float, done: float, total: float) -> float | None:
    """How long the rest takes if it goes on as before; None where nothing is done yet.

    Parameters
    ----------
    begun
        By `time.perf_counter`.
    done, total
        Of the work, in the same unit.
    """
    spent = time.perf_counter() - begun
    return spent / done * (total - done) if done > 0 else None


def run(
    job: Job[T],
    on_progress: Callable[[Progress], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> T:
    """Drive a job to its end in the calling thread and return its result.

    Parameters
    ----------
    job
        The generator to drive.
    on_progress
        Called with every `Progress`.
    should_stop
        Asked after every `Progress`; True sends `Stop` into the job.
    """
    message: object = None
    while True:
        try:
            progress = job.send(message)
        except StopIteration as end:
            result: T = end.value
            return result
        if on_progress is not None:
            on_progress(progress)
        message = Stop if should_stop is not None and should_stop() else None


def relay(
    job: Job[T],
    *,
    told: Callable[[Progress], Progress] | None = None,
    heard: Callable[[object], None] | None = None,
    whole: bool = False,
) -> Job[T]:
    """Do a job inside a job: its progress goes up, what is sent in goes down.

    Parameters
    ----------
    job
        The inner job; `yield from relay(job)` is its result.
    told
        Makes of each of its `Progress` that of the outer job.
    heard
        Told of everything that is sent in, `Stop` for instance.
    whole
        Whether the inner job comes to its own end: nothing that is sent in reaches it.
    """
    message: object = None
    while True:
        try:
            progress = job.send(None if whole else message)
        except StopIteration as end:
            result: T = end.value
            return result
        message = yield progress if told is None else told(progress)
        if heard is not None:
            heard(message)


def unless_stopped(
    job: Job[T], *, told: Callable[[Progress], Progress] | None = None
) -> Job[T | None]:
    """Do a job inside a job, and give it up at a `Stop`: its result is then None.

    Parameters
    ----------
    job
        The inner job, which is closed.
    told
        As for `relay`.
    """
    while True:
        try:
            progress = next(job)
        except StopIteration as end:
            result: T = end.value
            return result
        if (yield progress if told is None else told(progress)) is Stop:
            job.close()
            return None


@dataclass(frozen=True)
class Task:
    """What a network is to find: the kind of answer and its classes."""

    #: `detect` (particles and filaments), `segment` (a class per pixel) or `instances`
    #: (separate objects of one class)
    kind: TaskKind
    classes: tuple[str, ...]  #: Class names; the first one is always ``"background"``
    #: `radius_nm`, `radius_px`: radius of each detectable class, in nm and in original
    #: image pixels; nm wins where the pixel size is known. Half the width for
    #: centerlines.
    radius_nm: Mapping[str, float] = field(default_factory=dict)
    radius_px: Mapping[str, float] = field(default_factory=dict)

    def radius(self, name: str, scale: float | None) -> float | None:
        """Radius of class `name` in original pixels, or None where unknown.

        Parameters
        ----------
        name
            A class name.
        scale
            nm per pixel of the image, None if unknown.
        """
        if scale is not None and name in self.radius_nm:
            return float(self.radius_nm[name]) / scale
        return float(self.radius_px[name]) if name in self.radius_px else None

    def radius_or_usual(self, name: str, scale: float | None) -> float:
        """Radius of class `name` in original pixels, `UNKNOWN_RADIUS` where unknown.

        Things are drawn with it and looked for within it; what is measured is not made
        up so.

        Parameters
        ----------
        name
            A class name.
        scale
            nm per pixel of the image, None if unknown.
        """
        return self.radius(name, scale) or UNKNOWN_RADIUS


@dataclass(frozen=True)
class Detections:
    """Particles found in one image."""

    #: `(n, 2)` float: y, x in pixels of the input image
    coordinates: NDArray[np.float64]
    #: `(n,)` int: index into the task's classes (never 0)
    class_index: NDArray[np.int64]
    score: NDArray[np.float64]  #: `(n,)` float in 0..1
    #: Traced centerlines, each `(v, 2)` float y, x; filament classes only
    lines: tuple[NDArray[np.float64], ...] = ()
    #: `(m,)` int class index of each line
    line_class: NDArray[np.int64] = field(
        default_factory=lambda: np.zeros(0, dtype=np.int64)
    )
    #: `(m,)` float in 0..1
    line_score: NDArray[np.float64] = field(
        default_factory=lambda: np.zeros(0, dtype=np.float64)
    )

    def __len__(self) -> int:
        """Count the particles (lines not included)."""
        return len(self.coordinates)

    @classmethod
    def empty(cls) -> Detections:
        """No particles, no lines."""
        return cls(np.zeros((0, 2)), np.zeros(0, dtype=np.int64), np.zeros(0))


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a checkpoint says about one image."""

    #: `(k, y, x)` float32 on the *working* grid (the pixel size the network saw)
    probability: NDArray[np.float32]
    shape: tuple[int, int]  #: `(y, x)` of the input image in pixels
    task: Task  #: Kind and classes, from the checkpoint
    scale: float | None  #: nm per pixel of the input image, None if unknown
    #: `(y, x)` on the *input image's* grid: class index, or instance ids
    labels: LabelImage
    #: In pixels of the input image; empty for tasks without detections
    detections: Detections
    checkpoint: str = ""  #: Name or hash of the checkpoint that made it
    #: Sentences for the user (rescaled, tile halved, stopped early)
    notes: tuple[str, ...] = ()
    #: `(y, x)` bool on the working grid where the network has run; None = all
    done: NDArray[np.bool_] | None = None
    #: `(r, y, x)` float32 on the working grid: maps that are values, such as the
    #: distance from the edge of a nucleus; None = the network has none
    regression: NDArray[np.float32] | None = None
    #: What ran the network: "torch", "openvino"; empty where nothing did
    backend: str = ""
    #: Of a large image only a part may be predicted: y, x of the part's first pixel.
    #: All else is then said of the part, in its own pixels; None = of the image.
    corner: tuple[float, float] | None = None
    #: Sentences for the user about why the answer is worth nothing
    problems: tuple[str, ...] = ()
