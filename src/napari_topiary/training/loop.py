"""Growing a network: one flat loop, the same for training and fine-tuning.

The loop yields after every step, so that a thread worker, a progress bar or a plain
`run()` can drive it; `Stop` sent into it ends it at the next step and the best weights
so far are returned. Validating counts too: "train for 1 min" takes one minute.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import TrainConfig
from napari_topiary.data.annotated_area import learned_distance
from napari_topiary.data.prepared import prepare
from napari_topiary.data.working_grid import size_notes
from napari_topiary.errors import (
    TopiaryError,
    is_out_of_memory,
    not_validated,
    sentence_for,
)
from napari_topiary.evaluation.figures import figure_pixels, with_figures
from napari_topiary.evaluation.quality import Quality
from napari_topiary.inference.engine import Engine
from napari_topiary.inference.noise import lifeless
from napari_topiary.io.dataset import Sample
from napari_topiary.io.output_files import check_replaced
from napari_topiary.networks import resolve_sizes
from napari_topiary.networks.pruning_schedule import (
    FixedShape,
    PrunedShape,
    PruningSchedule,
)
from napari_topiary.training.optimizers import Schedule, ValidationRounds
from napari_topiary.training.record import (
    BeforeTraining,
    Preview,
    PreviewRequest,
    TrainingRecord,
    TrainReport,
    preview,
)
from napari_topiary.training.trainer import Trainer, with_answers_of
from napari_topiary.types import Job, Progress, Stop, Task, relay

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_SAVES = 8.0
FIGURE_TIMES = 2.0
"""A pixel of the figure takes so much longer than one of a validation on the way: an
engine is made for it, and every thing on it is matched."""
DIVERGED = (
    "The loss is not a number any more, so training was stopped: try a learning rate "
    "ten times lower, and look for damaged images."
)


def fit(
    samples: Sequence[Sample],
    config: TrainConfig,
    *,
    task: Task,
    start: Checkpoint | None = None,
    validation: Sequence[Sample] = (),
    pruning: PruningSchedule | None = None,
    checkpoint_path: Path | None = None,
) -> Job[Checkpoint]:
    """Train a network, or fine-tune one.

    Parameters
    ----------
    samples
        Annotated images, and others of the same kind: where few particles are marked,
        what looks like them is learned from there too.
    config
        What to train and for how long.
    task
        Kind of answer and classes; the annotations use these class names.
    start
        Fine-tune this checkpoint: its network, pruning masks, normalisation and
        working pixel size are kept.
    validation
        Images to validate on. Empty: some images are held out of `samples`, or an area
        of the only one.
    pruning
        Changes the network's shape while training (gradual pruning); the start
        checkpoint is then also imitated.
    checkpoint_path
        Written here every 10 s and at the end: the best so far, or on the way the
        present weights where none were validated since the last time.

    Yields
    ------
    Progress
        `report` is a `TrainReport`. `Stop` and `PreviewRequest` may be sent in.

    Returns
    -------
    Checkpoint
        The best weights on the hold-out. Where training did not come to its end,
        `provenance` says so: `complete` is false, and `problems` are sentences about
        what went wrong.

    Raises
    ------
    TopiaryError
        With a sentence if there is nothing to learn from, or learning diverged before
        anything was worth keeping.
    """
    if start is not None:
        # What a distance is measured by is what the branch has learned.
        config = replace(config, distance=learned_distance(start) or config.distance)
    problem = config.problem() or _start_problem(start, task)
    if problem is not None:
        raise TopiaryError(problem)
    if checkpoint_path is not None:
        check_replaced((checkpoint_path,))
    sizes_differ = () if start is None else size_notes(start, (*samples, *validation))
    yield Progress(0, 0, "Preparing the images")
    prepared = prepare(samples, validation, config, task=task, start=start)
    dead = None if start is None else lifeless(start)
    notes = (*prepared.notes, *sizes_differ, *filter(None, (dead,)))
    for note in notes:
        # Before the clock starts: it may be a reason not to.
        yield Progress(0, 0, "Preparing the images", report=BeforeTraining(note))
    if start is None:
        sizes = dict(resolve_sizes(config.network, config.preset, config.sizes))
        kept = PrunedShape()
    else:
        sizes = dict(start.sizes)
        kept = PrunedShape(start.widths, start.masks, start.pruning)
    if start is not None and pruning is not None:
        prepared = yield from with_answers_of(start, prepared, config)
    trainer = Trainer(
        config, prepared, sizes=sizes, start=start, pruning=pruning or FixedShape(kept)
    )
    record = TrainingRecord(config=config, prepared=prepared, sizes=sizes, start=start)
    record.device = str(trainer.device)
    record.notes += notes
    yield from _kept_whatever_comes(trainer, record, checkpoint_path)
    if not record.has_weights:
        raise TopiaryError(DIVERGED + " Nothing was kept.")
    made = yield from _with_figures_if_it_can(record)
    if checkpoint_path is not None:
        _save(made, checkpoint_path, record)
    return made


def _start_problem(start: Checkpoint | None, task: Task) -> str | None:
    if start is not None and start.task.kind != task.kind:
        return (
            f"The checkpoint was trained to {start.task.kind} and the annotations are "
            f"for {task.kind}: start from a network of the same kind, or from scratch."
        )
    if start is not None and start.task.classes != task.classes:
        return (
            f"The checkpoint knows the classes {', '.join(start.task.classes)}, the "
            f"annotations have {', '.join(task.classes)}: rename the classes, or "
            "start from scratch."
        )
    if len(task.classes) < 2:
        return (
            "There is only the class background: add a class for what you look for "
            "and annotate some of it."
        )
    return None


def _with_figures(record: TrainingRecord) -> Job[Checkpoint]:
    """Measure the figure of what was kept, and how long all of that took."""
    begun = time.perf_counter()
    finished = record.checkpoint()
    engine = Engine(finished.build(), record.config.device, backend="torch")
    made = yield from with_figures(finished, record.prepared, engine=engine)
    validation_s = round(record.validation_s + time.perf_counter() - begun, 2)
    about = {**made.provenance, "validation_seconds": validation_s}
    return replace(made, provenance=about)


def _with_figures_if_it_can(record: TrainingRecord) -> Job[Checkpoint]:
    """Measure the figure; whatever is raised meanwhile, what was learned stays."""
    try:
        return (yield from _with_figures(record))
    except Exception as error:
        logger.warning("the figure could not be measured", exc_info=True)
        record.problems.append(not_validated(error))
        made = record.checkpoint()
    # What chose the weights is all that is known about them.
    chosen = {**made.metrics, "used_for_choosing": True}
    return replace(made, metrics=chosen) if "quality" in made.metrics else made


def _kept_whatever_comes(
    trainer: Trainer, record: TrainingRecord, path: Path | None
) -> Job[None]:
    """Learn; whatever a library raises on the way, what was learned stays."""
    try:
        with trainer.threads:
            yield from _loop(trainer, record, path)
    except Exception as error:
        try:
            if not record.has_weights and record.step > 1:
                record.keep_running(trainer.plain(), trainer.shape())
        except (RuntimeError, MemoryError):  # there is no room even for a copy
            logger.warning("the present weights could not be kept", exc_info=True)
        if not record.has_weights:
            raise
        logger.warning("training ended early", exc_info=True)
        record.problems.append(_cut_short(error, record))


def _cut_short(error: Exception, record: TrainingRecord) -> str:
    """What a person should know about a training that an error has ended."""
    if is_out_of_memory(error):
        why = "the memory was not enough any more"
        do = "close other programs, or give smaller patches or a smaller network"
    else:
        why = f"of an error ({str(error).strip().rstrip('.') or type(error).__name__})"
        why = f"because {why}" if isinstance(error, TopiaryError) else why
        do = "train on from them with it as the start"
    return (
        f"Training ended early, after {record.seconds:.0f} s: {why}. The best weights "
        f"until then are kept: {do}."
    )


def _save(made: Checkpoint, path: Path, record: TrainingRecord) -> None:
    """Write what there is; a training never ends because that does not work."""
    try:
        made.save(path)
    except Exception as error:  # no room, no memory, whatever a library raises
        said = sentence_for(error, f"Saving {path.name}")
        note = f"{said} The training goes on in memory."
        if note not in record.notes:
            record.notes.append(note)


def _save_running(
    trainer: Trainer, record: TrainingRecord, schedule: Schedule, path: Path
) -> float:
    """Write what a kill would lose; returns when that was."""
    if schedule.seconds - record.validated_at >= SECONDS_BETWEEN_SAVES / 2:
        record.keep_running(trainer.settled(), trainer.shape())
    _save(record.checkpoint(newest=True), path, record)
    return schedule.seconds


def _loop(trainer: Trainer, record: TrainingRecord, path: Path | None) -> Job[None]:
    """Step until the budget is used or Stop arrives; validate and save on the way."""
    schedule = Schedule(record.config, trainer.batches.per_epoch)
    pixels = figure_pixels(record.prepared, trainer.network, record.prepared.task)
    rounds = ValidationRounds(
        schedule.total_steps,
        trainer.validation_s,
        total_s=schedule.total_s,
        figure_s=FIGURE_TIMES * pixels * trainer.pixel_s,
    )
    saved_at = 0.0
    settled, ending = False, False
    message: object = None
    while not ending:
        fraction = schedule.fraction(record.step)
        record.complete = fraction >= 1.0
        ending = record.complete or message is Stop
        settled_before, settled = settled, trainer.reshape(1.0 if ending else fraction)
        if settled and not settled_before:
            # Weights of an earlier, larger form are no longer an answer.
            record.forget()
        if not ending:
            record.step += 1
            if not trainer.step(schedule.learning_rate(fraction)):
                record.problems.append(f"{DIVERGED} The best weights before are kept.")
                return
        _note(record, trainer, schedule)
        quality: Quality | None = None
        if ending or (settled and rounds.due(record.step, record.seconds)):
            if path is not None and rounds.long:
                saved_at = _save_running(trainer, record, schedule, path)
            begun = time.perf_counter()
            quality, stop = yield from _validated(trainer, record, schedule, rounds)
            ending = ending or stop
            record.consider(quality, trainer.plain(), trainer.shape())
            record.validated_at = schedule.seconds
            took = time.perf_counter() - begun
            rounds.took(took, schedule.seconds)
            record.validation_s += took
        overdue = schedule.seconds - saved_at >= SECONDS_BETWEEN_SAVES
        if path is not None and overdue:
            saved_at = _save_running(trainer, record, schedule, path)
        answer = None
        if isinstance(message, PreviewRequest) and not ending:
            answer = preview(
                trainer.plain(),
                message,
                prepared=record.prepared,
                device=trainer.device,
            )
        report = _report(trainer, record, quality, answer)
        message = yield _progress(schedule, record, report, rounds)


def _note(record: TrainingRecord, trainer: Trainer, schedule: Schedule) -> None:
    record.seconds = schedule.seconds
    record.notes += [note for note in trainer.notes if note not in record.notes]
    trainer.notes.clear()
    if math.isfinite(trainer.loss):
        record.losses.append((record.seconds, trainer.loss))


def _validated(
    trainer: Trainer,
    record: TrainingRecord,
    schedule: Schedule,
    rounds: ValidationRounds,
) -> Job[tuple[Quality, bool]]:
    """Validate the hold-out, still listening for Stop."""

    def told(_: object = None) -> Progress:
        report = _report(trainer, record, None, None)
        return _progress(schedule, record, report, rounds, validating=True)

    heard = [(yield told())]
    quality = yield from relay(
        trainer.validate(), told=told, heard=heard.append, whole=True
    )
    return quality, Stop in heard


def _report(
    trainer: Trainer,
    record: TrainingRecord,
    quality: Quality | None,
    answer: Preview | None,
) -> TrainReport:
    return TrainReport(
        step=record.step,
        seconds=record.seconds,
        loss=trainer.loss,
        quality=quality,
        best=None if record.best is None else record.best.value,
        preview=answer,
        note=record.notes[-1] if record.notes else "",
    )


def _progress(
    schedule: Schedule,
    record: TrainingRecord,
    report: TrainReport,
    rounds: ValidationRounds,
    *,
    validating: bool = False,
) -> Progress:
    message = f"Training, loss {report.loss:.3f}"
    if validating:
        message = "Validating on what was held back"
    elif record.best is not None and record.best.name != "none":
        message += f", best {record.best.name} {record.best.value:.2f}"
    left = schedule.seconds_left(record.step)
    if left is not None:
        # How long is left once the last step is done nobody knows.
        over = schedule.fraction(record.step) >= 1.0
        left = None if over else left + rounds.at_the_end_s
    return Progress(
        done=schedule.fraction(record.step),
        total=1.0,
        message=message,
        eta_s=left,
        report=report,
    )
