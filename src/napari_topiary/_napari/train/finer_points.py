"""Under More: every size of a network, and how it learns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from typing import Any, get_args, get_type_hints

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_topiary._napari.network_traits import traits_of
from napari_topiary._napari.widgets import look
from napari_topiary._napari.widgets.form import Form
from napari_topiary.config import TrainConfig
from napari_topiary.networks import networks

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


class FinerPoints(QWidget):
    """Two forms: sizes of the network, and its training as it is usually trained.

    Parameters
    ----------
    config
        First values.

    Signals
    -------
    sized()
        The user changed a size.
    changed()
        The user changed how it learns.
    """

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
        """Show how a network is usually trained.

        Parameters
        ----------
        network
            Its registered name.
        """
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
        """Show all sizes of a preset, free to be changed.

        Parameters
        ----------
        network, preset
            Which.
        """
        self.hide_sizes()
        kind = networks[network]
        if kind.sizes is None:
            return
        config = kind.sizes(**kind.presets.get(preset, {}))
        self.sizes_form = Form(config, labels=_labels_of(kind.sizes))
        self.sizes_form.changed.connect(self.sized)
        self._sizes_place.addWidget(self.sizes_form)

    def hide_sizes(self) -> None:
        """Show no sizes, because a checkpoint decides them."""
        if self.sizes_form is not None:
            self._sizes_place.removeWidget(self.sizes_form)
            self.sizes_form.hide()  # it may live on for a moment
            self.sizes_form.deleteLater()
            self.sizes_form = None


def _labels_of(sizes: type[Any]) -> Mapping[str, str]:
    """Labels that the fields' annotations carry."""
    labels = {}
    hints = get_type_hints(sizes, include_extras=True)
    for field in fields(sizes):
        for extra in get_args(hints[field.name])[1:]:
            if isinstance(extra, dict) and "label" in extra:
                labels[field.name] = extra["label"]
    return labels
