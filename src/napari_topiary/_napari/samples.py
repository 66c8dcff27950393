"""File › Open Sample › Topiary: one image of each sample set, with its truth."""

from __future__ import annotations

from typing import Any

import numpy as np

from napari_topiary.io.dataset import Sample
from napari_topiary.io.samples import sample_dataset

LayerData = tuple[Any, dict[str, Any], str]


def image_layer_data(sample: Sample, **metadata: object) -> LayerData:
    """Turn the image of a sample into what napari adds as a layer.

    Parameters
    ----------
    sample
        Image `(c, y, x)`; three channels become a colour image, one a grey one.
    **metadata
        Kept in the layer's metadata.
    """
    image = np.asarray(sample.image)
    rgb = image.shape[0] == 3 and image.dtype == np.uint8
    step, unit = (1.0, "pixel") if sample.scale is None else (sample.scale, "nm")
    visual = {
        "name": sample.name,
        "scale": (step, step),
        "units": (unit, unit),
        "axis_labels": ("y", "x"),
        "metadata": metadata,
    }
    if rgb:
        return np.moveaxis(image, 0, -1), {**visual, "rgb": True}, "image"
    return image[0], {**visual, "colormap": "gray"}, "image"


def _layers(dataset_name: str) -> list[LayerData]:
    """First training image of a sample set and what is known about it."""
    dataset = sample_dataset(dataset_name)
    sample = dataset.part("train")[0]
    image = image_layer_data(sample, topiary_sample=dataset_name)
    layers = [image]
    for annotation in sample.annotations:
        layers.append(annotation.to_layer_data(sample.name, dataset.task, sample.scale))
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
