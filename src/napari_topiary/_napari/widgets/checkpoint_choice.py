"""Choosing a checkpoint: those of the session, or one from a file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtGui import QFontMetrics, QPaintEvent
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QSizePolicy,
    QStyle,
    QStyleOptionComboBox,
    QStylePainter,
    QWidget,
)

from napari_topiary._napari.jobs.runner import in_background
from napari_topiary._napari.widgets import look
from napari_topiary._napari.widgets.look import filled
from napari_topiary._napari.widgets.page import button
from napari_topiary.checkpoint import Checkpoint, load_checkpoint
from napari_topiary.session import Session

if TYPE_CHECKING:
    from napari_topiary.jobs.training import TrainingData

FILES = "Topiary checkpoints (*.safetensors)"

CLOSEST = 87
"""Letters that there is no room for stand closer before any is left out: per cent."""
_BESIDE = 40
"""Pixels beside a name in an opened list: margins and the scroll bar."""
SCRATCH = "from scratch"
FILE = "a file…"
START_TIP = (
    "A new network, or one that has learned already and learns on. It keeps "
    "its size, its pixel size and what was pruned."
)


class CheckpointChoice(QWidget):
    """A list of checkpoints with a button for files beside it."""

    changed = Signal()  #: The user chose another one
    problem = Signal(str)  #: A file could not be read

    def __init__(self, session: Session, tip: str) -> None:
        super().__init__()
        self.session = session
        self.combo = combo(tip)
        self.file_button = button(
            "File…",
            "Open a checkpoint from a file; it becomes one of this project's.",
            self.ask_file,
        )
        filled(QHBoxLayout(self), (self.combo, 1), self.file_button)
        self._chosen = False
        self.combo.activated.connect(self._on_activated)

    @property
    def name(self) -> str | None:
        """Name of the chosen checkpoint, None if there is none."""
        return self.combo.currentText() or None

    @property
    def checkpoint(self) -> Checkpoint | None:
        """The chosen checkpoint, None if there is none."""
        return self.session.checkpoints.get(self.name or "")

    def refresh(self) -> None:
        """Offer what the session has now; the active one until the user chose."""
        known = self.session.checkpoints
        if self.name not in known:
            self._chosen = False
        wanted = self.name if self._chosen else self.session.active_checkpoint
        fill(self.combo, known, wanted)
        self.combo.setEnabled(bool(known))

    def choose(self, name: str) -> None:
        """Choose a checkpoint of the session."""
        fill(self.combo, self.session.checkpoints, name)
        self._on_activated()

    def _on_activated(self, _index: int = 0) -> None:
        self._chosen = True
        self.changed.emit()

    def ask_file(self) -> None:
        """Let the user point at a file."""
        path, _ = QFileDialog.getOpenFileName(self, "Open a checkpoint", "", FILES)
        if path:
            self.open_file(Path(path))

    def open_file(self, path: Path) -> None:
        """Read a checkpoint off the main thread and choose it."""

        def take(checkpoint: Checkpoint) -> None:
            name = self.session.unique_checkpoint_name(path.stem)
            self.session.add_checkpoint(name, checkpoint)
            self.choose(name)

        in_background(
            lambda: load_checkpoint(path),
            title="Reading the checkpoint",
            on_result=take,
            on_error=self.problem.emit,
        )


class ElidedCombo(QComboBox):
    """A list to choose from that gives way when the page is narrow, and says so."""

    def __init__(self) -> None:
        super().__init__()
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self.setMinimumContentsLength(3)

    def paintEvent(self, _event: QPaintEvent) -> None:
        """Write closer, then end in "…"; the list that opens shows it whole."""
        painter, option = QStylePainter(self), QStyleOptionComboBox()
        self.initStyleOption(option)
        painter.drawComplexControl(QStyle.ComplexControl.CC_ComboBox, option)
        part = QStyle.SubControl.SC_ComboBoxEditField
        box = QStyle.ComplexControl.CC_ComboBox
        room = self.style().subControlRect(box, option, part, self).width() - 4
        font, wide = self.font(), option.fontMetrics.horizontalAdvance
        closer = 100 * room // max(wide(option.currentText), 1)
        if closer < 100:
            font.setStretch(max(closer, CLOSEST))
            painter.setFont(font)
        end = Qt.TextElideMode.ElideRight
        option.currentText = QFontMetrics(font).elidedText(
            option.currentText, end, room
        )
        painter.drawControl(QStyle.ControlElement.CE_ComboBoxLabel, option)

    def showPopup(self) -> None:
        """Open the list as wide as its longest line."""
        measure = self.fontMetrics().horizontalAdvance
        lines = (self.itemText(i) for i in range(self.count()))
        self.view().setMinimumWidth(max(map(measure, lines), default=0) + _BESIDE)
        super().showPopup()


def combo(tip: str) -> ElidedCombo:
    """Make a list to choose from."""
    made = ElidedCombo()
    made.setToolTip(look.lines(tip))
    return made


def fill(box: QComboBox, names: Iterable[str], chosen: str | None) -> None:
    """Offer names, without saying that the user chose."""
    with QSignalBlocker(box):
        box.clear()
        box.addItems(list(names))
        box.setCurrentIndex(box.findText(chosen or ""))


class StartChoice(ElidedCombo):
    """A list of checkpoints, with "from scratch" above and a file below."""

    changed = Signal()
    file_wanted = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._checkpoints: dict[str, Checkpoint] = {}
        self.setToolTip(look.lines(START_TIP))
        self.activated.connect(self._on_activated)
        self.offer({})

    @property
    def name(self) -> str | None:
        """Name of the checkpoint to start from; None = from scratch."""
        name = self.currentData()
        return name if name in self._checkpoints else None

    @property
    def checkpoint(self) -> Checkpoint | None:
        """The checkpoint to start from; None = from scratch."""
        return self._checkpoints.get(self.name or "")

    def offer(
        self, checkpoints: Mapping[str, Checkpoint], choose: str | None = None
    ) -> None:
        """Offer checkpoints, without saying that the user chose."""
        wanted = choose or self.name
        self._checkpoints = dict(checkpoints)
        with QSignalBlocker(self):
            self.clear()
            self.addItem(SCRATCH, None)
            for name in checkpoints:
                self.addItem(f"from “{name}”", name)
            self.addItem(f"from {FILE}", FILE)
            self.setCurrentIndex(max(0, self.findData(wanted)))

    def problem(self, training_data: TrainingData | None) -> str:
        """Why the chosen checkpoint cannot learn from this; empty if it can."""
        start = self.checkpoint
        if start is None or training_data is None:
            return ""
        known, wanted = start.task, training_data.task
        if known.classes != wanted.classes:
            return (
                f"“{self.name}” knows the classes {', '.join(known.classes[1:])}, but "
                f"{', '.join(wanted.classes[1:])} is marked here: start from scratch, "
                "or rename the classes."
            )
        if training_data.samples and start.in_channels != training_data.in_channels:
            kinds = {1: "grey", 3: "colour"}
            return (
                f"“{self.name}” was trained on {kinds.get(start.in_channels, 'other')} "
                "images, and these are "
                f"{kinds.get(training_data.in_channels, 'different')}: "
                "start from scratch, or convert the images."
            )
        return ""

    def _on_activated(self, _index: int) -> None:
        if self.currentData() == FILE:
            self.setCurrentIndex(0)
            self.file_wanted.emit()
            return
        self.changed.emit()
