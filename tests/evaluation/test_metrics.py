"""Every figure against a case that was worked out by hand."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_topiary.annotations import Labels, Regions
from napari_topiary.evaluation import pixel_metrics
from napari_topiary.evaluation.detection_metrics import (
    count_detections,
    count_lines,
    match_points,
)
from napari_topiary.evaluation.ground_truth import truth_of
from napari_topiary.evaluation.object_metrics import (
    centroids,
    instance_metrics,
    overlaps,
)
from napari_topiary.evaluation.pixel_metrics import count_pixels
from napari_topiary.evaluation.thresholds import (
    best_detection_threshold,
    best_pixel_threshold,
    steady_detection_threshold,
)
from napari_topiary.types import Detections, Task


def found(*rows):
    """Detections from (y, x, class, score) rows."""
    rows = np.array(rows, dtype=float).reshape(-1, 4)
    return Detections(rows[:, :2], rows[:, 2].astype(np.int64), rows[:, 3])


# Pixels -------------------------------------------------------------------------------


def test_pixel_metrics_by_hand():
    # 2 hits, 1 missed, 1 extra, 4 rest; 2 unknown pixels.
    truth = np.array([[1, 1, 1, 0, 0], [0, 0, 0, -1, -1]])
    labels = np.array([[1, 1, 0, 1, 0], [0, 0, 0, 1, 0]])
    m = count_pixels(truth, labels, 2).metrics()
    assert m["dice"] == pytest.approx(4 / 6)
    assert m["iou"] == pytest.approx(2 / 4)
    assert m["accuracy"] == pytest.approx(6 / 8)
    assert m["sensitivity"] == pytest.approx(2 / 3)
    assert m["specificity"] == pytest.approx(4 / 5)
    assert m["precision"] == pytest.approx(2 / 3)
    assert np.isnan(m["cross_entropy"])
    assert m["per_class"][0]["sensitivity"] == pytest.approx(4 / 5)
    assert m["dice"] == pytest.approx(2 * m["iou"] / (1 + m["iou"]))


def test_three_classes_average_over_those_that_occur():
    truth = np.array([0, 0, 1, 1])[None]
    labels = np.array([0, 1, 1, 1])[None]
    m = count_pixels(truth, labels, 3).metrics()
    assert m["dice"] == pytest.approx(4 / 5)
    assert np.isnan(m["per_class"][2]["dice"])
    assert m["accuracy"] == pytest.approx(3 / 4)


def test_cross_entropy_by_hand():
    probability = np.array([[[0.5, 0.2, 0.9]], [[0.5, 0.8, 0.1]]])
    truth = np.array([[0, 1, -1]])
    m = count_pixels(
        truth, probability.argmax(axis=0), 2, probability=probability
    ).metrics()
    assert m["cross_entropy"] == pytest.approx(-(np.log(0.5) + np.log(0.8)) / 2)
    assert m["dice"] == 1.0


def test_nothing_there_and_nothing_found_is_perfect():
    m = count_pixels(np.zeros((3, 3), int), np.zeros((3, 3), int), 2).metrics()
    assert m["dice"] == m["iou"] == m["accuracy"] == 1.0


def test_counts_add_up_over_images():
    rng = np.random.default_rng(0)
    truth, labels = rng.integers(-1, 3, (2, 8, 8)), rng.integers(0, 3, (2, 8, 8))
    p = rng.dirichlet([1, 1, 1], (2, 8, 8)).transpose(0, 3, 1, 2)
    parts = [count_pixels(truth[i], labels[i], 3, probability=p[i]) for i in (0, 1)]
    whole = count_pixels(
        truth.reshape(16, 8),
        labels.reshape(16, 8),
        3,
        probability=np.concatenate(list(p), axis=1),
    )
    assert np.array_equal((parts[0] + parts[1]).confusion, whole.confusion)
    assert (parts[0] + parts[1]).surprise == pytest.approx(whole.surprise)


# Detections ---------------------------------------------------------------------------

TRUTH = (np.array([[10.0, 10], [20, 20], [30, 30]]), np.array([1, 1, 2]))


def test_detection_metrics_by_hand():
    mine = found((10, 11, 1, 0.9), (40, 40, 1, 0.8), (30, 30, 1, 0.7), (30, 32, 2, 0.6))
    m = count_detections(TRUTH, mine, 2.0, 3).metrics()
    first, second = m["per_class"][1], m["per_class"][2]
    assert (first["precision"], first["recall"]) == (pytest.approx(1 / 3), 0.5)
    assert first["f1"] == pytest.approx(2 * 1 / (3 + 2))
    assert second["f1"] == 1.0
    assert m["precision"] == pytest.approx(2 / 4)
    assert m["recall"] == pytest.approx(2 / 3)
    assert m["f1"] == pytest.approx(4 / 7)
    assert m["localisation_px"] == pytest.approx((1 + 2) / 2)


def test_one_truth_is_claimed_once():
    mine = found((10, 10, 1, 0.9), (10, 11, 1, 0.8))
    m = count_detections(
        (np.array([[10.0, 10]]), np.array([1])), mine, 3.0, 2
    ).metrics()
    assert (m["true_positives"], m["false_positives"]) == (1, 1)


def test_empty_cases():
    nothing = (np.zeros((0, 2)), np.zeros(0, int))
    assert count_detections(nothing, Detections.empty(), 2.0, 2).metrics()["f1"] == 1.0
    for m in (
        count_detections(TRUTH, Detections.empty(), 2.0, 3).metrics(),
        count_detections(nothing, found((1, 1, 1, 0.9)), 2.0, 2).metrics(),
    ):
        assert m["precision"] == m["recall"] == m["f1"] == 0.0


def test_tolerance_per_class():
    mine = found((10, 13, 1, 0.9), (30, 33, 2, 0.9))
    m = count_detections(TRUTH, mine, [0, 2.0, 4.0], 3).metrics()
    assert [c["true_positives"] for c in m["per_class"]] == [0, 0, 1]


def test_only_finished_areas_count():
    area = np.zeros((50, 50), bool)
    area[:25] = True
    truth = (np.array([[10.0, 10], [25.4, 10], [40, 40]]), np.array([1, 1, 1]))
    # The second true particle lies just outside, what was found for it just inside.
    mine = found((10, 10, 1, 0.9), (24, 10, 1, 0.9), (45, 10, 1, 0.9), (5, 40, 1, 0.9))
    counts = count_detections(truth, mine, 3.0, 2, area=area)
    assert (counts.hit[1], counts.extra[1], counts.missed[1]) == (1, 1, 0)


def best_matching(first, second, tolerance):
    """Most pairs, then least distance, by trying everything."""
    if len(first) > len(second):
        first, second = second, first
    best = (0, 0.0)
    for order in itertools.permutations(range(len(second)), len(first)):
        gaps = [np.linalg.norm(first[i] - second[j]) for i, j in enumerate(order)]
        gaps = [g for g in gaps if g <= tolerance]
        best = min(best, (-len(gaps), sum(gaps)))
    return best


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 5), st.integers(0, 5))
def test_matching_is_the_best_one(seed, n, m):
    rng = np.random.default_rng(seed)
    first, second = rng.random((n, 2)) * 6, rng.random((m, 2)) * 6
    pairs = match_points(first, second, 2.0)
    gaps = np.linalg.norm(first[pairs[:, 0]] - second[pairs[:, 1]], axis=1)
    assert len(set(pairs[:, 0])) == len(set(pairs[:, 1])) == len(pairs)
    assert (gaps <= 2.0).all()
    expected = best_matching(first, second, 2.0)
    assert (-len(pairs), gaps.sum()) == pytest.approx(expected)


# Lines --------------------------------------------------------------------------------


def test_lines_by_length():
    truth = [np.array([[10.0, 0], [10, 40]])]
    mine = [np.array([[11.0, 0], [11, 20]]), np.array([[30.0, 0], [30, 20]])]
    m = count_lines(truth, mine, 2.0).metrics()
    assert m["precision"] == pytest.approx(0.5, abs=0.02)
    # Both ends of the found half reach about 1.7 px further than it goes.
    assert m["recall"] == pytest.approx((20 + np.sqrt(3)) / 40, abs=0.03)
    assert count_lines([], [], 2.0).metrics()["f1"] == 1.0
    assert count_lines(truth, [], 2.0).metrics()["f1"] == 0.0


def test_lines_count_only_in_finished_areas():
    area = np.zeros((50, 50), bool)
    area[:, :20] = True
    truth = [np.array([[10.0, 0], [10, 40]])]
    counts = count_lines(truth, [np.array([[10.0, 0], [10, 19]])], 1.0, area=area)
    assert counts.drawn == pytest.approx(20, abs=1)
    assert counts.metrics()["f1"] == pytest.approx(1.0)


# Objects ------------------------------------------------------------------------------


def test_instance_metrics_by_hand():
    truth = np.zeros((4, 10), int)
    truth[0, :4] = 7  # 4 px: found with 3 of them and one more, IoU 3/5
    truth[1, :4] = 3  # 4 px: found with 1 px only, IoU 1/4
    truth[2, :4] = 9  # 4 px: not found
    mine = np.zeros((4, 10), int)
    mine[0, 1:5] = 2
    mine[1, 3] = 5
    mine[3, :3] = 1  # nothing there
    m = instance_metrics(truth, mine)
    shared, united = 3 + 1, 5 + 4 + 4 + 3
    assert m["aji"] == pytest.approx(shared / united)
    assert m["dq"] == pytest.approx(1 / (1 + 2 / 2 + 2 / 2))
    assert m["sq"] == pytest.approx(3 / 5, rel=1e-5)
    assert m["pq"] == pytest.approx(m["dq"] * m["sq"])
    assert (m["true_positives"], m["false_positives"], m["false_negatives"]) == (
        1,
        2,
        2,
    )


def test_a_found_object_may_be_chosen_twice():
    truth = np.array([[1, 1, 2, 2]])
    mine = np.array([[5, 5, 5, 5]])
    assert instance_metrics(truth, mine)["aji"] == pytest.approx((2 + 2) / (4 + 4))


def test_half_an_overlap_is_no_match():
    """IoU must be more than 0.5: 2 of 4 united pixels are not enough, 3 of 5 are."""
    truth = np.array([[1, 1, 1, 0, 0, 2, 2, 2, 2, 0]])
    mine = np.array([[0, 3, 3, 3, 0, 4, 4, 4, 0, 0]])
    m = instance_metrics(truth, mine)
    assert (m["true_positives"], m["false_positives"], m["false_negatives"]) == (
        1,
        1,
        1,
    )
    assert m["dq"] == pytest.approx(1 / 2)
    assert m["sq"] == pytest.approx(3 / 4, rel=1e-5)
    assert m["pq"] == pytest.approx(3 / 8, rel=1e-5)
    assert m["aji"] == pytest.approx((2 + 3) / (4 + 4))


def test_the_best_partner_of_each_true_object_counts():
    """One true object in two pieces: the larger is chosen, the other is extra area."""
    truth = np.array([[1, 1, 1, 1, 1, 1, 0, 0]])
    mine = np.array([[5, 5, 5, 5, 6, 6, 6, 0]])
    m = instance_metrics(truth, mine)
    assert m["aji"] == pytest.approx(4 / (6 + 3))
    assert m["pq"] == pytest.approx((4 / 6) * (1 / 1.5), rel=1e-5)


def test_instance_empty_cases():
    empty, some = np.zeros((4, 4), int), np.eye(4, dtype=int)
    assert instance_metrics(empty, empty)["aji"] == 1.0
    for m in (instance_metrics(some, empty), instance_metrics(empty, some)):
        assert m["aji"] == m["pq"] == m["dq"] == m["sq"] == 0.0


def test_unknown_pixels_are_left_out_of_objects():
    truth = np.array([[1, 1, -1, -1]])
    assert instance_metrics(truth, np.array([[4, 4, 4, 9]]))["aji"] == 1.0


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_numbers_do_not_matter(seed):
    rng = np.random.default_rng(seed)
    truth, mine = rng.integers(0, 4, (2, 6, 6))
    other = np.array([0, 90, 7, 1000])[mine]
    assert instance_metrics(truth, mine) == instance_metrics(truth, other)
    same = instance_metrics(truth, truth)
    assert same["aji"] == 1.0 and same["pq"] == pytest.approx(1.0, rel=1e-5)


def test_overlaps_by_hand():
    pairs = overlaps(np.array([[1, 1, 0, 2]]), np.array([[3, 0, 0, 4]]))
    assert pairs.first.tolist() == [1, 2] and pairs.second.tolist() == [3, 4]
    assert pairs.iou.tolist() == [0.5, 1.0]


@pytest.mark.parametrize("dtype", [np.uint16, np.int64, np.uint64])
def test_counting_row_by_row_changes_no_figure(dtype, monkeypatch):
    rng = np.random.default_rng(0)
    truth, mine = rng.integers(0, 5, (2, 12, 9)).repeat(3, axis=1).repeat(3, axis=2)
    far = truth.astype(dtype) * dtype(10**13 if dtype != np.uint16 else 1)
    known, maps = rng.random(truth.shape) > 0.2, rng.random((5, *truth.shape))

    def figures():
        return (
            instance_metrics(far, mine),
            count_pixels(np.where(known, truth, -1), mine, 5, probability=maps),
            centroids(mine, known),
            overlaps(far, mine, known=known),
        )

    whole = figures()
    monkeypatch.setattr(pixel_metrics, "AT_ONCE", 50)
    parts = figures()
    assert parts[0] == whole[0]
    np.testing.assert_array_equal(parts[1].confusion, whole[1].confusion)
    assert parts[1].surprise == pytest.approx(whole[1].surprise)
    assert parts[2].keys() == whole[2].keys()
    np.testing.assert_allclose(
        np.array(list(parts[2].values())), np.array(list(whole[2].values()))
    )
    np.testing.assert_array_equal(parts[3].iou, whole[3].iou)
    assert parts[3].first_area == whole[3].first_area


# Thresholds ---------------------------------------------------------------------------


def test_pixel_threshold_by_hand():
    truth = np.array([1, 1, 1, 0, 0], bool)
    probability = np.array([0.9, 0.8, 0.4, 0.3, 0.1])
    threshold, dice = best_pixel_threshold(truth, probability)
    assert dice == 1.0
    assert threshold == pytest.approx(0.35, abs=0.01)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 60))
def test_pixel_threshold_is_the_best(seed, n):
    rng = np.random.default_rng(seed)
    truth = rng.random(n) < 0.4
    probability = rng.integers(0, 9, n) / 8

    def dice(threshold):
        mine = probability >= threshold
        whole = truth.sum() + mine.sum()
        return 2 * (truth & mine).sum() / whole if whole else 1.0

    threshold, best = best_pixel_threshold(truth, probability)
    assert dice(threshold) == pytest.approx(best)
    assert best >= max(dice((i + 1) / 16) for i in range(15)) - 1e-9
    assert 0 < threshold < 1


def test_detection_threshold_by_hand():
    truth = np.array([[10.0, 10], [20, 20]])
    mine = found((10, 10, 1, 0.9), (20, 21, 1, 0.6), (40, 40, 1, 0.4), (50, 50, 1, 0.2))
    assert best_detection_threshold([(truth, mine)], 2.0) == (pytest.approx(0.5), 1.0)


def test_detection_threshold_with_nothing():
    none = np.zeros((0, 2))
    assert best_detection_threshold([(none, Detections.empty())], 2.0)[1] == 1.0
    threshold, f1 = best_detection_threshold([(none, found((1, 1, 1, 0.4)))], 2.0)
    assert threshold > 0.4 and f1 == 1.0
    assert best_detection_threshold([(np.ones((1, 2)), Detections.empty())], 2.0) == (
        0.5,
        0.0,
    )


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 12), st.integers(0, 12))
def test_detection_threshold_is_the_best(seed, n_true, n_found):
    """The single pass agrees with matching anew at every threshold."""
    rng = np.random.default_rng(seed)
    images = []
    for _ in range(2):
        scores = rng.integers(1, 9, n_found) / 10
        where = rng.random((n_found, 2)) * 10
        mine = Detections(where, np.ones(n_found, np.int64), scores)
        images.append((rng.random((n_true, 2)) * 10, mine))

    def f1(threshold):
        hits = sum(
            len(match_points(there, mine.coordinates[mine.score >= threshold], 2.5))
            for there, mine in images
        )
        n = sum((mine.score >= threshold).sum() for _, mine in images)
        return 2 * hits / (n + 2 * n_true) if n + n_true else 1.0

    threshold, best = best_detection_threshold(images, 2.5)
    assert f1(threshold) == pytest.approx(best)
    assert best >= max(f1(t / 20) for t in range(21)) - 1e-9


@pytest.mark.parametrize("dtype", [*"BHILbhil", *"Qq"])
def test_a_perfect_answer_is_perfect_whatever_the_numbers_are(dtype):
    """Every type of whole number, a finished region, numbers as large as they get."""
    labels = np.zeros((24, 24), dtype)
    for number, at in enumerate(((2, 2), (2, 12), (12, 2), (14, 15)), start=1):
        labels[at[0] : at[0] + 6, at[1] : at[1] + 7] = number
    labels[labels == 4] = np.iinfo(dtype).max
    half = Regions((np.array([[0, 0], [0, 15], [23, 15], [23, 0]]),), ("polygon",))
    task = Task("instances", ("background", "cell"))
    for drawn in ((Labels(labels),), (Labels(labels), half)):
        truth = truth_of(drawn, (24, 24), task=task, scale=None)
        scores = instance_metrics(truth.objects, labels)
        assert [scores[n] for n in ("aji", "pq", "dq", "sq")] == pytest.approx(
            [1.0] * 4, rel=1e-5
        )
        assert (truth.objects < 0).any() == (len(drawn) > 1)


def test_many_objects_need_no_table_of_all_pairs():
    side = 400
    labels = np.arange(side * side).reshape(side, side)
    pairs = overlaps(labels, labels)  # all pairs would be 200 GB
    assert len(pairs.first) == side * side - 1 and (pairs.iou == 1).all()


def test_a_steady_threshold_is_not_moved_by_one_odd_image():
    """Two images part at 0.4-0.8; in a third the best threshold would be 0.95."""
    places = np.array([[10.0 * n, 0.0] for n in range(8)])

    def image(*scores: float, true: int):
        found = Detections(places, np.ones(8, dtype=np.int64), np.array(scores))
        return places[:true], found

    usual = image(0.9, 0.85, 0.9, 0.8, 0.3, 0.2, 0.4, 0.2, true=4)
    odd = image(0.97, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, true=1)
    threshold = steady_detection_threshold([usual, odd, usual], 1.0)
    assert 0.4 < threshold <= 0.8


def test_a_steady_threshold_parts_the_scores_where_any_would_do():
    places = np.array([[10.0 * n, 0.0] for n in range(4)])
    scores = np.array([0.95, 0.9, 0.2, 0.15])
    found = Detections(places, np.ones(4, dtype=np.int64), scores)
    assert 0.2 < steady_detection_threshold([(places[:2], found)], 1.0) < 0.9
    nothing = Detections.empty()
    assert 0 < steady_detection_threshold([(places[:0], nothing)], 1.0) < 1
    assert steady_detection_threshold([(places, nothing)], 1.0) == 0.5
