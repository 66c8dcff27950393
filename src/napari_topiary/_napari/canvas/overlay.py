"""What a network says about a part of an image, drawn over it; one set per image."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
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
from napari_topiary._napari.canvas.turns import turns_of
from napari_topiary._napari.state import state_of
from napari_topiary.inference.overlay import FOUND_COLOURS
from napari_topiary.types import Detections, LabelImage, Task

if TYPE_CHECKING:
    import napari.viewer
    from napari.layers import Layer

OPAQUE = 130
"""Highest opacity, of 255: the image stays visible below."""
UNSURE, SURE = 0.2, 0.8
"""Probabilities below leave the image as it is; above, the colour is at its fullest."""
RESULTS = ("probability", "detections", "lines", "result-labels", "distance")
"""Layers of a prediction: hidden while something live is shown over the image."""
OWNER = "live"
LARGEST_SIDE = 768
"""More pixels than this are not worth the time to colour them."""


class Aside:
    """Remembers what was visible before it was put aside."""

    def __init__(self) -> None:
        self._hidden: list[weakref.ref[Layer]] = []

    def hide(self, layers: Iterable[Layer]) -> None:
        """Hide layers that are visible."""
        for layer in layers:
            if layer.visible:
                layer.visible = False
                self._hidden.append(weakref.ref(layer))

    def restore(self) -> None:
        """Show what was hidden here; what is gone, or visible again, is left alone."""
        for known in self._hidden:
            layer = known()
            if layer is not None and not layer.visible:
                layer.visible = True
        self._hidden = []


@dataclass(frozen=True)
class Overlay:
    """Something to be drawn over an image."""

    colours: NDArray[np.uint8]  #: `(h, w, 4)` uint8, red, green, blue, opacity
    #: The part of the image that it covers: `(top, bottom, left, right)` in image
    #: pixels, which need not be whole ones
    window: tuple[float, float, float, float]
    detections: Detections | None = None  #: In image pixels; None leaves out
    #: `(h, w)` on the grid of `colours`, drawn as outlines; None leaves out
    labels: LabelImage | None = None


def coloured(
    probability: NDArray[np.floating],
    task: Task,
    colours: Mapping[str, str],
    *,
    largest: int = LARGEST_SIDE,
) -> NDArray[np.uint8]:
    """Colour a probability by class, the more opaque the surer.

    `probability` `(k, y, x)` · `colours`: class name -> `#rrggbb` · `largest`: more
    pixels than this to a side are not coloured. Returns `(y, x, 4)` uint8; coarser
    where the probability is large.
    """
    step = max(1, -(-max(probability.shape[1:]) // largest))
    some = probability[1:, step // 2 :: step, step // 2 :: step]
    result = np.empty((*some.shape[1:], 4), dtype=np.uint8)
    known = np.array([_rgb(colours.get(name, "#ffffff")) for name in task.classes[1:]])
    sure = ((some.sum(axis=0) - UNSURE) / (SURE - UNSURE)).clip(0.0, 1.0)
    np.multiply(sure, OPAQUE, out=result[..., 3], casting="unsafe")
    if len(known) == 1:
        result[..., :3] = known[0]
    else:
        result[..., :3] = known[some.argmax(axis=0)]
    return result


def class_colormap(task: Task, colours: Mapping[str, str]) -> DirectLabelColormap:
    """Colours of labels that are class indices."""
    known = {
        index: colours.get(name, "#ffffff")
        for index, name in enumerate(task.classes)
        if index
    }
    return DirectLabelColormap(
        color_dict={None: "transparent", 0: "transparent"} | known
    )


def found_colours(classes: Iterable[str], colours: Mapping[str, str]) -> dict[str, str]:
    """Choose for each class the colour of what was found, far from those of all marks.

    `colours`: class name -> `#rrggbb` of what a person marks.
    """
    names = [name for name in classes if name in colours]
    free, chosen = list(FOUND_COLOURS), dict[str, str]()
    for name in names[1:]:
        marks = [_rgb(colours[one]) for one in names[1:]]

        def apart(one: str, marks: list[tuple[int, int, int]] = marks) -> float:
            return min(float(np.hypot.reduce(np.subtract(_rgb(one), m))) for m in marks)

        chosen[name] = max(free or FOUND_COLOURS, key=apart)
        if chosen[name] in free:
            free.remove(chosen[name])
    return chosen


def show_overlay(
    viewer: napari.viewer.Viewer,
    image_name: str,
    overlay: Overlay,
    *,
    task: Task,
    colours: Mapping[str, str],
) -> None:
    """Draw over an image, in place of what was drawn before; nothing if it is gone.

    `colours`: class name -> `#rrggbb`.
    """
    if image_layer(viewer, image_name) is None:
        return
    results = [layer_for(viewer, (kind, image_name)) for kind in RESULTS]
    _aside(viewer).hide(layer for layer in results if layer is not None)
    steps = [partial(_show_colours, viewer, image_name, overlay)]
    if overlay.labels is not None:
        steps.append(partial(_show_labels, viewer, image_name, overlay))
    if overlay.detections is not None:
        steps.append(
            partial(
                _show_detections,
                viewer,
                image_name,
                overlay.detections,
                task,
                dict(colours),
            )
        )
    turns_of(viewer).take(OWNER, steps)


def clear_overlay(viewer: napari.viewer.Viewer, image_name: str) -> None:
    """Take away what was drawn over an image."""
    turns_of(viewer).drop(OWNER)
    kinds = ("preview", "preview-labels", "preview-detections")
    remove_layer(viewer, *((kind, image_name) for kind in kinds))
    _aside(viewer).restore()


def _aside(viewer: napari.viewer.Viewer) -> Aside:
    """The results that are hidden while something live is shown."""
    return state_of(viewer).parts.setdefault(Aside, Aside())


def _place(image: Layer, overlay: Overlay) -> dict[str, Any]:
    """Where on its image an overlay is."""
    top, bottom, left, right = overlay.window
    height, width = overlay.colours.shape[:2]
    return {
        "like": image,
        "grid_factor": ((bottom - top) / height, (right - left) / width),
        "origin": (float(top), float(left)),
    }


def _show_colours(viewer: napari.viewer.Viewer, name: str, overlay: Overlay) -> None:
    image = image_layer(viewer, name)
    if image is not None:
        put_layer(
            viewer,
            ("preview", name),
            overlay.colours,
            "image",
            name=f"{name} · live",
            rgb=True,
            interpolation2d="linear",
            **_place(image, overlay),
        )


def _show_labels(viewer: napari.viewer.Viewer, name: str, overlay: Overlay) -> None:
    image = image_layer(viewer, name)
    if image is None:
        return
    layer = put_layer(
        viewer,
        ("preview-labels", name),
        overlay.labels,
        "labels",
        name=f"{name} · live outlines",
        **_place(image, overlay),
    )
    if layer.contour == 0:
        layer.contour = 1


def _show_detections(
    viewer: napari.viewer.Viewer,
    name: str,
    found: Detections,
    task: Task,
    colours: Mapping[str, str],
) -> None:
    image = image_layer(viewer, name)
    if image is None:
        return
    scale = float(np.asarray(image.scale)[-1])
    unit = str(image.units[-1])
    nm = scale if unit == "nanometer" else None
    radii = [task.radius_or_usual(each, nm) for each in task.classes]
    own = found_colours(task.classes, colours)
    edge = [own.get(each, FOUND_COLOURS[0]) for each in task.classes]
    visual: dict[str, Any] = {}
    if len(found):  # napari takes no empty list of colours
        visual["size"] = [2 * radii[i] for i in found.class_index]
        visual["border_color"] = [edge[i] for i in found.class_index]
    elif layer_for(viewer, ("preview-detections", name)) is None:
        return
    put_layer(
        viewer,
        ("preview-detections", name),
        found.coordinates,
        "points",
        like=image,
        name=f"{name} · live particles",
        face_color="transparent",
        border_width=0.06,
        border_width_is_relative=True,
        **visual,
    )


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
