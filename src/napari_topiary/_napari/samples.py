"""File › Open Sample › Topiary: one image of each sample set, with its truth."""

from __future__ import annotations

from typing import Any

from napari_topiary._napari.canvas.layers import AXES
from napari_topiary._napari.canvas.shown_image import displayed
from napari_topiary.io.dataset import sample_dataset

SAMPLE = "topiary_sample"
"""Where the metadata of its layers name the sample: the workbench opens all of it."""
LayerData = tuple[Any, dict[str, Any], str]


def _layers(dataset_name: str) -> list[LayerData]:
    """First training image of a sample set and what is known about it."""
    dataset = sample_dataset(dataset_name)
    sample = dataset.part("train")[0]
    step, unit = (1.0, "pixel") if sample.scale is None else (sample.scale, "nm")
    # The same on every layer: mixed units make napari drop the units of all.
    shared = {
        "scale": (step, step),
        "units": (unit, unit),
        "axis_labels": AXES,
    }
    origin = {SAMPLE: dataset_name, "topiary_image": sample.name}
    pixels, is_rgb = displayed(sample.image)
    layers: list[LayerData] = [
        (
            pixels,
            {"name": sample.name, "rgb": is_rgb, "metadata": dict(origin), **shared},
            "image",
        )
    ]
    for drawn in sample.annotations:
        name = f"{sample.name} {drawn.kind}"
        data, meta, kind = drawn.to_layer_data(name, dataset.task, sample.scale)
        notes = {**meta.get("metadata", {}), **origin}
        layers.append((data, {**meta, "name": name, "metadata": notes, **shared}, kind))
    return layers


def apoferritin() -> list[LayerData]:
    """Round particles with their centres, cryo-EM, 0.3 nm per pixel."""
    return _layers("apoferritin")


def membrane_fibsem() -> list[LayerData]:
    """Membranes of fly brain, FIB-SEM, 10 nm per pixel."""
    return _layers("membrane_fibsem")


def virus_phil() -> list[LayerData]:
    """Virions with centres and centerlines, TEM, pixel size unknown."""
    return _layers("virus_phil")


def nuclei() -> list[LayerData]:
    """Nuclei in stained tissue, one number each, pixel size unknown."""
    return _layers("nuclei")


def myelin_sem() -> list[LayerData]:
    """Myelin and axons, SEM, 70 nm per pixel."""
    return _layers("myelin_sem")
