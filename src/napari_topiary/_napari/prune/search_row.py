"""Where the order has to be searched for: what that means, the button, the orders."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_topiary._napari.jobs.job_button import ButtonWords, JobButton
from napari_topiary._napari.learning.readiness import Lesson
from napari_topiary._napari.prune.jobs import Ready, planning
from napari_topiary._napari.widgets import look
from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import PruneConfig
from napari_topiary.pruning import criteria
from napari_topiary.types import Job

if TYPE_CHECKING:
    from napari_topiary._napari.jobs.runner import JobRunner
    from napari_topiary.session import Session

Chosen = tuple[Checkpoint, PruneConfig]
WORDS = ButtonWords(
    "Try all filters",
    "Trying filters",
    "Leaves out one filter after the other and measures how much more the network is "
    "wrong on your\nannotated images (the training loss); those that cost least go "
    "first.",
    "Stop and use what is known",
)
HINT = (
    "Every filter is tried out on your annotated images. This may take some minutes; "
    "then the slider moves as fast as ever."
)
NO_SAMPLES = (
    "This needs annotated images, to see on them what each filter is worth: annotate "
    "one, or rank by L1 norm."
)
STOPPED = (
    "The search was stopped: filters that were not tried stay. Try again to rank all."
)
NOTHING_FOUND = (
    "The search was stopped before a single filter had a place in the order: try again "
    "and give it more time, or rank by L1 norm."
)
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


class SearchRow(QWidget):
    """Searches for an order, and remembers those that were found.

    Parameters
    ----------
    session
        Has the annotated images.
    runner
        Searches.
    chosen
        Returns what is pruned, and how; None = no network.

    Signals
    -------
    found()
        There is an order now, also after a stop.
    problem(str)
        Why there is none.
    """

    found = Signal()
    problem = Signal(str)

    def __init__(
        self,
        session: Session,
        runner: JobRunner,
        chosen: Callable[[], Chosen | None],
    ) -> None:
        super().__init__()
        self.session, self._chosen = session, chosen
        self.wanted = False
        self._known: dict[Chosen, Ready] = {}
        self._searched: Chosen | None = None
        self.hint = look.paragraph(HINT, role="hint")
        self.button = JobButton(runner, self._make, WORDS)
        look.emphasize(self.button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self.hint)
        layout.addWidget(self.button)
        self.button.result.connect(self._on_result)
        self.button.problem.connect(self.problem)
        self.hide()

    def known(self, chosen: Chosen) -> Ready | None:
        """The order that was found before, None if there is none.

        Parameters
        ----------
        chosen
            What is pruned, and how.
        """
        return self._known.get(chosen)

    def show_state(self, *, ready: bool) -> None:
        """Say what has to be done before the slider works.

        Parameters
        ----------
        ready
            Whether there is an order already.
        """
        chosen = self._chosen()
        searched = chosen is not None and is_searched(chosen[1])
        self.wanted = searched and not ready
        unfinished = searched and ready and self._is_stopped(chosen)
        possible = bool(self.session.samples())
        self.setVisible(self.wanted or unfinished)
        self.hint.setText(STOPPED if unfinished else HINT if possible else NO_SAMPLES)
        look.set_role(self.hint, "hint" if possible else "problem")
        self.button.setVisible(possible)
        self.button.show_state(possible=possible)

    def _is_stopped(self, chosen: Chosen) -> bool:
        ready = self._known.get(chosen)
        search = None if ready is None else getattr(ready.plan, "search", None)
        return search is not None and search.stopped

    def _make(self) -> Callable[[], Job[Ready]] | None:
        chosen = self._searched = self._chosen()
        if chosen is None:
            return None
        lesson, colours = Lesson.of(self.session), dict(self.session.colours)
        return lambda: planning(*chosen, lesson, colours)

    def _on_result(self, ready: Ready) -> None:
        if self._searched is None:
            return
        search = getattr(ready.plan, "search", None)
        if search is not None and search.stopped and not len(ready.plan):
            self.problem.emit(NOTHING_FOUND)
            return
        while len(self._known) >= MOST_KEPT:
            del self._known[next(iter(self._known))]
        self._known[self._searched] = ready
        self.found.emit()
