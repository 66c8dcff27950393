"""Would more annotations help? A button, the trainings behind it, and the answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_topiary._napari.jobs.job_button import ButtonWords, JobButton
from napari_topiary._napari.learning.readiness import Lesson
from napari_topiary._napari.train.curve_card import CurveCard
from napari_topiary._napari.train.jobs import drawing_curve
from napari_topiary._napari.widgets.page import bring_into_view
from napari_topiary.studies.learning_curve import LearningCurve
from napari_topiary.types import Job, Progress

if TYPE_CHECKING:
    from napari_topiary._napari.jobs.runner import JobRunner
    from napari_topiary.config import TrainConfig

WORDS = ButtonWords(
    "Would more annotations help?",
    "Asking whether more annotations would help",
    "Trains four times, on an eighth, a quarter, half and all of your annotations, and "
    "says what\nmore would bring (a learning curve). All four together take as long as "
    "chosen above.",
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
        self._asked = asked
        self.button = JobButton(runner, self._make, WORDS)
        self.card = CurveCard()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        layout.addWidget(self.button)
        layout.addWidget(self.card)
        self.button.begun.connect(self._on_begun)
        self.button.progressed.connect(self._on_progress)
        self.button.result.connect(self._on_result)
        self.button.problem.connect(self._on_error)

    @property
    def running(self) -> bool:
        """Whether the trainings run."""
        return self.button.running

    def _make(self) -> Callable[[], Job[LearningCurve]]:
        lesson, config = self._asked()
        return lambda: drawing_curve(lesson, config)

    def _on_begun(self) -> None:
        self.card.show_curve(LearningCurve(), finished=False)
        bring_into_view(self.card)

    def _on_progress(self, progress: Progress) -> None:
        if isinstance(progress.report, LearningCurve):
            self.card.show_curve(progress.report, finished=False)

    def _on_result(self, curve: LearningCurve) -> None:
        self.card.show_curve(curve, finished=True)
        bring_into_view(self.card)

    def _on_error(self, sentence: str) -> None:
        if self.running:
            self.card.hide()
        self.problem.emit(sentence)
