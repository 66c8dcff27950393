"""Choosing a checkpoint: those of the session, or one from a file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import QComboBox, QFileDialog, QHBoxLayout, QSizePolicy, QWidget

from napari_topiary._napari.jobs.runner import in_background
from napari_topiary._napari.widgets.page import button
from napari_topiary.checkpoint import Checkpoint, load_checkpoint
from napari_topiary.session import Session

FILES = "Topiary checkpoints (*.safetensors)"


class CheckpointChoice(QWidget):
    """A list of checkpoints with a button for files beside it.

    Signals
    -------
    changed()
        The user chose another one.
    problem(str)
        A file could not be read.
    """

    changed = Signal()
    problem = Signal(str)

    def __init__(self, session: Session, tip: str) -> None:
        super().__init__()
        self.session = session
        self.combo = combo(tip)
        self.file_button = button(
            "File…",
            "Open a checkpoint from a file; it becomes one of this project's.",
            self.ask_file,
        )
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        layout.addWidget(self.combo, 1)
        layout.addWidget(self.file_button)
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


_BESIDE = 40
"""Pixels beside a name in an opened list: margins and the scroll bar."""


def combo(tip: str) -> QComboBox:
    """Make a list to choose from that gives way when the page is narrow."""
    made = QComboBox()
    made.setToolTip(tip)
    made.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    made.setSizeAdjustPolicy(
        QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
    )
    made.setMinimumContentsLength(8)
    return made


def fill(box: QComboBox, names: Iterable[str], chosen: str | None) -> None:
    """Offer names, without saying that the user chose."""
    offered = list(names)
    with QSignalBlocker(box):
        box.clear()
        box.addItems(offered)
        box.setCurrentIndex(box.findText(chosen or ""))
    # A narrow page cuts long names in the box: the list that opens shows them whole.
    measure = box.fontMetrics().horizontalAdvance
    widest = max((measure(name) for name in offered), default=0)
    box.view().setMinimumWidth(widest + _BESIDE)
