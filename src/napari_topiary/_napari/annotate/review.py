"""Review: what the network found is confirmed or refused, the most doubtful first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFrame, QHBoxLayout, QLabel, QVBoxLayout
from scipy.spatial import cKDTree

from napari_topiary._napari.canvas.layers import (
    image_layer,
    layer_for,
    put_layer,
    remove_layer,
)
from napari_topiary._napari.canvas.overlay import Aside
from napari_topiary._napari.canvas.result_layers import KINDS
from napari_topiary._napari.canvas.shown_image import look_at, move_to
from napari_topiary._napari.drawing import marks
from napari_topiary._napari.widgets import look
from napari_topiary._napari.widgets.page import button
from napari_topiary.annotations import Labels, Points
from napari_topiary.types import BACKGROUND

if TYPE_CHECKING:
    from napari_topiary._napari.drawing.drawing import Drawing
    from napari_topiary.types import Detections, Prediction

_NEAR = 1.0  # radii: a detection this near to a mark was judged already

ACCEPT_KEY, REJECT_KEY = "Y", "N"
_SURE = 0.9
_REACH = 8.0
"""Radii around a particle that are shown when it is asked about."""


def open_questions(
    found: Detections, drawn: Points | None, radii: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Indices of detections that are not judged yet, the most doubtful first."""
    order = np.argsort(np.abs(found.score - 0.5), kind="stable")
    if drawn is None or not len(drawn):
        return order
    apart, _ = cKDTree(drawn.coordinates).query(found.coordinates)
    near = apart <= _NEAR * radii[found.class_index]
    return order[~near[order]]


def radii_of(drawing: Drawing, prediction: Prediction) -> NDArray[np.float64]:
    """Radius of each class on the shown image in pixels, by class index."""
    names = prediction.task.classes
    shown = drawing.name or ""
    return np.array([marks.radius_px(drawing.session, shown, one) for one in names])


def add_marks(
    drawing: Drawing, prediction: Prediction, indices: list[int], *, accepted: bool
) -> None:
    """Make marks of detections; one step of undo."""
    drawing.gather()
    found, classes = prediction.detections, prediction.task.classes
    names = [classes[found.class_index[i]] for i in indices]
    answers = Points(
        found.coordinates[indices],
        tuple(names if accepted else [BACKGROUND] * len(indices)),
        reviewed=(True,) * len(indices),
    )
    old = drawing.of_kind("points")
    drawing.replace_kind("points", answers if old is None else old.joined(answers))


def take_labels(drawing: Drawing, prediction: Prediction) -> None:
    """Make what a network painted the labels of the shown image."""
    drawing.gather()
    instances = prediction.task.kind == "instances"
    drawing.replace_kind("labels", Labels(prediction.labels, instances))


def _says_something(prediction: Prediction | None) -> bool:
    if prediction is None:
        return False
    if prediction.task.kind == "detect":
        return len(prediction.detections) > 0
    return bool(prediction.labels.any())


def _alike(now: tuple[object, ...], before: tuple[object, ...]) -> bool:
    """Whether these are the very same things as before."""
    pairs = zip(now, before, strict=False)
    return len(now) == len(before) and all(one is other for one, other in pairs)


