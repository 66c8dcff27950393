"""Which network to grow: kind, size, and under More everything that can be set."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any, get_args, get_type_hints

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import (
    QComboBox,
    QHBoxLayout,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_topiary._napari.jobs.latest import Latest
from napari_topiary._napari.train.network_figures import Blueprint, Figures, figures
from napari_topiary._napari.widgets import look, words
from napari_topiary._napari.widgets.form import Form
from napari_topiary.config import TrainConfig
from napari_topiary.networks import networks, resolve_sizes
from napari_topiary.types import Progress

OWN = "own sizes"
_TRAINING = ("learning_rate", "batch", "dice_weight", "augment", "seed")
_LABELS = {
    "learning_rate": "Learning rate",
    "batch": "Patches a step",
    "dice_weight": "Share of Dice loss",
    "augment": "Vary the patches",
    "seed": "Random seed",
}


class NetworkForm(QWidget):
    """Network, preset, sizes and the finer points of training, with a live line.

    Signals
    -------
    changed()
        Anything was changed by the user.
    """

    changed = Signal()

    def __init__(self, config: TrainConfig) -> None:
        super().__init__()
        self._known: dict[Blueprint, Figures] = {}
        self.lane = Latest()
        self._blueprint: Blueprint | None = None
        self._factor = 1.0
        self._fixed = False
        self.network = _combo("The kind of network to grow.", list(networks))
        self.preset = _combo(
            "How large the network is. Small ones learn within a minute and are often "
            "as good; larger ones can tell finer differences.",
            [],
        )
        self.line = look.paragraph("", role="hint")
        self.line.setToolTip(
            "Counted, and measured on this computer. The time is for a million pixels "
            "of your image at the pixel size chosen below."
        )
        self.more = QToolButton()
        self.more.setText("More")
        self.more.setCheckable(True)
        self.more.setArrowType(Qt.ArrowType.RightArrow)
        self.more.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.more.setToolTip("Every size of the network, and how it learns.")
        self.training_form = Form(config, _TRAINING, labels=_LABELS)
        self.sizes_form: Form | None = None
        self.details = QWidget()  # placed by the form around, over its whole width
        self._build()
        self.network.setCurrentText(config.network)
        self._fill_presets(config.preset)
        self.network.currentTextChanged.connect(self._on_network)
        self.preset.currentTextChanged.connect(self._on_preset)
        self.more.toggled.connect(self._on_more)
        self.training_form.changed.connect(self.changed)

    def _build(self) -> None:
        pair = QHBoxLayout()
        pair.setContentsMargins(0, 0, 0, 0)
        pair.addWidget(self.network, 2)
        pair.addWidget(self.preset, 3)
        pair.addWidget(self.more)
        self._sizes_place = QVBoxLayout()
        details = QVBoxLayout(self.details)
        details.setContentsMargins(12, 0, 0, 0)
        details.addLayout(self._sizes_place)
        details.addWidget(self.training_form)
        self.details.hide()
        self.setLayout(pair)

    # -- what is chosen -----------------------------------------------------------

    def values(self) -> dict[str, Any]:
        """Fields of a `TrainConfig`: network, preset, sizes, and the finer points."""
        preset = self.preset.currentText()
        finer = self.training_form.value()
        chosen = {name: getattr(finer, name) for name in _TRAINING}
        chosen |= {"network": self.network.currentText(), "sizes": {}}
        if preset == OWN:
            kind = networks[chosen["network"]]
            return {**chosen, "preset": kind.default_preset, "sizes": self._own_sizes()}
        return {**chosen, "preset": preset}

    @property
    def problem(self) -> str | None:
        """What is impossible about what is chosen, as a sentence."""
        forms = [self.training_form]
        if self.preset.currentText() == OWN and self.sizes_form is not None:
            forms.append(self.sizes_form)
        return next((form.problem for form in forms if form.problem), None)

    def sizes(self) -> dict[str, Any]:
        """All sizes of the chosen network."""
        chosen = self.values()
        return resolve_sizes(chosen["network"], chosen["preset"], chosen["sizes"])

    def _own_sizes(self) -> dict[str, Any]:
        return {} if self.sizes_form is None else asdict(self.sizes_form.value())

    # -- the live line ------------------------------------------------------------

    def show_figures(
        self, blueprint: Blueprint, *, factor: float, measure: bool
    ) -> None:
        """Say what a network costs; what is not known is found out in the background.

        Parameters
        ----------
        blueprint
            Of which network.
        factor
            Image pixels per pixel that the network reads, to one side.
        measure
            Whether the speed may be measured now.
        """
        self._blueprint, self._factor = blueprint, factor
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

    def set_fixed(self, fixed: bool) -> None:
        """Whether a checkpoint decides which network it is.

        Parameters
        ----------
        fixed
            True greys the choices out.
        """
        self._fixed = fixed
        for widget in (self.network, self.preset):
            widget.setEnabled(not fixed)
        if self.sizes_form is not None:
            self.sizes_form.setEnabled(not fixed)

    def _on_counted(self, progress: Progress) -> None:
        if isinstance(progress.report, Figures):
            self._write(progress.report, waiting=True)

    def _on_figures(self, found: Figures) -> None:
        if self._blueprint is not None:
            self._known[self._blueprint] = found
        self._write(found, waiting=False)

    def _on_error(self, sentence: str) -> None:
        look.set_role(self.line, "problem")
        self.line.setText(sentence)

    def _write(self, known: Figures | None, *, waiting: bool) -> None:
        look.set_role(self.line, "hint")
        if known is None:
            self.line.setText("Counting…")
            return
        text = f"{words.count(known.weights)} weights · "
        text += words.file_size(known.file_bytes)
        if known.ms_per_megapixel is not None:
            speed = words.milliseconds(known.ms_per_megapixel / self._factor**2)
            text += f" · ≈ {speed} per megapixel"
        elif waiting:
            text += " · measuring the speed…"
        self.line.setText(text)

    # -- what the user does -------------------------------------------------------

    def _fill_presets(self, wanted: str = "") -> None:
        kind = networks[self.network.currentText()]
        with QSignalBlocker(self.preset):
            self.preset.clear()
            self.preset.addItems([*kind.presets, *([OWN] if kind.sizes else [])])
            known = wanted if wanted in kind.presets else kind.default_preset
            self.preset.setCurrentText(known)
        self._make_sizes_form()

    def _make_sizes_form(self) -> None:
        """Show all sizes of the chosen preset, free to be changed."""
        if self.sizes_form is not None:
            self._sizes_place.removeWidget(self.sizes_form)
            self.sizes_form.deleteLater()
            self.sizes_form = None
        kind = networks[self.network.currentText()]
        if kind.sizes is None:
            return
        preset = self.preset.currentText()
        config = kind.sizes(**kind.presets.get(preset, {}))
        self.sizes_form = Form(config, labels=_labels_of(kind.sizes))
        self.sizes_form.changed.connect(self._on_sizes)
        self.sizes_form.setEnabled(not self._fixed)
        self._sizes_place.addWidget(self.sizes_form)

    def _on_network(self) -> None:
        self._fill_presets()
        self.changed.emit()

    def _on_preset(self) -> None:
        if self.preset.currentText() == OWN:
            self.more.setChecked(True)
        else:
            self._make_sizes_form()
        self.changed.emit()

    def _on_sizes(self) -> None:
        with QSignalBlocker(self.preset):
            self.preset.setCurrentText(OWN)
        self.changed.emit()

    def _on_more(self, shown: bool) -> None:
        self.details.setVisible(shown)
        arrow = Qt.ArrowType.DownArrow if shown else Qt.ArrowType.RightArrow
        self.more.setArrowType(arrow)


def _labels_of(sizes: type[Any]) -> dict[str, str]:
    """Labels that the fields' annotations carry."""
    labels = {}
    hints = get_type_hints(sizes, include_extras=True)
    for field in fields(sizes):
        for extra in get_args(hints[field.name])[1:]:
            if isinstance(extra, dict) and "label" in extra:
                labels[field.name] = extra["label"]
    return labels


def _combo(tip: str, choices: list[str]) -> QComboBox:
    combo = QComboBox()
    combo.addItems(choices)
    combo.setToolTip(tip)
    combo.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    combo.setMinimumContentsLength(5)
    return combo
