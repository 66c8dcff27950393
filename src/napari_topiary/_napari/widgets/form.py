"""A frozen dataclass of `config` as a form: one field, one row."""

from __future__ import annotations

import math
import types
from collections.abc import Mapping, Sequence
from dataclasses import fields as dataclass_fields
from dataclasses import replace
from decimal import Decimal
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from magicgui.widgets import create_widget
from qtpy.QtCore import QEvent, QObject, Qt, Signal
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QComboBox,
    QDoubleSpinBox,
    QLabel,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_topiary._napari.widgets import look
from napari_topiary._napari.widgets.look import filled


class LengthField(QDoubleSpinBox):
    """A length or size in world units; 0 stands for "unknown" and shows that word."""

    def __init__(self, unit: str, tip: str, *, digits: int = 6) -> None:
        super().__init__()
        self._digits = digits
        self.setDecimals(4)
        self.setRange(0, 1e6)
        self.setSpecialValueText("unknown")
        self.setSuffix(f" {unit}" if unit else "")
        self.setKeyboardTracking(False)
        self.setStepType(QDoubleSpinBox.StepType.AdaptiveDecimalStepType)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setToolTip(look.lines(tip))

    def textFromValue(self, value: float) -> str:
        """Write no more digits than there are."""
        return f"{value:.{self._digits}g}"

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Leave the wheel to the scroll area until the field is clicked."""
        if self.hasFocus():
            super().wheelEvent(event)
        else:
            event.ignore()

    def show_value(self, value: float | None) -> None:
        """Show a value without announcing a change; not while it is being typed."""
        if self.hasFocus() and self.lineEdit().isModified():
            return
        was = self.blockSignals(True)
        self.setValue(value or 0.0)
        self.blockSignals(was)


def step_for(value: float | None, options: Mapping[str, Any]) -> float:
    """Step of a field: the power of ten of its value, fine enough for its range."""
    if not value:
        value = (options.get("max", 1.0) - options.get("min", 0.0)) / 20
    return float(10 ** math.floor(math.log10(abs(value)) - 1e-9))


def decimals_of(*numbers: object) -> int:
    """Decimals that show all of these numbers exactly (at most 8)."""
    exponents = [
        -int(Decimal(repr(one)).normalize().as_tuple().exponent)
        for one in numbers
        if isinstance(one, float) and math.isfinite(one)
    ]
    return min(8, max([0, *exponents]))


def split_annotation(hint: Any, options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Separate a type from the options that its annotation carries."""
    if get_origin(hint) is not Annotated:
        return hint, options
    kind, *extras = get_args(hint)
    merged: dict[str, Any] = {}
    for extra in extras:
        if isinstance(extra, Mapping):
            merged |= extra
    return kind, merged | options


def is_optional(kind: Any) -> bool:
    """Whether None is among the values of a type."""
    return get_origin(kind) in (Union, types.UnionType) and type(None) in get_args(kind)


def without_none(kind: Any) -> Any:
    """Return an optional type without its None."""
    rest = [one for one in get_args(kind) if one is not type(None)]
    return rest[0] if len(rest) == 1 else Union[tuple(rest)]  # noqa: UP007


AUTOMATIC = "automatic"
"""What an optional number shows while it is None."""
AUTOMATIC_WIDE = 124
"""Pixels for that word between the two buttons."""


