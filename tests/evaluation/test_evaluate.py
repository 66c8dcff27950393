"""Evaluation of a network whose answer is known, against truth that is known."""

import json
from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest
import torch

from napari_topiary.annotations import Centerlines, Labels, Points, Regions
from napari_topiary.config import DetectConfig, PredictConfig
from napari_topiary.errors import TopiaryError
from napari_topiary.evaluation import ComparedImage, compare_checkpoints, evaluate
from napari_topiary.io.dataset import Sample
from napari_topiary.types import Task, run

TASK = Task("detect", ("background", "virus"), radius_nm={"virus": 12.0})


@pytest.fixture
def known(known):
    """`known(task=TASK, ...)` is the checkpoint of such a network, at 2 nm a pixel."""
    return lambda task=TASK, **changes: known(task, **{"pixel_size_nm": 2.0} | changes)


def picture(shape, centres, radius, value=1.0):
    yy, xx = np.mgrid[: shape[0], : shape[1]]
    image = np.zeros(shape, np.float32)
    for y, x in centres:
        image[np.hypot(yy - y, xx - x) <= radius] = value
    return image[None]


def points(*centres, name="virus"):
    return Points(np.array(centres, dtype=float), (name,) * len(centres))


THREE = [(15, 15), (40, 20), (20, 48)]


def sample(drawn, marked, *extra, scale=2.0, name="one", value=1.0):
    image = picture((64, 64), drawn, 0.75 * 12 / scale, value)
    return Sample(image, (points(*marked), *extra), scale, name)


def test_detections_pooled_over_images(known):
    images = [
        sample([*THREE, (50, 50)], THREE),
        sample(THREE[:2], THREE, name="two"),
    ]
    report = run(evaluate(known(), images))
    assert report["precision"] == pytest.approx(5 / 6)
    assert report["recall"] == pytest.approx(5 / 6)
    assert report["f1"] == pytest.approx(5 / 6)
    assert report["per_class"]["virus"]["f1"] == report["f1"]
    assert (report["n_images"], report["n_true"], report["n_found"]) == (2, 6, 6)
    assert report["tolerance_nm"] == pytest.approx(6.0)
    assert report["tolerance_px"] == pytest.approx(3.0)
    assert [r["name"] for r in report["images"]] == ["one", "two"]
    assert report["images"][1]["precision"] == 1.0
    assert report["checkpoint"] == "grey" and report["task"] == "detect"
    assert report["seconds"] > 0 and "CPU" in report["device"].upper()
    json.dumps(report, allow_nan=False)


def test_pixels_of_a_perfect_answer(known):
    report = run(evaluate(known(), [sample(THREE, THREE)]))
    for name in ("dice", "iou", "accuracy", "sensitivity", "specificity"):
        assert report[name] == report["pixels"][name] == 1.0
    assert report["cross_entropy"] == pytest.approx(1e-4, rel=0.1)


def test_tolerance(known):
    moved = [(y, x + 4) for y, x in THREE]
    image = sample(THREE, moved)
    assert run(evaluate(known(), [image]))["f1"] == 0.0
    report = run(evaluate(known(), [image], tolerance_nm=10.0))
    assert (report["f1"], report["tolerance_nm"], report["tolerance_px"]) == (1, 10, 5)
    assert report["localisation_px"] == pytest.approx(4, abs=0.1)


def test_own_and_common_threshold(known):
    image = sample(THREE, THREE, value=0.4)
    report = run(evaluate(known(thresholds={"virus": 0.3}), [image]))
    assert report["f1"] == 1.0 and report["thresholds"] == {"virus": 0.3}
    common = report["at_common_threshold"]
    assert (common["threshold"], common["f1"]) == (0.5, 0.0)
    config = PredictConfig(detect=DetectConfig(threshold=0.45))
    assert run(evaluate(known(), [image], config=config))["f1"] == 0.0


def test_only_finished_regions_count(known):
    left = np.array([(0, 0), (0, 31), (63, 31), (63, 0)], float)
    image = sample([*THREE, (50, 50)], THREE[:2], Regions((left,), ("polygon",)))
    report = run(evaluate(known(), [image]))
    assert (report["f1"], report["n_true"], report["dice"]) == (1.0, 2, 1.0)


