"""Annotated images → trained → pruned → fine-tuned → compared, with pictures of each.

What the workbench does by clicking, as one job without a screen.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import PruneConfig, TrainConfig
from napari_topiary.devices import pick_device
from napari_topiary.evaluation import SideBySide, compare_checkpoints
from napari_topiary.io.dataset import Sample
from napari_topiary.io.samples import sample_dataset
from napari_topiary.pruning import (
    PruningPlan,
    make_plan,
    measure_speed,
    shaper_for,
)
from napari_topiary.story.curves import tradeoff_chart, training_chart
from napari_topiary.story.page import write_page
from napari_topiary.story.pictures import panel, save_row
from napari_topiary.story.rows import annotated_panel, save_comparison
from napari_topiary.training import fit, rejudge
from napari_topiary.types import Job, Progress, Stop, Task

T = TypeVar("T")

STAGES = 4
TRAINED, PRUNED = "trained", "pruned"


@dataclass(frozen=True)
class StoryConfig:
    """What the story is about.

    Parameters
    ----------
    minutes
        Time to train; half of it goes into fine-tuning.
    preset
        Size of the network.
    share
        Share of the weights that the pruned network loses.
    shares
        Positions of the slider that the trade-off is drawn at.
    sample
        Name of a sample dataset.
    seed, device
        As for training.
    """

    minutes: float = 1.0
    preset: str = "tiny"
    share: float = 0.8
    shares: tuple[float, ...] = (0.25, 0.5, 0.7, 0.8, 0.9, 0.95)
    sample: str = "apoferritin"
    seed: int = 0
    device: str = "auto"


def tell(out: Path | str, config: StoryConfig | None = None) -> Job[dict[str, Any]]:
    """Do the whole story and leave pictures, checkpoints and a text.

    Parameters
    ----------
    out
        Folder for all of it; made if it is not there.
    config
        Sample, network and times.

    Yields
    ------
    Progress
        Of the stage that is going on. `Stop` ends that stage with what it has, and
        leaves out the rest.

    Returns
    -------
    dict
        What is in `story.json`: `text`, `pictures`, sizes and qualities.
    """
    teller = _Teller(Path(out), config or StoryConfig())
    yield Progress(0, 0, "Reading the sample images")
    trained = yield from teller.train()
    if not teller.stopped:
        plan = make_plan(trained, PruneConfig(remove=teller.config.share))
        yield from teller.try_positions(plan)
    if not teller.stopped:
        pruned = yield from teller.prune(plan)
    if not teller.stopped:
        yield from teller.compare({TRAINED: trained, PRUNED: pruned})
    return teller.finish()


@dataclass
class _Teller:
    """Does one stage after the other and remembers what came of it."""

    out: Path
    config: StoryConfig
    stopped: bool = False
    sentences: list[str] = field(default_factory=list)
    pictures: list[str] = field(default_factory=list)
    results: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.begun = time.perf_counter()
        dataset = sample_dataset(self.config.sample)
        self.task: Task = dataset.task
        self.train_samples: tuple[Sample, ...] = dataset.part("train")
        self.held: tuple[Sample, ...] = dataset.part("val")
        self.out.mkdir(parents=True, exist_ok=True)

    def train(self) -> Job[Checkpoint]:
        """Show what was annotated, and train on it."""
        shown = self.held[0]
        marked = annotated_panel(
            shown, self.task, "The same, with what a person marked"
        )
        panels = [panel(shown.image, shown.name), marked]
        save_row(self._picture("1_annotations.png"), panels)
        job = fit(
            self.train_samples,
            self._training(self.config.minutes),
            task=self.task,
            validation=self.held,
        )
        trained = yield from self._heard(1, job)
        trained = self._kept(TRAINED, trained)
        self.sentences.append(
            f"A network with {trained.parameters:,} weights learned from "
            f"{len(self.train_samples)} annotated images for "
            f"{trained.provenance['seconds']:.0f} s{_quality(trained)}."
        )
        training_chart(self._picture("2_training.png"), trained)
        return trained

    def try_positions(self, plan: PruningPlan) -> Job[None]:
        """Judge positions of the slider, without any fine-tuning."""
        found = [(0.0, float(plan.checkpoint.metrics.get("quality", 0.0)))]
        for share in self.config.shares:
            job = rejudge(
                plan.checkpoint_at(share),
                self.train_samples,
                validation=self.held,
                device=self.config.device,
            )
            judged = yield from self._heard(2, job)
            if self.stopped:
                return
            quality = float(judged.metrics.get("quality", 0.0))
            found.append((plan.statistics(share).share, quality))
        self.results["one_shot"] = [
            {"share": share, "quality": quality} for share, quality in found
        ]

    def prune(self, plan: PruningPlan) -> Job[Checkpoint]:
        """Prune gradually while fine-tuning, and draw the trade-off."""
        job = fit(
            self.train_samples,
            self._training(self.config.minutes / 2),
            task=self.task,
            start=plan.checkpoint,
            validation=self.held,
            shaper=shaper_for(plan, self.config.share),
        )
        pruned = yield from self._heard(3, job)
        pruned = self._kept(PRUNED, pruned)
        ratio = pruned.unpruned_parameters / max(1, pruned.parameters_nonzero)
        self.sentences.append(
            f"Pruning took {pruned.sparsity:.0%} of its weights away (CR {ratio:.3g}) "
            f"while it was fine-tuned for {pruned.provenance['seconds']:.0f} s"
            f"{_quality(pruned)}."
        )
        once = [(e["share"], e["quality"]) for e in self.results["one_shot"]]
        tradeoff_chart(self._picture("3_tradeoff.png"), once, pruned)
        return pruned

    def compare(self, checkpoints: dict[str, Checkpoint]) -> Job[None]:
        """Hold pruned against unpruned on the images that were held out."""
        job = compare_checkpoints(checkpoints, self.held)
        message: object = None
        while True:
            try:
                progress = job.send(message)
            except StopIteration as end:
                table = end.value
                break
            if isinstance(progress.report, SideBySide):
                self._draw(progress.report)
            message = yield _staged(4, progress)
            self.stopped = self.stopped or message is Stop
        self.results["comparison"] = table.to_dict()
        before, after = table.rows
        if "kept" not in after:
            return
        speeds = yield from self._heard(4, self._measuring(checkpoints))
        if len(speeds) < len(checkpoints):
            return
        faster = speeds[TRAINED] / speeds[PRUNED]
        self.results["ms_per_megapixel"] = speeds
        self.sentences.append(
            f"On {table.n_images} images that neither learned from, {after['kept']} "
            f"detections were kept, {after['lost']} lost and {after['gained']} gained; "
            f"the pruned network is {faster:.1f} times as fast here and its file "
            f"{before['file_bytes'] / after['file_bytes']:.1f} times smaller."
        )

    def finish(self) -> dict[str, Any]:
        """Write the text and the numbers."""
        if self.stopped:
            self.sentences.append("The story was stopped here.")
        story = {
            "text": " ".join(self.sentences),
            "complete": not self.stopped,
            "pictures": self.pictures,
            "seconds": time.perf_counter() - self.begun,
            "sample": self.config.sample,
            "minutes": self.config.minutes,
            **self.results,
        }
        write_page(self.out, story, self.sentences)
        return story

    def _measuring(self, checkpoints: dict[str, Checkpoint]) -> Job[dict[str, float]]:
        """Measure the networks alone, by turns, on the pixels that they see."""
        return measure_speed(
            {name: made.build() for name, made in checkpoints.items()},
            in_channels=checkpoints[TRAINED].in_channels,
            device=pick_device(self.config.device),
        )

    def _draw(self, seen: SideBySide) -> None:
        first, second = seen.predictions.values()
        path = self._picture(f"4_comparison_{seen.sample.name}.png")
        save_comparison(path, seen.sample, (first, second))

    def _training(self, minutes: float) -> TrainConfig:
        return TrainConfig(
            preset=self.config.preset,
            minutes=minutes,
            seed=self.config.seed,
            device=self.config.device,  # type: ignore[arg-type]
        )

    def _kept(self, name: str, checkpoint: Checkpoint) -> Checkpoint:
        named = replace(checkpoint, provenance={**checkpoint.provenance, "name": name})
        named.save(self.out / f"{name}.safetensors")
        self.results[name] = {
            "file": f"{name}.safetensors",
            "parameters": named.parameters,
            "parameters_nonzero": named.parameters_nonzero,
            "file_bytes": named.file_bytes(),
            "quality": named.metrics.get("quality"),
            "quality_name": named.metrics.get("quality_name"),
        }
        return named

    def _picture(self, name: str) -> Path:
        self.pictures.append(name)
        return self.out / name

    def _heard(self, stage: int, job: Job[T]) -> Job[T]:
        """Pass a job on, noticing Stop on its way in."""
        message: object = None
        while True:
            try:
                progress = job.send(message)
            except StopIteration as end:
                result: T = end.value
                return result
            message = yield _staged(stage, progress)
            self.stopped = self.stopped or message is Stop


def _staged(stage: int, progress: Progress) -> Progress:
    return replace(progress, message=f"{stage}/{STAGES} {progress.message}")


def _quality(checkpoint: Checkpoint) -> str:
    metrics = checkpoint.metrics
    if metrics.get("quality") is None:
        return ""
    return (
        f": {metrics['quality_name']} {metrics['quality']:.3f} on "
        f"{metrics['held_out']} that it has not learned from"
    )
