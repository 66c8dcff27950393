"""Tables of what was found: every figure of a thing whose size is known."""

import math

import numpy as np
import pytest
import tifffile
from PIL import Image as Picture
from scipy import ndimage as ndi
from skimage.measure import label, regionprops

from napari_topiary.inference.measures import objects_table, summary_rows
from napari_topiary.inference.result_exports import write_exports
from napari_topiary.inference.results import write_prediction
from napari_topiary.io.tables import read_table
from napari_topiary.postprocessing.interpret import PostProcessing
from napari_topiary.types import Detections, Prediction, Task

CELLS = Task("instances", ("background", "cell"))
VIRUS = Task("detect", ("background", "virus", "rod"), radius_nm={"virus": 6.0})
LABELS = np.zeros((20, 30), np.int32)
LABELS[2:6, 3:13] = 1
LABELS[10:15, 20:25] = 2


def found(labels, task, *, scale=2.0, detections=None, done=None):
    probability = np.zeros((len(task.classes), *labels.shape), np.float32)
    probability[1] = np.where(labels > 0, 0.75, 0)
    return Prediction(
        probability=probability,
        shape=labels.shape,
        task=task,
        scale=scale,
        labels=labels,
        detections=detections or Detections.empty(),
        done=done,
    )


def test_objects_are_measured():
    image = np.where(LABELS == 2, 5.0, 1.0)[None]
    image[0, 10, 20] = np.nan  # unknown, so not counted
    table = objects_table(found(LABELS, CELLS), image)
    assert table["object"] == [1, 2]
    assert table["kind"] == ["object"] * 2
    assert table["class"] == ["cell"] * 2
    assert table["score"] == [0.75, 0.75]
    assert table["axis-0"] == [3.5, 12.0] and table["axis-1"] == [7.5, 22.0]
    assert table["x_nm"] == [15.0, 44.0]
    assert table["area_px"] == [40, 25] and table["area_nm2"] == [160, 100]
    diameter = 2 * math.sqrt(25 / math.pi)
    assert table["diameter_nm"][1] == pytest.approx(2 * diameter, rel=1e-6)
    # An ellipse is spread as a bar of length a is when its axis is 2 a / sqrt(3).
    assert table["length_px"][0] == pytest.approx(2 * 10 / math.sqrt(3), rel=1e-6)
    assert table["mean_intensity"] == [1.0, 5.0]


def test_areas_of_each_class_are_connected_pieces():
    task = Task("segment", ("background", "a", "b"))
    labels = (LABELS > 0).astype(np.uint8)
    labels[12, :4] = 2
    table = objects_table(found(labels, task, scale=None))
    assert table["class"] == ["a", "a", "b"]
    assert table["area_px"] == [40, 25, 4]
    assert table["area_nm2"] == table["y_nm"] == table["mean_intensity"] == [None] * 3


def test_particles_and_filaments_are_measured():
    line = np.array([[0.0, 0.0], [3.0, 4.0]])
    detections = Detections(
        np.array([[10.0, 12.0]]), np.array([1]), np.array([0.9]),
        (line,), np.array([2]), np.array([0.5]),
    )  # fmt: skip
    image = np.zeros((1, 20, 30))
    image[0, 7:14, 9:16] = 3
    table = objects_table(found(LABELS * 0, VIRUS, detections=detections), image)
    assert table["kind"] == ["particle", "filament"]
    assert table["class"] == ["virus", "rod"]
    assert table["length_px"] == [None, 5.0] and table["length_nm"] == [None, 10.0]
    assert table["mean_intensity"] == [3.0, 0.0]
    assert table["area_px"] == [None, None]  # learned, not measured


def test_what_an_image_holds():
    half = np.zeros((20, 30), bool)
    half[:, :15] = True
    rows = summary_rows("a", found(LABELS, CELLS), thresholds={"cell": 0.25})
    rows += summary_rows("b", found(LABELS, CELLS, scale=None, done=half))
    summary = {column: [row[column] for row in rows] for column in rows[0]}
    assert summary["threshold"] == [0.25, None]
    assert summary["image"] == ["a", "b"] and summary["count"] == [2, 2]
    # 20 x 30 pixels of 2 nm are 0.0024 µm².
    assert summary["area_um2"] == [0.0024, None]
    assert summary["density_per_um2"][0] == pytest.approx(2 / 0.0024, rel=1e-6)
    assert summary["density_per_um2"][1] is None
    assert summary["covered_share"] == pytest.approx([65 / 600, 65 / 300], rel=1e-6)
    assert summary["complete"] == [True, False]


