"""Which network to train: kind, size, what it costs, and under More everything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QHBoxLayout, QToolButton, QVBoxLayout, QWidget

from napari_topiary import words
from napari_topiary._napari.jobs.latest import Latest
from napari_topiary._napari.widgets import look
from napari_topiary._napari.widgets.checkpoint_choice import combo
from napari_topiary._napari.widgets.form import Form, labels_of
from napari_topiary._napari.widgets.look import filled
from napari_topiary.config import TrainConfig
from napari_topiary.jobs.network_cost import (
    Blueprint,
    Circumstances,
    Figures,
    figures,
    preset_weights,
    traits_of,
    warning,
)
from napari_topiary.networks import networks, resolve_sizes, suited
from napari_topiary.types import Progress, TaskKind

if TYPE_CHECKING:
    from napari_topiary.checkpoint import Checkpoint

TRAINING = (
    "optimizer",
    "learning_rate",
    "schedule",
    "weight_decay",
    "batch",
    "balance",
    "training_pixels",
    "dice_weight",
    "distance",
    "distance_weight",
    "augment",
    "self_teaching",
    "seed",
)
"""Fields of `TrainConfig` that are shown, in this order."""
PIXELS_ONLY = ("training_pixels", "balance")
"""Only for networks that learn from single pixels."""
AREAS_ONLY = ("dice_weight",)
"""Only for networks that learn from whole patches."""
DISTANCE_ONLY = ("distance", "distance_weight")
"""Only for networks with a distance branch."""
_LABELS = {
    "optimizer": "Optimizer",
    "learning_rate": "Learning rate",
    "schedule": "Rate falls",
    "weight_decay": "Weight decay",
    "batch": "Patches a step",
    "balance": "Show",
    "training_pixels": "Pixels to learn from",
    "dice_weight": "Share of Dice loss",
    "distance": "Distance",
    "distance_weight": "Weight of distance",
    "augment": "Vary the patches",
    "self_teaching": "Learn from look-alikes",
    "seed": "Random seed",
}

COST_TIP = (
    "Weights: the numbers it learns. MACs: multiplications for each pixel that it "
    "reads.\nThe time is measured on this computer, for a million pixels of your image "
    "at the pixel size chosen below."
)
_LINES = 3
OWN, AS_IT_IS = "own sizes", "as it is"
NETWORK_TIP = (
    "The kind of network to train. Only those that suit what you look for are here."
)
SIZE_TIP = (
    "How large the network is. Small ones learn within a minute and are often "
    "as good; larger ones can tell finer differences.\n"
    "The number is that of its weights."
)


class FinerPoints(QWidget):
    """Two forms: sizes of the network, and its training as it is usually trained."""

    sized = Signal()
    changed = Signal()

    def __init__(self, config: TrainConfig) -> None:
        super().__init__()
        self._config = config
        self._network = ""
        self.sizes_form: Form | None = None
        self.training_form = Form(config, TRAINING, labels=_LABELS)
        self._sizes_place = QVBoxLayout()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(12, 0, 0, 0)
        layout.addLayout(self._sizes_place)
        layout.addWidget(look.paragraph("How it learns", role="hint"))
        layout.addWidget(self.training_form)
        self.training_form.changed.connect(self.changed)

    @property
    def forms(self) -> list[Form]:
        """Both forms, or the one there is."""
        return [f for f in (self.training_form, self.sizes_form) if f is not None]

    def training(self) -> dict[str, Any]:
        """Fields of a `TrainConfig`: how it learns."""
        finer = self.training_form.value()
        return {name: getattr(finer, name) for name in TRAINING}

    def sizes(self) -> dict[str, Any]:
        """All sizes as they are in the form; empty where only presets exist."""
        return {} if self.sizes_form is None else asdict(self.sizes_form.value())

    def show_recipe(self, network: str) -> None:
        """Show how a network is usually trained."""
        if network == self._network:
            return
        self._network = network
        kind = networks[network]
        usual = {n: v for n, v in kind.recipe.items() if n in TRAINING}
        self.training_form.set_value(replace(self._config, **usual))
        traits = traits_of(network)
        for names, shown in (
            (PIXELS_ONLY, traits.names_centres),
            (AREAS_ONLY, not traits.names_centres),
            (DISTANCE_ONLY, traits.has_distance),
        ):
            for name in names:
                self.training_form.show_field(name, shown)

    def show_sizes(self, network: str, preset: str) -> None:
        """Show all sizes of a preset, free to be changed."""
        self.hide_sizes()
        kind = networks[network]
        if kind.sizes is None:
            return
        config = kind.sizes(**kind.presets.get(preset, {}))
        self.sizes_form = Form(config, labels=labels_of(kind.sizes))
        self.sizes_form.changed.connect(self.sized)
        self._sizes_place.addWidget(self.sizes_form)

    def hide_sizes(self) -> None:
        """Show no sizes, because a checkpoint decides them."""
        if self.sizes_form is not None:
            self._sizes_place.removeWidget(self.sizes_form)
            self.sizes_form.hide()  # it may live on for a moment
            self.sizes_form.deleteLater()
            self.sizes_form = None


class NetworkCost(QWidget):
    """Counted at once, measured in the background.

    The line is as high before anything is known; the form around places `warning`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.lane = Latest()
        self._known: dict[Blueprint, Figures] = {}
        self._asked: tuple[Blueprint, Circumstances] | None = None
        self.line = look.paragraph("", role="hint")
        self.line.setToolTip(COST_TIP)
        self.line.setAlignment(Qt.AlignmentFlag.AlignTop)
        self.warning = look.paragraph("", role="problem")
        self.warning.hide()
        filled(QVBoxLayout(self), self.line, spacing=None)
        self._keep_height()

    def _keep_height(self) -> None:
        """Be as high before anything is known, in the letters of the theme."""
        self.line.ensurePolished()
        self.line.setMinimumHeight(_LINES * self.line.fontMetrics().lineSpacing())

    def showEvent(self, event: QShowEvent) -> None:
        """The theme's letters are known only now."""
        super().showEvent(event)
        self._keep_height()

    def show_figures(
        self, blueprint: Blueprint, around: Circumstances, *, measure: bool
    ) -> None:
        """Say what a network costs; the unknown is found out in the background."""
        self._asked = (blueprint, around)
        known = self._known.get(blueprint)
        self._write(known, waiting=measure)
        if known is None or (known.ms_per_megapixel is None and measure):
            self.lane.ask(
                lambda: figures(blueprint, measure=measure),
                title="Measuring the network",
                on_progress=self._on_counted,
                on_result=self._on_figures,
                on_error=self._on_error,
            )

    def _on_counted(self, progress: Progress) -> None:
        if isinstance(progress.report, Figures):
            self._write(progress.report, waiting=True)

    def _on_figures(self, found: Figures) -> None:
        if self._asked is not None:
            self._known[self._asked[0]] = found
        self._write(found, waiting=False)

    def _on_error(self, sentence: str) -> None:
        look.set_role(self.line, "problem")
        self.line.setText(sentence)

    def _write(self, known: Figures | None, *, waiting: bool) -> None:
        look.set_role(self.line, "hint")
        if known is None or self._asked is None:
            self.line.setText("Counting…")
            return
        around = self._asked[1]
        text = f"{words.count(known.weights)} weights · "
        text += f"{words.file_size(known.file_bytes)} · "
        text += f"{words.count(known.macs_per_pixel)} MACs per pixel"
        if known.ms_per_megapixel is not None:
            speed = words.milliseconds(known.ms_per_megapixel / around.factor**2)
            text += f" · ≈{words.THIN}{speed} per megapixel"
        elif waiting:
            text += " · measuring the speed…"
        self.line.setText(text)
        sentence = warning(known, around)
        self.warning.setText(sentence)
        self.warning.setVisible(bool(sentence))


