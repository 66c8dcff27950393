"""What every kind of annotation keeps to; a new kind is tested from its first day."""

import pickle

import numpy as np
import pytest

from napari_topiary.annotations import (
    Centerlines,
    Labels,
    Points,
    Regions,
    annotation_kinds,
    build_target,
    kinds_in_order,
    rescaled,
)
from napari_topiary.errors import TopiaryError
from napari_topiary.io.annotation_files import read_annotations, write_annotations
from napari_topiary.io.folder_changes import changing
from napari_topiary.io.images import write_image
from napari_topiary.io.pairing import pair_files
from napari_topiary.types import Task

SHAPE = (40, 50)
DETECT = Task("detect", ("background", "a", "b"), radius_px={"a": 5.0, "b": 3.0})

EXAMPLES = {
    "points": [
        Points([[1 / 3, 0.1], [20, 30.7]], ("a", "background")),
        Points([[5, 6], [7, 8]], ("a", "b"), (None, 4.6)),
        Points(np.zeros((0, 2)), ()),
    ],
    "centerlines": [
        Centerlines(([[1, 2], [3 / 7, 4], [5, 9]], [[7, 8], [9, 9]]), ("b", "a")),
        Centerlines(([[1, 2], [3, 4]], [[7, 8], [9, 9]]), ("b", "a"), (80.0, None)),
        Centerlines((), ()),
    ],
    "labels": [
        Labels(np.arange(2000).reshape(SHAPE) % 3),
        Labels(np.zeros(SHAPE, np.uint8)),
    ],
    "regions": [
        Regions(
            (
                [[1, 2], [1, 9], [8, 9], [8, 2]],
                [[0, 0], [10, 0.1], [3, 30]],
                [[4, 4], [4, 8], [6, 8], [6, 4]],
            ),
            ("rectangle", "polygon", "ellipse"),
        ),
        Regions((), ()),
    ],
}
CASES = [
    pytest.param(example, id=f"{kind}-{number}")
    for kind in annotation_kinds
    for number, example in enumerate(EXAMPLES[kind])
]


def test_the_window_knows_of_each_what_it_needs():
    """Its layer is what it says; no two tools have one name, or one key."""
    for kind, (example, *_) in EXAMPLES.items():
        known = annotation_kinds[kind]
        _, meta, layer_type = example.to_layer_data("m", DETECT, None)
        assert layer_type == known.layer_type and known.title
        assert ("class" in meta.get("features", {})) is known.has_classes
        assert example.status() and known.tools
        assert all(tool.text and tool.tip and tool.hint for tool in known.tools)
    tools = [tool for kind in kinds_in_order() for tool in annotation_kinds[kind].tools]
    assert len({tool.name for tool in tools}) == len({tool.key for tool in tools})
    assert len({tool.key for tool in tools}) == len(tools)


@pytest.mark.parametrize("example", CASES)
def test_a_layer_gives_the_same_value_back(example):
    data, meta, layer_type = example.to_layer_data("mine", DETECT, 2.0)
    assert meta["name"] == "mine"
    assert layer_type in ("points", "shapes", "labels")
    again = type(example).from_layer_data(data, meta)
    assert again == example
    assert not (again != example)


@pytest.mark.parametrize("example", CASES)
def test_a_real_napari_layer_gives_the_same_value_back(example):
    from napari.layers import Layer

    layer = Layer.create(*example.to_layer_data("mine", DETECT, 2.0))
    data, meta, _ = layer.as_layer_data_tuple()
    assert type(example).from_layer_data(data, meta) == example


@pytest.mark.parametrize("example", CASES)
def test_a_file_gives_the_same_value_back(example, tmp_path):
    task = Task("segment" if example.kind == "labels" else "detect", DETECT.classes)
    write_image(tmp_path / "images" / "image one.tif", np.zeros(SHAPE, np.uint8))
    with changing(tmp_path) as change:
        there = pair_files(tmp_path)
        write_annotations(change, "image one", (example,), there=there)
    files = pair_files(tmp_path).of("image one")
    (again,) = read_annotations(files, task=task)
    assert again == example
    assert list(files) == [example.kind]


@pytest.mark.parametrize("example", CASES)
def test_values_can_be_drawn_rescaled_counted_and_sent_to_a_worker(example):
    target = build_target((example,), SHAPE, task=DETECT)
    assert target.classes.shape == SHAPE
    assert set(np.unique(target.classes)) <= {-1, 0, 1, 2}
    assert rescaled(example, 1.0) == example
    assert (len(example) == 0) == (example is EXAMPLES[example.kind][-1])
    assert pickle.loads(pickle.dumps(example)) == example
    assert example != "something else"


