"""Which network to grow: kind, size, and under More everything that can be set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import QHBoxLayout, QToolButton, QVBoxLayout, QWidget

from napari_topiary._napari.train.finer_points import FinerPoints
from napari_topiary._napari.train.network_cost import NetworkCost
from napari_topiary._napari.widgets.checkpoint_choice import combo
from napari_topiary.config import TrainConfig
from napari_topiary.networks import networks, resolve_sizes, suited
from napari_topiary.types import TaskKind

if TYPE_CHECKING:
    from napari_topiary.checkpoint import Checkpoint

OWN, AS_IT_IS = "own sizes", "as it is"
TIP = "The kind of network to grow. Only those that suit what you look for are here."
SIZE_TIP = (
    "How large the network is. Small ones learn within a minute and are often "
    "as good; larger ones can tell finer differences."
)


class NetworkForm(QWidget):
    """Network, preset, sizes and the finer points of training, with a live line.

    `cost` and `finer` are placed by the form around, over its whole width.

    Signals
    -------
    changed()
        Anything was changed by the user.
    """

    changed = Signal()

    def __init__(self, config: TrainConfig) -> None:
        super().__init__()
        self._preferred = config
        self._start: Checkpoint | None = None
        self.network = combo(TIP)
        self.preset = combo(SIZE_TIP)
        self.more = QToolButton()
        self.more.setText("More")
        self.more.setCheckable(True)
        self.more.setArrowType(Qt.ArrowType.RightArrow)
        self.more.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.more.setToolTip("Every size of the network, and how it learns.")
        self.cost = NetworkCost()
        self.finer = FinerPoints(config)
        self.finer.hide()
        self._build()
        self._offer(list(networks), config.network)
        self._fill_presets(config.preset)
        self.network.activated.connect(self._on_network)
        self.preset.currentTextChanged.connect(self._on_preset)
        self.more.toggled.connect(self._on_more)
        self.finer.changed.connect(self.changed)
        self.finer.sized.connect(self._on_sizes)

    def _build(self) -> None:
        pair = QHBoxLayout()
        pair.addWidget(self.preset, 1)
        pair.addWidget(self.more)
        both = QVBoxLayout(self)
        both.setContentsMargins(0, 0, 0, 0)
        both.setSpacing(4)
        both.addWidget(self.network)
        both.addLayout(pair)

    # -- what is chosen -----------------------------------------------------------

    @property
    def name(self) -> str:
        """Name that the chosen network is registered under."""
        return str(self.network.currentData())

    def values(self) -> dict[str, Any]:
        """Fields of a `TrainConfig`: network, preset, sizes, and the finer points."""
        preset, kind = self.preset.currentText(), networks[self.name]
        chosen = self.finer.training() | {"network": self.name, "sizes": {}}
        if preset in kind.presets:
            return {**chosen, "preset": preset}
        own = self.finer.sizes() if preset == OWN else {}
        return {**chosen, "preset": kind.default_preset, "sizes": own}

    @property
    def problem(self) -> str | None:
        """What is impossible about what is chosen, as a sentence."""
        forms = self.finer.forms
        if self.preset.currentText() != OWN:
            forms = [self.finer.training_form]
        return next((form.problem for form in forms if form.problem), None)

    def sizes(self) -> dict[str, Any]:
        """All sizes of the chosen network."""
        chosen = self.values()
        return resolve_sizes(self.name, chosen["preset"], chosen["sizes"])

    def choose(self, name: str) -> None:
        """Choose a network, as if the user had.

        Parameters
        ----------
        name
            It is registered under.
        """
        self.network.setCurrentIndex(self.network.findData(name))
        self._on_network()

    # -- what there is to choose from ---------------------------------------------

    def suit(self, task_kind: TaskKind) -> None:
        """Offer the networks that can answer a kind of task.

        Parameters
        ----------
        task_kind
            Of the project.
        """
        names = suited(task_kind)
        if self._start is None and names and names != self._offered():
            before = self.name
            self._offer(names, before if before in names else names[0])
            if self.name != before:
                self._fill_presets()

    def set_start(self, start: Checkpoint | None) -> None:
        """A checkpoint decides which network it is, or nothing does.

        Parameters
        ----------
        start
            The one that training starts from; None = from scratch.
        """
        if start is self._start:
            return
        self._start = start
        for widget in (self.network, self.preset):
            widget.setEnabled(start is None)
        if start is not None and start.network in networks:
            self._offer([start.network], start.network)
        self._fill_presets()

    def _offered(self) -> list[str]:
        return [self.network.itemData(i) for i in range(self.network.count())]

    def _offer(self, names: Sequence[str], chosen: str) -> None:
        with QSignalBlocker(self.network):
            self.network.clear()
            for index, name in enumerate(names):
                self.network.addItem(networks[name].title or name, name)
                tip = Qt.ItemDataRole.ToolTipRole
                self.network.setItemData(index, networks[name].tip, tip)
            self.network.setCurrentIndex(self.network.findData(chosen))

    def _fill_presets(self, wanted: str = "") -> None:
        kind = networks[self.name]
        with QSignalBlocker(self.preset):
            self.preset.clear()
            if self._start is not None:
                self.preset.addItem(AS_IT_IS)
            else:
                self.preset.addItems([*kind.presets, *([OWN] if kind.sizes else [])])
            known = wanted if wanted in kind.presets else kind.default_preset
            self.preset.setCurrentText(known)
        self.network.setToolTip(f"{TIP}\n{kind.tip}")
        self.finer.show_recipe(self.name)
        self._show_sizes()

    def _show_sizes(self) -> None:
        if self._start is None:
            self.finer.show_sizes(self.name, self.preset.currentText())
        else:
            self.finer.hide_sizes()

    # -- what the user does -------------------------------------------------------

    def _on_network(self, _index: int = 0) -> None:
        self._fill_presets()
        self.changed.emit()

    def _on_preset(self) -> None:
        if self.preset.currentText() == OWN:
            self.more.setChecked(True)
        else:
            self._show_sizes()
        self.changed.emit()

    def _on_sizes(self) -> None:
        with QSignalBlocker(self.preset):
            self.preset.setCurrentText(OWN)
        self.changed.emit()

    def _on_more(self, shown: bool) -> None:
        self.finer.setVisible(shown)
        arrow = Qt.ArrowType.DownArrow if shown else Qt.ArrowType.RightArrow
        self.more.setArrowType(arrow)
