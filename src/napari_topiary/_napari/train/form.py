"""The form of the Train page: what to learn from, which network, how long."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFormLayout, QLabel, QVBoxLayout, QWidget

from napari_topiary._napari.learning.readiness import Lesson
from napari_topiary._napari.preferences import Preferences
from napari_topiary._napari.train import (
    how_long,
    network_form,
    start_choice,
    working_pixel,
)
from napari_topiary._napari.train.how_long import HowLong
from napari_topiary._napari.train.network_figures import Blueprint
from napari_topiary._napari.train.network_form import NetworkForm
from napari_topiary._napari.train.reach import USUAL_BATCH, Circumstances
from napari_topiary._napari.train.start_choice import StartChoice
from napari_topiary._napari.train.working_pixel import WorkingPixel
from napari_topiary._napari.widgets import look
from napari_topiary.config import TrainConfig
from napari_topiary.data.working_size import propose_working_factor

if TYPE_CHECKING:
    from napari_topiary.checkpoint import Checkpoint

_MOST_NOTES = 4


class TrainForm(QWidget):
    """Everything that is chosen before training.

    What comes and goes is in `below`, to be placed under the button that starts: so the
    button never moves.

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
        self.material = look.paragraph("")
        self.material_problem = look.paragraph("", role="problem")
        self.material_problem.hide()
        self.material_notes = look.paragraph("", role="hint")
        self.material_notes.hide()
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
        rows = QFormLayout()
        rows.setContentsMargins(0, 0, 0, 0)
        rows.setHorizontalSpacing(10)
        rows.setVerticalSpacing(6)
        rows.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        for text, tip, field in (
            ("Network", network_form.TIP, self.network),
            (working_pixel.NAME, working_pixel.TIP, self.pixel),
            ("Start", start_choice.TIP, self.start),
            ("Train for", how_long.TIP, self.time),
        ):
            label = QLabel(text)
            label.setToolTip(tip)
            rows.addRow(label, field)
            if field is self.network:
                rows.addRow(self.network.cost)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        layout.addWidget(self.material)
        layout.addLayout(rows)
        self.below = QWidget()
        layout = QVBoxLayout(self.below)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        for widget in (
            self.problem_label,
            self.material_problem,
            self.network.cost.warning,
            self.material_notes,
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
        return own or self.start.problem(self._lesson)

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

    def set_material_problem(self, sentence: str, notes: Sequence[str] = ()) -> None:
        """Show what stops the annotations from being learned from; empty hides it.

        Parameters
        ----------
        sentence
            From `Lesson.problem`.
        notes
            From `Lesson.notes`.
        """
        self.material_problem.setText(sentence)
        self.material_problem.setVisible(bool(sentence))
        self.material_notes.setText("\n".join(notes[:_MOST_NOTES]))
        self.material_notes.setToolTip("\n".join(notes))
        self.material_notes.setVisible(bool(notes))

    def freeze(self, frozen: bool) -> None:
        """Let nothing be chosen while a training runs.

        Parameters
        ----------
        frozen
            Whether it runs.
        """
        self.setEnabled(not frozen)
        self.network.finer.setEnabled(not frozen)

    def set_checkpoints(
        self, checkpoints: Mapping[str, Checkpoint], choose: str | None = None
    ) -> None:
        """Offer checkpoints to start from.

        Parameters
        ----------
        checkpoints
            By name.
        choose
            Start from this one; None keeps what was chosen.
        """
        self.start.offer(checkpoints, choose)
        if choose is not None:
            self.changed.emit()

    def refresh(self, *, measure: bool) -> None:
        """Renew what follows from the choices: proposals, figures and problems.

        Parameters
        ----------
        measure
            Whether the speed of the network may be measured now.
        """
        lesson, start = self._lesson, self.start.checkpoint
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
            self.pixel.set_fixed(start.factor_for(lesson.scale))
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
