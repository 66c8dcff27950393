"""The form of the Train page: what to learn from, which network, how long."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import (
    QComboBox,
    QDoubleSpinBox,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_topiary._napari.state import Preferences
from napari_topiary._napari.train.network_form import NETWORK_TIP, NetworkForm
from napari_topiary._napari.widgets import look
from napari_topiary._napari.widgets.checkpoint_choice import START_TIP, StartChoice
from napari_topiary._napari.widgets.form import LengthField
from napari_topiary._napari.widgets.look import filled
from napari_topiary.config import TrainConfig
from napari_topiary.data.working_grid import propose_working_factor
from napari_topiary.jobs.network_cost import USUAL_BATCH, Blueprint, Circumstances
from napari_topiary.jobs.training import TrainingData

if TYPE_CHECKING:
    from napari_topiary.checkpoint import Checkpoint

MINUTES, PASSES = "min", "passes"
TIME_TIP = "How long to train; you can stop at any time."
USUAL_PASSES = 50

PIXEL_NAME = "Works at"
PIXEL_TIP = (
    "The pixel size that the network works at, not that of the image: images are "
    "shrunk before\nit reads them. Twice the pixel size is four times faster and sees "
    "twice as far; too coarse,\nand particles melt into one another.\nProposed: the "
    "coarsest that leaves the smallest particle a radius of about 6 pixels; painted\n"
    "areas keep the image's own pixels."
)
_MOST_NOTES = 4


class HowLong(QWidget):
    """A number and its unit."""

    changed = Signal()

    def __init__(self, minutes: float) -> None:
        super().__init__()
        self._minutes = minutes
        self.amount = QDoubleSpinBox()
        self.amount.setKeyboardTracking(False)
        self.amount.setToolTip(TIME_TIP)
        self.unit = QComboBox()
        self.unit.addItems([MINUTES, PASSES])
        self.unit.setToolTip(
            "Minutes by the clock, or passes over everything that is marked (epochs)."
        )
        filled(QHBoxLayout(self), (self.amount, 1), self.unit, spacing=None)
        self._show()
        self.amount.valueChanged.connect(self.changed)
        self.unit.currentTextChanged.connect(self._on_unit)

    @property
    def minutes(self) -> float | None:
        """Minutes by the clock; None where passes are counted."""
        by_time = self.unit.currentText() == MINUTES
        return self.amount.value() if by_time else None

    def values(self) -> dict[str, Any]:
        """Fields of a `TrainConfig`."""
        minutes = self.minutes
        passes = None if minutes is not None else round(self.amount.value())
        return {"minutes": minutes, "epochs": passes}

    def _on_unit(self) -> None:
        self._show()
        self.changed.emit()

    def _show(self) -> None:
        minutes = self.unit.currentText() == MINUTES
        with QSignalBlocker(self.amount):
            self.amount.setDecimals(1 if minutes else 0)
            self.amount.setRange(0.1 if minutes else 1, 600 if minutes else 10000)
            self.amount.setSingleStep(0.5 if minutes else 10)
            self.amount.setValue(self._minutes if minutes else USUAL_PASSES)


class WorkingPixel(QWidget):
    """A length in nm where the pixel size of the images is known, else a factor."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._scale: float | None = None
        self._proposed = 1.0
        self._factor: float | None = None
        self.number = LengthField("", PIXEL_TIP, digits=3)
        self.number.setSpecialValueText("")
        self.number.setStepType(QDoubleSpinBox.StepType.DefaultStepType)
        self.reset_button = QPushButton("Use proposed")
        self.reset_button.setToolTip("Go back to the proposed pixel size.")
        self.reset_button.clicked.connect(self._reset)
        filled(QHBoxLayout(self), (self.number, 1), self.reset_button, spacing=None)
        self.number.valueChanged.connect(self._on_number)
        self.propose(1.0, None)

    def propose(self, factor: float, scale: float | None) -> None:
        """Set what is proposed, and show it unless the user chose otherwise."""
        self._proposed, self._scale = factor, scale
        self._show()

    def set_fixed(self, factor: float | None) -> None:
        """Show the size that a checkpoint brings with it."""
        self.setEnabled(factor is None)
        if factor is not None:
            self._factor = None
            self._proposed = factor
        self._show()

    @property
    def factor(self) -> float:
        """Image pixels per working pixel."""
        return self._proposed if self._factor is None else self._factor

    def values(self) -> dict[str, float | None]:
        """Fields of a `TrainConfig`; empty while the proposal stands."""
        if self._factor is None:
            return {}
        if self._scale is None:
            return {"working_factor": self._factor}
        return {"working_pixel_size_nm": self._factor * self._scale}

    def _show(self) -> None:
        unit = 1.0 if self._scale is None else self._scale
        with QSignalBlocker(self.number):
            self.number.setRange(unit, 64 * unit)
            self.number.setSingleStep(unit / 4)
            self.number.setSuffix(
                " nm per pixel" if self._scale is not None else " × image pixels"
            )
            self.number.setValue(self.factor * unit)
        self.reset_button.setVisible(self._factor is not None)

    def _on_number(self, value: float) -> None:
        unit = 1.0 if self._scale is None else self._scale
        self._factor = max(1.0, value / unit)
        self.reset_button.setVisible(True)
        self.changed.emit()

    def _reset(self) -> None:
        self._factor = None
        self._show()
        self.changed.emit()


