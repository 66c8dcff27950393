"""What a network found in an image, as layers over it; one set per image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.utils.colormaps import DirectLabelColormap
from numpy.typing import NDArray

from napari_topiary._napari.canvas.layers import (
    image_layer,
    layer_for,
    put_layer,
    remove_layer,
)
from napari_topiary._napari.canvas.overlay import (
    FOUND_COLOURS,
    coloured,
    found_colours,
)
from napari_topiary.types import Prediction, Task

if TYPE_CHECKING:
    import napari.viewer
    from napari.layers import Layer

KINDS = {
    "probability": "Probability",
    "detections": "Particles",
    "lines": "Lines",
    "result-labels": "Labels",
    "distance": "Distance",
}
"""Key of a layer -> what it is called."""
LARGEST_SIDE = 2048
"""The probability is drawn with no more pixels than this to a side."""


def shown_kinds(task: Task) -> tuple[str, ...]:
    """Which layers make sense for a task."""
    if task.kind == "detect":
        return "probability", "detections", "lines", "result-labels"
    if task.kind == "instances":
        return "probability", "result-labels", "distance"
    return "probability", "result-labels"


def show_result(
    viewer: napari.viewer.Viewer,
    image_name: str,
    prediction: Prediction,
    *,
    colours: Mapping[str, str],
    kinds: Mapping[str, bool],
) -> None:
    """Show a prediction over its image, in place of the one before.

    Parameters
    ----------
    viewer
        Where.
    image_name
        Of an image of the project; nothing happens where its layer is gone.
    prediction
        What.
    colours
        Class name -> `#rrggbb`.
    kinds
        Kind of layer -> whether it is visible; kinds that are not named are left as
        they are.
    """
    image = image_layer(viewer, image_name)
    if image is None:
        return
    for kind, visible in kinds.items():
        layer = layer_for(viewer, (kind, image_name))
        if layer is None and not visible:
            continue  # made when it is asked for
        draw = _DRAWN[kind](prediction, colours)
        if draw is None:
            remove_layer(viewer, (kind, image_name))
            continue
        layer_type, data, visual = draw
        layer = put_layer(
            viewer,
            (kind, image_name),
            data,
            layer_type,
            like=image,
            name=f"{image_name} · {KINDS[kind].lower()}",
            visible=visible,
            **visual,
        )


def set_shown(
    viewer: napari.viewer.Viewer, image_name: str, kind: str, visible: bool
) -> Layer | None:
    """Show or hide one layer of a result, where there is one.

    Parameters
    ----------
    viewer
        Where.
    image_name, kind
        Which.
    visible
        Whether it is shown.
    """
    layer = layer_for(viewer, (kind, image_name))
    if layer is not None and layer.visible != visible:
        layer.visible = visible
    return layer


def clear_result(viewer: napari.viewer.Viewer, image_name: str) -> None:
    """Take away what was shown over an image.

    Parameters
    ----------
    viewer
        Where.
    image_name
        Of the image.
    """
    remove_layer(viewer, *((kind, image_name) for kind in KINDS))


Drawn = tuple[str, Any, dict[str, Any]] | None


def probability_picture(
    prediction: Prediction, colours: Mapping[str, str]
) -> tuple[NDArray[np.uint8], tuple[float, float]]:
    """Colour a probability; returns it with image pixels per pixel of it `(y, x)`.

    Parameters
    ----------
    prediction
        Of one image.
    colours
        Class name -> `#rrggbb`.
    """
    picture = coloured(
        prediction.probability, prediction.task, colours, largest=LARGEST_SIDE
    )
    rows, columns = prediction.shape
    return picture, (rows / picture.shape[0], columns / picture.shape[1])


def particle_sizes(prediction: Prediction) -> list[float]:
    """Diameter of every particle found, in image pixels.

    Parameters
    ----------
    prediction
        Of one image.
    """
    task = prediction.task
    radii = [task.radius_or_usual(n, prediction.scale) for n in task.classes]
    return [2 * radii[index] for index in prediction.detections.class_index]


def _probability(prediction: Prediction, colours: Mapping[str, str]) -> Drawn:
    picture, factor = probability_picture(prediction, colours)
    return (
        "image",
        picture,
        {"rgb": True, "interpolation2d": "linear", "grid_factor": factor},
    )


def _particles(prediction: Prediction, colours: Mapping[str, str]) -> Drawn:
    found, classes = prediction.detections, prediction.task.classes
    if not len(found):
        return None
    names = [classes[index] for index in found.class_index]
    own = found_colours(classes, colours)
    return (
        "points",
        found.coordinates,
        {
            "features": {"class": names, "score": found.score},
            "size": particle_sizes(prediction),
            # Thinner than what a person has marked, and in another colour.
            "border_color": [own.get(name, FOUND_COLOURS[0]) for name in names],
            "face_color": "transparent",
            "border_width": 0.045,
            "border_width_is_relative": True,
        },
    )


def _lines(prediction: Prediction, colours: Mapping[str, str]) -> Drawn:
    found, task = prediction.detections, prediction.task
    if not found.lines:
        return None
    names = [task.classes[index] for index in found.line_class]
    widths = [task.radius_or_usual(n, prediction.scale) for n in names]
    own = found_colours(task.classes, colours)
    return (
        "shapes",
        list(found.lines),
        {
            "features": {"class": names, "score": found.line_score},
            "shape_type": "path",
            "edge_width": [max(1.0, 0.4 * width) for width in widths],
            "edge_color": [own.get(name, FOUND_COLOURS[0]) for name in names],
            "face_color": "transparent",
        },
    )


def _labels(prediction: Prediction, colours: Mapping[str, str]) -> Drawn:
    visual: dict[str, Any] = {"opacity": 0.5}
    if prediction.task.kind != "instances":
        visual["colormap"] = class_colormap(prediction.task, colours)
    return "labels", prediction.labels, visual


def _distance(prediction: Prediction, colours: Mapping[str, str]) -> Drawn:
    if prediction.regression is None:
        return None
    maps = prediction.regression[0]
    step = -(-max(maps.shape) // LARGEST_SIDE)
    picture, (rows, columns) = maps[::step, ::step], prediction.shape
    return (
        "image",
        picture,
        {
            "colormap": "magma",
            "blending": "translucent_no_depth",
            "opacity": 0.8,
            "contrast_limits": (0.0, 1.0),
            "interpolation2d": "linear",
            "grid_factor": (rows / picture.shape[0], columns / picture.shape[1]),
        },
    )


def class_colormap(task: Task, colours: Mapping[str, str]) -> DirectLabelColormap:
    """Colours of labels that are class indices.

    Parameters
    ----------
    task
        Names the classes.
    colours
        Class name -> `#rrggbb`.
    """
    known = {
        index: colours.get(name, "#ffffff")
        for index, name in enumerate(task.classes)
        if index
    }
    return DirectLabelColormap(
        color_dict={None: "transparent", 0: "transparent"} | known
    )


_DRAWN = {
    "probability": _probability,
    "detections": _particles,
    "lines": _lines,
    "result-labels": _labels,
    "distance": _distance,
}
