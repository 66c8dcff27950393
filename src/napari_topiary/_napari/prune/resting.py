"""What is found out while the slider rests: speed and quality; no Qt in here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from napari_topiary.checkpoint import Checkpoint
from napari_topiary.evaluation.hold_out_validator import HoldOut
from napari_topiary.evaluation.quality import Quality
from napari_topiary.inference.devices import pick_device
from napari_topiary.networks.base import Network
from napari_topiary.pruning import PruningPlan, measure_speed
from napari_topiary.types import Job, Progress, Stop

SIDE = 256
ROUNDS = 5


@dataclass(frozen=True)
class Speeds:
    """Milliseconds per million pixels that the network reads.

    Parameters
    ----------
    before, after
        Of the unpruned network and the pruned one, measured in turns.
    """

    before: float
    after: float


@dataclass(frozen=True)
class PositionQuality:
    """Quality of the present position.

    Parameters
    ----------
    before, after
        Of the unpruned network and the pruned one; None where nothing is held back.
    """

    before: Quality | None
    after: Quality | None


@dataclass(frozen=True)
class VersionQuality:
    """Quality of one kept version became known."""


@dataclass(frozen=True)
class Position:
    """Where the slider rests.

    Parameters
    ----------
    plan
        Whose position it is.
    share
        Of the slider.
    tuned
        What fine-tuning made of this position; None before.
    """

    plan: PruningPlan
    share: float
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


class Findings:
    """Qualities found out so far, and the job that finds out more.

    Parameters
    ----------
    hold_out
        What to judge on.
    """

    def __init__(self, hold_out: HoldOut) -> None:
        self.hold_out = hold_out
        self._versions: dict[Checkpoint, Quality | None] = {}
        self._positions: dict[tuple[PruningPlan, int], Quality | None] = {}

    def quality_of(self, version: Checkpoint) -> Quality | None:
        """Quality of a kept version; None if unknown.

        Parameters
        ----------
        version
            A checkpoint of the session.
        """
        return self._versions.get(version)

    def quality_at(self, position: Position) -> Quality | None:
        """Quality of a position of the slider; None if unknown.

        Parameters
        ----------
        position
            Without fine-tuning.
        """
        cursor = position.plan.cursor(position.share)
        return self._positions.get((position.plan, cursor))

    def find_out(self, position: Position, versions: Sequence[Checkpoint]) -> Job[None]:
        """Judge and measure a position, then judge the versions not judged before.

        Parameters
        ----------
        position
            Where the slider rests.
        versions
            Kept ones.

        Yields
        ------
        Progress
            `report` is `PositionQuality`, `Speeds` or `VersionQuality`. `Stop` gives
            up; what is known by then stays known.
        """
        original = position.plan.checkpoint
        stopped = yield from self._judge_version(original)
        if stopped:
            return
        before = self._versions[original]
        after = before
        if not position.is_original:
            stopped, after = yield from self._judge_position(position)
            if stopped:
                return
        message = yield Progress(0, 0, report=PositionQuality(before, after))
        if message is Stop:
            return
        networks = {"before": original.build()}
        if not position.is_original and position.plan.config.kind == "filters":
            networks["after"] = position.network()
        speeds = yield from measure_speed(
            networks,
            in_channels=original.in_channels,
            device=pick_device("auto"),
            side=SIDE,
            rounds=ROUNDS,
        )
        if len(speeds) == len(networks):
            report = Speeds(speeds["before"], speeds.get("after", speeds["before"]))
            message = yield Progress(0, 0, report=report)
            if message is Stop:
                return
        for version in versions:
            if version not in self._versions:
                stopped = yield from self._judge_version(version)
                if stopped:
                    return
                message = yield Progress(0, 0, report=VersionQuality())
                if message is Stop:
                    return

    def _judge_version(self, version: Checkpoint) -> Job[bool]:
        """Judge a version once; True if it was stopped."""
        if version in self._versions:
            return False
        judged = yield from self.hold_out.judge(version)
        if judged.stopped:
            return True
        self._versions[version] = judged.quality
        return False

    def _judge_position(self, position: Position) -> Job[tuple[bool, Quality | None]]:
        if position.tuned is not None:
            stopped = yield from self._judge_version(position.tuned)
            return stopped, self._versions.get(position.tuned)
        key = position.plan, position.plan.cursor(position.share)
        if key not in self._positions:
            judged = yield from self.hold_out.judge(
                position.plan.checkpoint, position.network()
            )
            if judged.stopped:
                return True, None
            self._positions[key] = judged.quality
        return False, self._positions[key]
