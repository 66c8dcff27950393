"""Around a pruning plan: versions, how good and how fast a position is, keeping it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import Device
from napari_topiary.errors import TopiaryError, not_validated, sentence_for
from napari_topiary.evaluation.quality import Quality
from napari_topiary.evaluation.validate import HoldOut, validate
from napari_topiary.inference.devices import pick_device
from napari_topiary.io.dataset import Sample
from napari_topiary.jobs.int8 import prepared_for_int8
from napari_topiary.networks import tuning_config
from napari_topiary.networks.base import Network
from napari_topiary.pruning import (
    GradualPruning,
    PruningPlan,
    measure_speed,
    pruning_doubt,
    pruning_problems,
    recalibrate,
)
from napari_topiary.training import fit
from napari_topiary.types import Job, Progress, Stop, relay
from napari_topiary.words import listed

SIDE = 256
ROUNDS = 5


@dataclass(frozen=True)
class Speeds:
    """Milliseconds per million pixels that the network reads."""

    #: `before`, `after`: of the unpruned network and the pruned one, measured in turns
    before: float
    after: float


@dataclass(frozen=True)
class PositionQuality:
    """Quality of the present position."""

    #: `before`, `after`: of the unpruned network and the pruned one; None where nothing
    #: is held back
    before: Quality | None
    after: Quality | None
    problems: tuple[str, ...] = ()
    held_out: str = ""  #: What both were judged on, in words


@dataclass(frozen=True)
class VersionQuality:
    """Quality of one kept version became known."""


@dataclass(frozen=True)
class Position:
    """Where the slider rests."""

    plan: PruningPlan  #: Whose position it is
    share: float
    #: What fine-tuning made of this position; None before
    tuned: Checkpoint | None = None

    @property
    def is_original(self) -> bool:
        """Whether nothing is removed here."""
        return self.tuned is None and self.plan.cursor(self.share) == 0

    def network(self) -> Network:
        """The network of this position."""
        if self.tuned is not None:
            return self.tuned.build()
        return self.plan.network_at(self.share)

    def problems(
        self, before: Quality | None, after: Quality | None, held_out: str = ""
    ) -> tuple[str, ...]:
        """What a person should know about this position; mostly nothing.

        Parameters
        ----------
        before, after
            Quality of the unpruned network and of this position, None if unknown.
        held_out
            What they were judged on, in words.
        """
        made = self.tuned or self.plan.checkpoint_at(self.share)
        return pruning_problems(
            _with_quality(self.plan.checkpoint, before),
            _with_quality(made, after, held_out),
            self.share,
        )


def _with_quality(
    checkpoint: Checkpoint, quality: Quality | None, held_out: str = ""
) -> Checkpoint:
    """The same network, with what the hold-out has said about it."""
    known: dict[str, object] = {}
    if quality is not None:
        known = quality.metrics(held_out)
    return checkpoint.replaced(metrics=known)


class Findings:
    """Qualities found out so far, and the job that finds out more."""

    def __init__(self, hold_out: HoldOut) -> None:
        self.hold_out = hold_out
        self._held_out = ""
        self._versions: dict[Checkpoint, Quality | None] = {}
        self._positions: dict[tuple[PruningPlan, int], Quality | None] = {}

    def quality_of(self, version: Checkpoint) -> Quality | None:
        """Quality of a kept version; None if unknown."""
        return self._versions.get(version)

    def quality_at(self, position: Position) -> Quality | None:
        """Quality of a position of the slider; None if unknown."""
        cursor = position.plan.cursor(position.share)
        return self._positions.get((position.plan, cursor))

    def find_out(self, position: Position, versions: Sequence[Checkpoint]) -> Job[None]:
        """Validate and measure a position, then the versions not validated before.

        Yields
        ------
        Progress
            `report` is `PositionQuality`, `Speeds` or `VersionQuality`. `Stop` gives
            up; what is known by then stays known.
        """
        original = position.plan.checkpoint
        _check_names([*self.hold_out.samples, *self.hold_out.validation], original)
        stopped = yield from self._validate_version(original)
        if stopped:
            return
        before = self._versions[original]
        after = before
        if not position.is_original:
            stopped, after = yield from self._validate_position(position)
            if stopped:
                return
        problems: tuple[str, ...] = ()
        if not position.is_original:
            problems = position.problems(before, after, self._held_out)
        report = PositionQuality(before, after, problems, self._held_out)
        message = yield Progress(0, 0, report=report)
        if message is Stop:
            return
        networks = {"before": original.build()}
        if not position.is_original and position.plan.config.kind == "filters":
            networks["after"] = position.network()
        speeds = yield from measure_speed(
            networks,
            in_channels=original.in_channels,
            device=pick_device(self.hold_out.device),
            side=SIDE,
            rounds=ROUNDS,
        )
        if len(speeds) == len(networks):
            measured = Speeds(speeds["before"], speeds.get("after", speeds["before"]))
            message = yield Progress(0, 0, report=measured)
            if message is Stop:
                return
        for version in versions:
            if version not in self._versions:
                stopped = yield from self._validate_version(version)
                if stopped:
                    return
                message = yield Progress(0, 0, report=VersionQuality())
                if message is Stop:
                    return

    def _validate_version(self, version: Checkpoint) -> Job[bool]:
        """Validate a version once; True if it was stopped."""
        if version in self._versions:
            return False
        found = yield from self.hold_out.validate(version)
        if found.stopped:
            return True
        self._versions[version], self._held_out = found.quality, found.held_out
        return False

    def _validate_position(
        self, position: Position
    ) -> Job[tuple[bool, Quality | None]]:
        if position.tuned is not None:
            stopped = yield from self._validate_version(position.tuned)
            return stopped, self._versions.get(position.tuned)
        key = position.plan, position.plan.cursor(position.share)
        if key not in self._positions:
            found = yield from self.hold_out.validate(
                position.plan.checkpoint, position.network()
            )
            if found.stopped:
                return True, None
            self._positions[key] = found.quality
        return False, self._positions[key]


def comparable(
    checkpoint: Checkpoint | None, known: Mapping[str, Checkpoint]
) -> dict[str, Checkpoint]:
    """Those that answer the same question about the same kind of image, by name.

    Parameters
    ----------
    checkpoint
        With what; None leaves nothing.
    known
        All of the project.
    """
    if checkpoint is None:
        return {}
    return {
        name: each
        for name, each in known.items()
        if each.task.classes == checkpoint.task.classes
        and each.in_channels == checkpoint.in_channels
    }


def parent_of(checkpoint: Checkpoint, known: Mapping[str, Checkpoint]) -> str | None:
    """Name of the network that a checkpoint was made from; else of the unpruned one."""
    parent = checkpoint.provenance.get("parent")
    for name, each in known.items():
        if parent and each.hash == parent and each is not checkpoint:
            return name
    return origin_of(checkpoint, known)


def origin_of(checkpoint: Checkpoint, known: Mapping[str, Checkpoint]) -> str | None:
    """Name of the unpruned network that a checkpoint comes from, if it is kept."""
    for name, each in comparable(checkpoint, known).items():
        if (
            not each.pruning
            and each.unpruned_parameters == checkpoint.unpruned_parameters
            and dict(each.sizes) == dict(checkpoint.sizes)
        ):
            return name
    return None


def _kept_if_it_fails(
    job: Job[Checkpoint], made: Checkpoint, say: Callable[[Exception], str]
) -> Job[Checkpoint]:
    """Judge or change what was made; whatever is raised meanwhile, it stays.

    `say` puts an error into a sentence, which is among the network's problems then.
    """
    try:
        return (yield from job)
    except Exception as error:
        problems = [*made.provenance.get("problems", ()), say(error)]
        return made.replaced(provenance={**made.provenance, "problems": problems})


def validated(made: Checkpoint, hold_out: HoldOut) -> Job[Checkpoint]:
    """Judge a pruned network at its own best threshold; an error leaves it unjudged."""

    def validating() -> Job[Checkpoint]:
        read = hold_out.samples or hold_out.validation
        settled = yield from recalibrate(made, read)
        if not read:
            return settled
        return (
            yield from validate(
                settled,
                hold_out.samples,
                validation=hold_out.validation,
                device=hold_out.device,
            )
        )

    # What the network that it was made from had to say is not about this one.
    plain = made.replaced(provenance={**made.provenance, "problems": []})
    return (yield from _kept_if_it_fails(validating(), plain, not_validated))


def for_int8(made: Checkpoint, hold_out: HoldOut) -> Job[Checkpoint]:
    """Prepare a network for whole numbers; an error leaves it as it is."""
    job = prepared_for_int8(made, hold_out)
    say = partial(sentence_for, doing="Preparing it for int8")
    return (yield from _kept_if_it_fails(job, made, say))


def keeping(
    plan: PruningPlan, share: float, name: str, hold_out: HoldOut, *, int8: bool = False
) -> Job[Checkpoint]:
    """Make the checkpoint of a position, validated at its own best threshold."""
    yield Progress(0, 0, "Keeping the pruned network")
    made = plan.checkpoint_at(share)
    hold_out.read(made.task)
    made = yield from validated(made, hold_out)
    if int8:
        made = yield from for_int8(made, hold_out)
    doubt = pruning_doubt(plan.checkpoint, made)
    problems = [
        *made.provenance.get("problems", ()),
        *plan.problems,
        *pruning_problems(plan.checkpoint, made, share),
    ]
    problems += [] if doubt is None else [doubt.sentence]
    about = {**made.provenance, "name": name, "problems": problems}
    return made.replaced(provenance=about)


@dataclass(frozen=True)
class Tuning:
    """How to fine-tune."""

    minutes: float  #: Time budget
    #: Remove little by little while training, instead of all at once before
    gradual: bool
    int8: bool = False  #: Prepare the result for whole numbers as well


def _check_names(samples: Sequence[Sample], checkpoint: Checkpoint) -> None:
    """Refuse marks by other names than the network has for what it finds."""
    known = checkpoint.task.classes
    drawn = [one for sample in samples for one in sample.annotations]
    names = {name for one in drawn if one.has_classes for name in one.classes}
    if strange := sorted(names - set(known)):
        raise TopiaryError(
            f"This network finds {listed(known[1:])} and does not know "
            f"{listed(strange)}, marked in this project: it cannot be judged or "
            "fine-tuned here. Was a class renamed? Give it the network's name for it "
            "on the page Annotate, or train a new network."
        )


def fine_tuning(
    plan: PruningPlan,
    share: float,
    tuning: Tuning,
    *,
    samples: Sequence[Sample],
    validation: Sequence[Sample],
    device: Device = "auto",
) -> Job[Checkpoint]:
    """Train a pruned network on; ends exactly at the slider's position."""
    if not samples:
        raise TopiaryError(
            "Fine-tuning learns from annotated images, and this project has none: "
            "annotate one, or keep the network as it is."
        )
    original = plan.checkpoint
    _check_names([*samples, *validation], original)
    samples = [one.read_marked(original.task) for one in samples]
    validation = [one.read_marked(original.task) for one in validation]
    pruning = GradualPruning(plan, share, stages=None if tuning.gradual else 1)
    seed = int(original.provenance.get("seed") or 0)
    made = yield from fit(
        samples,
        tuning_config(
            original.network,
            plan.config.kind,
            {"minutes": tuning.minutes, "seed": seed, "device": device},
        ),
        task=original.task,
        start=original,
        validation=validation,
        pruning=pruning,
    )
    if tuning.int8:
        hold_out = HoldOut(samples, validation, device=device)
        # What a training reports is of training: a bar alone is shown after it.
        made = yield from relay(
            for_int8(made, hold_out), told=lambda p: replace(p, report=None)
        )
    return made
