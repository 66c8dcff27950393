"""How Topiary's widgets look: napari's own theme, plus roles for what we add to it."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from textwrap import fill
from typing import TYPE_CHECKING, Any, Literal

from napari.utils.theme import get_theme
from qtpy.compat import isalive
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QBoxLayout,
    QFormLayout,
    QFrame,
    QLabel,
    QLayout,
    QScrollArea,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

if TYPE_CHECKING:
    import napari.viewer

Role = Literal["info", "problem", "empty", "title", "hint", "good", "chip"]
Colour = Literal["accent", "good", "problem", "kept", "lost", "gained", "a", "b"]

# Chosen to be told apart, also with red-green blindness, and to read on both grounds.
_COLOURS: dict[str, dict[str, str]] = {
    "dark": {
        "accent": "#2f7d4f",
        "good": "#6fcf97",
        "problem": "#ffb454",
        "kept": "#5ac8fa",
        "lost": "#ff6b8a",
        "gained": "#ffd166",
        "a": "#5ac8fa",
        "b": "#ffa94d",
    },
    "light": {
        "accent": "#8fd0a5",
        "good": "#1b6b3a",
        "problem": "#9a4d00",
        "kept": "#0068a8",
        "lost": "#c2185b",
        "gained": "#8a6d00",
        "a": "#0068a8",
        "b": "#b35900",
    },
}


def theme_type(viewer: napari.viewer.Viewer) -> str:
    """Return "dark" or "light", whatever the theme is called."""
    return str(get_theme(viewer.theme).type)


def colour(viewer: napari.viewer.Viewer, which: Colour) -> str:
    """Hex colour for a meaning, chosen for the viewer's theme."""
    return _COLOURS[theme_type(viewer)][which]


def stylesheet(viewer: napari.viewer.Viewer) -> str:
    """What is added to napari's own style sheet, from the colours of its theme."""
    theme = get_theme(viewer.theme)
    ours = _COLOURS[str(theme.type)]
    text, ground = theme.text.as_hex(), theme.background.as_hex()
    foreground, primary = theme.foreground.as_hex(), theme.primary.as_hex()
    secondary = theme.secondary.as_hex()
    return f"""
QLabel[role="title"] {{ font-weight: 600; }}
QLabel[role="hint"] {{ color: {_mixed(text, ground, 0.72)}; }}
QLabel[role="chip"] {{ background: {foreground}; border-radius: 8px;
    padding: 2px 8px; }}
QLabel[role="good"] {{ color: {ours["good"]}; }}
QLabel[role="problem"] {{ color: {ours["problem"]}; }}
QLabel[role="empty"] {{ background: {foreground}; border-radius: 6px;
    border-left: 3px solid {ours["accent"]}; padding: 8px; }}
QFrame[role="card"], QFrame[role="card"] QLabel {{ background: {foreground}; }}
QFrame[role="card"] {{ border-radius: 6px; }}
QListWidget[role="gallery"] {{ qproperty-good: {ours["good"]}; }}
QListWidget[role="gallery"], QListWidget[role="list"] {{ background: {foreground};
    border-radius: 6px; }}
QListWidget[role="gallery"]::item, QListWidget[role="list"]::item {{
    border-radius: 4px; }}
QListWidget[role="gallery"]::item:hover, QListWidget[role="list"]::item:hover {{
    background: {primary}; }}
QListWidget[role="gallery"]::item:selected, QListWidget[role="list"]::item:selected {{
    background: {secondary}; }}
QHeaderView {{ background: {ground}; }}
QHeaderView::section, QTableCornerButton::section {{ background: {foreground};
    color: {text}; border: 0px; padding: 3px 4px; }}
QPushButton {{ padding: 4px 7px; border: 1px solid transparent; }}
QCheckBox, QRadioButton, QToolButton {{ border: 1px solid transparent;
    border-radius: 3px; }}
{_focused(FOCUSABLE)} {{ border: 1px solid {ours["b"]}; }}
QPushButton[emphasized="true"]:enabled {{ background: {ours["accent"]};
    font-weight: 600; }}
QPushButton[emphasized="true"]:enabled:hover {{
    background: {_mixed(ours["accent"], text, 0.88)}; }}
QPushButton[role="tab"] {{ background: transparent; border-radius: 0px;
    padding: 6px 1px; border-bottom: 3px solid transparent; }}
QPushButton[role="tab"]:hover {{ background: {foreground}; }}
QPushButton[role="tab"]:focus {{ border: 1px solid {ours["b"]}; }}
QPushButton[role="tab"]:checked {{ border-bottom: 3px solid {theme.current.as_hex()};
    background: {foreground}; }}
QPushButton[role="tab"][emphasized="true"] {{ background: transparent;
    border-bottom: 3px solid {ours["accent"]}; color: {ours["good"]}; }}
QPushButton[role="small"] {{ background: transparent; padding: 0px; }}
QPushButton[role="small"]:hover {{ background: {primary}; }}
QPushButton[role="flat"] {{ background: transparent; }}
QPushButton[role="flat"]:hover {{ background: {primary}; }}
"""


