"""Annotated images → trained → pruned → fine-tuned → compared, with pictures of each.

What the workbench does by clicking, as one job without a screen, and a report of it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, TypeVar

from napari_topiary import words
from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import PruneConfig, TrainConfig
from napari_topiary.errors import NotWritten, TopiaryError
from napari_topiary.evaluation import ComparedImage, compare_checkpoints
from napari_topiary.evaluation.validate import validate
from napari_topiary.forms import form_problem, number_problem
from napari_topiary.inference.devices import pick_device
from napari_topiary.io.atomic import writing
from napari_topiary.io.dataset import Sample, sample_dataset
from napari_topiary.io.output_files import free_name
from napari_topiary.io.own_files import signed, write_page
from napari_topiary.pruning import (
    PruningPlan,
    make_plan,
    measure_speed,
    pruning_schedule,
)
from napari_topiary.report.charts import (
    BLUE,
    GREEN,
    ORANGE,
    Chart,
    Line,
    save_chart,
    see_to_charts,
)
from napari_topiary.report.pictures import (
    annotated_panel,
    panel,
    save_comparison,
    save_row,
)
from napari_topiary.training import fit
from napari_topiary.types import Job, Progress, Stop, Task, relay

T = TypeVar("T")

Save = Callable[[Checkpoint, Path], Sequence[str]]
"""Writes a network to a file; returns sentences where it could not."""
STAGES = 4
TRAINED, PRUNED = "trained", "pruned"


@dataclass(frozen=True, kw_only=True)
class DemoConfig:
    """What the demo does."""

    #: Time to train; half of it goes into fine-tuning
    minutes: Annotated[float, {"min": 0.02, "max": 10000.0}] = 1.0
    preset: str = "tiny"  #: Size of the network
    #: Share of the weights that the pruned network loses
    share: Annotated[float, {"min": 0.0, "max": 0.99}] = 0.8
    #: Positions of the slider that the trade-off is drawn at
    shares: tuple[float, ...] = (0.25, 0.5, 0.7, 0.8, 0.9, 0.95)
    sample: str = "apoferritin"  #: Name of a sample dataset
    #: `seed`, `device`: as for training
    seed: Annotated[int, {"min": 0, "max": 2**31 - 1}] = 0
    device: str = "auto"

    def problem(self) -> str | None:
        """Return what stops the demo from running, as a sentence."""
        problem = form_problem(self, open_fields=("device", "preset", "sample"))
        for share in () if problem else self.shares:
            problem = problem or number_problem("A share of", share, low=0, high=0.99)
        return problem


def _save(made: Checkpoint, path: Path) -> Sequence[str]:
    made.save(path, overwrite=True)
    return ()


def demo_report(
    out: Path | str, config: DemoConfig | None = None, *, save: Save = _save
) -> Job[dict[str, Any]]:
    """Train, prune and compare on sample data; leave pictures, checkpoints, a text.

    Parameters
    ----------
    out
        Folder for all of it; made if it is not there.
    config
        Sample, network and times.
    save
        Writes a network, and says where it had to be put elsewhere.

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
    see_to_charts()
    config = config or DemoConfig()
    problem = config.problem()
    if problem is not None:
        raise TopiaryError(problem)
    demo = _Demo(out=Path(out), config=config, save=save)
    yield Progress(0, 0, "Reading the sample images")
    trained = yield from demo.train()
    if not demo.stopped:
        plan = make_plan(trained, PruneConfig(remove=demo.config.share))
        yield from demo.try_positions(plan)
    if not demo.stopped:
        pruned = yield from demo.prune(plan)
    if not demo.stopped:
        yield from demo.compare({TRAINED: trained, PRUNED: pruned})
    return demo.write()