class Form(QWidget):
    """A form for the fields of a configuration."""

    changed = Signal()

    def __init__(
        self,
        config: Any,
        fields: Sequence[str] | None = None,
        *,
        labels: Mapping[str, str] | None = None,
        options: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        super().__init__()
        self._config = config
        hints = get_type_hints(type(config), include_extras=True)
        if fields is None:
            fields = [
                one.name
                for one in dataclass_fields(config)
                if not isinstance(getattr(config, one.name), dict)
            ]
        self.widgets: dict[str, Any] = {}
        self._optional: dict[str, float] = {}
        self._whole: set[str] = set()
        self._problems: dict[str, QLabel] = {}
        self._touched = next(iter(fields), "")
        layout = look.rows(self, spacing=5)
        self._rows = layout
        for name in fields:
            self._add_row(
                name,
                hints[name],
                (labels or {}).get(name, name.replace("_", " ").capitalize()),
                dict((options or {}).get(name, {})),
            )
        self._show_problem()

    def _add_row(
        self, name: str, hint: Any, text: str, options: dict[str, Any]
    ) -> None:
        kind, options = split_annotation(hint, options)
        value = getattr(self._config, name)
        optional = is_optional(kind)
        if optional:
            kind = without_none(kind)
        if kind is float:
            options.setdefault("step", step_for(value, options))
        if optional and kind in (int, float):
            # One step below the lowest number stands for None.
            nothing = options.get("min", 0) - options.setdefault("step", 1)
            options["min"] = self._optional[name] = nothing
            options.setdefault("max", 1e6)
            value = nothing if value is None else value
            if kind is int:
                # The field for whole numbers cannot show a word in place of one.
                kind = float
                self._whole.add(name)
        widget: Any = create_widget(
            value=value, annotation=kind, name=name, options=options or {}
        )
        if kind is float and hasattr(widget.native, "setDecimals"):
            widget.native.setDecimals(decimals_of(value, *options.values()))
            widget.value = value
        if kind is bool:
            widget.native.setText("")  # the label is beside it already
        if name in self._optional:
            widget.native.setSpecialValueText(AUTOMATIC)
            widget.native.setMinimumWidth(AUTOMATIC_WIDE)
        self._fit(widget.native)
        tip = look.lines(options.get("tooltip", ""))
        cell = QWidget()
        column = filled(QVBoxLayout(cell), widget.native, spacing=2)
        problem = look.paragraph("", role="problem")
        problem.hide()
        column.addWidget(problem)
        label = QLabel(text)
        label.setToolTip(tip)
        label.setBuddy(widget.native)
        widget.native.setToolTip(tip)
        self._rows.addRow(label, cell)
        self.widgets[name], self._problems[name] = widget, problem
        widget.changed.connect(lambda _value, field=name: self._on_changed(field))

    def _fit(self, native: QWidget) -> None:
        """Let a field grow, and keep the wheel for scrolling until it is clicked."""
        native.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        native.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        for part in (native, *native.findChildren(QWidget)):
            if isinstance(part, (QAbstractSpinBox, QComboBox)):
                part.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Hold the wheel back from fields that do not have the focus."""
        if (
            event.type() == QEvent.Type.Wheel
            and isinstance(watched, QWidget)
            and not watched.hasFocus()
        ):
            event.ignore()
            return True
        return False

    def value(self) -> Any:
        """The configuration as it stands in the form."""
        return replace(
            self._config, **{name: self._read(name) for name in self.widgets}
        )

    def set_value(self, config: Any) -> None:
        """Show another configuration of the same class; `changed` comes once."""
        self._config = config
        for name, widget in self.widgets.items():
            value = getattr(config, name)
            if isinstance(value, float) and hasattr(widget.native, "setDecimals"):
                digits = max(widget.native.decimals(), decimals_of(value))
                widget.native.setDecimals(digits)
            with widget.changed.blocked():
                widget.value = self._optional[name] if value is None else value
        self._show_problem()
        self.changed.emit()

    def show_field(self, name: str, visible: bool) -> None:
        """Show or hide the row of one field."""
        cell = self._problems[name].parentWidget()
        self._rows.setRowVisible(cell, visible)

    @property
    def problem(self) -> str | None:
        """What stops this form from running, as a sentence; None when nothing does."""
        return self.value().problem()

    def refuse(self, sentence: str) -> None:
        """Show a sentence under the field last touched until the form changes again."""
        self._clear_problems()
        shown = self._problems[self._touched]
        shown.setText(sentence)
        shown.show()

    def _read(self, name: str) -> Any:
        value = self.widgets[name].value
        if value == self._optional.get(name, _NOTHING):
            return None
        return int(value) if name in self._whole else value

    def _on_changed(self, name: str) -> None:
        self._touched = name
        self._show_problem()
        self.changed.emit()

    def _show_problem(self) -> None:
        self._clear_problems()
        sentence = self.problem
        if sentence:
            self.refuse(sentence)

    def _clear_problems(self) -> None:
        for problem in self._problems.values():
            problem.hide()


_NOTHING = object()


def labels_of(sizes: type[Any]) -> Mapping[str, str]:
    """Labels that the fields' annotations carry."""
    labels = {}
    hints = get_type_hints(sizes, include_extras=True)
    for field in dataclass_fields(sizes):
        for extra in get_args(hints[field.name])[1:]:
            if isinstance(extra, dict) and "label" in extra:
                labels[field.name] = extra["label"]
    return labels
