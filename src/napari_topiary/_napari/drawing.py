"""Keeps what is drawn in layers and what is in the session the same, with undo."""

from __future__ import annotations

import weakref
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, QTimer, Signal

from napari_topiary._napari import marks
from napari_topiary._napari.history import History, State
from napari_topiary._napari.layers import (
    current_image_name,
    image_layer,
    layer_for,
    place_layers,
    put_aside,
    put_layer,
    remove_layer,
    show_image,
)
from napari_topiary._napari.state import state_of, unwrap
from napari_topiary.errors import TopiaryError

if TYPE_CHECKING:
    import napari.viewer
    from napari.layers import Layer

    from napari_topiary.session import Session

_SETTLE_MS = 150
"""Edits that follow one another faster (a drag) are one step of undo."""


class Drawing(QObject):
    """The annotation layers of the image that is being worked on.

    Signals
    -------
    changed()
        Something was drawn, undone, or another image is shown.
    problem(str)
        What is drawn cannot be used as it is (a sentence); empty when it is solved.
    lost(str)
        The user deleted the layer of this kind; what it showed is still there.
    """

    changed = Signal()
    problem = Signal(str)
    lost = Signal(str)

    def __init__(self, viewer: napari.viewer.Viewer, session: Session) -> None:
        super().__init__()
        self._known_viewer = weakref.ref(unwrap(viewer))
        self.session = session
        self.class_name = ""
        self._classes = session.task.classes
        self._histories: dict[str, History] = {}
        self._busy = False
        self._pending: set[str] = set()
        self._listening: dict[str, weakref.ref[Layer]] = {}
        self._settle = QTimer(self)
        self._settle.setSingleShot(True)
        self._settle.setInterval(_SETTLE_MS)
        self._settle.timeout.connect(self.gather)
        session.images_changed.connect(self._on_images)
        session.annotations_changed.connect(self._on_annotations)
        session.task_changed.connect(self._on_task)
        session.scale_changed.connect(self._on_scale)
        unwrap(viewer).layers.events.removed.connect(self._on_removed)

    @property
    def viewer(self) -> Any:
        """The viewer; None once it is gone."""
        return self._known_viewer()

    @property
    def name(self) -> str | None:
        """Name of the image that is being worked on."""
        viewer = self.viewer
        return None if viewer is None else current_image_name(viewer, self.session)

    # -- showing ------------------------------------------------------------------

    def show(self, name: str) -> None:
        """Show an image of the project with everything that is drawn on it.

        Parameters
        ----------
        name
            Name of one of the session's images.
        """
        self.gather()
        self._busy = True  # layers of another image that leave are not lost
        try:
            show_image(self.viewer, self.session, name)
        finally:
            self._busy = False
        for annotation in self.session.annotations.get(name, ()):
            self.ensure(annotation.kind)
        self.changed.emit()

    def layer(self, kind: str) -> Layer | None:
        """The layer of one kind of annotation on the shown image, or None."""
        name = self.name
        return None if name is None else layer_for(self.viewer, (kind, name))

    def ensure(self, kind: str) -> Layer | None:
        """The layer of one kind of annotation, made if needed; None without image.

        Parameters
        ----------
        kind
            "points", "centerlines", "regions" or "labels".
        """
        name = self.name
        if name is None:
            return None
        layer = self.layer(kind)
        if layer is None:
            layer = self._fill(kind)
        return layer

    def _fill(self, kind: str) -> Layer:
        """Make the layer of a kind, or bring it up to date with the session."""
        viewer, name = self.viewer, self.name
        if image_layer(viewer, name) is None:
            show_image(viewer, self.session, name)
        data, visual = marks.layer_data(self.session, name, kind)
        key = (kind, name)
        is_new = layer_for(viewer, key) is None
        look = marks.fixed_look(kind) if is_new else {}
        self._busy = True
        try:
            layer = put_layer(
                viewer,
                key,
                data,
                marks.LAYER_TYPES[kind],
                like=image_layer(viewer, name),
                name=f"{name} · {marks.TITLES[kind]}",
                **look,
                **visual,
            )
            if not is_new and kind == "labels" and "colormap" in visual:
                layer.colormap = visual["colormap"]
        finally:
            self._busy = False
        self._listen(layer, kind)
        return layer

    def _listen(self, layer: Layer, kind: str) -> None:
        known = self._listening.get(kind)
        if known is not None and known() is layer:
            return
        self._listening[kind] = weakref.ref(layer)
        layer.events.data.connect(getattr(self, f"_on_{kind}"))
        if kind == "labels":
            layer.events.paint.connect(self._on_labels)
            layer.events.labels_update.connect(self._on_labels)
        elif kind != "regions":
            layer.events.features.connect(getattr(self, f"_on_{kind}"))
            layer.events.mode.connect(self._on_mode)
        layer.bind_key("Control-Z", self._on_undo_key, overwrite=True)
        layer.bind_key("Control-Shift-Z", self._on_redo_key, overwrite=True)

    # -- from the layers to the session ---------------------------------------------

    def _on_points(self, event: Any = None) -> None:
        self._note("points", event)

    def _on_centerlines(self, event: Any = None) -> None:
        self._note("centerlines", event)

    def _on_regions(self, event: Any = None) -> None:
        self._note("regions", event)

    def _on_labels(self, event: Any = None) -> None:
        self._note("labels", event)

    def _note(self, kind: str, event: Any) -> None:
        """Remember that a layer changed; single additions are steps of their own."""
        if self._busy or self.layer(kind) is not getattr(event, "source", None):
            return
        self._pending.add(kind)
        action = str(getattr(event, "action", ""))
        if action in ("added", "removed") and kind != "labels":
            self.gather(patient=True)
        else:
            self._settle.start()

    def gather(self, *, patient: bool = False) -> None:
        """Read the layers that changed into the session.

        Parameters
        ----------
        patient
            Whether what cannot be used may still be in the making (a path of one
            vertex) and nothing is said about it yet.
        """
        self._settle.stop()
        name, pending, self._pending = self.name, self._pending, set()
        if name is None or not pending:
            return
        read = {a.kind: a for a in self.session.annotations.get(name, ())}
        before = _undoable(read.values())
        for kind in sorted(pending):
            layer = self.layer(kind)
            if layer is None:
                continue
            try:
                instances = self.session.task.kind == "instances"
                read[kind] = marks.read_layer(layer, kind, instances=instances)
            except TopiaryError as reason:
                self._pending.add(kind)
                if patient:
                    self._settle.start(4 * _SETTLE_MS)
                else:
                    self.problem.emit(str(reason))
                return
        after = tuple(one for one in read.values() if len(one))
        self._history(name).note(before, _undoable(after))
        self._store(name, after)
        self.problem.emit("")
        self.changed.emit()

    # -- from the session to the layers ---------------------------------------------

    def _on_annotations(self, name: str) -> None:
        if not self._busy and name == self.name:
            self.refill()

    def refill(self) -> None:
        """Bring the layers of the shown image up to date with the session."""
        name = self.name
        if name is None:
            return
        drawn = {one.kind for one in self.session.annotations.get(name, ())}
        for kind in marks.LAYER_TYPES:
            if kind in drawn or self.layer(kind) is not None:
                self._fill(kind)
        self.aim(self.class_name)
        self.changed.emit()

    def _on_images(self) -> None:
        viewer = self.viewer
        if viewer is None:
            return
        name, state = self.name, state_of(viewer)
        if name is not None and state.picture is self.session.images[name].image:
            self.changed.emit()
            return
        self._pending.clear()
        self._histories.clear()
        state.shown = None
        put_aside(viewer, keep=None)
        if self.session.images:
            self.show(next(iter(self.session.images)))
        self.changed.emit()

    def _on_task(self) -> None:
        if self._classes != self.session.task.classes:
            # Earlier states speak of classes that are called differently now.
            self._classes = self.session.task.classes
            self._histories.clear()
        if self.name is not None and not self._busy:
            self.gather()
            self.refill()

    def _on_scale(self, name: str) -> None:
        viewer, entry = self.viewer, self.session.images[name]
        if viewer is None:
            return
        units = "pixel" if entry.scale is None else "nm"
        place_layers(viewer, name, scale=entry.scale or 1.0, units=units)
        if name == self.name:
            self.refill()
            viewer.reset_view()

    def _on_removed(self, event: Any) -> None:
        name = self.name
        if self._busy or name is None or self.viewer is None:
            return
        for kind, known in list(self._listening.items()):
            if known() is event.value:
                del self._listening[kind]
                if self._count(kind):
                    self.lost.emit(kind)

    def _count(self, kind: str) -> int:
        drawn = self.session.annotations.get(self.name or "", ())
        return sum(len(one) for one in drawn if one.kind == kind)

    def put(self, annotations: tuple[Any, ...]) -> None:
        """Replace what is drawn on the shown image; one step of undo.

        Parameters
        ----------
        annotations
            Everything that is drawn on it from now on.
        """
        name = self.name
        if name is None:
            return
        before = self.session.annotations.get(name, ())
        self._history(name).note(_undoable(before), _undoable(annotations))
        self._store(name, annotations)
        self.refill()

    def _store(self, name: str, annotations: tuple[Any, ...]) -> None:
        self._busy = True
        try:
            self.session.set_annotations(name, annotations)
        finally:
            self._busy = False

    def forget(self, kind: str) -> None:
        """Delete everything of one kind on the shown image (undo brings it back).

        Parameters
        ----------
        kind
            Kind of annotation.
        """
        name = self.name
        if name is not None:
            drawn = self.session.annotations.get(name, ())
            self._busy = True
            remove_layer(self.viewer, (kind, name))
            self._busy = False
            self.put(tuple(one for one in drawn if one.kind != kind))

    def give_selected(self, class_name: str) -> bool:
        """Give the marks that are selected another class.

        Parameters
        ----------
        class_name
            Their new class.

        Returns
        -------
        bool
            Whether any were selected (with the tool for it, not just drawn).
        """
        layer = unwrap(self.viewer.layers.selection.active)
        kind = next(
            (k for k in ("points", "centerlines") if self.layer(k) is layer), ""
        )
        if not kind or layer is None or str(layer.mode) != "select":
            return False
        chosen = sorted(layer.selected_data)
        if not chosen:
            return False
        self.gather()
        drawn = self.session.annotations.get(self.name or "", ())
        old = next(one for one in drawn if one.kind == kind)
        classes = list(old.classes)
        for index in chosen:
            classes[index] = class_name
        rest = tuple(one for one in drawn if one.kind != kind)
        self.put((replace(old, classes=tuple(classes)), *rest))
        return True

    # -- what is drawn next -----------------------------------------------------------

    def aim(self, class_name: str) -> None:
        """Let everything drawn from now on be of a class.

        Parameters
        ----------
        class_name
            One of the task's classes; "background" marks what is not one.
        """
        self.class_name = class_name
        name = self.name
        if name is None or class_name not in self.session.task.classes:
            return
        self._busy = True
        try:
            for kind, aim in (
                ("points", marks.aim_points),
                ("centerlines", marks.aim_shapes),
                ("labels", marks.aim_labels),
            ):
                layer = self.layer(kind)
                if layer is not None:
                    aim(layer, self.session, name, class_name)
        finally:
            self._busy = False

    def _on_mode(self, event: Any) -> None:
        # Selecting a mark makes napari draw more of *its* class; a new stretch of
        # drawing is of the class that the page shows.
        if not self._busy and str(event.mode) not in ("select", "direct"):
            self.aim(self.class_name)

    # -- undo ---------------------------------------------------------------------

    def _history(self, name: str) -> History:
        return self._histories.setdefault(name, History())

    @property
    def can_undo(self) -> bool:
        """Whether there is a step to undo on the shown image."""
        return bool(self._labels_history("_undo_history")) or bool(
            self.name and (self._history(self.name).past or self._pending)
        )

    @property
    def can_redo(self) -> bool:
        """Whether there is a step to redo on the shown image."""
        return bool(self._labels_history("_redo_history")) or bool(
            self.name and self._history(self.name).future
        )

    def undo(self) -> None:
        """Take the last step on the shown image back."""
        self._step("undo")

    def redo(self) -> None:
        """Do the step again that was taken back last."""
        self._step("redo")

    def _step(self, which: str) -> None:
        self.gather()
        name = self.name
        if name is None:
            return
        if self._labels_history(f"_{which}_history"):
            getattr(self.layer("labels"), which)()
            self._pending.add("labels")
            self.gather()
            return
        history = self._history(name)
        if not (history.past if which == "undo" else history.future):
            return
        drawn = self.session.annotations.get(name, ())
        painted = tuple(one for one in drawn if one.kind == "labels")
        state = getattr(history, which)(_undoable(drawn))
        self._store(name, (*state, *painted))
        self.refill()

    def _labels_history(self, which: str) -> Any:
        """Napari's own history, while the painted layer is the one worked on."""
        layer = self.layer("labels")
        if layer is None or unwrap(self.viewer.layers.selection.active) is not layer:
            return ()
        return getattr(layer, which, ())

    def _on_undo_key(self, _layer: object) -> None:
        self.undo()

    def _on_redo_key(self, _layer: object) -> None:
        self.redo()


def _undoable(annotations: Any) -> State:
    kept = [one for one in annotations if one.kind != "labels" and len(one)]
    return tuple(sorted(kept, key=lambda one: one.kind))


def drawing_of(viewer: napari.viewer.Viewer) -> Drawing:
    """The drawing of a viewer, made when first asked for."""
    state = state_of(viewer)
    if Drawing not in state.parts:
        state.parts[Drawing] = Drawing(viewer, state.session)
    drawing: Drawing = state.parts[Drawing]
    return drawing
