"""Annotations -> training target, on cases whose answer is known."""

import time
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage as ndi

from napari_topiary.annotations import (
    Centerlines,
    Labels,
    Points,
    Regions,
    TargetConfig,
    annotation_problem,
    build_target,
    rescaled,
)
from napari_topiary.errors import TopiaryError
from napari_topiary.types import Task

VIRUSES = Task(
    "detect", ("background", "adeno", "ebola"), radius_px={"adeno": 8, "ebola": 4}
)
IMAGE = (64, 72)


def distance_to(y, x, shape=IMAGE):
    grid = np.mgrid[: shape[0], : shape[1]]
    return np.sqrt((grid[0] - y) ** 2 + (grid[1] - x) ** 2)


def test_a_point_makes_a_disc_a_ring_and_background():
    target = build_target((Points([[30.25, 40.5]], ("adeno",)),), IMAGE, task=VIRUSES)
    distance = distance_to(30.25, 40.5)
    expected = np.where(distance <= 6, 1, np.where(distance <= 10, -1, 0))
    np.testing.assert_array_equal(target.classes, expected)
    np.testing.assert_array_equal(target.weight, (expected >= 0).astype(np.float32))
    assert target.classes.dtype == np.int16
    assert target.weight.dtype == np.float32


@pytest.mark.parametrize("radius", [1e5, 1e18, 1e300])
def test_a_radius_beyond_the_image_is_doubted(radius):
    task = Task("detect", ("background", "adeno"), radius_px={"adeno": radius})
    with pytest.raises(TopiaryError, match="check the radius and the pixel size"):
        build_target((Points([[30, 40]], ("adeno",)),), IMAGE, task=task)


def test_the_zones_follow_the_settings():
    config = TargetConfig(certain=0.5, ignore=2.0)
    points = Points([[30, 40]], ("adeno",))
    target = build_target((points,), IMAGE, task=VIRUSES, config=config)
    distance = distance_to(30, 40)
    expected = np.where(distance <= 4, 1, np.where(distance <= 16, -1, 0))
    np.testing.assert_array_equal(target.classes, expected)


@pytest.mark.parametrize(
    "config",
    [
        TargetConfig(certain=0),
        TargetConfig(certain=1.0, ignore=0.5),
        TargetConfig(negative_weight=0),
    ],
)
def test_impossible_settings_are_refused(config):
    with pytest.raises(TopiaryError, match=r"give (a number from|at least)"):
        build_target((), IMAGE, task=VIRUSES, config=config)


def test_an_own_radius_in_nm_beats_that_of_the_class():
    task = Task("detect", ("background", "adeno"), radius_nm={"adeno": 45})
    points = Points([[20, 20], [40, 50]], ("adeno", "adeno"), (None, 20.0))
    target = build_target((points,), IMAGE, task=task, scale=5.0)
    expected = np.zeros(IMAGE, int)
    for y, x, radius in ((20, 20, 9), (40, 50, 4)):
        expected[(distance_to(y, x) <= 1.25 * radius) & (expected == 0)] = -1
    for y, x, radius in ((20, 20, 9), (40, 50, 4)):
        expected[distance_to(y, x) <= 0.75 * radius] = 1
    np.testing.assert_array_equal(target.classes, expected)


def brute_force_path_distance(path, shape=IMAGE):
    """Distance to a polyline by projecting every pixel on every segment."""
    nearest = np.full(shape, np.inf)
    for y, x in np.ndindex(shape):
        pixel = np.array([y, x], float)
        for a, b in pairwise(path):
            length = (b - a) @ (b - a)
            t = 0 if length == 0 else np.clip((pixel - a) @ (b - a) / length, 0, 1)
            nearest[y, x] = min(nearest[y, x], np.hypot(*(pixel - a - t * (b - a))))
    return nearest


@pytest.mark.parametrize(
    "path",
    [
        [[10, 10], [10, 60]],
        [[10.5, 12.25], [40, 30.75], [12, 65]],
        [[5, 5], [5, 5], [60, 70]],
        [[-30, -20], [90, 100]],
        [[30, 30]],
    ],
)
def test_a_centerline_makes_a_band_by_exact_distance(path):
    path = np.array(path, float)
    target = build_target((Centerlines((path,), ("ebola",)),), IMAGE, task=VIRUSES)
    ends = path if len(path) > 1 else np.concatenate([path, path])
    distance = brute_force_path_distance(ends)
    expected = np.where(distance <= 3, 2, np.where(distance <= 5, -1, 0))
    clear = np.minimum(abs(distance - 3), abs(distance - 5)) > 1e-5
    np.testing.assert_array_equal(target.classes[clear], expected[clear])


