"""Keys of a page, bound while it is in front (napari ignores those of manifests)."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from napari_topiary._napari.state import unwrap

if TYPE_CHECKING:
    import napari.viewer


class Keys:
    """Binds and frees the keys of a page on the canvas.

    `actions`: key, in napari's way of writing ("Q", "Shift-A") -> what it does.
    """

    def __init__(
        self,
        viewer: napari.viewer.Viewer,
        actions: Mapping[str, Callable[[], object]],
    ) -> None:
        self._viewer = weakref.ref(unwrap(viewer))
        self._actions = dict(actions)
        self._bound = False

    def bind(self) -> None:
        """Let the keys act from now on."""
        viewer = self._viewer()
        if viewer is None or self._bound:
            return
        self._bound = True
        for key in self._actions:
            viewer.bind_key(key, _Press(self, key), overwrite=True)

    def free(self) -> None:
        """Let the keys be as they were."""
        viewer = self._viewer()
        if viewer is None or not self._bound:
            return
        self._bound = False
        for key in self._actions:
            viewer.bind_key(key, None)

    def press(self, key: str) -> None:
        """Do what a key does."""
        self._actions[key]()


class _Press:
    """What napari calls; it keeps neither the page nor the viewer alive."""

    def __init__(self, keys: Keys, key: str) -> None:
        self._keys = weakref.ref(keys)
        self._key = key
        self.__name__ = self.__qualname__ = f"topiary_{key}"
        self.__doc__ = f"Topiary: {key}"

    def __call__(self, _viewer: Any) -> None:
        keys = self._keys()
        if keys is not None:
            keys.press(self._key)