@pytest.mark.parametrize("example", CASES)
def test_values_do_not_change_under_the_feet(example):
    data, meta, _ = example.to_layer_data("mine", DETECT, None)
    again = type(example).from_layer_data(data, meta)
    for array in data if isinstance(data, list) else [data]:
        array += 1
    assert again == example


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Points([[1, 2, 3]], ("a",)), "annotations are 2-D"),
        (lambda: Points([[1, np.nan]], ("a",)), "have no position"),
        (lambda: Points([[1, 1e300]], ("a",)), "have no position"),
        (lambda: Points([[1, 2]], ("a", "b")), "1 points come with 2 classes"),
        (lambda: Points([[1, 2]], ("",)), "1 of 1 points have no class"),
        (lambda: Points([[1, 2]], ("a",), (-3.0,)), "radius of -3 is not possible"),
        (lambda: Points([[1, 2]], ("a",), (3.0, 4.0)), "2 radii"),
        (lambda: Centerlines(([[1, 2, 3]],), ("a",)), "Centerline 1 has vertices"),
        (lambda: Centerlines(([[1, np.inf]],), ("a",)), "not a number"),
        (lambda: Centerlines(([[1, 2]],), ()), "1 centerlines come with 0 classes"),
        (lambda: Regions(([[1, 2], [3, 4]],), ("path",)), "cannot be a path"),
        (lambda: Regions(([[1, 2], [3, 4], [5, 6]],), ("ellipse",)), "4 corners"),
        (lambda: Regions(([[1, 2], [3, 4]],), ()), "1 regions come with 0"),
        (lambda: Labels(np.zeros((3, 4, 5), int)), "slice by slice"),
        (lambda: Labels(np.full((3, 4), 0.5)), "not whole numbers"),
        (lambda: Labels(np.full((3, 4), np.nan)), "have pixels that are no number"),
    ],
)
def test_impossible_values_are_refused_in_a_sentence(make, words):
    with pytest.raises(TopiaryError, match=words) as fault:
        make()
    assert str(fault.value).endswith(".")


@pytest.mark.parametrize("dtype", [bool, np.float16, np.float32, ">u2", ">f8", np.int8])
def test_labels_of_every_number_type_are_whole_numbers(dtype):
    labels = Labels(np.eye(3, dtype=dtype))
    assert labels.labels.dtype.kind in "ui"
    np.testing.assert_array_equal(labels.labels, np.eye(3))


def test_points_in_another_unit_are_no_areas():
    task = Task("detect", ("background", "a"), radius_nm={"a": 16.0})
    places = np.argwhere(np.ones((6, 6))) * 10 * 0.004
    points = Points(places, ("a",) * 36)
    sentence = points.problem((64, 64), task=task, scale=4.0, radii=True)
    assert "are these nm or µm? Pixels count." in sentence


def test_layers_of_the_wrong_kind_are_refused_in_a_sentence():
    with pytest.raises(TopiaryError, match="column 'class' is missing"):
        Points.from_layer_data([[1, 2]], {})
    with pytest.raises(TopiaryError, match="1 of 2 points have no class"):
        features = {"class": ["a", float("nan")]}
        Points.from_layer_data([[1, 2], [3, 4]], {"features": features})
    with pytest.raises(TopiaryError, match="cannot be a rectangle"):
        meta = {"shape_type": ["rectangle"], "features": {"class": ["a"]}}
        Centerlines.from_layer_data([[[1, 2], [3, 4]]], meta)


def test_older_properties_are_read_as_features():
    points = Points.from_layer_data([[1, 2]], {"properties": {"class": ["a"]}})
    assert points == Points([[1, 2]], ("a",))


def test_sizes_of_layers_are_in_pixels_of_the_image():
    task = Task("detect", ("background", "a"), radius_nm={"a": 45.0})
    points = Points([[1, 2], [3, 4]], ("a", "a"), (None, 20.0))
    _, meta, _ = points.to_layer_data("mine", task, 5.0)
    assert meta["size"].tolist() == [18.0, 8.0]
    line = Centerlines(([[1, 2], [3, 4]],), ("a",), (30.0,))
    _, meta, _ = line.to_layer_data("mine", task, 5.0)
    assert meta["edge_width"] == [6.0]
