"""Notices what the user does in annotation layers, and waits until it has settled."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, QTimer, Signal

if TYPE_CHECKING:
    from napari.layers import Layer

SETTLE_MS = 150
"""Edits that follow one another faster (a drag) are one step of undo."""


class LayerWatch(QObject):
    """Listens to one layer per kind of annotation.

    Parameters
    ----------
    on_key
        Called with "undo" or "redo" when its key is pressed on one of the layers.

    Signals
    -------
    edited()
        Something was added or removed: read it now.
    settled()
        What was being changed has come to rest: read it now.
    aimed()
        The user took up drawing again (napari may have changed what is drawn next).
    """

    edited = Signal()
    settled = Signal()
    aimed = Signal()

    def __init__(self, on_key: Callable[[str], object]) -> None:
        super().__init__()
        self._on_key = on_key
        self._layers: dict[str, weakref.ref[Layer]] = {}
        self._quiet = 0
        self.pending: set[str] = set()
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self.settled)

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """Hear nothing of what happens inside, for it is our own doing."""
        self._quiet += 1
        try:
            yield
        finally:
            self._quiet -= 1

    @property
    def is_quiet(self) -> bool:
        """Whether what happens now is our own doing."""
        return self._quiet > 0

    def wait(self, times: int = 1) -> None:
        """Announce `settled` after some time without further changes."""
        self._timer.start(times * SETTLE_MS)

    def take(self) -> set[str]:
        """Kinds that changed since the last time."""
        self._timer.stop()
        pending, self.pending = self.pending, set()
        return pending

    def follow(self, kind: str, layer: Layer) -> None:
        """Listen to a layer from now on.

        Parameters
        ----------
        kind
            Kind of annotation that it shows.
        layer
            The layer; the one before of this kind is not heard any more.
        """
        known = self._layers.get(kind)
        if known is not None and known() is layer:
            return
        self._layers[kind] = weakref.ref(layer)
        layer.events.data.connect(self._on_change)
        if kind == "labels":
            layer.events.paint.connect(self._on_change)
            layer.events.labels_update.connect(self._on_change)
        elif kind != "regions":
            layer.events.features.connect(self._on_change)
            layer.events.mode.connect(self._on_mode)
        layer.bind_key("Control-Z", self._on_undo_key, overwrite=True)
        for key in ("Control-Shift-Z", "Control-Y"):
            layer.bind_key(key, self._on_redo_key, overwrite=True)

    def lost(self, layer: Layer) -> str | None:
        """Forget a layer that was removed; returns its kind, None if not followed."""
        for kind, known in list(self._layers.items()):
            if known() is layer:
                del self._layers[kind]
                return kind
        return None

    def _on_change(self, event: Any) -> None:
        kind = self._kind_of(event.source)
        if kind is None or self.is_quiet:
            return
        self.pending.add(kind)
        action = str(getattr(event, "action", ""))
        if action in ("added", "removed") and kind != "labels":
            self.edited.emit()
        else:
            self.wait()

    def _on_mode(self, event: Any) -> None:
        if not self.is_quiet and str(event.mode) not in ("select", "direct"):
            self.aimed.emit()

    def _on_undo_key(self, _layer: object) -> None:
        self._on_key("undo")

    def _on_redo_key(self, _layer: object) -> None:
        self._on_key("redo")

    def _kind_of(self, layer: Layer) -> str | None:
        for kind, known in self._layers.items():
            if known() is layer:
                return kind
        return None
