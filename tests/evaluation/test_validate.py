"""Where little is held back nothing is chosen by it: the figure is not optimistic."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from napari_topiary.annotations import Labels, Points
from napari_topiary.config import TrainConfig
from napari_topiary.data.annotated_area import on_working_grid
from napari_topiary.data.prepared import prepare
from napari_topiary.evaluation.quality import Quality
from napari_topiary.evaluation.validator import Validator
from napari_topiary.io.dataset import Sample
from napari_topiary.networks.pruning_schedule import PrunedShape
from napari_topiary.normalisation import Normalisation
from napari_topiary.training.record import TrainingRecord
from napari_topiary.types import Task, run

AREAS = Task("segment", ("background", "cell"))
DETECT = Task("detect", ("background", "virion"), radius_px={"virion": 4.0})


def area(random, *, side: int = 4):
    """Grey values that say nothing, and a third of the pixels drawn."""
    labels = (random.random((side, side)) < 1 / 3).astype(np.uint8)
    labels[0, :2] = 0, 1
    image = random.random((1, side, side)).astype(np.float32)
    sample = Sample(image, (Labels(labels),), None, "noise")
    return on_working_grid(sample, 1.0, AREAS, Normalisation(kind="none"))


def judged(network, held, learned, *, figure_only: bool) -> Quality:
    judge = Validator(
        held=held,
        task=AREAS,
        line_classes=frozenset(),
        device=torch.device("cpu"),
        learned=learned,
        figure_only=figure_only,
    )
    return run(judge.validate(network))


def test_a_threshold_chosen_on_a_handful_looks_better_than_it_is(grey):
    """At every threshold t the truth is known: 2/3 (1 - t) / (1 - t + 1/3)."""
    random = np.random.default_rng(0)
    gaps = {False: [], True: []}
    for _ in range(60):
        held, learned = [area(random)], [area(random, side=24)]
        for figure_only, found in gaps.items():
            quality = judged(grey, held, learned, figure_only=figure_only)
            taken = 1 - quality.thresholds["cell"]
            found.append(quality.value - 2 / 3 * taken / (taken + 1 / 3))
    assert np.mean(gaps[False]) > 0.08
    assert np.mean(gaps[True]) == pytest.approx(0, abs=0.03)


def cells(n: int, seed: int) -> Sample:
    """Squares on noise, so many of them painted."""
    labels = np.zeros((96, 96), np.uint8)
    for row, column in list(np.ndindex(6, 6))[:n]:
        labels[16 * row + 4 : 16 * row + 12, 16 * column + 4 : 16 * column + 12] = 1
    noise = np.random.default_rng(seed).normal(100, 20, labels.shape)
    return Sample((noise + 60 * labels)[None], (Labels(labels),), None, f"cells {seed}")


def prepared(samples):
    return prepare(
        samples,
        (),
        TrainConfig(working_factor=1.0),
        task=AREAS,
    )


def test_of_little_that_is_held_back_nothing_is_chosen(grey):
    """Thresholds see what was learned from; of particles the newest weights count."""
    little = prepared([cells(24, 0), cells(24, 1)])
    assert little.figure_only and not little.few
    assert [one.sample.name for one in little.learned] != [
        one.sample.name for one in little.held
    ]
    record = TrainingRecord(
        config=TrainConfig(),
        prepared=dataclasses.replace(little, task=DETECT),
        sizes={},
        start=None,
    )
    for value in (0.9, 0.4):
        assert record.consider(
            Quality(value=value, name="Dice", loss=0.1), grey, PrunedShape()
        )
    assert record.best is not None and record.best.value == 0.4


def test_of_much_some_choose_and_others_judge(grey):
    much = prepared([cells(36, seed) for seed in range(20)])
    assert not much.figure_only and not much.learned
    record = TrainingRecord(
        config=TrainConfig(),
        prepared=much,
        sizes={},
        start=None,
    )
    record.consider(Quality(value=0.9, name="Dice", loss=0.1), grey, PrunedShape())
    assert not record.consider(
        Quality(value=0.4, name="Dice", loss=0.1), grey, PrunedShape()
    )


@pytest.mark.parametrize("kind", ["segment", "instances"])
def test_by_a_handful_of_things_quality_is_that_at_the_threshold_that_stays(grey, kind):
    """A curve that ends at 1 beside a figure of 0 would puzzle whoever sees both."""
    task = dataclasses.replace(AREAS, kind=kind)
    labels = np.zeros((32, 32), np.uint8)
    labels[4:12, 4:12], labels[18:28, 18:28] = 1, 2 if kind == "instances" else 1
    image = np.where(labels, 0.4, 0.1).astype(np.float32)[None]
    sample = Sample(image, (Labels(labels),), None, "pale")
    few = prepare([sample], [sample], TrainConfig(working_factor=1.0), task=task)
    assert few.usual_thresholds
    held = [on_working_grid(sample, 1.0, task, Normalisation(kind="none"))]
    judge = Validator.often(few, grey, device=torch.device("cpu"))
    judge = dataclasses.replace(judge, held=held, learned=())
    assert run(judge.validate(grey)).value == 0.0
    freely = dataclasses.replace(judge, usual_thresholds=False)
    assert run(freely.validate(grey)).value == 1.0


def test_particles_held_back_do_not_move_their_threshold(grey):
    """The same threshold whatever the held-out image looks like."""
    random = np.random.default_rng(1)

    def marked(probability: float, name: str) -> Sample:
        image = random.random((1, 64, 64)).astype(np.float32) * 0.2
        centres = np.array([[16.0, 16.0], [16.0, 48.0], [48.0, 16.0], [48.0, 48.0]])
        grid = np.stack(np.mgrid[:64, :64])
        for centre in centres:
            image[0, np.hypot(*(grid - centre[:, None, None])) < 4] = probability
        return Sample(image, (Points(centres, ("virion",) * 4),), 1.0, name)

    def on_grid(sample: Sample):
        return on_working_grid(sample, 1.0, DETECT, Normalisation(kind="none"))

    learned = [on_grid(marked(0.9, "learned"))]
    judge = Validator(
        held=[],
        task=DETECT,
        line_classes=frozenset(),
        device=torch.device("cpu"),
        learned=learned,
        figure_only=True,
    )
    found = [
        run(
            dataclasses.replace(judge, held=[on_grid(marked(p, "held"))]).validate(grey)
        )
        for p in (0.95, 0.3)
    ]
    assert found[0].thresholds == found[1].thresholds
    assert found[0].value == 1.0 > found[1].value
