"""A curtain between two overlays: left of the line is A, right of it is B."""

from __future__ import annotations

import weakref
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QObject, Signal

from napari_topiary._napari.canvas.shown_image import visible_window
from napari_topiary._napari.compare.layers import ComparisonLayers
from napari_topiary._napari.state import unwrap

if TYPE_CHECKING:
    import napari.viewer

REACH_PX = 10
"""The line is caught this near to it, in pixels of the screen."""
LINE_PX = 2.5
"""How thick the line is on the screen."""
EDGE = 0.02
"""The line stays this share of the view away from its edges, to be caught there."""
HAND = "pointing"


class Curtain(QObject):
    """Draws the line, lets it be dragged, and crops the two overlays at it."""

    moved = Signal(float)  #: The line is at this share of the visible width

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer = weakref.ref(unwrap(viewer))
        self.layers: ComparisonLayers | None = None
        self.x = 0.0
        self._pressed = _Callback(self, "_drag")
        self._hovered = _Callback(self, "_hover")
        self._is_hand = self._has_line = False

    @property
    def active(self) -> bool:
        """Whether the curtain is there."""
        return self.layers is not None

    def open(self, layers: ComparisonLayers) -> None:
        """Show the curtain, at first in the middle of the view."""
        self.close()
        viewer = self._viewer()
        if viewer is None or layers.image is None:
            return
        self.layers, self._has_line = layers, False
        left, right = self._view()
        self.x = (left + right) / 2
        viewer.mouse_drag_callbacks.append(self._pressed)
        viewer.mouse_move_callbacks.append(self._hovered)
        viewer.scene.camera.events.zoom.connect(self._on_camera)
        viewer.scene.camera.events.center.connect(self._on_camera)
        self._draw()

    def show_line(self) -> None:
        """Draw the line too: a layer of its own."""
        self._has_line = True
        self._draw_line()

    def close(self) -> None:
        """Take the curtain away."""
        viewer = self._viewer()
        if self.layers is None or viewer is None:
            self.layers = None
            return
        for callbacks, one in (
            (viewer.mouse_drag_callbacks, self._pressed),
            (viewer.mouse_move_callbacks, self._hovered),
        ):
            if one in callbacks:
                callbacks.remove(one)
        viewer.scene.camera.events.zoom.disconnect(self._on_camera)
        viewer.scene.camera.events.center.disconnect(self._on_camera)
        self._point(viewer, near=False)
        self.layers.remove("line")
        self.layers = None

    def move(self, share: float) -> None:
        """Put the line at a share of the visible width."""
        if self.layers is None:
            return
        left, right = self._view()
        self.x = left + share * (right - left)
        self._draw()

    def _view(self) -> tuple[float, float]:
        """Left and right end of the visible part of the image, in its pixels."""
        if self.layers is None or self.layers.image is None:
            return 0.0, 1.0
        shape = self.layers.match.subject.image.shape[1:]
        _, _, left, right = visible_window(self.layers.image, shape)
        return left - 0.5, right - 0.5

    def _on_camera(self, _event: object = None) -> None:
        """Keep the line in view, and as thick as it was."""
        if self.layers is None or self.layers.image is None:
            return
        left, right = self._view()
        margin = EDGE * (right - left)
        kept = float(np.clip(self.x, left + margin, right - margin))
        if kept != self.x:
            self.x = kept
            self._draw()
        else:
            self._draw_line()
            self.moved.emit((self.x - left) / max(1e-9, right - left))

    # -- drawing ------------------------------------------------------------------

    def _draw(self) -> None:
        layers = self.layers
        if layers is None or layers.image is None:
            return
        for what, (picture, factor) in zip("ab", layers.pictures, strict=True):
            at = round((self.x + 0.5 - layers.match.corner[1]) / factor[1])
            layers.put_side(what, cropped(picture, at, keep_left=what == "a"))
        self._draw_line()
        left, right = self._view()
        self.moved.emit((self.x - left) / max(1e-9, right - left))

    def _draw_line(self) -> None:
        layers, viewer = self.layers, self._viewer()
        if layers is None or layers.image is None or viewer is None:
            return
        if not self._has_line:
            return
        height = layers.match.subject.image.shape[1]
        scale = float(np.asarray(layers.image.scale)[-1])
        width = LINE_PX / max(1e-9, float(viewer.scene.camera.zoom) * scale)
        ends = np.array([[-0.5, self.x], [height - 0.5, self.x]])
        layer = layers.layer("line")
        if layer is not None and len(layer.data) == 1:
            layer.data = [ends]
            layer.edge_width = [width]
        else:
            layers.put(
                "line",
                [ends],
                "shapes",
                shape_type="line",
                edge_width=width,
                edge_color="white",
                face_color="transparent",
            )

    # -- the mouse ----------------------------------------------------------------

    def _is_near(self, viewer: Any, position: Any) -> bool:
        """Whether a place in the world is near the line, as the eye sees it."""
        layers = self.layers
        if layers is None or layers.image is None or layers.layer("line") is None:
            return False
        active = viewer.layers.selection.active
        if active is not None and active.mode not in ("pan_zoom", "transform"):
            return False  # a tool is in the hand: the click is meant for it
        here = np.asarray(layers.image.world_to_data(position), dtype=float)[-2:]
        zoom = float(viewer.scene.camera.zoom) * float(
            np.asarray(layers.image.scale)[-1]
        )
        return bool(abs(here[1] - self.x) * zoom <= REACH_PX)

    def _drag(self, viewer: Any, event: Any) -> Generator[None, None, None]:
        if not self._is_near(viewer, event.position):
            return
        could_pan = viewer.scene.camera.mouse_pan
        viewer.scene.camera.mouse_pan = False
        try:
            yield
            while event.type == "mouse_move":
                if self.layers is not None and self.layers.image is not None:
                    here = self.layers.image.world_to_data(event.position)
                    left, right = self._view()
                    self.x = float(np.clip(np.asarray(here)[-1], left, right))
                    self._draw()
                event.handled = True
                yield
        finally:
            viewer.scene.camera.mouse_pan = could_pan

    def _hover(self, viewer: Any, event: Any) -> None:
        self._point(viewer, near=self._is_near(viewer, event.position))

    def _point(self, viewer: Any, *, near: bool) -> None:
        if near != self._is_hand:
            self._is_hand = near
            viewer.cursor.style = HAND if near else "standard"


def cropped(
    picture: NDArray[np.uint8], at: int, *, keep_left: bool
) -> NDArray[np.uint8]:
    """Make a picture transparent on one side of a column.

    `picture` `(y, x, 4)`.
    """
    result = picture.copy()
    at = min(max(at, 0), picture.shape[1])
    gone = np.s_[:, at:, 3] if keep_left else np.s_[:, :at, 3]
    result[gone] = 0
    return result


class _Callback:
    """What napari calls; it does not keep the curtain alive."""

    def __init__(self, curtain: Curtain, method: str) -> None:
        self._curtain = weakref.ref(curtain)
        self._method = method

    def __call__(self, viewer: Any, event: Any) -> Any:
        curtain = self._curtain()
        return (
            None if curtain is None else getattr(curtain, self._method)(viewer, event)
        )