def test_what_lies_in_a_margin_is_no_truth(known):
    image = sample([*THREE, (40, 48)], [*THREE, (40, 48)])
    lost = image.image.copy()
    lost[0, 40, 20] = np.nan  # one pixel in the middle of a particle
    lost[0, :, 40:] = np.nan
    report = run(evaluate(known(), [replace(image, image=lost)]))
    assert (report["n_true"], report["f1"], report["dice"]) == (2, 1.0, 1.0)
    assert report["sensitivity"] == 1.0


def test_objects_in_a_margin_are_no_truth(known):
    task = Task("instances", ("background", "nucleus"))
    labels = np.zeros((64, 64), np.uint8)
    labels[10:20, 10:20] = 1
    labels[10:20, 50:60] = 2
    image = (labels > 0).astype(np.float32)[None]
    image[0, :, 40:] = np.nan
    drawn = Labels(labels, instances=True)
    report = run(evaluate(known(task), [Sample(image, (drawn,), None, "nuclei")]))
    for name in ("aji", "pq", "dice"):
        assert report[name] == pytest.approx(1.0, abs=1e-5)


def test_other_pixel_size_and_unknown_pixel_size(known):
    small = sample([(15, 15), (20, 48)], [(15, 15), (20, 48)], scale=3.0)
    assert run(evaluate(known(), [small]))["f1"] == 1.0
    image = sample(THREE, THREE)
    unknown = Sample(image.image, image.annotations, None, "unknown")
    assert run(evaluate(known(), [unknown]))["tolerance_nm"] == pytest.approx(6.0)
    task = Task("detect", ("background", "virus"), radius_px={"virus": 6.0})
    report = run(evaluate(known(task, pixel_size_nm=None), [unknown]))
    assert (report["f1"], report["tolerance_nm"]) == (1.0, None)
    assert report["tolerance_px"] == 3.0


def test_filaments_count_by_length(known):
    task = Task("detect", ("background", "ebola"), radius_nm={"ebola": 8.0})
    made = known(task, annotations_summary={"line_classes": ["ebola"]})
    image = np.zeros((1, 64, 96), np.float32)
    image[0, 29:36, 10:50] = 1
    drawn = Centerlines((np.array([(32.0, 10), (32, 90)]),), ("ebola",))
    report = run(evaluate(made, [Sample(image, (drawn,), 2.0, "line")]))
    assert report["precision"] == pytest.approx(1.0)
    assert report["recall"] == pytest.approx(0.5, abs=0.06)
    assert report["per_class"]["ebola"]["recall"] == report["recall"]
    assert (report["n_found"], report["n_true"]) == (1, 1)


def test_instances(known):
    task = Task("instances", ("background", "nucleus"))
    labels = np.zeros((64, 64), int)
    labels[10:20, 10:20] = 4
    labels[40:50, 40:60] = 9
    image = (labels > 0).astype(np.float32)[None]
    image[0, 40:50, 40:60] = 0
    image[0, 40:50, 40:52] = 1
    drawn = Labels(labels, instances=True)
    report = run(evaluate(known(task), [Sample(image, (drawn,), None, "nuclei")]))
    assert report["aji"] == pytest.approx((100 + 120) / (100 + 200))
    assert report["dq"] == 1.0
    assert report["sq"] == pytest.approx((1 + 0.6) / 2, rel=1e-5)
    assert report["dice"] == pytest.approx(2 * 220 / (300 + 220))
    assert "f1" not in report and "tolerance_nm" not in report


def test_segmentation(known):
    task = Task("segment", ("background", "membrane"))
    labels = np.zeros((16, 16), int)
    labels[4:8] = 1
    image = np.zeros((1, 16, 16), np.float32)
    image[0, 4:6] = 0.9
    report = run(evaluate(known(task), [Sample(image, (Labels(labels),), None, "m")]))
    assert report["dice"] == pytest.approx(2 * 32 / (64 + 32))
    assert report["per_class"]["membrane"]["sensitivity"] == 0.5
    assert report["precision"] == 1.0


def test_stop_counts_the_images_so_far(known):
    images = [sample(THREE, THREE, name=str(i)) for i in range(4)]
    seen = []
    report = run(
        evaluate(known(), images), seen.append, should_stop=lambda: len(seen) == 2
    )
    assert report["n_images"] == 2 and report["f1"] == 1.0
    assert seen[-1].total == 4 and seen[-1].eta_s is not None


def test_nothing_to_judge_by(known):
    with pytest.raises(TopiaryError, match="annotated"):
        run(evaluate(known(), [Sample(np.ones((1, 8, 8)), (), None, "bare")]))