class TrainForm(QWidget):
    """Everything that is chosen before training.

    What comes and goes is in `below`, to be placed under the button that starts: so the
    button never moves.
    """

    changed = Signal()
    file_wanted = Signal()

    def __init__(self, preferences: Preferences) -> None:
        super().__init__()
        self._config = TrainConfig(
            preset=preferences.preset,
            minutes=preferences.minutes,
            device=preferences.device,
        )
        self._training_data: TrainingData | None = None
        self._held_back = ""
        self.summary = look.paragraph("")
        self.marks_problem = look.paragraph("", role="problem")
        self.marks_problem.hide()
        self.marks_notes = look.paragraph("", role="hint")
        self.marks_notes.hide()
        self.notes: tuple[str, ...] = ()
        self.network = NetworkForm(self._config)
        self.pixel = WorkingPixel()
        self.start = StartChoice()
        self.time = HowLong(preferences.minutes)
        self.problem_label = look.paragraph("", role="problem")
        self.problem_label.hide()
        self._build()
        for part in (self.network, self.pixel, self.start, self.time):
            part.changed.connect(self.changed)
        self.start.file_wanted.connect(self.file_wanted)

    def _build(self) -> None:
        rows = look.rows()
        for text, tip, field in (
            ("Network", NETWORK_TIP, self.network),
            (PIXEL_NAME, PIXEL_TIP, self.pixel),
            ("Start", look.lines(START_TIP), self.start),
            ("Train for", TIME_TIP, self.time),
        ):
            label = QLabel(text)
            label.setToolTip(tip)
            rows.addRow(label, field)
            if field is self.network:
                rows.addRow(self.network.cost)
        filled(QVBoxLayout(self), self.summary, rows)
        self.below = QWidget()
        layout = QVBoxLayout(self.below)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        for widget in (
            self.problem_label,
            self.marks_problem,
            self.network.cost.warning,
            self.marks_notes,
            self.network.finer,
        ):
            layout.addWidget(widget)

    # -- what is chosen -----------------------------------------------------------

    def config(self) -> TrainConfig:
        """What is chosen, as the value that training takes."""
        chosen = self.network.values() | self.pixel.values() | self.time.values()
        return replace(self._config, **chosen)

    @property
    def start_name(self) -> str | None:
        """Name of the checkpoint to start from; None = from scratch."""
        return self.start.name

    @property
    def problem(self) -> str:
        """What is impossible about what is chosen; empty if nothing is."""
        own = self.network.problem or self.config().problem()
        return own or self.start.problem(self._training_data)

    # -- what is around -----------------------------------------------------------

    def set_training_data(self, training_data: TrainingData, *, measure: bool) -> None:
        """Say what there is to learn from, and propose accordingly."""
        self._training_data = training_data
        self._show_summary()
        self.refresh(measure=measure)

    def set_held_back(self, sentence: str) -> None:
        """Say what of it is held back to judge by."""
        self._held_back = sentence
        self._show_summary()

    def _show_summary(self) -> None:
        summary = "" if self._training_data is None else self._training_data.summary()
        # Until all marks are looked at again, what was true before stays: so that
        # nothing below it moves.
        self.summary.setText(f"{summary} {self._held_back}" if summary else "")
        self.summary.setVisible(bool(summary))

    def set_marks_problem(self, sentence: str, notes: Sequence[str] = ()) -> None:
        """Show what stops the annotations from being learned from; empty hides it."""
        self.marks_problem.setText(sentence)
        self.marks_problem.setVisible(bool(sentence))
        self.notes = tuple(notes)
        self.marks_notes.setText("\n".join(notes[:_MOST_NOTES]))
        self.marks_notes.setToolTip("\n".join(notes))
        self.marks_notes.setVisible(bool(notes))

    def freeze(self, frozen: bool) -> None:
        """Let nothing be chosen while a training runs."""
        self.setEnabled(not frozen)
        self.network.finer.setEnabled(not frozen)

    def set_checkpoints(
        self, checkpoints: Mapping[str, Checkpoint], choose: str | None = None
    ) -> None:
        """Offer checkpoints to start from."""
        self.start.offer(checkpoints, choose)
        if choose is not None:
            self.changed.emit()

    def refresh(self, *, measure: bool) -> None:
        """Renew what follows from the choices: proposals, figures and problems."""
        training_data, start = self._training_data, self.start.checkpoint
        self.network.set_start(start)
        if training_data is not None:
            self.network.suit(training_data.task.kind)
            self._propose(training_data, start)
            self._show_figures(training_data, start, measure=measure)
        problem = self.problem
        self.problem_label.setText(problem)
        self.problem_label.setVisible(bool(problem))

    def _propose(self, training_data: TrainingData, start: Checkpoint | None) -> None:
        if start is not None:
            self.pixel.set_fixed(start.factor_for(training_data.scale))
            return
        self.pixel.set_fixed(None)
        factor = propose_working_factor(
            training_data.task, training_data.scale, training_data.samples
        )
        self.pixel.propose(factor, training_data.scale)

    def _show_figures(
        self, training_data: TrainingData, start: Checkpoint | None, *, measure: bool
    ) -> None:
        if start is not None:
            blueprint = Blueprint.existing(start)
        elif self.network.problem is None:
            blueprint = Blueprint.new(
                self.network.name,
                self.network.sizes(),
                training_data.in_channels,
                max(2, len(training_data.task.classes)),
            )
        else:
            return
        around = Circumstances(
            smallest_side=training_data.smallest_side,
            factor=self.pixel.factor,
            batch=self.config().batch or USUAL_BATCH,
        )
        self.network.cost.show_figures(blueprint, around, measure=measure)