class Review(QFrame):
    """A card with the question that is open, and its answers."""

    said = Signal(str)
    replacing = Signal()

    def __init__(self, drawing: Drawing) -> None:
        super().__init__()
        self.drawing = drawing
        self.setProperty("role", "card")
        self._skipped: set[int] = set()
        self._of: Prediction | None = None
        self._zoomed: Prediction | None = None
        self._bared = Aside()
        self.ringed: int | None = None
        self._ringing = False
        self._known: tuple[object, ...] = ()
        self._open = np.zeros(0, dtype=np.int64)
        self._ring_of: tuple[object, ...] = ()
        self._ringed_at: tuple[str, int] = ("", -1)
        self.heading = QLabel()
        look.set_role(self.heading, "title")
        self.question = look.paragraph("")
        self.accept_button = button(
            f"Accept · {ACCEPT_KEY}",
            f"It is one: it becomes a mark (key {ACCEPT_KEY}).",
            self.accept,
        )
        self.reject_button = button(
            f"Reject · {REJECT_KEY}",
            f"It is none: it becomes a 'not this' mark (key {REJECT_KEY}).",
            self.reject,
        )
        self.skip_button = button("Skip", "Decide on this one later.", self.skip)
        self.sure_button = button(
            "Accept the sure ones",
            f"All with a score of at least {_SURE:g} become marks.",
            self.accept_sure,
        )
        self.labels_button = button(
            "Take as my labels",
            "What the network painted becomes yours, to be corrected by painting.",
            self.take_labels,
        )
        layout = QVBoxLayout(self)
        layout.setContentsMargins(10, 8, 10, 8)
        layout.setSpacing(6)
        layout.addWidget(self.heading)
        layout.addWidget(self.question)
        answers = QHBoxLayout()
        answers.setSpacing(6)
        for one in (self.accept_button, self.reject_button, self.skip_button):
            answers.addWidget(one, 1)
        layout.addLayout(answers)
        layout.addWidget(self.sure_button)
        layout.addWidget(self.labels_button)
        self.hide()

    # -- showing ------------------------------------------------------------------

    @property
    def prediction(self) -> Prediction | None:
        """What a network said about the shown image, for the same task."""
        found = self.drawing.session.predictions.get(self.drawing.name or "")
        task = self.drawing.session.task
        if found is None or found.task.classes != task.classes:
            return None
        return found if found.task.kind == task.kind else None

    def refresh(self) -> None:
        """Show the question that is open now."""
        prediction = self.prediction
        if prediction is not self._of:
            self._of = prediction
            self._skipped.clear()
        detects = prediction is not None and prediction.task.kind == "detect"
        self.setVisible(_says_something(prediction))
        for one in (
            self.accept_button,
            self.reject_button,
            self.skip_button,
            self.sure_button,
        ):
            one.setVisible(detects)
        self.labels_button.setVisible(prediction is not None and not detects)
        if prediction is None:
            self._ring(None)
            return
        if not detects:
            self.heading.setText("Found by the network")
            self.question.setText("Start from what it painted, and correct it.")
            return
        left = self._left()
        self._ask(prediction, left)
        if self.isVisible():
            self._ring(self._first(left))

    def _ask(self, prediction: Prediction, left: NDArray[np.int64]) -> None:
        total = len(prediction.detections)
        self.heading.setText(f"Review · {total - len(left)} of {total} judged")
        for one in (self.accept_button, self.reject_button, self.skip_button):
            one.setEnabled(bool(len(left)))
        sure = prediction.detections.score[left] >= _SURE if len(left) else np.zeros(0)
        number = int(sure.sum())
        self.sure_button.setVisible(number > 0)
        which = "one" if number == 1 else f"{number} ones"
        self.sure_button.setText(f"Accept the sure {which}")
        current = self._first(left)
        if current is None:
            self.question.setText("Everything that it found is judged. Train again.")
        else:
            name = prediction.task.classes[prediction.detections.class_index[current]]
            score = prediction.detections.score[current]
            self.question.setText(f"Is this {name}? The network says {score:.2f}.")

    def _left(self) -> NDArray[np.int64]:
        prediction = self.prediction
        if prediction is None:
            return np.zeros(0, dtype=np.int64)
        drawn, task = self.drawing.of_kind("points"), self.drawing.session.task
        known = (prediction, drawn, task)
        # Asked again and again, of thousands: looked for once.
        if not _alike(known, self._known):
            radii = radii_of(self.drawing, prediction)
            self._known = known
            self._open = open_questions(prediction.detections, drawn, radii)
        return self._open

    @property
    def current(self) -> int | None:
        """Index of the detection that is asked about; None when all are judged."""
        return self._first(self._left())

    def _first(self, left: NDArray[np.int64]) -> int | None:
        waiting = (int(index) for index in left if int(index) not in self._skipped)
        first = next(waiting, None)
        if len(left) and first is None:
            self._skipped.clear()
            first = int(left[0])
        return first

    def arrive(self) -> None:
        """The page came to the front: ring the open question, and look at it once."""
        if not self.isVisible():
            return
        if self.prediction is not self._zoomed:
            self.look_at_current()
        elif self.ringed is not None:
            self._bare()

    def leave(self) -> None:
        """Another page comes to the front: show what is found again."""
        self._ring(None)

    def look_at_current(self) -> None:
        """Bring the open question into the middle of the canvas, bare and ringed."""
        viewer, name = self.drawing.viewer, self.drawing.name
        prediction, index = self.prediction, self.current
        self._ring(index)
        image = None if name is None else image_layer(viewer, name)
        if index is None or image is None or prediction is None:
            return
        y, x = (float(one) for one in prediction.detections.coordinates[index])
        if prediction is self._zoomed:
            move_to(viewer, image, (y, x))  # the zoom is the user's from now on
            return
        self._zoomed = prediction
        radii = radii_of(self.drawing, prediction)
        reach = _REACH * radii[prediction.detections.class_index[index]]
        look_at(viewer, image, (y - reach, y + reach, x - reach, x + reach))
        self._bare()

    def _bare(self) -> None:
        """Hide what was found: it covers what is to be judged."""
        key = self.drawing.name
        found = (layer_for(self.drawing.viewer, (kind, key)) for kind in KINDS)
        self._bared.hide(layer for layer in found if layer is not None)

    def _ring(self, index: int | None) -> None:
        """Ring a particle, or take the ring away; pages hear of new layers, too."""
        if self._ringing:
            return
        self.ringed, self._ringing = index, True
        try:
            self._put_ring(index)
        finally:
            self._ringing = False

    def _put_ring(self, index: int | None) -> None:
        viewer, name = self.drawing.viewer, self.drawing.name
        if viewer is None or name is None:
            return
        image, prediction = image_layer(viewer, name), self.prediction
        if index is None or image is None or prediction is None:
            remove_layer(viewer, ("review", name))
            self._bared.restore()
            return
        about = (prediction, self.drawing.session.task, image)
        same = _alike(about, self._ring_of) and self._ringed_at == (name, index)
        if same and layer_for(viewer, ("review", name)) is not None:
            return
        self._ringed_at = (name, index)
        self._ring_of = about
        place = prediction.detections.coordinates[index]
        class_name = prediction.task.classes[prediction.detections.class_index[index]]
        size = 2.6 * marks.radius_px(self.drawing.session, name, class_name)
        put_layer(
            viewer,
            ("review", name),
            place[None],
            "points",
            like=image,
            name=f"{name} · is this one?",
            size=size,
            symbol="square",
            face_color="transparent",
            border_color="#ffffff",
            border_width=0.06,
        )

    # -- answers ------------------------------------------------------------------

    def accept(self) -> None:
        """Make the current detection a mark of its class."""
        self._answer(accepted=True)

    def reject(self) -> None:
        """Make the current detection a "not this" mark."""
        self._answer(accepted=False)

    def skip(self) -> None:
        """Ask about the current detection again at the end."""
        current = self.current
        if current is not None:
            self._skipped.add(current)
            self.refresh()
            self.look_at_current()

    def accept_sure(self) -> None:
        """Make marks of all detections that the network is sure of."""
        prediction = self.prediction
        if prediction is None:
            return
        sure = [i for i in self._left() if prediction.detections.score[i] >= _SURE]
        self._add(sure, accepted=True)
        self.said.emit(f"{len(sure):,} marks added; undo takes them back.")

    def take_labels(self, *, replace: bool = False) -> None:
        """Make what the network painted the labels of the image."""
        prediction = self.prediction
        if prediction is None:
            return
        self.drawing.gather()
        if self.drawing.of_kind("labels") is not None and not replace:
            self.replacing.emit()
            return
        take_labels(self.drawing, prediction)
        self.said.emit("The network's labels are yours now: correct them by Paint.")

    def _answer(self, *, accepted: bool) -> None:
        current = self.current
        if current is not None:
            self._add([current], accepted=accepted)
            self.refresh()
            self.look_at_current()

    def _add(self, indices: list[int], *, accepted: bool) -> None:
        prediction = self.prediction
        if prediction is not None and indices:
            add_marks(self.drawing, prediction, indices, accepted=accepted)
