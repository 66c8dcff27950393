"""The layers that a person draws on: made, filled, watched, and kept as the task is."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.compat import isalive
from qtpy.QtCore import QObject, Signal

from napari_topiary._napari.canvas.layers import (
    KEY,
    current_image_name,
    drop_spare_layers,
    free_in_own_context,
    image_layer,
    layer_for,
    put_layer,
    spare_pixels,
)
from napari_topiary._napari.canvas.shown_image import (
    place_layers,
    put_aside,
    show_image,
)
from napari_topiary._napari.canvas.turns import turns_of
from napari_topiary._napari.drawing import marks
from napari_topiary._napari.jobs.latest import later
from napari_topiary._napari.state import state_of, unwrap
from napari_topiary.annotations import annotation_kinds
from napari_topiary.session.history import Direction

if TYPE_CHECKING:
    import napari.viewer
    from napari.layers import Labels, Layer

    from napari_topiary._napari.drawing.drawing import Drawing
    from napari_topiary.session import Session

SETTLE_MS = 150
"""Edits that follow one another faster (a drag) are one step of undo."""


class LayerWatch(QObject):
    """Listens to one layer per kind of annotation."""

    edited = Signal()
    settled = Signal()
    aimed = Signal()
    picked = Signal(object)

    def __init__(self, on_key: Callable[[str], object]) -> None:
        super().__init__()
        self._on_key = on_key
        self._layers: dict[str, weakref.ref[Layer]] = {}
        self._quiet = 0
        self.pending: set[str] = set()
        self._timer = later(self, 0, self.settled)

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
        if isalive(self._timer):  # not so at the very end of the program
            self._timer.stop()
        pending, self.pending = self.pending, set()
        return pending

    def follow(self, kind: str, layer: Layer) -> None:
        """Listen to a layer from now on."""
        known = self._layers.get(kind)
        if known is not None and known() is layer:
            return
        self._layers[kind] = weakref.ref(layer)
        layer.events.data.connect(self._on_change)
        known = annotation_kinds[kind]
        if known.layer_type == "labels":
            layer.events.paint.connect(self._on_change)
            layer.events.labels_update.connect(self._on_change)
        elif known.has_classes:
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
        painted = annotation_kinds[kind].layer_type == "labels"
        if action in ("added", "removed") and not painted:
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


class Following:
    """Keeps a drawing up to date; both signals and napari hold it weakly."""

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
        was_image = event.value.metadata.get(KEY) == ("image", drawing.name)
        if was_image and image_layer(drawing.viewer, drawing.name) is None:
            drawing.lost.emit("image")
        kind = drawing.watch.lost(event.value)
        if kind is None:
            return
        if kind in drawing.watch.pending:  # the last edit is not to go with the layer
            drawing.gather(removed={kind: event.value})
        if drawing.of_kind(kind) is not None:
            drawing.lost.emit(kind)


class DrawnLayers:
    """One layer per kind of annotation; holds neither viewer nor layers."""

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
        """Make the layer of a kind, or bring it up to date with the session."""
        viewer, name = self.viewer, self.name
        if image_layer(viewer, name) is None:
            show_image(viewer, self.session, name)
        known = annotation_kinds[kind]
        room = spare_pixels(viewer, (kind, name))
        data, visual = marks.layer_data(self.session, name, kind, room)
        look = marks.fixed_look(kind) if self.layer(kind) is None else {}
        turns_of(viewer).hold_painting()
        with self.watch.quiet():
            layer = put_layer(
                viewer,
                (kind, name),
                data,
                known.layer_type,
                like=image_layer(viewer, name),
                name=f"{name} · {known.title}",
                **look,
                **visual,
            )
            if known.layer_type == "labels":
                marks.colour_labels(layer, self.session)
                if self._on_press not in layer.mouse_drag_callbacks:
                    # Before napari's own, which paints.
                    layer.mouse_drag_callbacks.insert(0, self._on_press)
        self.watch.follow(kind, layer)
        return layer

    def aim(self, class_name: str) -> None:
        """Let everything drawn from now on be of a class."""
        name = self.name
        if name is None or class_name not in self.session.task.classes:
            return
        with self.watch.quiet():
            for kind in annotation_kinds:
                layer = self.layer(kind)
                if layer is not None:
                    marks.aim(layer, kind, self.session, name, class_name)

    def _on_press(self, layer: Labels, event: Any) -> None:
        """Give a stroke apart from the object in the hand to a new object."""
        mode = str(layer.mode)
        if self.session.task.kind != "instances":
            return
        place = np.asarray(layer.world_to_data(event.position))[-2:]
        if mode == "pick":
            self.watch.picked.emit(place)
        if mode == "polygon" and not layer._overlays["polygon"].points:
            layer.selected_label = marks.new_object(layer)
        if mode != "paint":
            return
        if layer.selected_label == self._painted:  # nobody has chosen another since
            layer.selected_label = marks.object_at(layer, place)
        self._painted = int(layer.selected_label)

    @property
    def is_painting(self) -> bool:
        """Whether the painted layer is the one that is worked on."""
        layer = self.layer("labels")
        active = unwrap(self.viewer.layers.selection.active)
        return layer is not None and active is layer

    def has_painted_step(self, direction: Direction) -> bool:
        """Whether napari has a stroke to undo or redo."""
        return bool(getattr(self.layer("labels"), f"_{direction}_history", ()))

    def take_painted_step(self, direction: Direction) -> None:
        """Let napari undo or redo a stroke."""
        getattr(self.layer("labels"), direction)()
