"""A new network is one file: found by itself, in its own words, it learns."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from napari_topiary import networks as room
from napari_topiary.annotations import Labels
from napari_topiary.config import TrainConfig
from napari_topiary.inference.predict import predict
from napari_topiary.io.dataset import Sample
from napari_topiary.networks import networks, recipe_config, suited
from napari_topiary.registry import find_members
from napari_topiary.training import fit
from napari_topiary.types import Task, run

FILE = '''
"""A network of two convolutions."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from torch import nn

from napari_topiary.networks.base import Network, NetworkKind, Sizes, networks


@dataclass(frozen=True)
class TwoSizes(Sizes):
    """How wide it is."""

    network: ClassVar[str] = "two layers"
    maps: Annotated[int, {"label": "Maps", "min": 1, "max": 64}] = 6


class TwoLayers(Network):
    """A convolution, ReLU, and one of single pixels."""

    stride, halo, output_layers = 1, 2, ("output",)

    def __init__(self, sizes, in_channels, n_classes):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, sizes.maps, 5, padding=2)
        self.output = nn.Conv2d(sizes.maps, n_classes, 1)

    def forward(self, image):
        return self.output(self.conv(image).relu())


def build(sizes, in_channels, n_classes):
    return TwoLayers(TwoSizes.from_mapping(sizes), in_channels, n_classes)


networks.register("two_layers")(
    NetworkKind(
        build=build,
        presets={"plain": {}, "wide": {"maps": 12}},
        default_preset="plain",
        sizes=TwoSizes,
        recipe={"learning_rate": 0.02},
        tasks=("segment",),
        title="Two layers: for a try",
        tip="Sees two pixels around each pixel.",
    )
)
'''


@pytest.fixture
def two_layers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a network that was put into the folder as a file, and found."""
    (tmp_path / "two_layers.py").write_text(FILE, encoding="utf-8")
    monkeypatch.setattr(room, "__path__", [*room.__path__, str(tmp_path)])
    monkeypatch.setattr(networks, "_things", dict(networks._things))
    monkeypatch.delitem(sys.modules, f"{room.__name__}.two_layers", raising=False)
    find_members(room.__name__, room.__path__)
    monkeypatch.delitem(sys.modules, f"{room.__name__}.two_layers")
    return "two_layers"


def test_it_is_offered_in_its_own_words_where_it_suits(two_layers: str) -> None:
    assert suited("segment")[-1] == two_layers and suited("segment")[0] == "unet"
    assert two_layers not in suited("detect")
    assert networks[two_layers].title == "Two layers: for a try"
    config = recipe_config(two_layers, {})
    assert (config.preset, config.learning_rate) == ("plain", 0.02)


def test_it_learns_and_predicts(two_layers: str, virions) -> None:
    drawn = virions(0, size=64, count=4)
    labels = Labels((drawn.labels == 1).astype(int))
    sample = Sample(drawn.image, (labels,), None, "m")
    task = Task("segment", ("background", "virion"))
    config = TrainConfig(
        network=two_layers, preset="wide", epochs=1, minutes=None, patch=32, batch=2
    )
    made = run(fit([sample], config, task=task, validation=[sample]))
    assert made.network == two_layers
    found = run(predict(sample.image, made))
    assert found.probability.shape == (2, 64, 64)
    assert np.allclose(found.probability.astype(float).sum(0), 1, atol=1e-2)