def test_unsuitable_image_is_named(known):
    image = Sample(np.zeros((1, 32, 32)), (points((5, 5)),), 2.0, "dark")
    with pytest.raises(TopiaryError, match=r"dark: .*constant"):
        run(evaluate(known(), [image]))
    other = Sample(picture((32, 32), [(9, 9)], 4), (points((9, 9), name="x"),), 2.0)
    with pytest.raises(TopiaryError, match=r"image: .*x"):
        run(evaluate(known(), [other]))


def test_places_without_particles_are_no_truth(known):
    marked = points((50, 50), name="background")
    report = run(evaluate(known(), [sample([*THREE, (50, 50)], THREE, marked)]))
    assert report["precision"] == pytest.approx(3 / 4)


def test_checkpoints_side_by_side(known):
    images = [sample(THREE, THREE), sample(THREE, THREE, value=0.4, name="weak")]
    made = {"first": known(), "low": known(thresholds={"virus": 0.3})}
    seen = []
    table = run(compare_checkpoints(made, images), seen.append)
    first, low = table.rows
    assert (first["name"], low["name"], table.n_images) == ("first", "low", 2)
    assert (first["own"]["recall"], low["own"]["recall"]) == (0.5, 1.0)
    assert low["at_common_threshold"]["recall"] == 0.5
    # At its best both find everything, and at the same threshold.
    assert first["own_best"] == low["own_best"]
    assert first["own_best"]["quality"] == 1.0
    assert 0 < first["own_best"]["thresholds"]["virus"] < 0.4
    assert (first["agreement"], first["kept"], first["gained"]) == (1.0, 3, 0)
    assert (low["agreement"], low["kept"], low["gained"]) == (0.5, 3, 3)
    assert first["ms_per_megapixel"] > 0
    shown = [p.report for p in seen if isinstance(p.report, ComparedImage)]
    assert [s.sample.name for s in shown] == ["one", "weak"]
    assert list(shown[0].predictions) == ["first", "low"]
    json.dumps(table.to_dict(), allow_nan=False)
    timed = {"ms_per_megapixel": None}
    lean = run(compare_checkpoints(made, images, maps=False))
    for row, same in zip(lean.rows, table.rows, strict=True):
        assert row | timed == same | timed


def test_side_by_side_stops_and_refuses(known):
    images = [sample(THREE, THREE, name=str(i)) for i in range(3)]
    made = {"a": known(), "b": known()}
    seen = []
    table = run(
        compare_checkpoints(made, images), seen.append, should_stop=lambda: seen[3:]
    )
    assert table.n_images == 1 and table.rows[1]["own"]["f1"] == 1.0
    with pytest.raises(TopiaryError, match="at least one"):
        run(compare_checkpoints({}, images))


def test_a_word_about_an_image_before_it_is_predicted_does_not_end_the_job(
    monkeypatch, known
):
    # The word comes before any part is done: there is no time left to estimate from.
    monkeypatch.setattr(
        import_module("napari_topiary.inference.suitability"),
        "contrast_problem",
        lambda *arguments, **options: "The contrast is the opposite.",
    )
    steps = list(evaluate(known(), [sample(THREE, THREE)]))
    assert steps[0].report == "one: The contrast is the opposite."
    assert steps[0].eta_s is None
    assert steps[-1].fraction == 1


def test_a_network_that_is_dead_is_told_and_images_of_another_pixel_size(
    known, monkeypatch
):
    textured = sample(THREE, THREE, scale=4.0)
    noise = np.random.default_rng(0).random((1, 64, 64)).astype(np.float32)
    textured = replace(textured, image=noise)
    checkpoint, said = known(), []
    monkeypatch.setattr(
        type(checkpoint.build()),
        "forward",
        lambda self, image: torch.zeros(len(image), 2, *image.shape[2:]),
    )
    report = run(
        evaluate(checkpoint, [textured]), lambda step: said.append(step.report)
    )
    (problem,) = report["problems"]
    assert "it is dead" in problem
    rescaled = "one: The image was rescaled: it has 4 nm per pixel"
    assert [one[: len(rescaled)] for one in said if one] == [rescaled]
    both, heard = {"a": checkpoint, "b": checkpoint}, []
    job = compare_checkpoints(both, [textured])
    run(job, lambda step: heard.append(step.report))
    assert [one[: len(rescaled)] for one in heard if isinstance(one, str)] == [rescaled]
    (compared,) = (one for one in heard if isinstance(one, ComparedImage))
    assert compared.problems() == (f"a: {problem}", f"b: {problem}")