@pytest.mark.parametrize("highest", [1, 300, 70_000])
def test_every_result_is_opened_by_others(tmp_path, highest):
    labels = np.zeros((300, 300), np.int64)
    labels.flat[:highest] = np.arange(1, highest + 1)
    files = write_prediction(tmp_path, "a", prediction=found(labels, CELLS))
    for file, value in ((files["labels"], highest), (files["probability"], 0)):
        with tifffile.TiffFile(file) as tif:
            page = tif.pages[0]
            assert page.shape == (300, 300)
            # What Fiji opens: 8, 16 and 32 bit, whole numbers or floats.
            assert page.dtype in (np.uint8, np.uint16, np.uint32, np.float32)
            across, per = page.tags["XResolution"].value
            assert 1e7 * per / across == pytest.approx(2.0)
        with Picture.open(file) as picture:
            assert picture.size == (300, 300)
            assert np.asarray(picture).max() == value
    dtype = {1: np.uint8, 300: np.uint16, 70_000: np.uint32}[highest]
    assert tifffile.imread(files["labels"]).dtype == dtype


@pytest.mark.parametrize("shape", [(400, 400), (160, 160)])
def test_what_the_smallest_size_leaves_is_numbered_from_one(shape):
    probability = np.zeros((2, 400, 400), np.float32)
    probability[1, ::4, ::4] = 1  # 10,000 specks
    for y in range(12, 400, 40):
        for x in range(12, 400, 40):
            probability[1, y - 5 : y + 5, x - 5 : x + 5] = 1
    smallest = round(50 * shape[0] * shape[1] / 400**2)
    reading = PostProcessing(thresholds={"cell": 0.5}, min_size_px=smallest)
    labels = reading.labels(probability, shape, CELLS)
    assert np.array_equal(np.unique(labels), np.arange(101))


def blobs(classes):
    """Round-ish areas of several classes, some with holes, some at the border."""
    noise = ndi.gaussian_filter(np.random.default_rng(4).normal(size=(120, 150)), 3)
    labels = np.zeros(noise.shape, np.uint8)
    for index in range(1, classes + 1):
        labels[(noise > 0.02 * index) & (noise < 0.02 * (index + 1))] = index
    return labels


@pytest.mark.parametrize("scale", [2.5, None])
@pytest.mark.parametrize("kind", ["segment", "instances"])
def test_figures_are_those_of_an_independent_count(tmp_path, kind, scale):
    names = ("background", "a", "b") if kind == "segment" else ("background", "cell")
    labels = blobs(len(names) - 1)
    if kind == "instances":
        labels = label(labels, connectivity=2).astype(np.int32)
    image = np.random.default_rng(1).integers(0, 4000, labels.shape).astype(np.uint16)
    one = found(labels, Task(kind, names), scale=scale)
    files = write_exports(
        tmp_path, "m", prediction=one, kinds=["csv"], image=image[None]
    )
    table = read_table(files["objects"])
    expected = []
    for index in range(1, len(names)):
        own = labels == index if kind == "segment" else labels > 0
        numbers = label(own, connectivity=2) if kind == "segment" else labels
        expected += [(names[index], p) for p in regionprops(numbers, image)]
    assert len(expected) == len(table["area_px"]) > 10
    assert table["class"] == [name for name, _ in expected]
    columns = {
        "area_px": lambda p: p.area,
        "axis-0": lambda p: p.centroid[0],
        "axis-1": lambda p: p.centroid[1],
        "diameter_px": lambda p: p.equivalent_diameter_area,
        # Pixels are squares, as for Fiji and MATLAB, and not points.
        "length_px": lambda p: math.sqrt(p.axis_major_length**2 + 16 / 12),
        "mean_intensity": lambda p: p.intensity_mean,
    }
    for column, value in columns.items():
        own = [float(text) for text in table[column]]
        np.testing.assert_allclose(own, [value(p) for _, p in expected], rtol=1e-5)
    for column, power in (("area", 2), ("diameter", 1), ("length", 1)):
        in_nm = table[f"{column}_nm2" if column == "area" else f"{column}_nm"]
        if scale is None:
            assert set(in_nm) == {""}
            continue
        in_px = np.array([float(text) for text in table[f"{column}_px"]])
        np.testing.assert_allclose(
            [float(text) for text in in_nm], in_px * scale**power, rtol=1e-5
        )
    rows = summary_rows("m", one)
    pixels = labels.size
    for row in rows:
        mine = [p for name, p in expected if name == row["class"]]
        assert row["count"] == len(mine)
        covered = sum(p.area for p in mine) / pixels
        assert row["covered_share"] == pytest.approx(covered, rel=1e-5)
        um2 = None if scale is None else pixels * (scale / 1e3) ** 2
        density = None if um2 is None else pytest.approx(len(mine) / um2, rel=1e-5)
        assert row["density_per_um2"] == density
