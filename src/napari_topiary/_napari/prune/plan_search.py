"""Orders that have to be searched for: found once, by the workbench's one job."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Signal

from napari_topiary._napari.learning.readiness import Lesson
from napari_topiary._napari.prune.jobs import Ready, planning
from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import PruneConfig
from napari_topiary.pruning import criteria

if TYPE_CHECKING:
    from napari_topiary._napari.jobs.runner import JobRunner
    from napari_topiary.session import Session

MOST_KEPT = 8
"""So many orders are remembered; each keeps its network."""


def is_searched(config: PruneConfig) -> bool:
    """Whether ranking by this criterion takes minutes instead of a moment.

    Parameters
    ----------
    config
        Of the form.
    """
    return criteria[config.criterion].search is not None


class PlanSearch(QObject):
    """Searches for an order, and remembers those that were found.

    Signals
    -------
    found()
        There is an order now, also after a stop.
    problem(str)
        It did not work.
    ended()
        It is over, however it went.
    """

    found = Signal()
    problem = Signal(str)
    ended = Signal()

    def __init__(self, session: Session, runner: JobRunner) -> None:
        super().__init__()
        self.session, self.runner = session, runner
        self.running = False
        self._known: dict[tuple[Checkpoint, PruneConfig], Ready] = {}

    def known(self, checkpoint: Checkpoint, config: PruneConfig) -> Ready | None:
        """The order that was found before, None if there is none.

        Parameters
        ----------
        checkpoint, config
            What is pruned, and how.
        """
        return self._known.get((checkpoint, config))

    def start(self, checkpoint: Checkpoint, config: PruneConfig) -> None:
        """Begin to search.

        Parameters
        ----------
        checkpoint, config
            What is pruned, and how.
        """
        lesson, colours = Lesson.of(self.session), dict(self.session.colours)
        begun = self.runner.start(
            lambda: planning(checkpoint, config, lesson, colours),
            title="Trying filters",
            on_result=self._keeper(checkpoint, config),
            on_error=self.problem.emit,
        )
        if not begun:
            self.problem.emit(self.runner.busy_sentence)
            return
        self.running = True
        self.runner.finished.connect(self._on_end)

    def stop(self) -> None:
        """End it, and use what was ordered so far."""
        self.runner.stop()

    def _keeper(
        self, checkpoint: Checkpoint, config: PruneConfig
    ) -> Callable[[Ready], None]:
        def keep(ready: Ready) -> None:
            while len(self._known) >= MOST_KEPT:
                del self._known[next(iter(self._known))]
            self._known[checkpoint, config] = ready
            self.found.emit()

        return keep

    def _on_end(self) -> None:
        self.runner.finished.disconnect(self._on_end)
        self.running = False
        self.ended.emit()
