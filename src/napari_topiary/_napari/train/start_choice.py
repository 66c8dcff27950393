"""What a training starts from: nothing, a network of the project, or a file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import QComboBox

from napari_topiary._napari.learning.readiness import Lesson

if TYPE_CHECKING:
    from napari_topiary.checkpoint import Checkpoint

SCRATCH = "from scratch"
FILE = "a file…"
TIP = (
    "A new network, or one that has learned already and learns on. It keeps "
    "its size, its pixel size and what was pruned."
)


class StartChoice(QComboBox):
    """A list of checkpoints, with "from scratch" above and a file below.

    Signals
    -------
    changed()
        The user chose another one.
    file_wanted()
        The user wants one from a file.
    """

    changed = Signal()
    file_wanted = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._checkpoints: dict[str, Checkpoint] = {}
        self.setToolTip(TIP)
        self.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self.setMinimumContentsLength(8)
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
        """Offer checkpoints, without saying that the user chose.

        Parameters
        ----------
        checkpoints
            By name.
        choose
            Start from this one; None keeps what was chosen.
        """
        wanted = choose or self.name
        self._checkpoints = dict(checkpoints)
        with QSignalBlocker(self):
            self.clear()
            self.addItem(SCRATCH, None)
            for name in checkpoints:
                self.addItem(f"from “{name}”", name)
            self.addItem(f"from {FILE}", FILE)
            self.setCurrentIndex(max(0, self.findData(wanted)))

    def problem(self, lesson: Lesson | None) -> str:
        """Why the chosen checkpoint cannot learn from this; empty if it can.

        Parameters
        ----------
        lesson
            What there is to learn from.
        """
        start = self.checkpoint
        if start is None or lesson is None:
            return ""
        known, wanted = start.task, lesson.task
        if known.classes != wanted.classes:
            return (
                f"“{self.name}” knows the classes {', '.join(known.classes[1:])}, but "
                f"{', '.join(wanted.classes[1:])} is marked here: start from scratch, "
                "or rename the classes."
            )
        if lesson.samples and start.in_channels != lesson.in_channels:
            kinds = {1: "grey", 3: "colour"}
            return (
                f"“{self.name}” was trained on {kinds.get(start.in_channels, 'other')} "
                f"images, and these are {kinds.get(lesson.in_channels, 'different')}: "
                "start from scratch, or convert the images."
            )
        return ""

    def _on_activated(self, _index: int) -> None:
        if self.currentData() == FILE:
            self.setCurrentIndex(0)
            self.file_wanted.emit()
            return
        self.changed.emit()