def test_a_long_line_is_as_exact_as_a_short_one():
    path = np.array([[3.0, 2.0], [290.0, 395.0]])
    target = build_target((Centerlines((path,), ("ebola",)),), (300, 400), task=VIRUSES)
    y, x = np.mgrid[:300, :400]
    along = (path[1] - path[0]) / np.hypot(*(path[1] - path[0]))
    across = abs((y - 3) * along[1] - (x - 2) * along[0])
    middle = ((y - 3) * along[0] + (x - 2) * along[1] > 10) & (y < 270)
    expected = np.where(across <= 3, 2, np.where(across <= 5, -1, 0))
    np.testing.assert_array_equal(target.classes[middle], expected[middle])


def test_a_width_in_nm_is_twice_the_radius():
    task = Task("detect", ("background", "ebola"))
    line = Centerlines(([[30, 5], [30, 60]],), ("ebola",), (80.0,))
    target = build_target((line,), IMAGE, task=task, scale=5.0)
    assert target.classes[30 + 6, 30] == 1
    assert target.classes[30 + 7, 30] == -1
    assert target.classes[30 + 10, 30] == -1
    assert target.classes[30 + 11, 30] == 0


def test_between_two_classes_the_nearer_centre_wins_in_any_order():
    points = Points([[30, 30], [30, 36]], ("adeno", "ebola"))
    swapped = Points([[30, 36], [30, 30]], ("ebola", "adeno"))
    target = build_target((points,), IMAGE, task=VIRUSES).classes
    d_adeno, d_ebola = distance_to(30, 30), distance_to(30, 36)
    both = (d_adeno <= 6) & (d_ebola <= 3)
    assert both.sum() > 10
    expected = np.where(d_adeno <= d_ebola, 1, 2)  # a tie goes to the lower class
    np.testing.assert_array_equal(target[both], expected[both])
    again = build_target((swapped,), IMAGE, task=VIRUSES).classes
    np.testing.assert_array_equal(target, again)


def test_certain_beats_ignored_and_ignored_beats_background():
    points = Points([[30, 30], [30, 40]], ("adeno", "ebola"))
    target = build_target((points,), IMAGE, task=VIRUSES).classes
    assert target[30, 36] == 1  # certain of the first, ignored by the nearer second
    assert target[30, 37] == 2  # and the other way round
    assert target[30, 45] == -1
    assert target[30, 46] == 0
    assert target[37, 36] == -1


def test_nothing_is_known_outside_finished_regions():
    points = Points([[20, 20], [50, 60]], ("adeno", "adeno"))
    box = Regions(([[5, 5], [5, 40], [40, 40], [40, 5]],), ("rectangle",))
    target = build_target((points, box), IMAGE, task=VIRUSES)
    inside = np.zeros(IMAGE, bool)
    inside[5:41, 5:41] = True
    assert (target.classes[~inside] == -1).all()
    assert (target.weight[~inside] == 0).all()
    whole = build_target((points,), IMAGE, task=VIRUSES)
    np.testing.assert_array_equal(target.classes[inside], whole.classes[inside])


def test_a_finished_region_without_particles_is_background():
    box = Regions(([[5, 5], [10, 10]],), ("rectangle",))
    target = build_target((box,), IMAGE, task=VIRUSES).classes
    assert (target[5:11, 5:11] == 0).all()
    assert (target >= 0).sum() == 36


def test_no_annotation_means_that_nothing_is_known_but_an_empty_one_says_nothing_here():
    assert (build_target((), IMAGE, task=VIRUSES).classes == -1).all()
    empty = Points(np.zeros((0, 2)), ())
    assert (build_target((empty,), IMAGE, task=VIRUSES).classes == 0).all()
    no_region = Regions((), ())
    both = build_target((empty, no_region), IMAGE, task=VIRUSES).classes
    assert (both == 0).all()


