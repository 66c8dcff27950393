"""File › Open and drag-and-drop: microscopes' images, projects, annotation files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import napari
import numpy as np

from napari_topiary._napari.canvas.layers import AXES
from napari_topiary._napari.canvas.shown_image import displayed, picture_of, read_on
from napari_topiary._napari.canvas.turns import turns_of
from napari_topiary._napari.data.intake import nm_per_pixel
from napari_topiary._napari.workbench import workbench_of
from napari_topiary.errors import TopiaryError
from napari_topiary.io.annotation_formats import (
    Marks,
    check_one_slice,
    format_of,
    read_marks,
    readable_tables,
)
from napari_topiary.io.dataset_description import DESCRIPTION
from napari_topiary.io.image_files import image_files
from napari_topiary.io.images import is_image, read_slices
from napari_topiary.io.large_images import LargeImage, open_large
from napari_topiary.io.pairing import image_name

LayerData = tuple[Any, dict[str, Any], str]
NO_LAYER: Any = [(None,)]
"""What napari takes for "opened, but there is nothing to add"."""
PROJECT = (DESCRIPTION, "session.json")
MOST = 50
"""A folder with more images than this is not opened as layers."""


def get_reader(
    path: str | list[str],
) -> Callable[[str | list[str]], list[LayerData]] | None:
    """Return the reader for what is opened, None if it is for another plugin."""
    first = Path(path if isinstance(path, str) else path[0])
    if first.is_dir() and any((first / name).is_file() for name in PROJECT):
        return open_project
    if first.is_dir() and not is_image(first):
        return read_folder if _images_in(first) else None
    if first.suffix.lower() in readable_tables():
        try:
            format_of(first)
        except TopiaryError:
            return None
        return read_annotations
    return read_layers


def open_project(path: str | list[str]) -> list[LayerData]:
    """Open a project or dataset folder in the workbench, which makes its layers."""
    viewer = napari.current_viewer()
    if viewer is None:
        raise TopiaryError("A project is opened in a window of napari: open one first.")
    folder = Path(path if isinstance(path, str) else path[0])
    workbench_of(viewer).open_folder(folder)
    return list(NO_LAYER)


def read_folder(path: str | list[str]) -> list[LayerData]:
    """Read the images of a folder, each as a layer."""
    folder = Path(path if isinstance(path, str) else path[0])
    images = _images_in(folder)
    if len(images) > MOST:
        raise TopiaryError(
            f"{folder.name} holds {len(images)} images, which are too many layers: add "
            "them to a project on the Data page of Topiary, or open some of them."
        )
    return [_layer(one) for one in images]


def read_layers(path: str | list[str]) -> list[LayerData]:
    """Read each file as an image layer with its pixel size."""
    paths = [path] if isinstance(path, str) else path
    return [_layer(Path(one)) for one in paths]


def read_annotations(path: str | list[str]) -> list[LayerData]:
    """Read annotation files as layers on the image that is open and that they name."""
    layers = list[LayerData]()
    for one in map(Path, [path] if isinstance(path, str) else path):
        found = read_marks(one)
        check_one_slice((marked.slice for marked in found), one.name)
        layers += [layer for marked in found for layer in _drawn(marked, one)]
    return layers


def _images_in(folder: Path) -> list[Path]:
    try:
        return image_files([folder])
    except TopiaryError:
        return []


def _layer(path: Path) -> LayerData:
    large = open_large(path)
    if large is not None and len(large) == 1:
        return _large_layer(path, large[0])
    slices = list(read_slices(path))
    pictures = [displayed(one.data) for one in slices]
    is_rgb = pictures[0][1]
    data = pictures[0][0] if len(slices) == 1 else np.stack([p for p, _ in pictures])
    step, unit = (1.0, "pixel") if slices[0].scale is None else (slices[0].scale, "nm")
    # napari wants a unit of the same kind for the slices as well.
    deep = len(slices) > 1
    meta = {
        "name": image_name(path),
        "rgb": is_rgb,
        "scale": (step,) * (2 + deep),
        "units": (unit,) * (2 + deep),
        "axis_labels": (("z",) if deep else ()) + tuple(AXES),
        "metadata": {"notes": slices[0].notes},
    }
    return data, meta, "image"


def _large_layer(path: Path, image: LargeImage) -> LayerData:
    """Show an image of which only what is on the screen is read."""
    levels, look = picture_of(image)
    step, unit = (1.0, "pixel") if image.scale is None else (image.scale, "nm")
    viewer = napari.current_viewer()
    if viewer is not None:
        read_on(viewer, image)
        turns_of(viewer).hold_painting()  # napari would draw it while it makes it
    meta = {
        "name": image_name(path),
        **look,
        "scale": (step,) * 2,
        "units": (unit,) * 2,
        "axis_labels": tuple(AXES),
        "metadata": {"notes": image.notes},
    }
    return levels, meta, "image"


def _drawn(marked: Marks, path: Path) -> list[LayerData]:
    """Points, lines and outlines of one image, on its layer."""
    name = marked.image_stem or image_name(path)
    image = _image_layer(name)
    shared: dict[str, Any] = {}
    if image is not None:
        shared = {
            key: tuple(getattr(image, key))[-2:]
            for key in ("scale", "translate", "units", "axis_labels")
        }
    pixels = _pixels_per_unit(marked, image)
    layers: list[LayerData] = []
    if len(marked.places):
        features = {"class": np.array(marked.classes, dtype=object)}
        if marked.scores is not None:
            features["score"] = np.array(marked.scores)
        radius = np.array(marked.radius or (5.0,)).mean()
        meta = {"name": f"{name} points", "features": features, "size": 2 * radius}
        layers.append((marked.places * pixels, {**meta, **shared}, "points"))
    outlines = [(line, "path", n) for line, n in _named_lines(marked)]
    outlines += [
        (ring, "polygon", area.name) for area in marked.areas for ring in area.rings
    ]
    if outlines:
        meta = {
            "name": f"{name} shapes",
            "shape_type": [kind for _, kind, _ in outlines],
            "features": {"class": np.array([n for _, _, n in outlines], dtype=object)},
            "face_color": "transparent",
        }
        shapes = [vertices * pixels for vertices, _, _ in outlines]
        layers.append((shapes, {**meta, **shared}, "shapes"))
    return layers


def _named_lines(marked: Marks) -> Sequence[tuple[Any, str]]:
    return list(zip(marked.lines, marked.line_classes, strict=True))


def _image_layer(name: str) -> Any:
    """Return the open image of this name, else the one that is selected or on top."""
    viewer = napari.current_viewer()
    if viewer is None:
        return None
    images = [one for one in viewer.layers if isinstance(one, napari.layers.Image)]
    same = [one for one in images if one.name.casefold() == name.casefold()]
    selected = [one for one in images if one is viewer.layers.selection.active]
    return next(iter((*same, *selected, *reversed(images))), None)


def _pixels_per_unit(marked: Marks, image: Any) -> Any:
    """`(y, x)` pixels in one unit of the file."""
    if marked.unit == "pixel":
        return 1.0
    if image is None:
        raise TopiaryError(
            f"The marks are in {marked.unit} of an image: open the image first, then "
            "the file."
        )
    if marked.unit == "nm":
        nm = nm_per_pixel(image)
        if nm is None:
            raise TopiaryError(
                f"The marks are in nm, and the pixel size of {image.name} is unknown: "
                "give it first."
            )
        return 1 / nm
    height, width = image.data.shape[:2] if image.rgb else image.data.shape[-2:]
    return np.array([height, width], dtype=float)
