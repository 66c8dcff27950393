"""What a network found in an image, as layers over it; one set per image."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr
from napari.utils.colormaps.standardize_color import transform_color
from numpy.typing import NDArray

from napari_topiary._napari.canvas.layers import (
    image_layer,
    layer_for,
    put_layer,
    remove_layer,
)
from napari_topiary._napari.canvas.overlay import (
    class_colormap,
    coloured,
    found_colours,
)
from napari_topiary._napari.canvas.turns import turns_of
from napari_topiary.inference.overlay import FOUND_COLOURS
from napari_topiary.types import Prediction, Task

if TYPE_CHECKING:
    import napari.viewer
    from napari.layers import Layer

    from napari_topiary.inference.large.finding import MapsSoFar
    from napari_topiary.inference.large.writing import LargePrediction
    from napari_topiary.inference.measures import Counted

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
MOST_LINES = 2000
"""Of more lines the longest are drawn: napari takes seconds for each thousand."""


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
    prediction: Prediction | LargePrediction,
    *,
    colours: Mapping[str, str],
    kinds: Mapping[str, bool],
) -> None:
    """Show a prediction over its image, in place of the one before.

    `image_name`: of an image of the project; nothing happens where its layer is gone ·
    `colours`: class name -> `#rrggbb` · `kinds`: kind of layer -> whether it is
    visible; kinds that are not named are left as they are.
    """
    for kind, visible in kinds.items():
        # Each for itself: what is read anew leaves kinds out that may still wait.
        step = partial(
            _show_kind, viewer, image_name, prediction, kind, visible, dict(colours)
        )
        turns_of(viewer).take(_owner(kind, image_name), [step])


def _owner(kind: str, image_name: str) -> str:
    return f"{kind} of {image_name}"


def _show_kind(
    viewer: napari.viewer.Viewer,
    image_name: str,
    prediction: Prediction | LargePrediction,
    kind: str,
    visible: bool,
    colours: Mapping[str, str],
) -> None:
    """Show one of the layers of a prediction, or take it away where it has none."""
    image = image_layer(viewer, image_name)
    layer = layer_for(viewer, (kind, image_name))
    if image is None or (layer is None and not visible):
        return  # made when it is asked for
    if isinstance(prediction, Prediction):
        draw = _DRAWN[kind](prediction, colours)
        origin = prediction.corner or (0.0, 0.0)
    else:
        draw, origin = _large(prediction, kind, colours), (0.0, 0.0)
    if draw is None:
        remove_layer(viewer, (kind, image_name))
        return
    layer_type, data, visual = draw
    put_layer(
        viewer,
        (kind, image_name),
        data,
        layer_type,
        like=image,
        name=f"{image_name} · {KINDS[kind].lower()}",
        visible=visible,
        origin=origin,
        **visual,
    )


def show_maps_so_far(
    viewer: napari.viewer.Viewer,
    image_name: str,
    so_far: MapsSoFar,
    task: Task,
    *,
    shape: tuple[int, ...],
    colours: Mapping[str, str],
) -> None:
    """Show the maps of a large image that there are so far.

    `viewer`, `image_name`, `colours` as for `show_result` · `shape` `(y, x)` of the
    image in pixels.
    """
    key = ("probability", image_name)
    layer, image = layer_for(viewer, key), image_layer(viewer, image_name)
    if image is None:
        return
    if layer is not None and layer.multiscale and layer.data[0].so_far is so_far:
        layer.refresh()
        return
    _, data, visual = _maps(so_far, task, shape, colours)
    put_layer(
        viewer,
        key,
        data,
        "image",
        like=image,
        name=f"{image_name} · {KINDS['probability'].lower()}",
        **visual,
    )


def set_shown(
    viewer: napari.viewer.Viewer, image_name: str, kind: str, visible: bool
) -> Layer | None:
    """Show or hide one layer of a result, where there is one."""
    layer = layer_for(viewer, (kind, image_name))
    if layer is not None and layer.visible != visible:
        layer.visible = visible
    return layer


def clear_result(viewer: napari.viewer.Viewer, image_name: str) -> None:
    """Take away what was shown over an image."""
    for kind in KINDS:
        turns_of(viewer).drop(_owner(kind, image_name))
    remove_layer(viewer, *((kind, image_name) for kind in KINDS))


Drawn = tuple[str, Any, dict[str, Any]] | None


def probability_picture(
    prediction: Prediction, colours: Mapping[str, str]
) -> tuple[NDArray[np.uint8], tuple[float, float]]:
    """Colour a probability; returns it with image pixels per pixel of it `(y, x)`.

    `colours`: class name -> `#rrggbb`.
    """
    picture = coloured(
        prediction.probability, prediction.task, colours, largest=LARGEST_SIDE
    )
    rows, columns = prediction.shape
    return picture, (rows / picture.shape[0], columns / picture.shape[1])


def particle_sizes(prediction: Prediction | Counted) -> list[float]:
    """Diameter of every particle found, in image pixels."""
    task = prediction.task
    radii = [task.radius_or_usual(n, prediction.scale) for n in task.classes]
    sizes: list[float] = (2 * np.array(radii))[
        prediction.detections.class_index
    ].tolist()
    return sizes


def _probability(prediction: Prediction, colours: Mapping[str, str]) -> Drawn:
    picture, factor = probability_picture(prediction, colours)
    return (
        "image",
        picture,
        {"rgb": True, "interpolation2d": "linear", "grid_factor": factor},
    )


def _particles(prediction: Prediction | Counted, colours: Mapping[str, str]) -> Drawn:
    found, classes = prediction.detections, prediction.task.classes
    if not len(found):
        return None
    names = np.array(classes, dtype=object)[found.class_index]
    own = found_colours(classes, colours)
    known = [transform_color(own.get(n, FOUND_COLOURS[0]))[0] for n in classes]
    return (
        "points",
        found.coordinates,
        {
            "features": {"class": names, "score": found.score},
            "size": particle_sizes(prediction),
            # Thinner than what a person has marked, and in another colour.
            "border_color": np.array(known)[found.class_index],
            "face_color": "transparent",
            "border_width": 0.045,
            "border_width_is_relative": True,
        },
    )


def _lines(prediction: Prediction | Counted, colours: Mapping[str, str]) -> Drawn:
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


class _Coloured:
    """What a network says of a large image, `(y, x, 4)`: coloured as it is drawn."""

    def __init__(
        self, so_far: MapsSoFar, task: Task, colours: Mapping[str, str], step: int = 1
    ) -> None:
        self.so_far, self._task, self._colours, self._step = so_far, task, colours, step
        self.shape = (*(-(-n // step) for n in so_far.kept.grid), 4)
        self.ndim, self.dtype = 3, np.dtype(np.uint8)
        self.size = math.prod(self.shape)

    def __getitem__(self, index: Any) -> NDArray[np.uint8]:
        """Read and colour a part."""
        index = index if isinstance(index, tuple) else (index,)
        index = tuple(one for one in index if one is not Ellipsis)
        places = [
            slice(*one.indices(n))
            for one, n in zip(
                (*index, slice(None), slice(None))[:2], self.shape, strict=False
            )
        ]
        if self._step == self.so_far.step:
            maps = self.so_far.thin[:, *places]
        else:
            steps = [slice(*(self._step * n for n in _ends(one))) for one in places]
            maps = np.asarray(self.so_far.kept.maps[(slice(None), *steps)])
        classes = len(self._task.classes)
        probability = np.zeros((classes, *maps.shape[1:]), np.float32)
        probability[1:] = maps[: classes - 1]
        largest = max(maps.shape[1:], default=1)
        return coloured(probability, self._task, self._colours, largest=largest)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Colour all of it."""
        return np.asarray(self[:, :], dtype=dtype)


