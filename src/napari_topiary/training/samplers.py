"""What draws the patches that a network learns from."""

from __future__ import annotations

import math
from dataclasses import replace

from napari_topiary.annotations import distance_map
from napari_topiary.config import TrainConfig
from napari_topiary.data.prepared import Material
from napari_topiary.data.sampling import CentreSampler, Field, PatchSampler
from napari_topiary.errors import TopiaryError
from napari_topiary.networks.base import Network

DEFAULT_PATCH = 128


def sampler_for(
    network: Network, config: TrainConfig, material: Material
) -> PatchSampler | CentreSampler:
    """Return what draws the patches that a network learns from.

    Parameters
    ----------
    network
        What will be trained.
    config
        Patch side, balance and seed are read from it.
    material
        What there is to learn from.
    """
    if network.patch is None:
        patch = _patch_side(config.patch, network.stride, material)
        fields = material.train
        if network.regressions:
            fields = tuple(_with_distance(field, config) for field in fields)
        return PatchSampler(fields, patch=patch, seed=config.seed)
    return CentreSampler(
        material.train,
        patch=network.patch,
        seed=config.seed,
        balance=config.balance,
        pixels=config.training_pixels,
        turn=config.augment,
    )


def _with_distance(field: Field, config: TrainConfig) -> Field:
    """Add what a network with a distance branch learns beside the classes."""
    if field.objects is None:
        raise TopiaryError(
            "This network learns how deep inside its object a pixel lies, so it needs "
            "numbered objects: choose the task instances, or another network."
        )
    distance = distance_map(field.objects, relative_to=config.distance)
    return replace(field, regression=distance[None])


def _patch_side(asked: int | None, stride: int, material: Material) -> int:
    """Side of a patch: as asked, else 128, but not far beyond the images."""
    largest: int = max(max(field.target.shape) for field in material.train)
    side = min(asked or DEFAULT_PATCH, math.ceil(largest / stride) * stride)
    return max(stride, math.ceil(side / stride) * stride)