class NetworkForm(QWidget):
    """Network, preset, sizes and the finer points of training, with a live line.

    `cost` and `finer` are placed by the form around, over its whole width.
    """

    changed = Signal()

    def __init__(self, config: TrainConfig) -> None:
        super().__init__()
        self._preferred = config
        self._is_chosen = False  # by a person
        self._start: Checkpoint | None = None
        self.network = combo(NETWORK_TIP)
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
        self.preset.currentIndexChanged.connect(self._on_preset)
        self.more.toggled.connect(self._on_more)
        self.finer.changed.connect(self.changed)
        self.finer.sized.connect(self._on_sizes)

    def _build(self) -> None:
        pair = filled(QHBoxLayout(), (self.preset, 1), self.more, spacing=None)
        filled(QVBoxLayout(self), self.network, pair, spacing=4)

    # -- what is chosen -----------------------------------------------------------

    @property
    def name(self) -> str:
        """Name that the chosen network is registered under."""
        return str(self.network.currentData())

    def values(self) -> dict[str, Any]:
        """Fields of a `TrainConfig`: network, preset, sizes, and the finer points."""
        preset, kind = self.preset.currentData(), networks[self.name]
        chosen = self.finer.training() | {"network": self.name, "sizes": {}}
        if preset in kind.presets:
            return {**chosen, "preset": preset}
        own = self.finer.sizes() if preset == OWN else {}
        return {**chosen, "preset": kind.default_preset, "sizes": own}

    @property
    def problem(self) -> str | None:
        """What is impossible about what is chosen, as a sentence."""
        forms = self.finer.forms
        if self.preset.currentData() != OWN:
            forms = [self.finer.training_form]
        return next((form.problem for form in forms if form.problem), None)

    def sizes(self) -> dict[str, Any]:
        """All sizes of the chosen network."""
        chosen = self.values()
        return resolve_sizes(self.name, chosen["preset"], chosen["sizes"])

    def choose(self, name: str) -> None:
        """Choose a network, as if the user had."""
        self.network.setCurrentIndex(self.network.findData(name))
        self._on_network()

    # -- what there is to choose from ---------------------------------------------

    def suit(self, task_kind: TaskKind) -> None:
        """Offer the networks that can answer a kind of task, the best one first."""
        names = suited(task_kind)
        if self._start is None and names and names != self._offered():
            before = self.name
            stays = self._is_chosen and before in names
            self._offer(names, before if stays else names[0])
            if self.name != before:
                self._fill_presets(self._preferred.preset)

    def set_start(self, start: Checkpoint | None) -> None:
        """A checkpoint decides which network it is, or nothing does."""
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
                self.preset.addItem(AS_IT_IS, AS_IT_IS)
            else:
                for name, weights in preset_weights(self.name).items():
                    title = kind.preset_titles.get(name, name)
                    text = f"{title} · {words.count(weights)}"
                    self.preset.addItem(text, name)
                if kind.sizes:
                    self.preset.addItem(OWN, OWN)
            known = wanted if wanted in kind.presets else kind.default_preset
            self.preset.setCurrentIndex(max(0, self.preset.findData(known)))
        self.network.setToolTip(f"{NETWORK_TIP}\n{kind.tip}")
        self.finer.show_recipe(self.name)
        self._show_sizes()

    def _show_sizes(self) -> None:
        if self._start is None:
            self.finer.show_sizes(self.name, self.preset.currentData())
        else:
            self.finer.hide_sizes()

    # -- what the user does -------------------------------------------------------

    def _on_network(self, _index: int = 0) -> None:
        self._is_chosen = True
        self._fill_presets()
        self.changed.emit()

    def _on_preset(self) -> None:
        if self.preset.currentData() == OWN:
            self.more.setChecked(True)
        else:
            self._show_sizes()
        self.changed.emit()

    def _on_sizes(self) -> None:
        with QSignalBlocker(self.preset):
            self.preset.setCurrentIndex(self.preset.findData(OWN))
        self.changed.emit()

    def _on_more(self, shown: bool) -> None:
        self.finer.setVisible(shown)
        arrow = Qt.ArrowType.DownArrow if shown else Qt.ArrowType.RightArrow
        self.more.setArrowType(arrow)
