"""A network whose answer is known: it says what the image is."""

import pytest
import torch
from torch import nn

from napari_topiary.checkpoint import Checkpoint
from napari_topiary.networks.base import Network
from napari_topiary.normalisation import Normalisation


class Grey(Network):
    """Its foreground probability is the grey value itself."""

    stride, halo, output_layers = 1, 0, ("none",)

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(1.0))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        p = image[:, :1].clamp(1e-4, 1 - 1e-4)
        return torch.cat([(1 - p).log(), p.log()], dim=1) * self.weight


class Known(Checkpoint):
    parameters = parameters_nonzero = 1

    def file_bytes(self):
        return 100

    def build(self, device="cpu"):
        return Grey()


@pytest.fixture
def grey() -> Network:
    return Grey()


@pytest.fixture
def known():
    """`known(task, name="grey", ...)` is the checkpoint of such a network."""

    def made(task, name="grey", **changes):
        return Known(
            network="unet",
            sizes={},
            in_channels=1,
            task=task,
            state={},
            provenance={"name": name},
            normalisation=Normalisation(kind="none"),
            **changes,
        )

    return made
