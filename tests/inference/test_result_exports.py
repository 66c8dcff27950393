"""Results for other programs: what they read is what was found."""

import json

import numpy as np
import pytest

from napari_topiary.annotations.regions import filled
from napari_topiary.errors import TopiaryError
from napari_topiary.inference.leftovers import remove_leftovers
from napari_topiary.inference.measures import summary_rows
from napari_topiary.inference.result_exports import (
    export_problem,
    write_exports,
    write_summary,
)
from napari_topiary.inference.results import write_prediction
from napari_topiary.io.annotation_formats import (
    annotation_formats,
    format_of,
    writing_formats,
)
from napari_topiary.io.own_files import written_by_topiary
from napari_topiary.io.tables import read_table
from napari_topiary.types import Detections, Prediction, Task

VIRUS = Task("detect", ("background", "virus"), radius_nm={"virus": 8.0})
TWO = Task("detect", ("background", "virus", "rod"), radius_px={"virus": 4, "rod": 3})
CELLS = Task("instances", ("background", "cell"))


def prediction(task, *, labels=None, detections=None):
    labels = np.zeros((40, 50), np.int32) if labels is None else labels
    probability = np.ones((len(task.classes), *labels.shape), np.float32) / 2
    found = detections or Detections.empty()
    return Prediction(
        probability=probability,
        shape=labels.shape,
        task=task,
        scale=2.0,
        labels=labels,
        detections=found,
    )


def found(classes=(1, 1)):
    places = np.array([[10.0, 20.0], [30.0, 12.0]])
    return Detections(places, np.array(classes), np.array([0.9, 0.5]))


def read(path):
    (marks,) = annotation_formats[format_of(path)].read(path)
    return marks


def random_labels():
    rng = np.random.default_rng(1)
    labels = np.zeros((40, 50), np.int32)
    for number in range(1, 9):
        y, x = rng.integers(0, [30, 40])
        labels[y : y + rng.integers(1, 12), x : x + rng.integers(1, 12)] = number
    labels[5:12, 5:12] = 9
    labels[7:9, 7:9] = 0  # a hole
    labels[14, 14] = labels[15, 15] = 10  # touching at a corner
    return labels


@pytest.mark.parametrize("kind", [*writing_formats()])
def test_particles_come_back(tmp_path, kind):
    if kind == "roi":
        pytest.importorskip("roifile")
    one = prediction(VIRUS, detections=found())
    (file,) = write_exports(
        tmp_path, "m", prediction=one, kinds=[kind], image_name="m.tif"
    ).values()
    again = read(file)
    assert np.array_equal(again.places, one.detections.coordinates)
    assert kind == "box" or written_by_topiary(file)
    if kind in ("box", "cbox"):
        assert again.radius == (4, 4)
    if kind == "star":
        assert again.image_stem == "m"
    if kind in ("star", "cbox", "geojson"):
        assert again.scores == (0.9, 0.5)


def test_formats_without_classes_have_a_file_for_each(tmp_path):
    one = prediction(TWO, detections=found((1, 2)))
    files = write_exports(tmp_path, "m", prediction=one, kinds=["box", "star"])
    names = sorted(path.name for path in files.values())
    assert names == ["m.star", "m_rod.box", "m_virus.box"]
    assert read(tmp_path / "m_rod.box").places.tolist() == [[30, 12]]
    assert read(tmp_path / "m.star").classes == ("virus", "rod")


@pytest.mark.parametrize("kind", ["geojson", "roi"])
def test_objects_are_outlined_pixel_by_pixel(tmp_path, kind):
    if kind == "roi":
        pytest.importorskip("roifile")
    labels = random_labels()
    labels[30:33, 30:33] = 10  # a second piece
    one = prediction(CELLS, labels=labels)
    (file,) = write_exports(tmp_path, "m", prediction=one, kinds=[kind]).values()
    covered = np.zeros(labels.shape, int)
    areas = read(file).areas
    for area in areas:
        box, mask = filled(area.rings, labels.shape)
        assert len(np.unique(labels[box][mask])) == 1  # of one object alone
        covered[box] += mask
    assert np.array_equal(covered, labels > 0)
    assert len(areas) == len(np.unique(labels)) - 1


