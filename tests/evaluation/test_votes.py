"""Accuracy by pixel, by foreground pixel and by particle, on hand-counted images."""

from __future__ import annotations

import numpy as np
import pytest

from napari_topiary.annotations import Centerlines, Points
from napari_topiary.cli.evaluate import _text as evaluation_text
from napari_topiary.evaluation.ground_truth import tolerances, truth_of
from napari_topiary.evaluation.pixel_metrics import (
    count_pixels,
    count_votes,
    particle_zones,
)
from napari_topiary.evaluation.score import Score, score
from napari_topiary.types import Detections, Prediction, Task

TASK = Task("detect", ("background", "rota", "ebola"), {}, {"rota": 4.0, "ebola": 4.0})


def detections(points, point_classes, lines=(), line_classes=()):
    return Detections(
        np.array(points, dtype=float).reshape(-1, 2),
        np.array(point_classes, dtype=np.int64),
        np.ones(len(points)),
        tuple(np.array(line, dtype=float) for line in lines),
        np.array(line_classes, dtype=np.int64),
        np.ones(len(lines)),
    )


def test_touching_particles_of_a_class_share_its_pixels_by_distance():
    classes = np.zeros((5, 10), np.int16)
    classes[2] = 1
    zones = particle_zones(classes, detections([(2, 1), (2, 8)], (1, 1)))
    assert zones.pixel.tolist() == list(range(20, 30))
    assert zones.particle.tolist() == [0] * 5 + [1] * 5


def test_every_particle_counts_once_as_what_most_of_its_pixels_are():
    classes = np.full((6, 12), -1, np.int16)
    classes[0, :9] = 1  # nine pixels, four of them right: taken for ebola
    classes[2, :3] = 1  # three pixels, two of them right
    classes[4, :4] = 2  # a line; half background is background
    labels = np.zeros((6, 12), np.uint8)
    labels[0, :4], labels[0, 4:9] = 1, 2
    labels[2, :2] = 1
    labels[4, :2] = 2
    there = detections([(0, 4), (2, 1), (5, 11)], (1, 1, 1), [[(4, 0), (4, 3)]], (2,))
    votes = count_votes(particle_zones(classes, there), labels, 3)
    assert votes.tolist() == [[0, 0, 0], [0, 1, 1], [1, 0, 0]]
    pixels = count_pixels(classes, labels, 3)
    assert pixels.foreground_accuracy() == pytest.approx((4 + 2 + 2) / 16)


def test_nothing_there_is_no_vote():
    empty = np.zeros((4, 4), np.int16)
    zones = particle_zones(empty, Detections.empty())
    assert count_votes(zones, empty, 3).sum() == 0
    zones = particle_zones(empty, detections([(1, 1)], (1,)))
    assert count_votes(zones, empty, 3).sum() == 0


def scored(task, labels, annotations):
    truth = truth_of(annotations, labels.shape, task=task, scale=None)
    k = len(task.classes)
    prediction = Prediction(
        probability=np.eye(k, dtype=np.float32)[labels].transpose(2, 0, 1),
        shape=labels.shape,
        task=task,
        scale=None,
        labels=labels,
        detections=Detections.empty(),
    )
    return score(prediction, truth, tolerance_px=tolerances(task, scale=None))


def test_a_report_has_three_accuracies_and_the_confusion_matrix():
    annotations = (
        Points(np.array([[10.0, 10], [10, 30]]), ("rota", "rota")),
        Centerlines((np.array([[30.0, 5], [30, 40]]),), ("ebola",)),
    )
    truth = truth_of(annotations, (44, 50), task=TASK, scale=None).classes
    labels = np.maximum(truth, 0).astype(np.uint8)
    labels[:20, 20:] = 0  # the second particle is missed
    report = scored(TASK, labels, annotations).report()
    matrix = report["confusion_matrix"]
    assert matrix["classes"] == list(TASK.classes)
    assert matrix["particles"] == [[0, 0, 0], [1, 1, 0], [0, 0, 1]]
    disc, band = int((truth == 1).sum()), int((truth == 2).sum())
    ground = int((truth == 0).sum())
    assert matrix["pixels"] == [
        [ground, 0, 0],
        [disc // 2, disc // 2, 0],
        [0, 0, band],
    ]
    assert report["accuracy_particles"] == pytest.approx(2 / 3)
    right = disc // 2 + band
    assert report["accuracy_foreground"] == pytest.approx(right / (disc + band))
    assert report["accuracy"] == pytest.approx((right + ground) / (truth >= 0).sum())


def test_scores_of_images_add_up_and_two_classes_need_no_matrix():
    annotations = (Points(np.array([[10.0, 10]]), ("rota",)),)
    labels = np.zeros((20, 20), np.uint8)
    one = scored(TASK, labels, annotations)
    assert (one + one).report()["confusion_matrix"]["particles"][1] == [2, 0, 0]
    simple = Task("detect", ("background", "rota"), {}, {"rota": 4.0})
    report = scored(simple, labels, annotations).report()
    assert "confusion_matrix" not in report
    assert "accuracy_particles" not in report
    segment = Task("segment", ("background", "a", "b"))
    pixels = count_pixels(np.array([[0, 1, 2]]), np.array([[0, 1, 1]]), 3)
    report = Score(task=segment, pixels=pixels).report()
    assert report["accuracy_foreground"] == 0.5
    assert "particles" not in report["confusion_matrix"]


def test_the_command_line_says_which_class_is_taken_for_which():
    annotations = (Points(np.array([[10.0, 10]]), ("rota",)),)
    report = scored(TASK, np.zeros((20, 20), np.uint8), annotations).report()
    text = evaluation_text({**report, "n_images": 1, "seconds": 1.0})
    assert "Right of the classes' own pixels: 0.0000, of particles: 0.0000" in text
    rows = [line.split() for line in text.splitlines()]
    assert ["rota", "1", "0", "0"] in rows
