"""Several images by one network, and what it said read anew."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_topiary import PredictConfig, Task, predict
from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import DetectConfig
from napari_topiary.jobs.predicting import (
    Answer,
    ProjectImage,
    postprocess_again,
    predicting,
)
from napari_topiary.networks import build_network
from napari_topiary.types import BACKGROUND, run

SIZES = {"base": 4, "multiplier": 2.0, "levels": 2}


@pytest.fixture
def checkpoint() -> Checkpoint:
    """An untrained network that finds something somewhere."""
    task = Task("detect", (BACKGROUND, "virion"), radius_nm={"virion": 12.0})
    torch.manual_seed(0)
    made = build_network("unet", SIZES, 1, len(task.classes))
    return Checkpoint(
        network="unet",
        sizes=SIZES,
        in_channels=1,
        task=task,
        state={k: v.clone() for k, v in made.state_dict().items()},
        pixel_size_nm=2.0,
        thresholds={"virion": 0.4},
    )


@pytest.fixture
def wanted(virions) -> list[ProjectImage]:
    """Two images of 96 px at 2 nm."""
    drawn = [virions(number) for number in (0, 1)]
    return [
        ProjectImage(name=f"grid {i}", image=one.image, scale=one.scale)
        for i, one in enumerate(drawn)
    ]


def answers_of(wanted, checkpoint, config=None, **how):
    answers: list[Answer] = []
    done = run(
        predicting(wanted, checkpoint, config or PredictConfig()),
        lambda p: answers.append(p.report) if p.report else None,
        **how,
    )
    return done, answers


def test_a_part_is_predicted_as_in_the_whole(wanted, checkpoint):
    first = wanted[0]
    whole = run(predict(first.image, checkpoint, scale=first.scale))
    part = ProjectImage(
        name="grid 0", image=first.image, scale=first.scale, window=(20, 71, 33, 90)
    )
    answer = answers_of([part], checkpoint)[1][0].prediction
    assert answer.probability.shape == whole.probability.shape
    inside = answer.done
    assert inside[20:71, 33:90].all() and inside.sum() == 51 * 57
    both = answer.probability[:, inside], whole.probability[:, inside]
    assert np.abs(both[0] - both[1]).max() < 1e-5
    assert not answer.probability[:, ~inside].any()


def test_stop_keeps_what_is_done(wanted, checkpoint):
    done, answers = answers_of(
        wanted, checkpoint, PredictConfig(tile=32), should_stop=lambda: True
    )
    assert done == 1 and [a.wanted.name for a in answers] == ["grid 0"]
    assert answers[0].prediction.done is not None
    assert "Stopped early" in answers[0].prediction.notes[-1]


def test_reading_anew_needs_no_network(wanted, checkpoint, monkeypatch):
    prediction = answers_of(wanted[:1], checkpoint)[1][0].prediction
    monkeypatch.setattr(type(checkpoint), "build", lambda *_: pytest.fail("built"))
    for threshold in (0.3, 0.4, 0.5):
        config = DetectConfig(threshold=threshold)
        run(postprocess_again(prediction, checkpoint, config))