FOCUSABLE = (
    "QPushButton",
    "QToolButton",
    "QComboBox",
    "QAbstractSpinBox",
    "QLineEdit",
    "QTextEdit",
    "QSlider",
    "QCheckBox",
    "QRadioButton",
    "QListWidget",
    "QTableWidget",
)
"""What the keyboard can be in, and has a ring then."""


def _focused(widgets: Iterable[str]) -> str:
    return ", ".join(f"{one}:focus" for one in widgets)


def dress(widget: QWidget, viewer: napari.viewer.Viewer) -> None:
    """Give a widget our additions to the theme, and renew them when it changes."""
    known_widget, known_viewer = weakref.ref(widget), weakref.ref(_unproxied(viewer))

    def renew(_event: object = None) -> None:
        one, other = known_widget(), known_viewer()
        if one is not None and other is not None and isalive(one):
            one.setStyleSheet(stylesheet(other))

    # The emitter would only hold the closure weakly; the widget has to keep it.
    widget._renew_style = renew  # type: ignore[attr-defined]
    viewer.events.theme.connect(renew)
    renew()


def _unproxied(viewer: Any) -> Any:
    return getattr(viewer, "__wrapped__", viewer)


def set_role(widget: QWidget, role: str) -> None:
    """Change what a widget means, and so how it looks."""
    if widget.property("role") != role:
        widget.setProperty("role", role)
        _restyle(widget)


def emphasize(button: QWidget, on: bool = True) -> None:
    """Mark a button as the next useful one, or no longer."""
    if bool(button.property("emphasized")) != on:
        button.setProperty("emphasized", on)
        _restyle(button)


def _restyle(widget: QWidget) -> None:
    widget.style().unpolish(widget)
    widget.style().polish(widget)


def paragraph(text: str, *, role: Role = "info") -> QLabel:
    """Make a label that wraps its text over several lines."""
    label = QLabel(text)
    label.setWordWrap(True)
    label.setProperty("role", role)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    policy = QSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
    policy.setHeightForWidth(True)
    label.setSizePolicy(policy)
    return label


TIP_LETTERS = 92
"""A line of what is said on hover holds so many."""


def lines(tip: str) -> str:
    """Break what is said on hover into lines that are read at a glance."""
    return "\n".join(
        fill(one, TIP_LETTERS, break_long_words=False) for one in tip.split("\n")
    )


def filled(
    layout: QBoxLayout,
    *parts: QWidget | QLayout | int | tuple[QWidget | QLayout, int],
    spacing: int | None = 6,
) -> QBoxLayout:
    """Put parts into a layout without margins; a number is a stretch of that factor."""
    layout.setContentsMargins(0, 0, 0, 0)
    if spacing is not None:
        layout.setSpacing(spacing)
    for part in parts:
        if isinstance(part, int):
            layout.addStretch(part)
            continue
        one, stretch = part if isinstance(part, tuple) else (part, 0)
        if isinstance(one, QWidget):
            layout.addWidget(one, stretch)
        else:
            layout.addLayout(one, stretch)
    return layout


def rows(parent: QWidget | None = None, *, spacing: int = 6) -> QFormLayout:
    """Make a layout of named fields, as wide as there is room."""
    layout = QFormLayout(parent)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setHorizontalSpacing(10)
    layout.setVerticalSpacing(spacing)
    layout.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    return layout


def scrolled(inside: QWidget) -> QScrollArea:
    """Let what does not fit be scrolled to, up and down."""
    scroll = QScrollArea()
    scroll.setWidgetResizable(True)
    scroll.setFrameShape(QFrame.Shape.NoFrame)
    scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    scroll.setWidget(inside)
    return scroll


def section(title: str, *, hint: str = "") -> tuple[QVBoxLayout, QFrame]:
    """Make a titled group; returns the layout to fill and the frame to place."""
    frame = QFrame()
    layout = QVBoxLayout(frame)
    layout.setContentsMargins(0, 2, 0, 2)
    layout.setSpacing(5)
    heading = QLabel(title)
    heading.setProperty("role", "title")
    heading.setToolTip(lines(hint))
    layout.addWidget(heading)
    return layout, frame


def card() -> tuple[QVBoxLayout, QFrame]:
    """Make a raised group without heading (results); returns layout and frame."""
    frame = QFrame()
    frame.setProperty("role", "card")
    layout = QVBoxLayout(frame)
    layout.setContentsMargins(10, 8, 10, 8)
    layout.setSpacing(4)
    return layout, frame


def _mixed(one: str, other: str, share: float) -> str:
    """Mix two colours; `share` of the first."""
    first, second = _rgb(one), _rgb(other)
    return "#" + "".join(
        f"{round(share * a + (1 - share) * b):02x}"
        for a, b in zip(first, second, strict=True)
    )


def _rgb(hexa: str) -> tuple[int, int, int]:
    digits = hexa.lstrip("#")
    if len(digits) == 3:
        digits = "".join(2 * digit for digit in digits)
    return int(digits[:2], 16), int(digits[2:4], 16), int(digits[4:6], 16)