def test_objects_as_particles_are_their_middles(tmp_path):
    labels = np.zeros((40, 50), np.int32)
    labels[10:15, 20:25] = 1
    one = prediction(CELLS, labels=labels)
    files = write_exports(tmp_path, "m", prediction=one, kinds=["star", "box"])
    assert read(files["star"]).places.tolist() == [[12, 22]]
    assert read(files["box"]).places.tolist() == [[12, 22]]


def test_what_cannot_be_exported_is_a_sentence(tmp_path):
    segment = Task("segment", ("background", "membrane"))
    assert "paints areas: export csv or png or geojson or roi" in export_problem(
        ["box"], segment
    )
    assert "no export 'xml'" in export_problem(["xml"], VIRUS)
    assert export_problem(["geojson", "csv"], segment) is None
    with pytest.raises(TopiaryError):
        write_exports(tmp_path, "m", prediction=prediction(segment), kinds=["star"])
    assert not list(tmp_path.iterdir())


def test_figures_of_each_thing_and_of_each_image(tmp_path):
    one = prediction(VIRUS, detections=found())
    image = np.ones((1, 40, 50))
    files = write_exports(tmp_path, "m", prediction=one, kinds=["csv"], image=image)
    table = read_table(files["objects"])
    assert table["y_nm"] == ["20.0", "60.0"] and table["mean_intensity"] == ["1.0"] * 2
    assert written_by_topiary(files["objects"])
    write_summary(tmp_path, summary_rows("a", one))
    path = write_summary(tmp_path, summary_rows("b", one))
    write_summary(tmp_path, summary_rows("b", one))
    summary = read_table(path)
    assert summary["image"] == ["a", "b"] and summary["count"] == ["2", "2"]
    assert float(summary["density_per_um2"][0]) == pytest.approx(250)
    assert written_by_topiary(path)


def test_qupath_finds_classes_and_colours(tmp_path):
    one = prediction(TWO, detections=found((1, 2)))
    files = write_exports(tmp_path, "m", prediction=one, kinds=["geojson"])
    content = json.loads(files["geojson"].read_text())
    first = content["features"][0]
    assert content["type"] == "FeatureCollection"
    assert first["geometry"] == {"type": "Point", "coordinates": [20.5, 10.5]}
    assert first["properties"]["objectType"] == "detection"
    assert first["properties"]["classification"]["name"] == "virus"
    assert first["properties"]["measurements"] == {"score": 0.9}


def test_what_an_earlier_run_left_of_an_image_goes_and_what_is_a_persons_stays(
    tmp_path,
):
    one = prediction(TWO, detections=found((1, 2)))
    for stem in ("m", "m_z1", "m_z2", "m_rod", "mm"):
        write_exports(tmp_path, stem, prediction=one, kinds=["star", "csv"])
    for stem in ("m", "m_z1", "m_rod", "mm"):  # slices have none of their own
        write_prediction(tmp_path, stem, prediction=one)
    write_prediction(tmp_path, "m", prediction=one, format="zarr")
    (tmp_path / "m.geojson").write_text("{}")
    new = write_exports(tmp_path, "m", prediction=one, kinds=["csv"])
    new |= {what: tmp_path / f"m_{what}.zarr" for what in ("probability", "labels")}
    before = {path.name for path in tmp_path.iterdir()}
    said = remove_leftovers(tmp_path, "m", written=new.values(), task=TWO)
    assert said.startswith("m.geojson in ") and "is not of this run" in said
    assert before - {path.name for path in tmp_path.iterdir()} == {
        *("m.star", "m_probability.tif", "m_labels.tif", "m_detections.csv"),
        *("m_z2.star", "m_z2_objects.csv"),
    }
    assert remove_leftovers(tmp_path, "mm", written=[], task=TWO) == ""
    assert not list(tmp_path.glob("mm*"))
