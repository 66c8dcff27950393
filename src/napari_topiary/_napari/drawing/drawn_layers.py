"""The annotation layers of the shown image: made, filled and aimed."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_topiary._napari.canvas.layers import (
    current_image_name,
    image_layer,
    layer_for,
    put_layer,
    show_image,
)
from napari_topiary._napari.drawing import marks
from napari_topiary._napari.drawing.history import Direction
from napari_topiary._napari.drawing.layer_watch import LayerWatch
from napari_topiary._napari.state import unwrap

if TYPE_CHECKING:
    import napari.viewer
    from napari.layers import Labels, Layer

    from napari_topiary.session import Session


class DrawnLayers:
    """One layer per kind of annotation; holds neither viewer nor layers.

    Parameters
    ----------
    viewer
        The viewer.
    session
        The project.
    watch
        Told of every layer, and kept quiet while we change it ourselves.
    """

    def __init__(
        self, viewer: napari.viewer.Viewer, session: Session, watch: LayerWatch
    ) -> None:
        self._known_viewer = weakref.ref(unwrap(viewer))
        self.session = session
        self.watch = watch
        self._painted = 0

    @property
    def viewer(self) -> Any:
        """The viewer; None once it is gone."""
        return self._known_viewer()

    @property
    def name(self) -> str | None:
        """Name of the image that is being worked on."""
        viewer = self.viewer
        return None if viewer is None else current_image_name(viewer, self.session)

    def layer(self, kind: str) -> Layer | None:
        """The layer of one kind of annotation on the shown image, or None."""
        name = self.name
        return None if name is None else layer_for(self.viewer, (kind, name))

    def fill(self, kind: str) -> Layer:
        """Make the layer of a kind, or bring it up to date with the session.

        Parameters
        ----------
        kind
            "points", "centerlines", "regions" or "labels".
        """
        viewer, name = self.viewer, self.name
        if image_layer(viewer, name) is None:
            show_image(viewer, self.session, name)
        data, visual = marks.layer_data(self.session, name, kind)
        look = marks.fixed_look(kind) if self.layer(kind) is None else {}
        with self.watch.quiet():
            layer = put_layer(
                viewer,
                (kind, name),
                data,
                marks.LAYER_TYPES[kind],
                like=image_layer(viewer, name),
                name=f"{name} · {marks.TITLES[kind]}",
                **look,
                **visual,
            )
            if kind == "labels":
                marks.colour_labels(layer, self.session)
                if self._on_press not in layer.mouse_drag_callbacks:
                    # Before napari's own, which paints.
                    layer.mouse_drag_callbacks.insert(0, self._on_press)
        self.watch.follow(kind, layer)
        return layer

    def aim(self, class_name: str) -> None:
        """Let everything drawn from now on be of a class.

        Parameters
        ----------
        class_name
            One of the task's classes.
        """
        name = self.name
        if name is None or class_name not in self.session.task.classes:
            return
        with self.watch.quiet():
            for kind, aim in marks.AIMS.items():
                layer = self.layer(kind)
                if layer is not None:
                    aim(layer, self.session, name, class_name)

    def _on_press(self, layer: Labels, event: Any) -> None:
        """Give a stroke apart from the object in the hand to a new object."""
        if self.session.task.kind != "instances" or str(layer.mode) != "paint":
            return
        if layer.selected_label == self._painted:  # nobody has chosen another since
            place = np.asarray(layer.world_to_data(event.position))[-2:]
            layer.selected_label = marks.object_at(layer, place)
        self._painted = int(layer.selected_label)

    def has_painted_step(self, direction: Direction) -> bool:
        """Whether the painted layer is the one worked on, and napari has a step."""
        layer = self.layer("labels")
        if layer is None or unwrap(self.viewer.layers.selection.active) is not layer:
            return False
        return bool(getattr(layer, f"_{direction}_history", ()))

    def take_painted_step(self, direction: Direction) -> bool:
        """Let napari undo or redo a stroke, if there is one; returns whether."""
        if not self.has_painted_step(direction):
            return False
        getattr(self.layer("labels"), direction)()
        return True