def test_not_this_is_background_that_counts_more():
    points = Points([[30, 30]], ("background",))
    target = build_target((points,), IMAGE, task=VIRUSES)
    disc = distance_to(30, 30) <= 8  # the largest class radius
    assert (target.classes == 0).all()
    np.testing.assert_array_equal(target.weight, np.where(disc, 4.0, 1.0))
    own = Points([[30, 30]], ("background",), (10.0,))
    target = build_target((own,), IMAGE, task=VIRUSES, scale=5.0)
    np.testing.assert_array_equal(target.weight > 1, distance_to(30, 30) <= 2)


def test_not_this_never_eats_into_a_nearer_particle():
    points = Points([[30, 30], [30, 40]], ("adeno", "background"))
    target = build_target((points,), IMAGE, task=VIRUSES)
    alone = build_target((Points([[30, 30]], ("adeno",)),), IMAGE, task=VIRUSES)
    d_particle, d_mark = distance_to(30, 30), distance_to(30, 40)
    nearer = d_particle <= d_mark
    np.testing.assert_array_equal(target.classes[nearer], alone.classes[nearer])
    disc = ~nearer & (d_mark <= 8)
    assert (target.classes[disc] == 0).all()
    assert (target.weight[disc] == 4).all()
    assert target.classes[30, 30] == 1
    assert target.classes[30, 40] == 0


def test_not_this_needs_some_radius():
    task = Task("detect", ("background", "adeno"))
    with pytest.raises(TopiaryError, match="radius of at least one class"):
        build_target((Points([[3, 3]], ("background",)),), IMAGE, task=task)


def test_class_labels_pass_through():
    labels = np.zeros(IMAGE, np.uint8)
    labels[5:20, 5:20], labels[30:50, 10:60] = 1, 2
    task = Task("segment", ("background", "myelin", "axon"))
    target = build_target((Labels(labels),), IMAGE, task=task)
    np.testing.assert_array_equal(target.classes, labels)
    assert (target.weight == 1).all()


def test_painted_labels_are_not_overdrawn_by_points():
    labels = np.zeros(IMAGE, np.uint8)
    labels[28:33, 28:33] = 2
    drawn = (Labels(labels), Points([[30, 30]], ("adeno",)))
    first = build_target(drawn, IMAGE, task=VIRUSES).classes
    second = build_target(drawn[::-1], IMAGE, task=VIRUSES).classes
    np.testing.assert_array_equal(first, second)
    assert (first[labels == 2] == 2).all()
    assert first[30, 34] == 1


def test_touching_objects_are_parted_by_one_line():
    labels = np.zeros((20, 30), np.uint16)
    labels[4:16, 4:15], labels[4:16, 15:20] = 7, 3
    task = Task("instances", ("background", "nucleus"))
    target = build_target((Labels(labels, instances=True),), (20, 30), task=task)
    expected = (labels > 0).astype(int)
    expected[4:16, 14] = 0  # taken from the larger one
    np.testing.assert_array_equal(target.classes, expected)
    assert (target.weight == 1).all()


@pytest.mark.parametrize("ids", [(1, 2), (9, 4), (3_000_000_000, 70_000)])
@pytest.mark.parametrize("full", [False, True])
def test_the_numbers_of_objects_do_not_matter(ids, full):
    labels = np.zeros((10, 12), np.int64)
    labels[:, :8], labels[:, 8 : 12 if full else 11] = ids
    task = Task("instances", ("background", "nucleus"))
    target = build_target((Labels(labels, instances=True),), (10, 12), task=task)
    expected = (labels > 0).astype(int)
    expected[:, 7] = 0
    np.testing.assert_array_equal(target.classes, expected)


def test_objects_that_touch_at_a_corner_are_parted_too():
    labels = np.zeros((12, 12), int)
    labels[1:6, 1:6], labels[6:8, 6:8] = 1, 2
    task = Task("instances", ("background", "nucleus"))
    target = build_target((Labels(labels, instances=True),), (12, 12), task=task)
    everywhere = np.ones((3, 3))
    assert ndi.label(target.classes, everywhere)[1] == 2
    assert (target.classes == 1).sum() == (labels > 0).sum() - 1


