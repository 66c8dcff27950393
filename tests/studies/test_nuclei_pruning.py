"""The nuclei study: hand-counted qualities, the 2 % rule and the crossing."""

from __future__ import annotations

import numpy as np
import pytest

from napari_topiary.annotations import Labels
from napari_topiary.annotations.labels import object_distances
from napari_topiary.evaluation.object_metrics import dice
from napari_topiary.io.dataset import Sample
from napari_topiary.studies import studies
from napari_topiary.studies.base import CellResult
from napari_topiary.studies.nuclei_pruning import averaged, of_image
from napari_topiary.types import Detections, Prediction, Task

TASK = Task("instances", ("background", "nucleus"))
STUDY = studies["nuclei-pruning"]()


def test_dice_of_masks():
    a, b = np.array([1, 1, 0, 0], bool), np.array([1, 0, 1, 0], bool)
    assert dice(a, b) == 0.5
    assert dice(a & False, b & False) == 1.0
    assert averaged([{"x": 1.0, "y": 2.0}, {"x": 0.0}]) == {"x": 0.5, "y": 2.0}


def test_both_branches_and_the_objects_are_judged_apart():
    labels = np.zeros((20, 20), int)
    labels[2:8, 2:8], labels[12:18, 12:18] = 1, 2
    sample = Sample(np.zeros((3, 20, 20)), (Labels(labels),), None, "x")
    probability = np.stack([labels == 0, labels == 1]).astype(np.float32)
    true = object_distances(sample.annotations, (20, 20))
    prediction = Prediction(
        probability=probability,
        shape=(20, 20),
        task=TASK,
        scale=None,
        labels=labels,
        detections=Detections.empty(),
        regression=(true + 0.25)[None].astype(np.float32),
    )
    found = of_image(prediction, sample)
    assert found["dice"] == pytest.approx(2 * 36 / (36 + 72))
    assert found["instance_dice"] == 1.0
    assert found["rmse"] == pytest.approx(0.25, abs=1e-6)
    assert (found["aji"], found["dq"]) == (1.0, 1.0)
    assert found["pq"] == pytest.approx(1.0, abs=1e-6)


def results(lost_layer, lost_global):
    """Qualities that lose a share at each ratio; RMSE grows by it."""
    found = []
    for seed in range(2):
        for cell in STUDY.grid(quick=False):
            losses = {"layer": lost_layer, "global": lost_global}.get(cell["scope"])
            share = 0.0 if losses is None else losses(cell["ratio"])
            wobble = 0.01 * (2 * seed - 1)
            measured = {
                "dice": 0.8 * (1 - share) + wobble,
                "rmse": 0.1 * (1 + share),
                "pq": 0.5 * (1 - share),
                "sparsity": 1 - 1 / cell["ratio"],
            }
            found.append(CellResult(cell, seed, measured))
    return found


RESULTS = results(lambda cr: cr / 1000, lambda cr: 0.015 if cr < 64 else 0.019)


def test_the_grid_has_the_published_ratios():
    cells = STUDY.grid(quick=False)
    assert len(cells) == 19
    ratios = sorted({cell["ratio"] for cell in cells})
    assert ratios == [1, 2, 4, 5, 8, 10, 16, 20, 32, 64]


def test_two_percent_and_the_crossing():
    table, limits = STUDY.tables(RESULTS, TASK)
    heads = [column.name for column in table.columns]
    rows = [dict(zip(heads, row, strict=True)) for row in table.rows]
    assert len(rows) == 19
    assert (rows[0]["CR"], rows[0]["scope"]) == (1, "unpruned")
    (row,) = [r for r in rows if (r["CR"], r["scope"]) == (20, "layer-wise")]
    assert row["removed %"] == pytest.approx(95)
    assert row["Dice"] == pytest.approx(0.8 * 0.98)
    assert row["Dice sd"] == pytest.approx(0.02 / 2**0.5)
    assert row["PQ lost %"] == row["RMSE lost %"] == pytest.approx(2.0)
    by_curve = {row[0]: row[1:] for row in limits.rows}
    crossing = "network-wide is better from CR 16 on"
    assert by_curve["Objects: PQ"] == (16, 5, 64, crossing)
    assert by_curve["Segmentation: Dice"][:3] == (16, 16, 64)
    assert by_curve["Distance: RMSE (less is better)"] == (16, 20, 64, crossing)
    said = STUDY.sentences(RESULTS, TASK)
    assert len(said) == 3
    assert "up to CR 16 layer-wise and CR 64 network-wide (published" in said[0]


@pytest.mark.parametrize(
    ("layer", "whole", "words"),
    [
        (0.01, 0.02, "layer-wise is better throughout"),
        (0.02, 0.01, "network-wide is better throughout"),
    ],
)
def test_scopes_that_do_not_cross(layer, whole, words):
    _, limits = STUDY.tables(results(lambda cr: layer, lambda cr: whole), TASK)
    assert {row[-1] for row in limits.rows} == {words}


def test_before_anything_is_known_there_are_the_published_ratios(tmp_path):
    _, limits = STUDY.tables((), TASK)
    assert [row[2] for row in limits.rows] == [16, 20, 5]
    assert {row[-1] for row in limits.rows} == {"not known"}
    pytest.importorskip("matplotlib")
    assert STUDY.draw(RESULTS, TASK, tmp_path) == ("dice.png", "rmse.png", "pq.png")
