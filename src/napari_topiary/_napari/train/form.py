"""The form of the Train page: what to learn from, which network, how long."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import (
    QComboBox,
    QDoubleSpinBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QVBoxLayout,
    QWidget,
)

from napari_topiary._napari.learning.readiness import Lesson
from napari_topiary._napari.preferences import Preferences
from napari_topiary._napari.train.network_figures import Blueprint
from napari_topiary._napari.train.network_form import NetworkForm
from napari_topiary._napari.train.reach import USUAL_BATCH, Circumstances
from napari_topiary._napari.train.working_pixel import TIP, WorkingPixel
from napari_topiary._napari.widgets import look
from napari_topiary.config import TrainConfig
from napari_topiary.errors import TopiaryError
from napari_topiary.prediction import working_factor_for
from napari_topiary.training import propose_working_factor

if TYPE_CHECKING:
    from napari_topiary.checkpoint import Checkpoint

SCRATCH = "from scratch"
FILE = "a file…"
_MINUTES, _EPOCHS = "min", "passes"


class TrainForm(QWidget):
    """Everything that is chosen before training.

    Signals
    -------
    changed()
        Anything was changed by the user.
    file_wanted()
        The user wants to start from a checkpoint file.
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
        self._lesson: Lesson | None = None
        self._checkpoints: dict[str, Checkpoint] = {}
        self.material = look.paragraph("")
        self.material_problem = look.paragraph("", role="problem")
        self.material_problem.hide()
        self.network = NetworkForm(self._config)
        self.pixel = WorkingPixel()
        self.start = QComboBox()
        self.start.setToolTip(
            "A new network, or one that has learned already and learns on. It keeps "
            "its size, its pixel size and what was pruned."
        )
        self.amount = QDoubleSpinBox()
        self.amount.setKeyboardTracking(False)
        self.unit = QComboBox()
        self.unit.addItems([_MINUTES, _EPOCHS])
        self.unit.setToolTip(
            "Minutes by the clock, or passes over everything that is marked (epochs)."
        )
        self.problem_label = look.paragraph("", role="problem")
        self.problem_label.hide()
        self._build()
        self._show_amount()
        self.set_checkpoints({})
        self.network.changed.connect(self._on_changed)
        self.pixel.changed.connect(self._on_changed)
        self.start.activated.connect(self._on_start)
        self.amount.valueChanged.connect(self._on_changed)
        self.unit.currentTextChanged.connect(self._on_unit)

    def _build(self) -> None:
        time = QHBoxLayout()
        time.setContentsMargins(0, 0, 0, 0)
        time.addWidget(self.amount, 1)
        time.addWidget(self.unit)
        rows = QFormLayout()
        rows.setContentsMargins(0, 0, 0, 0)
        rows.setHorizontalSpacing(10)
        rows.setVerticalSpacing(6)
        rows.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        for text, tip, field in (
            ("Network", self.network.network.toolTip(), self.network),
            ("Pixel size", TIP, self.pixel),
            ("Start", self.start.toolTip(), self.start),
            ("Train for", "How long to train; you can stop at any time.", time),
        ):
            label = QLabel(text)
            label.setToolTip(tip)
            rows.addRow(label, field)
            if field is self.network:
                rows.addRow(self.network.cost)
                rows.addRow(self.network.finer)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        layout.addWidget(self.material)
        layout.addWidget(self.material_problem)
        layout.addLayout(rows)
        layout.addWidget(self.problem_label)

    # -- what is chosen -----------------------------------------------------------

    def config(self) -> TrainConfig:
        """What is chosen, as the value that training takes."""
        amount = self.amount.value()
        by_time = self.unit.currentText() == _MINUTES
        return replace(
            self._config,
            minutes=amount if by_time else None,
            epochs=None if by_time else round(amount),
            **self.network.values(),
            **self.pixel.values(),
        )

    @property
    def start_name(self) -> str | None:
        """Name of the checkpoint to start from; None = from scratch."""
        name = self.start.currentData()
        return name if name in self._checkpoints else None

    @property
    def problem(self) -> str:
        """What is impossible about what is chosen; empty if nothing is."""
        return self.network.problem or self.config().problem() or self._start_problem()

    def _start_problem(self) -> str:
        name = self.start_name
        if name is None or self._lesson is None:
            return ""
        known, wanted = self._checkpoints[name].task, self._lesson.task
        if known.classes != wanted.classes:
            return (
                f"“{name}” knows the classes {', '.join(known.classes[1:])}, but "
                f"{', '.join(wanted.classes[1:])} is marked here: start from scratch, "
                "or rename the classes."
            )
        channels = self._checkpoints[name].in_channels
        if self._lesson.samples and channels != self._lesson.in_channels:
            kinds = {1: "grey", 3: "colour"}
            return (
                f"“{name}” was trained on {kinds.get(channels, 'other')} images, and "
                f"these are {kinds.get(self._lesson.in_channels, 'different')}: start "
                "from scratch, or convert the images."
            )
        return ""

    # -- what is around -----------------------------------------------------------

    def set_lesson(self, lesson: Lesson, *, measure: bool) -> None:
        """Say what there is to learn from, and propose accordingly.

        Parameters
        ----------
        lesson
            From the session.
        measure
            Whether the speed of the network may be measured now.
        """
        self._lesson = lesson
        summary = lesson.summary()
        self.material.setText(summary)
        self.material.setVisible(bool(summary))
        self.refresh(measure=measure)

    def set_material_problem(self, sentence: str) -> None:
        """Show what stops the annotations from being learned from; empty hides it.

        Parameters
        ----------
        sentence
            From `Lesson.problem`.
        """
        self.material_problem.setText(sentence)
        self.material_problem.setVisible(bool(sentence))

    def set_checkpoints(
        self, checkpoints: dict[str, Checkpoint], choose: str | None = None
    ) -> None:
        """Offer checkpoints to start from.

        Parameters
        ----------
        checkpoints
            By name.
        choose
            Start from this one; None keeps what was chosen.
        """
        wanted = choose or self.start_name
        self._checkpoints = dict(checkpoints)
        with QSignalBlocker(self.start):
            self.start.clear()
            self.start.addItem(SCRATCH, None)
            for name in checkpoints:
                self.start.addItem(f"from “{name}”", name)
            self.start.addItem(f"from {FILE}", FILE)
            self.start.setCurrentIndex(max(0, self.start.findData(wanted)))
        if choose is not None:
            self._on_changed()

    def refresh(self, *, measure: bool) -> None:
        """Renew what follows from the choices: proposals, figures and problems.

        Parameters
        ----------
        measure
            Whether the speed of the network may be measured now.
        """
        lesson, name = self._lesson, self.start_name
        start = None if name is None else self._checkpoints[name]
        self.network.set_start(start)
        if lesson is not None:
            self.network.suit(lesson.task.kind)
            self._propose(lesson, start)
            self._show_figures(lesson, start, measure=measure)
        problem = self.problem
        self.problem_label.setText(problem)
        self.problem_label.setVisible(bool(problem))

    def _propose(self, lesson: Lesson, start: Checkpoint | None) -> None:
        if start is not None:
            try:
                factor, _ = working_factor_for(start, lesson.scale)
            except TopiaryError:
                factor = start.working_factor
            self.pixel.set_fixed(factor)
            return
        self.pixel.set_fixed(None)
        factor = propose_working_factor(lesson.task, lesson.scale, lesson.samples)
        self.pixel.propose(factor, lesson.scale)

    def _show_figures(
        self, lesson: Lesson, start: Checkpoint | None, *, measure: bool
    ) -> None:
        if start is not None:
            blueprint = Blueprint.existing(start)
        elif self.network.problem is None:
            blueprint = Blueprint.new(
                self.network.name,
                self.network.sizes(),
                lesson.in_channels,
                max(2, len(lesson.task.classes)),
            )
        else:
            return
        around = Circumstances(
            smallest_side=lesson.smallest_side,
            factor=self.pixel.factor,
            batch=self.config().batch or USUAL_BATCH,
        )
        self.network.cost.show_figures(blueprint, around, measure=measure)

    # -- what the user does -------------------------------------------------------

    def _on_changed(self) -> None:
        self.changed.emit()

    def _on_start(self, _index: int) -> None:
        if self.start.currentData() == FILE:
            self.start.setCurrentIndex(0)
            self.file_wanted.emit()
            return
        self.changed.emit()

    def _on_unit(self) -> None:
        self._show_amount()
        self.changed.emit()

    def _show_amount(self) -> None:
        minutes = self.unit.currentText() == _MINUTES
        with QSignalBlocker(self.amount):
            self.amount.setDecimals(1 if minutes else 0)
            self.amount.setRange(0.1 if minutes else 1, 600 if minutes else 10000)
            self.amount.setSingleStep(0.5 if minutes else 10)
            self.amount.setValue((self._config.minutes or 1.0) if minutes else 50)
