"""File › Open and drag-and-drop of microscopes' formats that napari does not know."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from napari_topiary._napari.canvas.layers import AXES, displayed
from napari_topiary.io.images import read_slices

LayerData = tuple[Any, dict[str, Any], str]


def get_reader(path: str | list[str]) -> Callable[[str | list[str]], list[LayerData]]:
    """Return the reader; the manifest's patterns have chosen the files already."""
    return read_layers


def read_layers(path: str | list[str]) -> list[LayerData]:
    """Read each file as an image layer with its pixel size."""
    paths = [path] if isinstance(path, str) else path
    return [_layer(Path(one)) for one in paths]


def _layer(path: Path) -> LayerData:
    slices = list(read_slices(path))
    pictures = [displayed(one.data) for one in slices]
    is_rgb = pictures[0][1]
    data = pictures[0][0] if len(slices) == 1 else np.stack([p for p, _ in pictures])
    step, unit = (1.0, "pixel") if slices[0].scale is None else (slices[0].scale, "nm")
    # napari wants a unit of the same kind for the slices as well.
    deep = len(slices) > 1
    meta = {
        "name": path.stem,
        "rgb": is_rgb,
        "scale": (step,) * (2 + deep),
        "units": (unit,) * (2 + deep),
        "axis_labels": (("z",) if deep else ()) + tuple(AXES),
        "metadata": {"notes": slices[0].notes},
    }
    return data, meta, "image"
