"""Tables of what was found: every figure of a thing whose size is known."""

import math

import numpy as np
import pytest
import tifffile
from PIL import Image as Picture

from napari_topiary.inference.measures import objects_table, summary_rows
from napari_topiary.inference.results import write_prediction
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
