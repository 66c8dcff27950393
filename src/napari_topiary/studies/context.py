"""What a cell works with: images, budget, seed, and what earlier cells left to it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, TypeVar

import numpy as np

from napari_topiary.checkpoint import Checkpoint, load_checkpoint
from napari_topiary.config import TrainConfig
from napari_topiary.errors import TopiaryError
from napari_topiary.forms import form_problem
from napari_topiary.io.dataset import Dataset, Sample
from napari_topiary.networks import recipe_config
from napari_topiary.networks.pruning_schedule import PruningSchedule
from napari_topiary.training import fit
from napari_topiary.types import Job, Stop, Task, relay

T = TypeVar("T")

FEW_IMAGES = 4
"""Images that a quick study validates on."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How much may be spent on each cell; the same for all of them."""

    #: Of training, per network that is trained
    minutes: Annotated[float, {"min": 0.01, "max": 10000.0}] = 1.0
    #: Passes over the data instead of minutes, None = by minutes
    epochs: Annotated[int | None, {"min": 1, "max": 10000}] = None
    #: How many times every cell is done, with different random numbers
    seeds: Annotated[int, {"min": 1, "max": 1000}] = 1
    seed: Annotated[int, {"min": 0, "max": 2**31 - 1001}] = 0  #: The first of them
    quick: bool = False  #: A small grid and few images to validate on
    #: Pixel size that the networks see, in nm; None = as training proposes
    pixel_nm: Annotated[
        float | None, {"label": "Pixel size in nm", "min": 1e-3, "max": 1e6}
    ] = None
    device: str = "auto"

    def problem(self) -> str | None:
        """Return what stops a study from running, as a sentence."""
        return form_problem(self, open_fields=("device",))


@dataclass(kw_only=True)
class StudyContext:
    """Images, budget and seed of the cell that is being measured."""

    dataset: Dataset  #: Images and their split
    budget: Budget  #: For each cell
    folder: Path  #: Of the study; checkpoints that several cells need are kept in it
    seed: int = 0
    #: Whether the person wants it to end; set while a job is relayed
    stopped: bool = False
    _ready: dict[str, Checkpoint] = field(default_factory=dict, repr=False)

    @property
    def task(self) -> Task:
        """Kind of answer and classes."""
        return self.dataset.task

    @cached_property
    def train(self) -> tuple[Sample, ...]:
        """Annotated images to learn from."""
        part = "train" if self.dataset.parts.get("train") else "all"
        held_out = set(self._held_out_names)
        known = [s for s in self.dataset.part(part) if s.name not in held_out]
        known = [s for s in known if s.annotations]
        if not known:
            raise TopiaryError(
                f"{self.dataset.name} has no annotated image to learn from beside "
                "those to judge on: annotate more, or change the split."
            )
        return tuple(known)

    @cached_property
    def validation(self) -> tuple[Sample, ...]:
        """Images to choose the best weights by; none = training holds some back.

        Where there is no part to validate on but these, they are kept for that: what a
        network was chosen by says too much good about it.
        """
        parts = self.dataset.parts
        if not (parts.get("test") and parts.get("val")):
            return ()
        return tuple(s for s in self.dataset.part("val") if s.annotations)

    @cached_property
    def held_out(self) -> tuple[Sample, ...]:
        """Annotated images that nothing was learned from or chosen by."""
        known = [self.dataset.samples[name] for name in self._held_out_names]
        known = [sample for sample in known if sample.annotations]
        if not known:
            raise TopiaryError(
                f"{self.dataset.name} has no annotated image in a part 'test' or "
                "'val', so there is nothing to judge by: name some in its split."
            )
        return tuple(known[:FEW_IMAGES] if self.budget.quick else known)

    @property
    def _held_out_names(self) -> tuple[str, ...]:
        parts = self.dataset.parts
        return parts.get("test") or parts.get("val") or ()

    def config(
        self, network: str, sizes: Mapping[str, Any], **changes: Any
    ) -> TrainConfig:
        """Return how to train a network within the budget, by its own recipe.

        Parameters
        ----------
        network
            Name of a registered network.
        sizes
            All of its sizes that differ from the default preset's.
        **changes
            Fields of `TrainConfig` that win over everything else.
        """
        budget = self.budget
        timed = budget.epochs is None
        settings: dict[str, Any] = {
            "preset": "",
            "sizes": dict(sizes),
            "minutes": budget.minutes if timed else None,
            "epochs": budget.epochs,
            "working_pixel_size_nm": budget.pixel_nm,
            "seed": self.seed,
            "device": budget.device,
        }
        return recipe_config(network, settings | changes)

    def relay(self, job: Job[T]) -> Job[T]:
        """Do a job inside the study's, noticing `Stop` on its way in."""

        def heard(message: object) -> None:
            self.stopped = self.stopped or message is Stop

        return relay(job, heard=heard)

    def fit(
        self,
        config: TrainConfig,
        *,
        start: Checkpoint | None = None,
        pruning: PruningSchedule | None = None,
    ) -> Job[Checkpoint]:
        """Train on the images to learn from; see `training.fit`."""
        job = fit(
            self.train,
            config,
            task=self.task,
            start=start,
            validation=self.validation,
            pruning=pruning,
        )
        return self.relay(job)

    def kept(
        self, name: str, settings: Mapping[str, Any], job: Job[Checkpoint]
    ) -> Job[Checkpoint]:
        """Return a checkpoint that several cells need, made once.

        What comes of a stopped job is not kept.
        """
        key = digest([name, settings, self.identity])
        if key not in self._ready:
            path = self.folder / "checkpoints" / f"{name}-{key}.safetensors"
            if path.is_file():
                self._ready[key] = load_checkpoint(path)
            else:
                made = yield from self.relay(job)
                if self.stopped:
                    return made
                made.save(path)
                self._ready[key] = made
        job.close()
        return self._ready[key]

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What results depend on beside cell and seed."""
        budget = self.budget
        timed = budget.epochs is None
        return {
            "minutes": budget.minutes if timed else None,
            "epochs": budget.epochs,
            "pixel_nm": budget.pixel_nm,
            "quick": budget.quick,
            "data": fingerprint(self.dataset),
        }


def shortened(config: TrainConfig, share: float) -> TrainConfig:
    """Return how to train for only a share (0..1) of the time or of the epochs."""
    minutes, epochs = config.minutes, config.epochs
    return replace(
        config,
        minutes=None if minutes is None else share * minutes,
        epochs=None if epochs is None else max(1, round(share * epochs)),
    )


def fingerprint(dataset: Dataset) -> str:
    """Return a short text that changes when images, annotations or split change."""
    seen = hashlib.sha256(repr((dataset.task, sorted(dataset.parts.items()))).encode())
    for name in sorted(dataset.samples):
        sample = dataset.samples[name]
        image = np.ascontiguousarray(sample.image)
        seen.update(f"{name} {sample.scale} {image.dtype} {image.shape}".encode())
        seen.update(image.tobytes())
        for drawn in sample.annotations:
            seen.update(drawn.kind.encode())
            if drawn.storage == "image":
                labels = np.asarray(drawn.labels).astype(np.int64)
                seen.update(np.ascontiguousarray(labels).tobytes())
            else:
                seen.update(repr(sorted(drawn.to_table().items())).encode())
    return seen.hexdigest()[:16]


def digest(value: object) -> str:
    """Return a short text that is the same for the same JSON."""
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
