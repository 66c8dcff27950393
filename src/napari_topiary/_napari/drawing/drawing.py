"""Keeps what is drawn in layers and what is in the session the same, with undo."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal

from napari_topiary._napari.canvas.layers import drop_spare_layers, remove_layer
from napari_topiary._napari.canvas.shown_image import show_image
from napari_topiary._napari.drawing import marks
from napari_topiary._napari.drawing.drawn_layers import (
    DrawnLayers,
    Following,
    LayerWatch,
)
from napari_topiary._napari.state import state_of
from napari_topiary.annotations import annotation_kinds, kinds_in_order
from napari_topiary.errors import TopiaryError
from napari_topiary.io.large_images import LargeImage
from napari_topiary.session.history import Direction, Histories

if TYPE_CHECKING:
    import napari.viewer
    from napari.layers import Layer

    from napari_topiary.session import Session


class Drawing(QObject):
    """The annotation layers of the image that is being worked on."""

    changed = Signal()  #: Something was drawn, undone, or another image is shown
    #: What is drawn cannot be used as it is (a sentence); empty when it is solved
    problem = Signal(str)
    #: The user deleted the layer of this kind; what it showed is still there
    lost = Signal(str)
    #: A place `(y, x)` in pixels of what is painted was clicked, to pick it
    picked = Signal(object)

    def __init__(self, viewer: napari.viewer.Viewer, session: Session) -> None:
        super().__init__()
        self.session = session
        self.class_name = ""
        self._histories = Histories()
        self.watch = LayerWatch(self.step)
        self.layers = DrawnLayers(viewer, session, self.watch)
        self.watch.edited.connect(self._on_edited)
        self.watch.settled.connect(self.gather)
        self.watch.aimed.connect(self._on_aimed)
        self.watch.picked.connect(self.picked)
        self._following = Following(self, viewer)

    @property
    def viewer(self) -> Any:
        """The viewer; None once it is gone."""
        return self.layers.viewer

    @property
    def name(self) -> str | None:
        """Name of the image that is being worked on."""
        return self.layers.name

    @property
    def drawn(self) -> tuple[Any, ...]:
        """All annotations of the shown image."""
        return self.session.annotations.get(self.name or "", ())

    def of_kind(self, kind: str) -> Any | None:
        """The annotation of one kind on the shown image, or None."""
        return next((one for one in self.drawn if one.kind == kind), None)

    # -- showing ------------------------------------------------------------------

    def show(self, name: str) -> None:
        """Show an image of the project with everything that is drawn on it."""
        self.gather()
        with self.watch.quiet():  # layers of another image that leave are not lost
            show_image(self.viewer, self.session, name)
        for annotation in self.drawn:
            self.ensure(annotation.kind)
        self.changed.emit()  # pages may show more of this image, in spare layers
        with self.watch.quiet():
            drop_spare_layers(self.viewer)

    @property
    def is_large(self) -> bool:
        """Whether the shown image is one of which only parts are read."""
        entry = self.session.images.get(self.name or "")
        return entry is not None and isinstance(entry.image, LargeImage)

    def layer(self, kind: str) -> Layer | None:
        """The layer of one kind of annotation on the shown image, or None."""
        return self.layers.layer(kind)

    def ensure(self, kind: str) -> Layer | None:
        """The layer of one kind of annotation, made if needed; None without image.

        Large images are not painted on: napari would hold every pixel of the labels.
        """
        if self.is_large and annotation_kinds[kind].layer_type == "labels":
            return None
        layer = self.layer(kind)
        if layer is None and self.name is not None:
            layer = self.layers.fill(kind)
        return layer

    def refill(self, kinds: Iterable[str] | None = None) -> None:
        """Bring layers of the shown image up to date with the session."""
        if self.name is None:
            return
        drawn = {one.kind for one in self.drawn}
        for kind in kinds_in_order() if kinds is None else kinds:
            if kind in drawn or self.layer(kind) is not None:
                self.layers.fill(kind)
        self.aim(self.class_name)
        self.changed.emit()

    # -- from the layers to the session -------------------------------------------

    def _on_edited(self) -> None:
        self.gather(patient=True)

    def gather(
        self,
        *,
        patient: bool = False,
        removed: Mapping[str, Layer] | None = None,
        changed: Callable[[Any], Any] | None = None,
    ) -> None:
        """Read the layers that changed into the session.

        `patient`: whether to wait for what is still in the making (a path without an
            end), and to say nothing yet about what cannot be used.
        `removed`: layers by kind that have just left the viewer.
        `changed`: what the layers show -> what it is called by now.
        """
        name, pending = self.name, self.watch.take()
        if name is None or not pending:
            return
        unfinished = {k for k in pending if marks.in_the_making(self.layer(k))}
        if unfinished:
            self.watch.pending |= pending if patient else unfinished
            self.watch.wait(4)
            if patient:
                return
        read = {one.kind: one for one in self.drawn}
        instances = self.session.task.kind == "instances"
        for kind in sorted(pending):
            layer = (removed or {}).get(kind) or self.layer(kind)
            if layer is None:
                continue
            try:
                read[kind] = marks.read_layer(layer, kind, instances=instances)
                if changed is not None:
                    read[kind] = changed(read[kind])
            except TopiaryError as reason:
                self.watch.pending |= pending
                if patient:
                    self.watch.wait(4)
                else:
                    self.problem.emit(str(reason))
                return
        self._store(tuple(one for one in read.values() if one))
        self.problem.emit("")
        self.changed.emit()

    def put(self, annotations: tuple[Any, ...]) -> None:
        """Replace what is drawn on the shown image; one step of undo."""
        if self.name is not None:
            self.refill(self._store(annotations, replaced=True))

    def replace_kind(self, kind: str, annotation: Any | None) -> None:
        """Replace what is drawn of one kind on the shown image; one step of undo."""
        self.gather()
        rest = tuple(one for one in self.drawn if one.kind != kind)
        self.put(rest if annotation is None else (*rest, annotation))

    def forget(self, kind: str) -> None:
        """Delete everything of one kind, and its layer; undo brings it back."""
        if self.name is not None:
            with self.watch.quiet():
                remove_layer(self.viewer, (kind, self.name))
            self.replace_kind(kind, None)

    def _store(
        self, annotations: tuple[Any, ...], *, replaced: bool = False
    ) -> list[str]:
        name = self.name or ""
        self._histories.note(name, self.drawn, annotations, replaced=replaced)
        return self._set(annotations)

    def _set(self, annotations: tuple[Any, ...]) -> list[str]:
        """Give the shown image other annotations; returns the kinds that changed."""
        before = {one.kind: one for one in self.drawn}
        if self.name is not None:
            with self.watch.quiet():
                self.session.set_annotations(self.name, annotations)
        after = {one.kind: one for one in self.drawn}
        return [
            kind for kind in kinds_in_order() if before.get(kind) is not after.get(kind)
        ]

    def follow_classes(self, before: tuple[str, ...]) -> None:
        """Let what is drawn, and was, speak of the classes as they are now."""
        now = self.session.task.classes
        gone = [name for name in before if name not in now]
        kept = tuple(name for name in before if name in now)
        named = dict(zip(before, now, strict=False))

        def changed(annotation: Any) -> Any:
            if len(now) < len(before):
                index = before.index(gone[0])
                return annotation.without_class(gone[0], index)
            return annotation.renamed({old: named[old] for old in gone})

        removed_one = len(gone) == 1 and now == kept
        same_places = len(now) >= len(before) and all(
            old == named[old] or old in gone for old in before
        )
        if removed_one or same_places:
            self._histories.change(changed)
            self.gather(changed=changed)
        else:
            self.forget_steps()
            self.gather()

    def forget_steps(self) -> None:
        """Forget what could be undone; what was drawn then does not fit any more."""
        self._histories.clear()

    # -- what is drawn next -------------------------------------------------------

    def aim(self, class_name: str) -> None:
        """Let everything drawn from now on be of a class."""
        self.class_name = class_name
        self.layers.aim(class_name)

    def _on_aimed(self) -> None:
        # Selecting a mark makes napari draw more of *its* class; what is drawn next is
        # of the class that the page shows.
        self.aim(self.class_name)

    # -- undo ---------------------------------------------------------------------

    def can(self, direction: Direction) -> bool:
        """Whether there is a step to undo or redo on the shown image."""
        name = self.name
        if name is None:
            return False
        painted = self.layers.has_painted_step(direction)
        return painted or self._histories.can(direction, name)

    def step(self, direction: Direction) -> None:
        """Undo or redo one step on the shown image.

        napari counts the strokes of a brush: they go first while painting, and last
        while something else is drawn.
        """
        self.gather()
        name = self.name
        if name is None:
            return
        has_step = self._histories.can(direction, name)
        first = self.layers.is_painting or not has_step
        if first and self.layers.has_painted_step(direction):
            self.layers.take_painted_step(direction)
            self.watch.pending.add("labels")
            self.gather()
        elif has_step:
            state = self._histories.step(direction, name, self.drawn)
            self.refill(self._set(state.over(self.drawn)))


def drawing_of(viewer: napari.viewer.Viewer) -> Drawing:
    """The drawing of a viewer, made when first asked for."""
    state = state_of(viewer)
    if Drawing not in state.parts:
        state.parts[Drawing] = Drawing(viewer, state.session)
    drawing: Drawing = state.parts[Drawing]
    return drawing
