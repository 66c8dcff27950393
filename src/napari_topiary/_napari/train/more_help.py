"""Would more annotations help? A button, the trainings behind it, and the answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_topiary._napari.learning.readiness import Lesson
from napari_topiary._napari.train.curve_card import CurveCard
from napari_topiary._napari.train.jobs import drawing_curve
from napari_topiary._napari.widgets.page import button
from napari_topiary.studies.learning_curve import LearningCurve
from napari_topiary.types import Progress

if TYPE_CHECKING:
    from napari_topiary._napari.jobs.runner import JobRunner
    from napari_topiary.config import TrainConfig

ASK, STOP, STOPPING = "Would more annotations help?", "Stop", "Stopping…"
TIP = (
    "Trains four times, on an eighth, a quarter, half and all of your annotations, and "
    "says what\nmore would bring (a learning curve). All four together take as long as "
    "chosen above."
)


class MoreHelp(QWidget):
    """Asks for the learning curve and shows it as it grows.

    Parameters
    ----------
    runner
        Runs the trainings.
    asked
        Returns what to learn from, and how.

    Signals
    -------
    problem(str)
        Why there is no answer.
    """

    problem = Signal(str)

    def __init__(
        self, runner: JobRunner, asked: Callable[[], tuple[Lesson, TrainConfig]]
    ) -> None:
        super().__init__()
        self.runner, self._asked = runner, asked
        self.running = False
        self.button = button(ASK, TIP, self.toggle)
        self.card = CurveCard()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        layout.addWidget(self.button)
        layout.addWidget(self.card)

    def toggle(self) -> None:
        """Begin, or stop with what is known."""
        if self.running:
            self.button.setText(STOPPING)
            self.button.setEnabled(False)
            self.runner.stop()
            return
        lesson, config = self._asked()
        begun = self.runner.start(
            lambda: drawing_curve(lesson, config),
            title="Asking whether more annotations would help",
            on_progress=self._on_progress,
            on_result=self._on_result,
            on_error=self._on_error,
        )
        if not begun:
            self.problem.emit(self.runner.busy_sentence)
            return
        self.running = True
        self.runner.finished.connect(self._on_end)
        self.card.show_curve(LearningCurve(), finished=False)
        self.show_state(possible=True)

    def show_state(self, *, possible: bool) -> None:
        """Let the button say what it does now.

        Parameters
        ----------
        possible
            Whether a training could begin.
        """
        self.button.setText(STOP if self.running else ASK)
        self.button.setEnabled(self.running or possible)

    def _on_progress(self, progress: Progress) -> None:
        if isinstance(progress.report, LearningCurve):
            self.card.show_curve(progress.report, finished=False)

    def _on_result(self, curve: LearningCurve) -> None:
        self.card.show_curve(curve, finished=True)

    def _on_error(self, sentence: str) -> None:
        self.card.hide()
        self.problem.emit(sentence)

    def _on_end(self) -> None:
        self.runner.finished.disconnect(self._on_end)
        self.running = False
        self.show_state(possible=True)
