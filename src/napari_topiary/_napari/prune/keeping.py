"""From a position of the slider to a version: keep it as it is, or fine-tuned."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, QSignalBlocker, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QDoubleSpinBox,
    QHBoxLayout,
    QLineEdit,
    QPushButton,
    QSizePolicy,
    QWidget,
)

from napari_topiary._napari.jobs.latest import Latest
from napari_topiary._napari.prune.live_pruning import LivePruning
from napari_topiary._napari.prune.view import Ready
from napari_topiary._napari.state import preferences
from napari_topiary._napari.training_run import STOPPING, TrainingRun
from napari_topiary._napari.widgets import look
from napari_topiary._napari.widgets.look import filled
from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import share_to_ratio
from napari_topiary.evaluation.validate import HoldOut
from napari_topiary.jobs.int8 import int8_problem, on_int8
from napari_topiary.jobs.pruning import Tuning, fine_tuning, keeping
from napari_topiary.jobs.training import TrainingData, short_name
from napari_topiary.pruning import ABOVE_RATIO

if TYPE_CHECKING:
    from napari_topiary._napari.prune.panel import PrunePanel
    from napari_topiary.session import Session

KEEP, KEEPING, KEPT = "Keep as", "Keeping…", "✓ Kept"

INT8_TIP = (
    "Also prepare what is kept or fine-tuned for whole numbers of eight bits: it is "
    "measured\nhere, taken only where it is faster, and the quality before and after "
    "is said."
)
TUNE = "Fine-tune"
MINUTES_WIDE = 104
"""Pixels for "0.5 min" between its two buttons."""
TIP = (
    "Let the pruned network learn on from the annotated images: most of what pruning "
    "cost\ncomes back. What is removed stays removed. The result is kept as a version "
    "of its own."
)
GRADUAL_TIP = (
    "Remove little by little while it learns, ending exactly where the slider stands,\n"
    "instead of everything at once before. Better when much is removed: the proposed\n"
    f"way above CR {ABOVE_RATIO:g}."
)


class KeepRow(QWidget):
    """A button and a name."""

    asked = Signal(str)
    refused = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self._own = False
        self.button = QPushButton(KEEP)
        self.button.setToolTip(
            "Keep the pruned network as a version of its own; the original stays."
        )
        self.name = QLineEdit()
        self.name.setToolTip("Name of the version that is kept.")
        layout = filled(QHBoxLayout(self), self.button, (self.name, 1))
        self.int8 = QCheckBox("int8")
        problem = int8_problem(preferences().device)
        self.int8.setToolTip(problem or INT8_TIP)
        self.int8.setEnabled(problem is None)
        layout.addWidget(self.int8)
        self.button.clicked.connect(lambda _checked=False: self.keep())
        self.name.returnPressed.connect(self.keep)
        self.name.textEdited.connect(self._on_edited)
        self.int8.toggled.connect(lambda _on=False: self.show_state(KEEP))

    def propose(self, base: str, weights: int) -> None:
        """Propose a name, unless the user wrote one."""
        if not self._own:
            self.name.setText(short_name(base, weights))
            self.name.setCursorPosition(0)

    def forget(self) -> None:
        """The name was used: propose again from now on."""
        self._own = False

    def show_state(self, text: str) -> None:
        """Say whether what the slider shows is kept already, or just now."""
        self.button.setText(text)
        self.button.setEnabled(text == KEEP)

    def show_tuned(self, name: str) -> None:
        """Say under which name the fine-tuned network, which is shown, is kept."""
        self.name.setText(name)
        self.name.setCursorPosition(0)
        self.show_state(KEPT)

    def keep(self) -> None:
        """Ask for it to be kept."""
        text = self.name.text().strip()
        if not self.button.isEnabled():
            return  # Enter in the field: it is kept already
        if text:
            self.asked.emit(text)
        else:
            self.refused.emit("Give the version a name to keep it under.")

    def _on_edited(self, text: str) -> None:
        self._own = bool(text.strip())
        self.show_state(KEEP)


class TuningRow(QWidget):
    """A button, a time and a choice."""

    pressed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.button = QPushButton(TUNE)
        self.button.setToolTip(TIP)
        self.button.setSizePolicy(
            QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed
        )
        look.emphasize(self.button)
        self.minutes = QDoubleSpinBox()
        self.minutes.setRange(0.1, 600.0)
        self.minutes.setDecimals(1)
        self.minutes.setSingleStep(0.5)
        self.minutes.setValue(0.5)
        self.minutes.setSuffix(" min")
        self.minutes.setMinimumWidth(MINUTES_WIDE)
        self.minutes.setToolTip("How long to fine-tune; you can stop at any time.")
        self.gradual = QCheckBox("gradually")
        self.gradual.setToolTip(GRADUAL_TIP)
        self._chosen = False
        filled(QHBoxLayout(self), (self.button, 1), self.minutes, self.gradual)
        self.button.clicked.connect(lambda _checked=False: self.pressed.emit())
        self.gradual.clicked.connect(self._on_gradual)

    def tuning(self) -> Tuning:
        """How to fine-tune."""
        return Tuning(self.minutes.value(), self.gradual.isChecked())

    def propose(self, share: float) -> None:
        """Propose the way that suits how much is removed, unless the user chose."""
        if not self._chosen:
            with QSignalBlocker(self.gradual):
                self.gradual.setChecked(share_to_ratio(share) > ABOVE_RATIO * 1.000001)

    def set_state(self, text: str, *, enabled: bool) -> None:
        """Show what the button does now."""
        self.button.setText(text)
        self.button.setEnabled(enabled)
        for widget in (self.minutes, self.gradual):
            widget.setVisible(text == TUNE)

    def _on_gradual(self) -> None:
        self._chosen = True


class VersionMaker(QObject):
    """Adds versions to the session, and says which one is used."""

    #: A version was added: under which name, and what is to be known about it
    kept = Signal(str, tuple)
    problem = Signal(str)  #: Why it could not be made

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session
        self.acting = False
        self._lane = Latest()
        self.close = self._lane.close

    @property
    def busy(self) -> bool:
        """Whether a version is being made."""
        return self._lane.busy

    def keep(
        self,
        ready: Ready,
        share: float,
        name: str,
        hold_out: HoldOut,
        *,
        int8: bool = False,
    ) -> None:
        """Make a version of one position, judge it, and add it."""
        name = self.session.unique_checkpoint_name(name)
        self._lane.ask(
            lambda: keeping(ready.plan, share, name, hold_out, int8=int8),
            title="Keeping the pruned network",
            on_result=self._on_made,
            on_error=self.problem.emit,
        )

    def _on_made(self, checkpoint: Checkpoint) -> None:
        self._add(checkpoint.name, checkpoint)
        problems = checkpoint.provenance.get("problems", ())
        remarks = (*on_int8(checkpoint), *problems)
        self.kept.emit(f"Kept as “{checkpoint.name}”", remarks)

    def keep_tuned(self, checkpoint: Checkpoint, name: str) -> Checkpoint:
        """Add what fine-tuning made; returns it with its name."""
        name = self.session.unique_checkpoint_name(f"{name}, tuned")
        made = checkpoint.named(name)
        self._add(name, made)
        return made

    def use(self, name: str) -> None:
        """Let Predict and Compare use a version from now on."""
        self.acting = True
        try:
            self.session.activate(name)
        finally:
            self.acting = False

    def _add(self, name: str, checkpoint: Checkpoint) -> None:
        self.acting = True  # the page goes on pruning what it prunes
        try:
            self.session.add_checkpoint(name, checkpoint)
        finally:
            self.acting = False


class FineTuning(QObject):
    """Starts and stops fine-tuning."""

    begun = Signal()
    made = Signal(str, tuple)
    said = Signal(str)
    problem = Signal(str)
    ended = Signal()

    def __init__(
        self, live: LivePruning, panel: PrunePanel, maker: VersionMaker
    ) -> None:
        super().__init__()
        self.live, self.panel, self.maker = live, panel, maker
        self.training_run = TrainingRun(
            live.drawn.viewer, live.session, live.runner, curves=panel.tabs.curves
        )
        self.training_run.made.connect(self._on_made)
        self.training_run.said.connect(self.said)
        self.training_run.problem.connect(self.problem)
        self.training_run.ended.connect(self.ended)

    @property
    def running(self) -> bool:
        """Whether it runs."""
        return self.training_run.running

    def toggle(self) -> None:
        """Start fine-tuning, or stop it and keep the best."""
        if self.running:
            self.panel.tune.set_state(STOPPING, enabled=False)
            self.training_run.stop()
            return
        ready, share = self.live.ready, self.panel.slider.share
        if ready is None:
            return
        training_data = TrainingData.of(self.live.session)
        tuning = replace(
            self.panel.tune.tuning(), int8=self.panel.keep_row.int8.isChecked()
        )
        device = preferences().device
        begun = self.training_run.start(
            lambda: fine_tuning(
                ready.plan,
                share,
                tuning,
                samples=training_data.samples,
                validation=training_data.validation,
                device=device,
            ),
            title="Fine-tuning",
            preview=self.panel.show_switch.isChecked(),
        )
        if begun:
            self.panel.tabs.setCurrentWidget(self.panel.tabs.curves)
            self.begun.emit()

    def _on_made(self, checkpoint: Checkpoint) -> None:
        name = self.panel.keep_row.name.text()
        made = self.maker.keep_tuned(checkpoint, name)
        self.live.tuned = made
        problems = made.provenance.get("problems", ())
        remarks = (*on_int8(made), *problems)
        self.made.emit(f"Fine-tuned and kept as “{made.name}”", remarks)
