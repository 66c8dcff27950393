"""The form of the Prune page: which checkpoint, what kind of pruning, how chosen."""

from __future__ import annotations

from collections.abc import Iterable

from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import (
    QButtonGroup,
    QComboBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QRadioButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_topiary.config import PruneConfig
from napari_topiary.pruning import criteria, criteria_for

KINDS = {
    "filters": (
        "Filters — smaller and faster",
        "Whole filters (maps) are taken out of the network. It then really has fewer "
        "weights,\nneeds fewer operations and less memory, is faster, and its file is "
        "smaller.",
    ),
    "weights": (
        "Weights — smaller file",
        "Single weights are set to zero, wherever they are. The file gets smaller, "
        "because zeros are\nnot stored; the network computes as much as before and is "
        "not faster. In exchange it loses\nless quality for the same number of "
        "weights.",
    ),
}
SCOPES = {
    "global": (
        "network-wide",
        "All layers are ranked together: layers that matter little lose more.",
    ),
    "layer": ("layer-wise", "Every layer loses the same share."),
}


class PruneForm(QWidget):
    """Everything that decides the order in which things are removed.

    Signals
    -------
    changed()
        Another checkpoint, kind, criterion or scope was chosen by the user.
    """

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.checkpoint = _combo("Which network to prune. It is never changed itself.")
        self.criterion = _combo("Which of them go first.")
        self.scope = _combo("What is ranked against what.")
        self.kinds: dict[str, QRadioButton] = {}
        group = QButtonGroup(self)
        choices = QVBoxLayout()
        choices.setSpacing(3)
        for kind, (text, tip) in KINDS.items():
            one = QRadioButton(text)
            one.setToolTip(tip)
            group.addButton(one)
            choices.addWidget(one)
            self.kinds[kind] = one
        self.kinds["filters"].setChecked(True)
        for scope, (text, _tip) in SCOPES.items():
            self.scope.addItem(text, scope)
        self.scope.setToolTip("\n".join(f"{t}: {tip}" for t, tip in SCOPES.values()))
        pair = QHBoxLayout()
        pair.setContentsMargins(0, 0, 0, 0)
        pair.addWidget(self.criterion, 4)
        pair.addWidget(self.scope, 5)
        rows = QFormLayout(self)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.setHorizontalSpacing(10)
        rows.setVerticalSpacing(5)
        rows.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        rows.addRow("Network", self.checkpoint)
        rows.addRow("Remove", choices)
        order = QLabel("Rank by")
        order.setToolTip("Which go first, and what is ranked against what.")
        rows.addRow(order, pair)
        self._fill_criteria()
        group.buttonToggled.connect(self._on_kind)
        for combo in (self.checkpoint, self.criterion, self.scope):
            combo.activated.connect(self._on_choice)

    @property
    def kind(self) -> str:
        """The kind of pruning: "filters" or "weights"."""
        return next(kind for kind, one in self.kinds.items() if one.isChecked())

    @property
    def name(self) -> str | None:
        """Name of the checkpoint to prune, None if there is none."""
        return self.checkpoint.currentText() or None

    def config(self, share: float) -> PruneConfig:
        """What is chosen, as the value that pruning takes.

        Parameters
        ----------
        share
            Of the weights to remove.
        """
        return PruneConfig(
            kind=self.kind,
            criterion=self.criterion.currentData(),
            scope=self.scope.currentData(),
            remove=share,
        )

    def set_names(self, names: Iterable[str], chosen: str | None) -> None:
        """Offer checkpoints, without saying that the user chose.

        Parameters
        ----------
        names
            Of all checkpoints.
        chosen
            The one to prune.
        """
        with QSignalBlocker(self.checkpoint):
            self.checkpoint.clear()
            self.checkpoint.addItems(list(names))
            self.checkpoint.setCurrentIndex(self.checkpoint.findText(chosen or ""))

    def _fill_criteria(self) -> None:
        tips = []
        with QSignalBlocker(self.criterion):
            self.criterion.clear()
            for name in criteria_for(self.kind):
                self.criterion.addItem(criteria[name].title, name)
                tips.append(f"{criteria[name].title}: {criteria[name].tip}")
        self.criterion.setToolTip("\n".join(tips))

    def _on_kind(self, _button: object, checked: bool) -> None:
        if checked:
            self._fill_criteria()
            self.changed.emit()

    def _on_choice(self, _index: int) -> None:
        self.changed.emit()


def _combo(tip: str) -> QComboBox:
    combo = QComboBox()
    combo.setToolTip(tip)
    combo.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    combo.setMinimumContentsLength(6)
    return combo