@dataclass(kw_only=True)
class _Demo:
    """Does one stage after the other and remembers what came of it."""

    out: Path
    config: DemoConfig
    save: Save
    stopped: bool = False
    sentences: list[str] = field(default_factory=list)
    pictures: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
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
        trained = yield from self._relayed(1, job)
        trained = self._kept(TRAINED, trained)
        self.sentences.append(
            f"A network with {trained.parameters:,} weights learned from "
            f"{len(self.train_samples)} annotated images for "
            f"{trained.provenance['seconds']:.0f} s{_quality(trained)}."
        )
        _draw_training(self._picture("2_training.png"), trained)
        return trained

    def try_positions(self, plan: PruningPlan) -> Job[None]:
        """Validate positions of the slider, without any fine-tuning."""
        found = [(0.0, float(plan.checkpoint.metrics.get("quality", 0.0)))]
        for share in self.config.shares:
            job = validate(
                plan.checkpoint_at(share),
                self.train_samples,
                validation=self.held,
                device=self.config.device,
            )
            validated = yield from self._relayed(2, job)
            if self.stopped:
                return
            quality = float(validated.metrics.get("quality", 0.0))
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
            pruning=pruning_schedule(plan, self.config.share),
        )
        pruned = yield from self._relayed(3, job)
        pruned = self._kept(PRUNED, pruned)
        ratio = pruned.unpruned_parameters / max(1, pruned.parameters_nonzero)
        self.sentences.append(
            f"Pruning took {pruned.sparsity:.0%} of its weights away (CR {ratio:.3g}) "
            f"while it was fine-tuned for {pruned.provenance['seconds']:.0f} s"
            f"{_quality(pruned)}."
        )
        once = [(e["share"], e["quality"]) for e in self.results["one_shot"]]
        _draw_trade_off(self._picture("3_tradeoff.png"), once, pruned)
        return pruned

    def compare(self, checkpoints: dict[str, Checkpoint]) -> Job[None]:
        """Hold pruned against unpruned on the images that were held out."""
        job = compare_checkpoints(checkpoints, self.held)
        table = yield from self._relayed(4, job)
        self.results["comparison"] = table.to_dict()
        before, after = table.rows
        if "kept" not in after:
            return
        speeds = yield from self._relayed(4, self._measuring(checkpoints))
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

    def write(self) -> dict[str, Any]:
        """Write text and numbers, for people and for programs."""
        if self.stopped:
            self.sentences.append("The demo was stopped here.")
        report = {
            "text": " ".join(self.sentences),
            "complete": not self.stopped,
            "pictures": self.pictures,
            "problems": self.problems,
            "seconds": time.perf_counter() - self.begun,
            "sample": self.config.sample,
            "minutes": self.config.minutes,
            **self.results,
        }
        with writing(self.out / "story.json") as beside:
            text = json.dumps(signed(report), indent=1, ensure_ascii=False)
            beside.write_text(text + "\n", encoding="utf-8")
        shown = [f"![{name}]({name})" for name in self.pictures]
        heading = "# Training and pruning on sample data"
        parts = [heading, *self.sentences, *self.problems, *shown]
        with writing(self.out / "README.md") as beside:
            write_page(beside, ["\n\n".join(parts) + "\n"])
        return report

    def _measuring(self, checkpoints: dict[str, Checkpoint]) -> Job[dict[str, float]]:
        """Measure the networks alone, by turns, on the pixels that they see."""
        return measure_speed(
            {name: made.build() for name, made in checkpoints.items()},
            in_channels=checkpoints[TRAINED].in_channels,
            device=pick_device(self.config.device),
        )

    def _draw(self, seen: ComparedImage) -> None:
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
        """Write a network; one that is not whole takes the place of no other."""
        named = checkpoint.named(name)
        ended_early = checkpoint.provenance.get("problems", ())
        self.problems += [one for one in ended_early if one not in self.problems]
        path = self.out / f"{name}.safetensors"
        if (self.stopped or ended_early) and path.exists():
            path = free_name(self.out / f"{name}-unfinished.safetensors")
        elsewhere = self.save(named, path)
        if elsewhere:  # nor is there room for the pictures
            raise NotWritten(" ".join(elsewhere))
        self.results[name] = {
            "file": path.name,
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

    def _relayed(self, stage: int, job: Job[T]) -> Job[T]:
        """Do a job of a stage; draw what it compares, notice Stop on its way in."""

        def told(progress: Progress) -> Progress:
            if isinstance(progress.report, ComparedImage):
                self._draw(progress.report)
            return replace(progress, message=f"{stage}/{STAGES} {progress.message}")

        def heard(message: object) -> None:
            self.stopped = self.stopped or message is Stop

        return relay(job, told=told, heard=heard)


def _quality(checkpoint: Checkpoint) -> str:
    metrics = checkpoint.metrics
    if metrics.get("quality") is None:
        return ""
    figure = words.figure(metrics, digits=3)
    return f": {figure} on {metrics['held_out']} that it has not learned from"


def _draw_training(path: Path, checkpoint: Checkpoint) -> None:
    """Draw the loss of a training and the quality on what it held out."""
    metrics = checkpoint.metrics
    name = str(metrics.get("quality_name", "quality"))
    loss, seen = metrics.get("loss_curve", ()), metrics.get("quality_curve", ())
    held = f"{name} on images it does not learn from"
    lines = (
        Line(name="loss", points=loss, colour=ORANGE),
        Line(name=held, points=seen, colour=BLUE, marks=True),
    )
    save_chart(path, Chart(title="Training", x="seconds"), lines)


def _draw_trade_off(
    path: Path, once: Sequence[tuple[float, float]], pruned: Checkpoint
) -> None:
    """Draw quality against the share of the weights removed, `once` not fine-tuned."""
    tuned = (100 * pruned.sparsity, float(pruned.metrics.get("quality", 0.0)))
    name = str(pruned.metrics.get("quality_name", "Quality"))
    points = [(100 * share, quality) for share, quality in once]
    chart = Chart(
        title=f"{name} against size", x="% of the weights removed", y_limits=(0.0, 1.0)
    )
    lines = (
        Line(name="pruned only", points=points, colour=ORANGE, marks=True),
        Line(name="pruned and fine-tuned", points=[tuned], colour=GREEN, marks=True),
    )
    save_chart(path, chart, lines)
