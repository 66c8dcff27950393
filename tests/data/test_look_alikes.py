"""Look-alikes of a few marked particles: right, apart from what is held out, and off
where they are not needed."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from napari_topiary.annotations import Centerlines, Points, Regions
from napari_topiary.config import TrainConfig
from napari_topiary.data.prepared import prepare
from napari_topiary.evaluation.detection_metrics import match_points
from napari_topiary.io.dataset import Sample
from napari_topiary.training import fit
from napari_topiary.types import Task, run

TASK = Task("detect", ("background", "virion"), radius_nm={"virion": 12.0})
SIDE = 90.0
"""Of the finished square in the upper left corner."""


@pytest.fixture(scope="module")
def micrographs(virions):
    return [virions(seed, size=224, count=60) for seed in range(2)]


def clicked(made, *, finished=True, name="clicked", side=SIDE) -> Sample:
    """Only the particles in one corner are marked."""
    mine = made.centres[(made.centres < side).all(axis=1)]
    annotations = [Points(mine, ("virion",) * len(mine))]
    if finished:
        square = np.array([[0.0, 0.0], [side, side]])
        annotations.append(Regions((square,), ("rectangle",)))
    return Sample(made.image, tuple(annotations), made.scale, name)


def data_of(samples, validation=(), *, found=True, task=TASK):
    config = TrainConfig(working_factor=1.0, self_teaching=found)
    return prepare(samples, validation, config, task=task)


def test_look_alikes_are_where_the_particles_are(micrographs):
    samples = [
        clicked(micrographs[0]),
        Sample(micrographs[1].image, (), micrographs[1].scale, "bare"),
    ]
    made_of = data_of(samples)
    assert made_of.summary["look_alikes"] > 60
    radius = 6.0
    for field, made in zip(made_of.train, micrographs, strict=True):
        y, x = np.rint(made.centres).astype(int).T
        there = field.target[y, x]
        # Held out or in doubt is neither right nor wrong.
        assert (there == 0).sum() <= 0.05 * len(there)
        grid = np.stack(np.mgrid[: field.target.shape[0], : field.target.shape[1]])
        far = np.min(
            [np.hypot(*(grid - c[:, None, None])) for c in made.centres], axis=0
        )
        assert (field.target[far > 1.5 * radius] > 0).mean() < 0.01
    bare = made_of.train[1]
    y, x = np.rint(micrographs[1].centres).astype(int).T
    assert (bare.target[y, x] == 1).mean() > 0.9
    assert (bare.weight[bare.target < 0] == 0).all()


def test_a_threshold_is_chosen_where_look_alikes_part_from_the_rest(micrographs):
    prepared = data_of([clicked(micrographs[0])], [clicked(micrographs[1])])
    (area,) = prepared.learned
    found = match_points(area.points, micrographs[0].centres, 3.0)
    assert len(found) > 0.9 * len(micrographs[0].centres)
    assert len(found) > 0.95 * len(area.points)


def test_what_was_marked_stays_as_it_was(micrographs):
    samples = [clicked(micrographs[0])]
    (before,), (after,) = (data_of(samples, found=f).train for f in (False, True))
    known = before.target >= 0
    assert known.any()
    assert (after.target[known] == before.target[known]).all()
    assert (after.weight[known] == before.weight[known]).all()


def test_nothing_is_learned_in_or_near_what_is_held_out(micrographs):
    samples = [clicked(micrographs[0], side=140.0)]
    prepared = data_of(samples)
    assert prepared.summary["look_alikes"]
    (held,) = prepared.held
    (same,) = data_of(samples, found=False).held
    assert (held.field.target == same.field.target).all()
    judged = held.field.target >= 0
    assert judged.any()
    assert (prepared.train[0].target[judged] == -1).all()
    for area in prepared.learned:
        assert (area.field.target[judged] == -1).all()


def test_images_without_annotations_are_not_held_out(micrographs):
    bare = [
        Sample(micrographs[1].image, (), micrographs[1].scale, f"bare {n}")
        for n in range(3)
    ]
    prepared = data_of([*bare, clicked(micrographs[0], side=140.0)])
    assert prepared.held_names == "a part of the image"
    assert len(prepared.areas) == 1 and len(prepared.train) == 4


@pytest.mark.parametrize("why", ["all is annotated", "one mark", "lines", "noise"])
def test_it_is_off_where_it_cannot_help(why, micrographs, rng):
    made = micrographs[0]
    sample = clicked(made, finished=why != "all is annotated")
    points, *regions = sample.annotations
    if why == "one mark":
        points = Points(points.coordinates[:1], points.classes[:1])
    elif why == "noise":
        places = rng.uniform(12, SIDE - 12, (8, 2))
        points = Points(places, ("virion",) * 8)
    annotations = [points, *regions]
    if why == "lines":
        line = np.array([[10.0, 10.0], [60.0, 60.0]])
        annotations.append(Centerlines((line,), ("virion",)))
    samples = [dataclasses.replace(sample, annotations=tuple(annotations))]
    prepared, without = (data_of(samples, found=f) for f in (True, False))
    assert "look_alikes" not in prepared.summary and prepared.notes == without.notes
    assert (prepared.train[0].target == without.train[0].target).all()


def test_a_class_that_nobody_has_marked_does_not_stop_it(micrographs):
    task = dataclasses.replace(TASK, classes=(*TASK.classes, "other"))
    prepared = data_of([clicked(micrographs[0])], task=task)
    assert prepared.summary["look_alikes"] > 0


def test_a_training_says_that_it_found_look_alikes(micrographs):
    config = TrainConfig(
        sizes={"base": 4, "levels": 2, "multiplier": 2.0},
        minutes=None,
        epochs=1,
        patch=48,
        batch=2,
        device="cpu",
    )
    samples = [clicked(micrographs[0])]
    made = run(fit(samples, config, task=TASK))
    found = f"{made.annotations_summary['look_alikes']} look-alikes"
    assert sum(found in note for note in made.provenance["notes"]) == 1
    alone = dataclasses.replace(config, self_teaching=False)
    made = run(fit(samples, alone, task=TASK))
    assert not any("look-alikes" in note for note in made.provenance["notes"])
    assert "look_alikes" not in made.annotations_summary
