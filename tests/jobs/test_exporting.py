"""Counts, densities and places of what was found, in pixels and in nm."""

from __future__ import annotations

import csv
import hashlib
import json
import os
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image as Picture

from napari_topiary import Task
from napari_topiary.config import DetectConfig
from napari_topiary.errors import TopiaryError
from napari_topiary.io.run_crate import CRATE
from napari_topiary.jobs.exporting import (
    Found,
    already_there,
    export,
    kinds_for,
    summary,
)
from napari_topiary.types import BACKGROUND, Detections, Prediction

TASKS = {
    "detect": Task("detect", (BACKGROUND, "virion"), radius_nm={"virion": 12.0}),
    "instances": Task("instances", (BACKGROUND, "nucleus")),
}


def found(kind, *, scale=2.0, done=None):
    """Two particles, or two objects of 16 and 25 pixels, in 100 × 50 pixels."""
    labels = np.zeros((100, 50), np.int32)
    labels[10:14, 20:24], labels[50:55, 30:35] = 1, 7
    detections = Detections.empty()
    if kind == "detect":
        detections = Detections(
            np.array([[10.0, 20.0], [40.5, 7.0]]),
            np.array([1, 1]),
            np.array([0.9, 0.5]),
        )
    prediction = Prediction(
        probability=np.zeros((2, 100, 50), np.float32),
        shape=(100, 50),
        task=TASKS[kind],
        scale=scale,
        labels=labels,
        detections=detections,
        done=done,
    )
    checkpoint = SimpleNamespace(
        task=TASKS[kind],
        thresholds=dict.fromkeys(TASKS[kind].classes[1:], 0.4),
        annotations_summary={},
        working_factor=1.0,
        pixel_size_nm=2.0,
    )
    return Found(
        prediction=prediction,
        checkpoint=checkpoint,
        network="small",
        config=DetectConfig(),
    )


def test_the_summary_says_counts_density_threshold_and_network():
    half = np.zeros((100, 50), bool)
    half[:50] = True
    rows = summary({"a": found("detect"), "b": found("detect", done=half)})
    table = {column: [row[column] for row in rows] for column in rows[0]}
    assert table["image"] == ["a", "b"] and table["count"] == [2, 2]
    # 100 × 50 pixels of 2 nm are 0.02 µm²; of the second image half was looked at
    assert table["density_per_um2"] == pytest.approx([100.0, 200.0])
    assert table["threshold"] == [0.4, 0.4] and table["network"] == ["small"] * 2
    assert table["pixel_size_nm"] == [2.0, 2.0]


def test_an_export_has_a_table_of_every_image_and_a_summary(tmp_path):
    results = {"a": found("detect"), "b": found("instances")}
    files = {path.name for path in export(tmp_path, results)}
    assert {"a_objects.csv", "b_objects.csv", "summary.csv"} <= files
    assert {path.name for path in already_there(tmp_path, results)} == files
    assert column(tmp_path / "a_objects.csv", "y_nm") == [20.0, 81.0]
    assert column(tmp_path / "b_objects.csv", "area_nm2") == [64.0, 100.0]
    # The summary goes on to hold the images that were exported before.
    export(tmp_path, {"c": found("detect")})
    assert column(tmp_path / "summary.csv", "count") == [2.0, 2.0, 2.0]


def test_what_a_person_has_changed_in_an_export_stays(tmp_path, monkeypatch):
    results, table = {"a": found("detect")}, tmp_path / "a_objects.csv"
    export(tmp_path, results)
    written = table.read_bytes()
    table.write_bytes(written + b"9,9\n")
    with pytest.raises(TopiaryError, match=r"a_objects\.csv .* changed since Topiary"):
        already_there(tmp_path, results)
    table.write_bytes(written)
    # An export that was killed before it was noted has left nothing but results.
    more = {"a": replace(found("detect"), network="large"), "b": found("detect")}
    monkeypatch.setattr("napari_topiary.jobs.exporting._record", lambda *_: None)
    export(tmp_path, more)
    assert len(already_there(tmp_path, more)) == 9


