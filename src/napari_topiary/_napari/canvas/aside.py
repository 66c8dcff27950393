"""Layers that are hidden for a while, and come back as the user had them."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari.layers import Layer


class Aside:
    """Remembers what was visible before it was put aside."""

    def __init__(self) -> None:
        self._hidden: list[weakref.ref[Layer]] = []

    def hide(self, layers: Iterable[Layer]) -> None:
        """Hide layers that are visible.

        Parameters
        ----------
        layers
            To be hidden.
        """
        for layer in layers:
            if layer.visible:
                layer.visible = False
                self._hidden.append(weakref.ref(layer))

    def restore(self) -> None:
        """Show what was hidden here; what is gone, or visible again, is left alone."""
        for known in self._hidden:
            layer = known()
            if layer is not None and not layer.visible:
                layer.visible = True
        self._hidden = []
