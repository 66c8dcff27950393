"""How the drawing follows what happens in the session and in the layer list."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_topiary._napari.canvas.layer_keys import free_in_own_context
from napari_topiary._napari.canvas.layers import (
    drop_spare_layers,
    place_layers,
    put_aside,
)
from napari_topiary._napari.state import state_of, unwrap

if TYPE_CHECKING:
    import napari.viewer

    from napari_topiary._napari.drawing.drawing import Drawing


class Following:
    """Keeps a drawing up to date; both signals and napari hold it weakly.

    Parameters
    ----------
    drawing
        What is kept up to date; it holds this object.
    viewer
        The viewer of the drawing.
    """

    def __init__(self, drawing: Drawing, viewer: napari.viewer.Viewer) -> None:
        self.drawing = drawing
        self._classes = drawing.session.task.classes
        session = drawing.session
        session.images_changed.connect(self._on_images)
        session.annotations_changed.connect(self._on_annotations)
        session.task_changed.connect(self._on_task)
        session.scale_changed.connect(self._on_scale)
        layers = unwrap(viewer).layers
        layers.events.removing.connect(self._on_removing)
        layers.events.removed.connect(self._on_removed)

    def _on_images(self) -> None:
        drawing, viewer = self.drawing, self.drawing.viewer
        if viewer is None:
            return
        images, name, state = drawing.session.images, drawing.name, state_of(viewer)
        if name is None or state.picture is not images[name].image:
            drawing.watch.take()
            drawing.forget_steps()
            state.shown = None
            put_aside(viewer, keep=None)
            if images:
                drawing.show(next(iter(images)))
            else:
                drop_spare_layers(viewer)
        drawing.changed.emit()

    def _on_annotations(self, name: str) -> None:
        drawing = self.drawing
        if not drawing.watch.is_quiet and name == drawing.name:
            drawing.refill()

    def _on_task(self) -> None:
        drawing = self.drawing
        if self._classes != drawing.session.task.classes:
            before, self._classes = self._classes, drawing.session.task.classes
            drawing.follow_classes(before)
        if drawing.name is not None and not drawing.watch.is_quiet:
            drawing.gather()
            drawing.refill()

    def _on_scale(self, name: str) -> None:
        drawing, viewer = self.drawing, self.drawing.viewer
        if viewer is None:
            return
        scale = drawing.session.images[name].scale
        units = "pixel" if scale is None else "nm"
        place_layers(viewer, name, scale=scale or 1.0, units=units)
        if name == drawing.name:
            drawing.refill()
            viewer.reset_view()

    def _on_removing(self) -> None:
        if self.drawing.viewer is not None:
            free_in_own_context(self.drawing.viewer)

    def _on_removed(self, event: Any) -> None:
        drawing = self.drawing
        if drawing.watch.is_quiet or drawing.name is None:
            return
        kind = drawing.watch.lost(event.value)
        if kind is None:
            return
        if kind in drawing.watch.pending:  # the last edit is not to go with the layer
            drawing.gather(removed={kind: event.value})
        if drawing.of_kind(kind) is not None:
            drawing.lost.emit(kind)