@given(seed=st.integers(0, 1000), n=st.integers(1, 12))
def test_every_object_stays_one_piece_of_its_own(seed, n):
    """A tiling of touching blocks comes apart into just its blocks."""
    rng = np.random.default_rng(seed)
    seeds = rng.permutation(36)[:n]
    blocks = np.zeros((6, 6), int)
    blocks.ravel()[seeds] = np.arange(1, n + 1)
    labels = np.kron(blocks, np.ones((6, 6), int))
    task = Task("instances", ("background", "nucleus"))
    target = build_target((Labels(labels, instances=True),), labels.shape, task=task)
    pieces, count = ndi.label(target.classes, np.ones((3, 3)))
    assert count == n
    for piece in range(1, n + 1):
        assert len(np.unique(labels[pieces == piece])) == 1


@st.composite
def separate_points(draw):
    """Up to 20 points of two classes whose rings do not meet, anywhere in 96 x 96."""
    places = draw(
        st.lists(
            st.tuples(st.floats(0, 95), st.floats(0, 95), st.sampled_from([1, 2])),
            max_size=20,
        )
    )
    kept = []
    for y, x, index in places:
        if all(np.hypot(y - a, x - b) > 14 for a, b, _ in kept):
            kept.append((y, x, index))
    return kept


@given(separate_points())
def test_points_to_target_to_peaks_gives_the_points_back(kept):
    task = Task("detect", ("background", "a", "b"), radius_px={"a": 6, "b": 4})
    points = Points(
        np.array([(y, x) for y, x, _ in kept]).reshape(-1, 2),
        tuple(task.classes[index] for _, _, index in kept),
    )
    target = build_target((points,), (96, 96), task=task)
    found = []
    for index, radius in ((1, 6), (2, 4)):
        areas, count = ndi.label(target.classes == index)
        for area in range(1, count + 1):
            pixels = np.argwhere(areas == area)
            # An area cut off by the edge has its centre elsewhere.
            inside = ((pixels > 0) & (pixels < 95)).all()
            found.append((pixels.mean(axis=0), index, 0.5 if inside else radius))
    assert len(found) == len(kept)
    for centre, index, tolerance in found:
        near = [np.hypot(y - centre[0], x - centre[1]) for y, x, _ in kept]
        best = int(np.argmin(near))
        assert near[best] <= tolerance
        assert kept[best][2] == index


@given(
    factor=st.floats(0.2, 3.0),
    y=st.floats(10, 80),
    x=st.floats(10, 80),
)
def test_rescaled_points_are_centred_on_the_same_place(factor, y, x):
    points = Points([[y, x]], ("adeno",))
    back = rescaled(rescaled(points, factor), 1 / factor)
    np.testing.assert_allclose(back.coordinates, points.coordinates, atol=1e-9)
    # The image spans -0.5 .. n - 0.5 on every grid, so this share stays the same.
    share = (points.coordinates + 0.5) / 96
    moved = (rescaled(points, factor).coordinates + 0.5) / (96 * factor)
    np.testing.assert_allclose(moved, share)


def test_every_kind_can_be_rescaled():
    labels = np.kron(np.arange(6).reshape(2, 3), np.ones((4, 4), int))
    half = rescaled(Labels(labels), 0.5)
    np.testing.assert_array_equal(
        half.labels, np.kron(np.arange(6).reshape(2, 3), np.ones((2, 2), int))
    )
    line = rescaled(Centerlines(([[0, 0], [9, 19]],), ("ebola",), (8.0,)), (0.5, 0.25))
    np.testing.assert_allclose(line.paths[0], [[-0.25, -0.375], [4.25, 4.375]])
    assert line.width_nm == (8.0,)
    box = Regions(([[-0.5, -0.5], [7.5, 11.5]],), ("rectangle",))
    assert rescaled(box, 0.5).mask((4, 6)).all()


def test_a_polygon_covers_the_pixels_inside_and_on_its_outline():
    triangle = Regions(([[2, 2], [2, 10], [10, 2]],), ("polygon",)).mask((14, 14))
    y, x = np.mgrid[:14, :14]
    np.testing.assert_array_equal(triangle, (y >= 2) & (x >= 2) & (y + x <= 12))
    star = Regions(([[0, 6], [12, 10], [4, 0], [4, 12], [12, 2]],), ("polygon",))
    mask = star.mask((14, 14))
    np.testing.assert_array_equal(mask, mask & (y <= 12))
    assert mask[0, 6]
    assert not mask[7, 6]  # even-odd: the heart of a self-crossing star is outside


