"""Two predictions whose differences are known."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_topiary.annotations import Centerlines, Labels, Points, Regions
from napari_topiary.errors import TopiaryError
from napari_topiary.evaluation import compare
from napari_topiary.evaluation.compare import changes_between
from napari_topiary.evaluation.ground_truth import truth_of, truth_prediction
from napari_topiary.postprocessing.interpret import PostProcessing
from napari_topiary.types import Detections, Prediction, Task

TASK = Task("detect", ("background", "virus"), radius_nm={"virus": 12.0})
TWO = Task(
    "detect", ("background", "virus", "other"), radius_px={"virus": 6.0, "other": 6.0}
)


def disc(shape, centres, radius, value=1.0):
    yy, xx = np.mgrid[: shape[0], : shape[1]]
    image = np.zeros(shape, np.float32)
    for y, x in centres:
        image[np.hypot(yy - y, xx - x) <= radius] = value
    return image


def prediction(*maps, task=TASK, scale=2.0, shape=None, name="net", **changes):
    """Probability maps of the foreground classes, read at 0.5."""
    maps = np.stack(maps)
    probability = np.concatenate([1 - maps.sum(axis=0, keepdims=True), maps])
    shape = maps.shape[1:] if shape is None else shape
    shrunk = maps.shape[1] / shape[0]
    radii = {n: (task.radius(n, scale) or 6.0) * shrunk for n in task.classes[1:]}
    reading = PostProcessing(
        radius_px=radii, line_classes=changes.pop("lines", frozenset())
    )
    return Prediction(
        probability=probability.astype(np.float32),
        shape=shape,
        task=task,
        scale=scale,
        labels=reading.labels(probability, shape, task),
        detections=reading.detections(probability, shape, task),
        checkpoint=name,
        **changes,
    )


A = [(15, 15), (40, 20), (20, 48)]
B = [(15.6, 15), (40, 20), (50, 50)]


def both(value=0.9):
    shape = (64, 64)
    return (
        prediction(disc(shape, A, 4.5), name="before"),
        prediction(disc(shape, B, 4.5, value), name="after"),
    )


def test_kept_lost_gained():
    found = compare(*both())
    assert (found.a, found.b) == ("before", "after")
    assert found.things.counts() == {"kept": 2, "changed": 0, "lost": 1, "gained": 1}
    lost, gained = found.things.which("lost"), found.things.which("gained")
    assert found.things.coordinates[lost] == pytest.approx(np.array([[20, 48]]))
    assert found.things.coordinates[gained] == pytest.approx(np.array([[50, 50]]))
    assert found.things.score_a[lost] == pytest.approx(1.0)
    assert np.isnan(found.things.score_b[lost]).all()
    kept = found.things.which("kept")
    assert found.things.score_b[kept] == pytest.approx([0.9, 0.9], abs=0.02)
    assert found.agreement == pytest.approx(2 * 2 / 6)
    assert changes_between(*both())[1] == found.agreement


def test_difference_is_b_minus_a():
    found = compare(*both())
    assert found.difference.shape == (2, 64, 64)
    assert found.difference[1, 20, 48] == pytest.approx(-1.0)
    assert found.difference[1, 50, 50] == pytest.approx(0.9)
    assert found.difference[1, 40, 20] == pytest.approx(-0.1)
    assert np.abs(found.difference.sum(axis=0)).max() < 1e-6


def test_worst_places_lead_to_the_disagreements():
    found = compare(*both(value=0.7))
    assert [p.what for p in found.places[:2]] == ["lost virus", "gained virus"]
    assert (found.places[0].y, found.places[0].x) == pytest.approx((20, 48))
    assert found.places[0].badness == pytest.approx(np.pi * 36)
    assert found.places[0].size == pytest.approx(24)
    badness = [place.badness for place in found.places]
    assert badness == sorted(badness, reverse=True)


def test_a_wider_rim_is_no_disagreement_about_particles():
    narrow, wide = (disc((64, 64), A, radius) for radius in (4.5, 5.5))
    found = compare(prediction(narrow), prediction(wide))
    assert found.disagreement.any() and found.places == ()


def test_same_is_the_same():
    a, _ = both()
    found = compare(a, a)
    assert found.things.counts()["kept"] == 3 and found.agreement == 1.0
    assert not found.difference.any() and found.places == ()
    assert found.disagreement_share == 0.0


@given(st.integers(0, 1000))
def test_swapping_swaps_lost_and_gained(seed):
    rng = np.random.default_rng(seed)
    a, b = (prediction(disc((48, 48), rng.random((4, 2)) * 48, 4)) for _ in range(2))
    there, back = compare(a, b), compare(b, a)
    assert there.things.counts()["lost"] == back.things.counts()["gained"]
    assert there.things.counts()["kept"] == back.things.counts()["kept"]
    assert np.array_equal(there.difference, -back.difference)
    assert there.agreement == pytest.approx(back.agreement)


def test_working_grids_may_differ():
    coarse = prediction(
        disc((32, 32), [((y + 0.5) / 2 - 0.5, (x + 0.5) / 2 - 0.5) for y, x in A], 2.3),
        shape=(64, 64),
    )
    fine, _ = both()
    found = compare(fine, coarse)
    assert found.things.counts()["kept"] == 3
    assert found.disagreement_share < 0.02


def test_tolerance_in_nm_or_pixels():
    shifted = prediction(disc((64, 64), [(y, x + 4) for y, x in A], 4.5))
    a, _ = both()
    assert compare(a, shifted).things.counts()["kept"] == 0
    assert compare(a, shifted, tolerance=10.0).things.counts()["kept"] == 3
    assert compare(a, shifted, tolerance=6.0).things.counts()["kept"] == 0


def test_change_of_class():
    spot, none = disc((64, 64), [(30, 30)], 4.5), np.zeros((64, 64), np.float32)
    a = prediction(0.9 * spot, none, task=TWO, scale=None)
    b = prediction(none, 0.8 * spot, task=TWO, scale=None)
    found = compare(a, b)
    assert found.things.counts() == {"kept": 0, "changed": 1, "lost": 0, "gained": 0}
    assert found.things.class_index.tolist() == [2]
    assert found.disagreement.sum() == spot.sum()
    assert found.agreement == 0.0
    assert found.places[0].what == "changed other"


def test_classes_are_matched_by_name():
    spot, far = disc((64, 64), [(20, 20)], 4.5), disc((64, 64), [(45, 45)], 4.5)
    turned = Task("detect", ("background", "other", "virus"), radius_px=TWO.radius_px)
    a = prediction(spot, far, task=TWO, scale=None)
    b = prediction(far, spot, task=turned, scale=None)
    found = compare(a, b)
    assert found.task.classes == TWO.classes
    assert found.things.counts()["kept"] == 2 and not found.disagreement.any()
    assert not found.difference.any()
    only = prediction(spot, task=Task("detect", TASK.classes, radius_px=TWO.radius_px))
    more = compare(only, a)
    assert more.task.classes == TWO.classes
    assert more.things.counts() == {"kept": 1, "changed": 0, "lost": 0, "gained": 1}


def test_lines():
    task = Task("detect", ("background", "ebola"), radius_px={"ebola": 4.0})

    def drawn(*rows):
        map_ = np.zeros((96, 96), np.float32)
        for row, end in rows:
            map_[row - 3 : row + 4, 10:end] = 1
        return prediction(map_, task=task, scale=None, lines=frozenset({"ebola"}))

    found = compare(drawn((20, 80), (50, 80)), drawn((21, 70), (80, 80)))
    assert found.lines.counts() == {"kept": 1, "lost": 1, "gained": 1}
    lost = found.lines.lines[found.lines.status.index("lost")]
    assert lost[:, 0] == pytest.approx(50, abs=1.5)
    assert {p.what for p in found.places} >= {"lost ebola", "gained ebola"}
    assert found.agreement == pytest.approx(2 / 4)


def objects(*boxes):
    map_ = np.zeros((64, 64), np.float32)
    for y0, y1, x0, x1 in boxes:
        map_[y0:y1, x0:x1] = 1
    return prediction(map_, task=Task("instances", ("background", "n")), scale=None)


def test_objects():
    a = objects((2, 12, 2, 12), (20, 40, 20, 40), (50, 60, 5, 15))
    b = objects((2, 12, 3, 13), (20, 40, 20, 29), (20, 40, 31, 40), (50, 60, 50, 60))
    found = compare(a, b)
    assert found.things.counts() == {"kept": 1, "changed": 1, "lost": 1, "gained": 1}
    changed = int(np.flatnonzero(found.things.which("changed"))[0])
    assert found.things.coordinates[changed] == pytest.approx([29.5, 29.5])
    assert found.things.size[changed] == 400
    assert found.agreement == pytest.approx(2 * 1 / (3 + 4))
    assert {p.what for p in found.places} == {"changed n", "lost n", "gained n"}


def test_segmentation():
    task = Task("segment", ("background", "membrane"))
    a, b = np.zeros((2, 64, 64), np.float32)
    a[10:20], b[12:20], b[50:60, :10] = 1, 1, 1
    found = compare(
        prediction(a, task=task, scale=None), prediction(b, task=task, scale=None)
    )
    assert len(found.things) == 0
    assert found.disagreement.sum() == 2 * 64 + 100
    assert found.disagreement_share == pytest.approx(228 / 64**2)
    assert found.agreement == pytest.approx(2 * 512 / (640 + 612))
    assert [round(p.badness) for p in found.places] == [128, 100]
    assert (found.places[1].y, found.places[1].x) == pytest.approx((54.5, 4.5))


def test_only_where_both_have_looked():
    done = np.zeros((64, 64), bool)
    done[:, :32] = True
    a, b = both()
    found = compare(a, Prediction(**{**vars(b), "done": done}))
    assert found.things.counts() == {"kept": 2, "changed": 0, "lost": 0, "gained": 0}
    assert not found.difference[:, :, 32:].any()
    assert found.disagreement_share <= found.disagreement[:, :32].mean()


def test_refusals():
    a, _ = both()
    with pytest.raises(TopiaryError, match="same image"):
        compare(a, prediction(disc((32, 32), [(9, 9)], 4)))
    with pytest.raises(TopiaryError, match="do the same"):
        compare(a, objects((2, 12, 2, 12)))


def marked(*centres):
    return Points(np.array(centres, float), ("virus",) * len(centres))


def test_metrics_against_the_truth():
    a, _ = both()
    weak = prediction(disc((64, 64), A, 4.5, 0.3), name="weak")
    metrics = compare(a, weak, truth=(marked(*A),)).metrics
    assert metrics["a"]["as_shown"]["f1"] == 1.0
    assert metrics["b"]["as_shown"]["f1"] == 0.0
    assert metrics["b"]["at_common_threshold"]["f1"] == 0.0
    # At its own best threshold the weak one finds everything.
    assert metrics["b"]["own_best"]["f1"] == 1.0
    assert metrics["b"]["own_best"]["thresholds"]["virus"] < 0.3
    assert metrics["a"]["own_best"]["dice"] == 1.0


def test_metrics_of_segmentation_and_objects():
    task = Task("segment", ("background", "membrane"))
    truth = np.zeros((32, 32), int)
    truth[10:20] = 1
    half = prediction((truth * 0.4).astype(np.float32), task=task, scale=None)
    metrics = compare(half, half, truth=(Labels(truth),)).metrics["a"]
    assert metrics["at_common_threshold"]["dice"] == 0.0
    assert metrics["own_best"]["dice"] == 1.0
    a = objects((2, 12, 2, 12))
    labels = Labels((a.labels > 0) * 7, instances=True)
    assert compare(a, a, truth=(labels,)).metrics["b"]["own_best"]["aji"] == 1.0


def test_truth_as_a_prediction():
    truth = truth_of((marked(*A),), (64, 64), task=TASK, scale=2.0)
    perfect = truth_prediction(truth, TASK, scale=2.0)
    a, b = both()
    assert compare(perfect, a).things.counts()["kept"] == 3
    found = compare(perfect, b)
    assert found.a == "truth"
    assert found.things.counts() == {"kept": 2, "changed": 0, "lost": 1, "gained": 1}
    # The rim of a particle is unknown: no difference is shown there.
    assert not compare(perfect, a).disagreement.any()


def test_truth_with_regions_and_lines():
    left = np.array([(0, 0), (0, 31), (63, 31), (63, 0)], float)
    path = Centerlines((np.array([(5.0, 5), (5, 25)]),), ("virus",))
    drawn = (marked(*A[:2]), Regions((left,), ("polygon",)), path)
    truth = truth_of(drawn, (64, 64), task=TASK, scale=2.0)
    assert truth.area is not None and truth.area[:, :32].all()
    assert len(truth.particles) == 2 and len(truth.particles.lines) == 1
    assert (truth.classes[:, 33:] == -1).all()


def test_to_dict_is_json():
    found = compare(*both(), truth=(marked(*A),))
    said = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert said["counts"]["lost"] == 1
    lost = next(t for t in said["things"] if t["status"] == "lost")
    assert (lost["class"], lost["score_b"]) == ("virus", None)
    assert said["metrics"]["a"]["own_best"]["f1"] == 1.0


def test_many_particles_are_matched():
    rng = np.random.default_rng(0)
    where = rng.random((150, 2)) * 512
    a = prediction(disc((512, 512), where, 4.5), shape=(1024, 1024))
    b = prediction(disc((512, 512), where[10:] + 0.3, 4.5), shape=(1024, 1024))
    counts = compare(a, b).to_dict()["counts"]
    assert max(counts["gained"], counts["lost"]) <= 12 < 100 < counts["kept"]


def test_empty_detections():
    nothing = prediction(np.zeros((32, 32), np.float32))
    found = compare(nothing, nothing)
    assert len(found.things) == 0 and found.agreement == 1.0
    assert isinstance(nothing.detections, Detections)