def _ends(place: slice) -> tuple[int, int, int]:
    return place.start, place.stop, place.step


def _maps(
    so_far: MapsSoFar, task: Task, shape: tuple[int, ...], colours: Mapping[str, str]
) -> tuple[str, Any, dict[str, Any]]:
    steps = [1]
    while 4 * steps[-1] < so_far.step:
        steps.append(4 * steps[-1])
    steps += [so_far.step] if so_far.step > 1 else []
    levels = [_Coloured(so_far, task, colours, step) for step in steps]
    rows, columns = (n / own for n, own in zip(shape, so_far.kept.grid, strict=True))
    return (
        "image",
        levels,
        {
            "rgb": True,
            "multiscale": True,
            "interpolation2d": "linear",
            "grid_factor": (rows, columns),
        },
    )


def _large(prediction: LargePrediction, kind: str, colours: Mapping[str, str]) -> Drawn:
    """What is drawn of a result that lies in files."""
    found = prediction.found
    if kind == "probability" and prediction.so_far is not None:
        return _maps(prediction.so_far, found.task, found.shape, colours)
    if kind == "detections":
        return _particles(found, colours)
    if kind == "lines":
        longest = np.argsort([-len(line) for line in found.detections.lines])
        few = np.sort(longest[:MOST_LINES])
        lines = found.detections.lines
        return _lines(
            replace(
                found,
                detections=replace(
                    found.detections,
                    lines=tuple(lines[index] for index in few),
                    line_class=found.detections.line_class[few],
                    line_score=found.detections.line_score[few],
                ),
            ),
            colours,
        )
    if kind == "result-labels":
        group = zarr.open_group(str(prediction.files["labels"]), mode="r")
        levels = [group[str(level)] for level in range(len(group))]
        several = len(levels) > 1
        visual: dict[str, Any] = {"opacity": 0.5, "multiscale": several}
        if found.task.kind != "instances":
            visual["colormap"] = class_colormap(found.task, colours)
        return "labels", levels if several else np.asarray(levels[0]), visual
    return None


_DRAWN = {
    "probability": _probability,
    "detections": _particles,
    "lines": _lines,
    "result-labels": _labels,
    "distance": _distance,
}
