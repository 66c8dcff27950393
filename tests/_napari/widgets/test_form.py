from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import pytest

pytest.importorskip("qtpy")

from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import QApplication

from napari_topiary import DetectConfig, PredictConfig, PruneConfig, TrainConfig
from napari_topiary._napari.widgets.form import AUTOMATIC, Form


@pytest.mark.parametrize(
    "config",
    [
        TrainConfig(epochs=3),
        TrainConfig(minutes=0.25, learning_rate=2.5e-4, patch=96),
        PruneConfig(remove=0.875, kind="weights", criterion="magnitude"),
        DetectConfig(),
        DetectConfig(threshold=0.37, spacing=1.25, min_size_px=40),
        PredictConfig(tile=256),
    ],
)
def test_the_form_gives_back_what_it_was_given(qtbot, config):
    shown = [n for n in config.__dataclass_fields__ if n not in ("sizes", "detect")]
    form = Form(config, shown)
    qtbot.addWidget(form)
    assert form.value() == config
    form.set_value(type(config)())
    assert form.value() == type(config)()
    form.set_value(config)
    assert form.value() == config


def test_fields_that_are_not_shown_keep_their_values(qtbot):
    form = Form(TrainConfig(seed=5), ("minutes",))
    qtbot.addWidget(form)
    form.widgets["minutes"].value = 3.0
    assert form.value() == TrainConfig(seed=5, minutes=3.0)


def test_an_optional_number_shows_automatic_for_none(qtbot):
    form = Form(DetectConfig(), ("threshold",))
    qtbot.addWidget(form)
    native = form.widgets["threshold"].native
    assert native.text() == AUTOMATIC
    form.widgets["threshold"].value = 0.0
    assert form.value().threshold == 0.0
    assert native.text() != AUTOMATIC


@dataclass(frozen=True)
class Limits:
    low: Annotated[int, {"min": 0, "max": 9}] = 1
    high: Annotated[int, {"min": 0, "max": 9}] = 5

    def problem(self) -> str | None:
        return f"The low {self.low} is above the high." * (self.low > self.high) or None


def test_a_refused_value_is_a_sentence_under_its_field(qtbot):
    form = Form(Limits())
    qtbot.addWidget(form)
    form.show()
    assert form.problem is None
    form.widgets["low"].value = 6
    assert form.problem == "The low 6 is above the high."
    shown = [p.text() for p in form._problems.values() if p.isVisible()]
    assert shown == [form.problem]
    form.widgets["high"].value = 7
    assert form.problem is None
    assert not any(p.isVisible() for p in form._problems.values())


def test_changed_comes_once_per_change(qtbot):
    form = Form(TrainConfig(), ("minutes", "batch", "augment"))
    qtbot.addWidget(form)
    heard = []
    form.changed.connect(lambda: heard.append(form.value()))
    form.widgets["batch"].value = 4
    assert len(heard) == 1 and heard[0].batch == 4
    form.set_value(TrainConfig(minutes=2.0, batch=2, augment=False))
    assert len(heard) == 2


def test_every_field_has_a_label_and_a_tooltip(qtbot):
    form = Form(TrainConfig(), labels={"batch": "Patches a step"})
    qtbot.addWidget(form)
    assert {"sizes"} & set(form.widgets) == set()
    for widget in form.widgets.values():
        assert widget.native.toolTip()
    texts = [
        form.layout().itemAt(row, form.layout().ItemRole.LabelRole).widget().text()
        for row in range(form.layout().rowCount())
    ]
    assert "Patches a step" in texts and "Learning rate" in texts


def test_choices_can_be_given(qtbot):
    form = Form(
        TrainConfig(), ("preset",), options={"preset": {"choices": ["tiny", "2m"]}}
    )
    qtbot.addWidget(form)
    form.widgets["preset"].value = "2m"
    assert form.value().preset == "2m"
    form.widgets["preset"].choices = ["tiny"]
    assert form.value().preset == "tiny"


def test_the_wheel_scrolls_past_fields_that_are_not_in_use(qtbot):
    form = Form(TrainConfig(), ("batch",))
    qtbot.addWidget(form)
    form.show()
    native = form.widgets["batch"].native
    middle = QPointF(native.rect().center())
    event = QWheelEvent(
        middle, QPointF(native.mapToGlobal(native.rect().center())),
        QPoint(0, 0), QPoint(0, 120), Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier, Qt.ScrollPhase.NoScrollPhase, False,
    )  # fmt: skip
    QApplication.sendEvent(native, event)
    assert form.value() == TrainConfig()


@dataclass(frozen=True)
class Small:
    """Numbers of many sizes."""

    tiny: Annotated[float, {"min": 1e-6, "max": 1.0, "tooltip": "t"}] = 2.5e-5
    odd: Annotated[float, {"min": 0.0, "max": 9.0, "tooltip": "t"}] = 0.3125
    whole: Annotated[float, {"min": 0, "max": 1024, "step": 1, "tooltip": "t"}] = 3
    none: Annotated[int | None, {"min": 16, "max": 99, "tooltip": "t"}] = None

    def problem(self):
        return None


def test_numbers_are_shown_with_all_their_decimals(qtbot):
    form = Form(Small())
    qtbot.addWidget(form)
    assert form.value() == Small()
