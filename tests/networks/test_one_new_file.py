"""A new network is one file: found by itself, in its own words, it learns."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from napari_topiary import networks as room
from napari_topiary.annotations import Labels
from napari_topiary.config import TrainConfig
from napari_topiary.inference.predict import predict
from napari_topiary.io.dataset import Sample
from napari_topiary.networks import networks, recipe_config, suited
from napari_topiary.training import fit
from napari_topiary.types import Task, run


@pytest.fixture
def two_layers(new_file: Callable[..., None]) -> str:
    """The name of a network that was put into the folder as a file, and found."""
    new_file(room, networks, "two_layers")
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
