"""Small networks that are exported."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from napari_topiary.checkpoint import Checkpoint
from napari_topiary.networks import build_network
from napari_topiary.normalisation import Normalisation
from napari_topiary.types import Task

SIZES = {
    "unet": {"base": 4, "levels": 2, "batch_norm": True},
    "nuclei": {"base": 4, "levels": 2},
    "dccn": {},
    "dcnn": {"conv1": 2, "conv2": 2, "conv3": 2, "fc": 2},
}


@pytest.fixture
def small() -> Callable[..., Checkpoint]:
    """`small(network, in_channels=1, masked=False, ...)` is a checkpoint of chance."""

    def make(
        network: str = "unet",
        *,
        in_channels: int = 1,
        masked: bool = False,
        normalisation: Normalisation | None = None,
        name: str = "my µ-net",
    ) -> Checkpoint:
        torch.manual_seed(0)
        kind = "instances" if network == "nuclei" else "detect"
        built = build_network(network, SIZES[network], in_channels, 2)
        state = {n: t.detach().clone() for n, t in built.state_dict().items()}
        masks = {}
        if masked:
            weight = "down0.conv1.weight"
            masks = {weight: torch.rand(state[weight].shape) > 0.5}
        return Checkpoint(
            network=network,
            sizes=SIZES[network],
            in_channels=in_channels,
            task=Task(kind, ("background", "virion"), radius_nm={"virion": 12.0}),
            state=state,
            masks=masks,
            normalisation=normalisation or Normalisation(),
            pixel_size_nm=2.0,
            working_factor=1.5,
            thresholds={"virion": 0.4, "common": 0.5},
            provenance={"name": name},
        )

    return make
