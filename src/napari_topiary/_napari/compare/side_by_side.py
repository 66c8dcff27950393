"""A and B beside one another in napari's grid, whose views move together."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.compat import isalive
from qtpy.QtCore import QObject

from napari_topiary._napari.canvas.shown_image import picture_of, visible_window
from napari_topiary._napari.compare.layers import (
    ComparisonLayers,
    put_labels,
    put_things,
)
from napari_topiary._napari.jobs.latest import later
from napari_topiary._napari.state import unwrap

if TYPE_CHECKING:
    import napari.viewer
    from napari.layers import Layer

SECOND = ("image-b", "b", "labels-b", "things-b", "name-b")
"""The layers of the second view, from below; everything else is in the first."""
MARGIN = 0.95
"""The image fills this share of each view."""
WHOLE = 0.9
"""Who sees this share of the image's height is looking at all of it."""


class SideBySide(QObject):
    """Arranges the layers in two views, and puts everything back."""

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self._viewer = weakref.ref(unwrap(viewer))
        self.layers: ComparisonLayers | None = None
        self._before: dict[str, Any] = {}
        self._camera: tuple[Any, float, float] | None = None
        self._soon = later(self, 0, self.arrange)

    @property
    def active(self) -> bool:
        """Whether there are two views."""
        return self.layers is not None

    def steps(
        self, layers: ComparisonLayers, *, things: bool, labels: bool
    ) -> list[Callable[[], object]]:
        """What shows A in the first view and B in the second, one after the other.

        Making a layer takes napari long: the window lives between two of them.

        `things`: whether what was kept, lost and gained is marked in the second view
        too · `labels`: whether other labels are outlined in the second view too.
        """
        self.close()
        then: list[Callable[[], object]] = [
            lambda: layers.put_side("a"),
            lambda: layers.put_side("b"),
        ]
        if labels:
            then.append(lambda: put_labels(layers, "labels-b"))
        if things:
            then.append(lambda: put_things(layers, "things-b"))
        then += [lambda: layers.put_name("a"), lambda: layers.put_name("b")]
        return [
            lambda: self._begin(layers),
            lambda: self._then(self._open),
            *(lambda one=one: self._then(one) for one in then),
        ]

    def _then(self, step: Callable[[], object]) -> None:
        """Take a step, while there are two views."""
        if self.layers is not None:
            step()
            self.arrange()

    def _begin(self, layers: ComparisonLayers) -> None:
        """Make the image of the second view."""
        viewer = self._viewer()
        if viewer is None or layers.image is None:
            return
        self.layers = layers
        self._put_second(layers.image)
        grid = viewer.canvas.grid
        self._before = {n: getattr(grid, n) for n in ("enabled", "shape", "stride")}
        for event in (viewer.layers.events.inserted, viewer.layers.events.removed):
            event.connect(self._on_layers)

    def _open(self) -> None:
        """Make two views of the image."""
        viewer, layers = self._viewer(), self.layers
        image = None if layers is None else layers.image
        if viewer is None or layers is None or image is None:
            return
        shape = layers.match.subject.image.shape[1:]
        top, bottom, _, _ = visible_window(image, shape)
        viewer.canvas.grid.shape = (1, 2)
        self.arrange()  # napari builds the views once
        viewer.canvas.grid.enabled = True
        second = layers.layer("image-b")
        if second is not None:
            second.visible = True
        if bottom - top >= WHOLE * shape[0]:
            self._fit(viewer, image)

    def show_things(self, on: bool) -> None:
        """Mark what was kept, lost and gained in the second view, or no longer."""
        if self.layers is not None:
            if on:
                put_things(self.layers, "things-b")
            else:
                self.layers.remove("things-b")
            self.arrange()

    def show_labels(self, on: bool) -> None:
        """Outline other labels in the second view, or no longer."""
        if self.layers is not None:
            if on:
                put_labels(self.layers, "labels-b")
            else:
                self.layers.remove("labels-b")
            self.arrange()

    def arrange(self) -> None:
        """Keep the layers of the second view together on top."""
        viewer = self._viewer()
        if viewer is None or self.layers is None:
            return
        second = [self.layers.layer(what) for what in SECOND]
        theirs = [layer for layer in second if layer is not None]
        if self.layers.layer("image-b") is None or self.layers.image is None:
            self.close()  # a view without its image shows nothing
            return
        if list(viewer.layers)[-len(theirs) :] != theirs:
            for layer in theirs:
                viewer.layers.move(viewer.layers.index(layer), len(viewer.layers))
        # The first view takes as many layers as there are below.
        stride = max(len(viewer.layers) - len(theirs), len(theirs))
        if viewer.canvas.grid.stride != stride:
            viewer.canvas.grid.stride = stride

    def close(self) -> None:
        """Go back to one view, as the user had it."""
        viewer, layers = self._viewer(), self.layers
        self.layers = None
        if isalive(self._soon):  # not so at the very end of the program
            self._soon.stop()
        if viewer is None or layers is None:
            return
        for event in (viewer.layers.events.inserted, viewer.layers.events.removed):
            event.disconnect(self._on_layers)
        for name, value in self._before.items():
            setattr(viewer.canvas.grid, name, value)
        layers.remove("image-b", "labels-b", "things-b", "name-a", "name-b")
        self._restore_camera(viewer)

    def _put_second(self, image: Layer) -> None:
        layers = self.layers
        if layers is None:
            return
        data, visual = picture_of(layers.match.subject.image)
        if not visual["rgb"] and not image.rgb:
            visual |= {
                "contrast_limits": tuple(image.contrast_limits),
                "colormap": image.colormap,
            }
        second = layers.put("image-b", data, "image", **visual)
        if second is not None:  # until there is a view of its own it would hide A
            second.visible = False

    def _fit(self, viewer: Any, image: Layer) -> None:
        """Who saw all of the image sees all of it in both views."""
        camera, (height, width) = viewer.scene.camera, viewer.canvas.size
        extent = np.ptp(np.asarray(image.extent.world), axis=0)[-2:]
        fitted = MARGIN * min(height / extent[0], width / 2 / extent[1])
        before = tuple(camera.center), float(camera.zoom)
        camera.zoom = min(before[1], float(fitted))
        camera.center = tuple(np.mean(np.asarray(image.extent.world), axis=0)[-2:])
        self._camera = (*before, float(camera.zoom))

    def _restore_camera(self, viewer: Any) -> None:
        if self._camera is not None:
            center, zoom, fitted = self._camera
            if np.isclose(viewer.scene.camera.zoom, fitted):  # not moved since
                viewer.scene.camera.center, viewer.scene.camera.zoom = center, zoom
        self._camera = None

    def _on_layers(self, _event: object = None) -> None:
        self._soon.start()
