"""Which layers of a result are shown: one switch each."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QHBoxLayout, QWidget

from napari_topiary._napari.canvas.result_layers import KINDS, shown_kinds
from napari_topiary._napari.network_traits import traits_of
from napari_topiary.checkpoint import Checkpoint
from napari_topiary.types import Task

_TIPS = {
    "probability": "How sure the network is, in the colour of the class.",
    "detections": "A ring around everything that was found.",
    "lines": "The filaments that were traced.",
    "result-labels": "The class, or the number of the object, at every pixel.",
    "distance": "How far each pixel is from the edge of its object: objects are cut "
    "apart in its valleys.",
}
_AT_FIRST = ("probability", "detections", "lines")


class KindSwitches(QWidget):
    """A row of switches for the layers of a result.

    Signals
    -------
    toggled(str, bool)
        The user wants this kind of layer shown, or not.
    """

    toggled = Signal(str, bool)

    def __init__(self) -> None:
        super().__init__()
        self._task_kind = "detect"
        self.switches: dict[str, QCheckBox] = {}
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(10)
        for kind, text in KINDS.items():
            one = self.switches[kind] = QCheckBox(text)
            one.setToolTip(_TIPS[kind])
            one.setChecked(kind in _AT_FIRST)
            one.toggled.connect(lambda on, kind=kind: self.toggled.emit(kind, on))
            row.addWidget(one)
        row.addStretch(1)

    def show_checkpoint(self, checkpoint: Checkpoint | None) -> None:
        """Offer the layers that a network's answers have.

        Parameters
        ----------
        checkpoint
            None offers none.
        """
        known = shown_kinds(checkpoint.task) if checkpoint else ()
        lines = checkpoint is not None and bool(
            checkpoint.annotations_summary.get("line_classes")
        )
        if checkpoint is not None and checkpoint.task.kind != self._task_kind:
            self._task_kind = checkpoint.task.kind
            self.switches["result-labels"].setChecked(self._task_kind != "detect")
        distance = checkpoint is not None and traits_of(checkpoint.network).has_distance
        here = {"lines": lines, "distance": distance}
        for kind, one in self.switches.items():
            one.setVisible(kind in known and here.get(kind, True))

    def is_on(self, kind: str) -> bool:
        """Whether a kind of layer is wanted.

        Parameters
        ----------
        kind
            A key of `result_layers.KINDS`.
        """
        return self.switches[kind].isChecked()

    def wanted(self, task: Task, *, without: tuple[str, ...] = ()) -> dict[str, bool]:
        """Kind -> whether it is visible, for the answers to a task.

        Parameters
        ----------
        task
            Of the network.
        without
            Kinds to leave as they are.
        """
        return {
            kind: self.is_on(kind) for kind in shown_kinds(task) if kind not in without
        }