@given(
    st.lists(st.tuples(st.floats(-5, 25), st.floats(-5, 25)), min_size=3, max_size=8)
)
def test_polygons_agree_with_another_implementation(vertices):
    from skimage.measure import points_in_poly

    polygon = np.array(vertices)
    ours = Regions((polygon,), ("polygon",)).mask((20, 20))
    grid = np.argwhere(np.ones((20, 20)))
    theirs = points_in_poly(grid, polygon).reshape(20, 20)
    edges = brute_force_path_distance(np.vstack([polygon, polygon[:1]]), (20, 20))
    clear = edges > 1e-6
    np.testing.assert_array_equal(ours[clear], theirs[clear])


def test_ellipses_may_be_turned_and_regions_may_overlap():
    round_one = Regions(([[2, 3], [2, 13], [12, 13], [12, 3]],), ("ellipse",))
    np.testing.assert_array_equal(
        round_one.mask((16, 18)), distance_to(7, 8, (16, 18)) <= 5
    )
    turned = np.array([[10, 2], [18, 10], [10, 18], [2, 10]], float)
    circle = Regions((turned,), ("ellipse",)).mask((20, 20))
    np.testing.assert_array_equal(
        circle, distance_to(10, 10, (20, 20)) <= np.sqrt(32) + 1e-9
    )
    both = Regions(
        ([[0, 0], [4, 4]], [[3, 3], [8, 9]]), ("rectangle", "rectangle")
    ).mask((10, 10))
    assert both.sum() == 25 + 42 - 4


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (Points([[-300, 5], [-90, 5], [5, 5]], ("adeno",) * 3), "2 of 3 points lie"),
        (Points([[5, 171.6]], ("adeno",)), "1 of 1 points lie outside"),
        (Points([[5, 5]], ("adnoe",)), "1 of 1 points are of class 'adnoe'"),
        (Centerlines(([[-99, 5], [-94, 9]],), ("ebola",)), "1 of 1 centerlines lie"),
        (Centerlines(([[1, 5], [4, 9]],), ("x",)), "the classes are background, adeno"),
        (Labels(np.zeros((10, 10), int)), "10 x 10 pixels, but the image is 64 x 72"),
        (Labels(np.full(IMAGE, 3)), "value 3, but the classes are 0 background"),
        (Labels(np.full(IMAGE, -1)), "value -1"),
        (Regions(([[90, 90], [99, 99]],), ("rectangle",)), "do not cover a single"),
    ],
)
def test_what_does_not_fit_is_named_in_a_sentence(annotation, words):
    sentence = annotation_problem((annotation,), IMAGE, task=VIRUSES)
    assert words in sentence
    assert sentence.endswith(".")
    with pytest.raises(TopiaryError) as fault:
        build_target((annotation,), IMAGE, task=VIRUSES)
    assert str(fault.value) == sentence


def test_the_edge_of_the_image_is_still_inside():
    points = Points([[-0.5, -0.5], [63.5, 71.5]], ("adeno",) * 2)
    assert annotation_problem((points,), IMAGE, task=VIRUSES) is None
    leaving = Centerlines(([[30, 30], [99, 99]],), ("ebola",))
    assert annotation_problem((leaving,), IMAGE, task=VIRUSES) is None


def test_a_missing_radius_is_a_problem_for_training_only():
    task = Task("detect", ("background", "adeno"), radius_nm={"adeno": 45})
    points = Points([[5, 5]], ("adeno",))
    assert annotation_problem((points,), IMAGE, task=task, scale=5) is None
    sentence = annotation_problem((points,), IMAGE, task=task)
    assert "pixel size of this image is unknown" in sentence
    assert annotation_problem((points,), IMAGE, task=task, radii=False) is None
    bare = Task("detect", ("background", "adeno"))
    assert "'adeno' has no radius" in annotation_problem((points,), IMAGE, task=bare)


def test_many_points_on_a_large_image_take_little_time():
    rng = np.random.default_rng(0)
    places = rng.uniform(0, 4095, (2000, 2))
    task = Task("detect", ("background", "a"), radius_px={"a": 20})
    start = time.perf_counter()
    target = build_target((Points(places, ("a",) * 2000),), (4096, 4096), task=task)
    assert time.perf_counter() - start < 10
    at = target.classes[tuple(np.rint(places).astype(int).T)]
    assert (at == 1).all()
