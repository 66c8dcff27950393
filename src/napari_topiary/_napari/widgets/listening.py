"""Connections that end with the widget that listens, not with Python's memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.QtWidgets import QWidget


class Listening:
    """Connects signals of psygnal and napari for as long as a widget lives.

    A widget can be deleted by Qt while Python still holds it; a signal that reaches it
    then would raise.

    Parameters
    ----------
    widget
        The widget that listens.
    """

    def __init__(self, widget: QWidget) -> None:
        self._endings: list[Callable[[], None]] = []
        # Not a method of the widget: it has to work when that is already gone.
        widget.destroyed.connect(self._end)

    def to(self, signal: Any, callback: Callable[..., Any]) -> None:
        """Call a method of the widget whenever a signal is emitted.

        Parameters
        ----------
        signal
            `session.images_changed`, `viewer.layers.events.inserted`, ...
        callback
            A bound method.
        """
        signal.connect(callback)

        def end() -> None:
            try:
                signal.disconnect(callback)
            except (ValueError, KeyError, RuntimeError, TypeError):
                return  # it went with its owner

        self._endings.append(end)

    def _end(self, *_: object) -> None:
        for end in self._endings:
            end()
        self._endings.clear()