def test_an_export_takes_other_formats_and_measures_brightness(tmp_path):
    bright = np.zeros((1, 300, 200), np.uint8)
    bright[0, 50:55, 30:35] = 200  # the second object
    bright[0, 130:150, 30:60] = 90  # both, in the part that begins at 120, 10
    whole = replace(found("instances"), image=bright[:, :100, :50])
    assert kinds_for([whole]) == ("png", "box", "cbox", "geojson", "roi", "star")
    part = replace(whole, image=bright)
    corner = replace(part.prediction, corner=(120.0, 10.0))
    part = replace(part, prediction=corner, source=tmp_path / "large.tif")
    results = {"a": whole, "large": part}
    files = export(tmp_path, results, kinds=["png", "star"])
    assert already_there(tmp_path, results, ["png", "star"])
    assert {*already_there(tmp_path, results, ["png", "star"])} == {*files}
    assert column(tmp_path / "a_objects.csv", "mean_intensity") == [0.0, 200.0]
    name = "large y120 x10"
    assert column(tmp_path / f"{name}_objects.csv", "mean_intensity") == [90.0, 0.0]
    # Its places are not those in the file of the whole image.
    assert f'"{name}" 21.5' in (tmp_path / f"{name}.star").read_text(encoding="utf-8")
    with Picture.open(tmp_path / f"{name}_overlay.png") as picture:
        assert picture.size == (50, 100)


def test_what_was_found_is_exported_without_the_image_too(tmp_path, monkeypatch):
    def gone(_):
        raise TopiaryError("The drive is gone.")

    monkeypatch.setattr(Found, "pixels", gone)
    results, out = {"a": found("instances")}, tmp_path / "out"
    with pytest.raises(TopiaryError, match="drive is gone"):
        export(out, results, kinds=["png"])
    assert not out.exists() or not list(out.iterdir())
    export(out, results)
    assert column(out / "a_objects.csv", "area_px") == [16.0, 25.0]


def test_an_export_is_repeated_but_never_over_a_persons_file(tmp_path):
    results = {"a[1]": found("detect")}
    kinds = ["box", "star"]
    files = {*export(tmp_path, results, kinds=kinds)}
    box = tmp_path / "a[1].box"
    assert box in files
    assert {*already_there(tmp_path, results, kinds)} == files - {box}
    elsewhere = tmp_path / "mine"
    elsewhere.mkdir()
    for name in ("a[1].box", "a[1]_objects.csv"):
        mine = elsewhere / name
        mine.write_text("1 2 3 4\n", encoding="utf-8")
        with pytest.raises(TopiaryError, match="no result of Topiary"):
            already_there(elsewhere, results, kinds)
        mine.unlink()


@pytest.mark.skipif(os.name == "nt", reason="Links need a right there.")
def test_an_export_goes_nowhere_else(tmp_path):
    results, table = {"a": found("detect")}, tmp_path / "a_objects.csv"
    for put, said in (
        (table.mkdir, "is a folder"),
        (lambda: table.symlink_to(tmp_path / "nowhere"), "is a link to"),
        (lambda: os.mkfifo(table), "is a pipe"),
    ):
        put()
        with pytest.raises(TopiaryError, match=said):
            already_there(tmp_path, results)
        table.rmdir() if table.is_dir() else table.unlink()


def column(path, name):
    with path.open(encoding="utf-8", newline="") as file:
        return [float(row[name]) for row in csv.DictReader(file)]


def test_beside_an_export_stands_how_it_came_about(tmp_path):
    project, out = tmp_path / "project", tmp_path / "out"
    network = project / "checkpoints" / "small.safetensors"
    network.parent.mkdir(parents=True)
    network.write_bytes(b"a network")
    image = tmp_path / "a.tif"
    image.write_bytes(b"an image")
    one = replace(found("detect"), source=image, config=DetectConfig(threshold=0.25))
    both = {"a": one, "b": found("instances")}
    files = export(out, both, kinds=["star"], project=project)
    graph = json.loads((out / CRATE).read_text(encoding="utf-8"))["@graph"]
    runs = [entry for entry in graph if entry["@type"] == "CreateAction"]
    assert len(runs) == 2
    command = runs[0]["description"].split()
    assert command[:3] == ["napari-topiary", "predict", str(network)]
    how = ["--threshold=0.25", "--export=csv,star"]
    assert command[3:] == [str(image), *how, "--out", str(out)]
    about = {entry["@id"]: entry for entry in graph}
    read = [about[entry["@id"]] for entry in runs[0]["object"]]
    for entry, path in zip(read, (network, image), strict=True):
        assert entry["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert {about[e["@id"]]["name"] for e in runs[0]["result"]} == {
        path.name for path in files
    }
