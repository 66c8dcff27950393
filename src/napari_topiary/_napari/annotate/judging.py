"""What becomes of the detections of a network once a person has judged them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from napari_topiary._napari.drawing import marks
from napari_topiary.annotations import Labels, Points
from napari_topiary.types import BACKGROUND

if TYPE_CHECKING:
    from napari_topiary._napari.drawing.drawing import Drawing
    from napari_topiary.types import Detections, Prediction

_NEAR = 1.0  # radii: a detection this near to a mark was judged already


def open_questions(
    found: Detections, drawn: Points | None, radii: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Indices of detections that are not judged yet, the most doubtful first.

    Parameters
    ----------
    found
        What a network found.
    drawn
        Marks on the same image; None = none.
    radii
        Radius of each class in pixels, by class index.
    """
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
    """Make marks of detections; one step of undo.

    Parameters
    ----------
    drawing
        The drawing of the viewer.
    prediction
        Of the shown image.
    indices
        Which of its detections.
    accepted
        Whether they are marks of their class, or "not this".
    """
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
    """Make what a network painted the labels of the shown image.

    Parameters
    ----------
    drawing
        The drawing of the viewer.
    prediction
        Of the shown image.
    """
    drawing.gather()
    instances = prediction.task.kind == "instances"
    drawing.replace_kind("labels", Labels(prediction.labels, instances))
