"""Pictures of images, annotations and comparisons, and the report of one file."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser

import numpy as np
from PIL import Image

from napari_topiary.annotations import Centerlines, Labels, Points, Regions
from napari_topiary.inference.overlay import MARK
from napari_topiary.io.dataset import Sample
from napari_topiary.io.own_files import written_by_topiary
from napari_topiary.report.pictures import (
    SIDE,
    Report,
    annotated_panel,
    panel,
    probability_panel,
    save_comparison,
    write_report,
)
from napari_topiary.types import Detections, Prediction, Task

TASK = Task("detect", ("background", "virion", "rod"), {}, {"virion": 6.0, "rod": 3})


def colour_at(shown, y, x):
    place = (round((x + 0.5) * shown.zoom), round((y + 0.5) * shown.zoom))
    return shown.picture.getpixel(place)


def hex_of(rgb):
    return "#{:02x}{:02x}{:02x}".format(*rgb)


def test_a_panel_stretches_brightness_and_takes_any_type():
    ramp = np.linspace(1000, 3000, 64 * 40).reshape(1, 64, 40).astype(np.uint16)
    shown = panel(ramp, "ramp")
    assert max(shown.picture.size) == SIDE
    assert colour_at(shown, 1, 1)[0] < 10
    assert colour_at(shown, 62, 38)[0] > 245
    for odd in (np.zeros((1, 8, 8)), np.full((1, 8, 8), np.nan), ramp[:, :1, :1]):
        assert panel(odd, "odd").picture.size


def test_marks_are_drawn_where_the_annotations_are():
    polygon = np.array([[2.0, 2], [2, 50], [50, 50], [50, 2]])
    sample = Sample(
        np.random.default_rng(0).integers(0, 255, (1, 60, 60), np.uint8),
        (
            Points(np.array([[30.0, 20.0]]), ("virion",)),
            Centerlines((np.array([[10.0, 40], [40, 40]]),), ("rod",)),
            Regions((polygon,), ("polygon",)),
        ),
    )
    shown = annotated_panel(sample, TASK, "marked")
    assert hex_of(colour_at(shown, 30, 26)) == MARK  # right end of the circle
    assert hex_of(colour_at(shown, 25, 40)) == MARK  # on the centerline
    assert hex_of(colour_at(shown, 30, 50)) == "#ffffff"  # edge of the region


def test_labels_are_tinted_and_the_rest_is_not():
    labels = np.zeros((40, 40), np.uint8)
    labels[10:30, 10:30] = 1
    sample = Sample(np.eye(40)[None], (Labels(labels),))
    shown = annotated_panel(sample, TASK, "labels")
    inside, outside = colour_at(shown, 20, 12), colour_at(shown, 5, 30)
    assert len(set(outside)) == 1
    assert len(set(inside)) > 1


def prediction(place, probability):
    found = Detections(np.array([place]), np.array([1]), np.array([0.9]))
    grid = np.full((3, 30, 30), 0.0, np.float32)
    grid[0], grid[1] = 1 - probability, probability
    labels = np.zeros((60, 60), np.uint8)
    return Prediction(
        probability=grid,
        shape=(60, 60),
        task=TASK,
        scale=None,
        labels=labels,
        detections=found,
        checkpoint="net",
    )


def test_a_comparison_row_counts_what_changed(tmp_path):
    sample = Sample(np.eye(60)[None], (), name="eye")
    pair = prediction((20.0, 20.0), 0.2), prediction((40.0, 45.0), 0.9)
    entry = save_comparison(tmp_path / "row.png", sample, pair)
    assert (entry["kept"], entry["lost"], entry["gained"]) == (0, 1, 1)
    with Image.open(tmp_path / "row.png") as picture:
        assert picture.width > 5 * SIDE
    bright = probability_panel(pair[1].probability, "b").picture.getpixel((9, 9))
    dark = probability_panel(pair[0].probability, "a").picture.getpixel((9, 9))
    assert sum(bright) > sum(dark)


class Reader(HTMLParser):
    """Cells and addresses of a page."""

    def __init__(self):
        super().__init__()
        self.cells, self.addresses, self.open = [], [], []

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        self.addresses += [v for k, v in attrs if k in ("src", "href")]

    def handle_data(self, data):
        if data.strip() and self.open[-1] in ("td", "th"):
            self.cells.append(data)


def test_a_report_needs_nothing_beside_it(tmp_path, monkeypatch):
    monkeypatch.setattr("napari_topiary.report.pictures.MOST_PICTURES", 1)
    picture = tmp_path / "a.png"
    picture.write_bytes(b"\x89PNG of some kind")
    report = Report(
        title="a <b> compared",
        heading="one image",
        table=[["", "F1"], ["net <1>", "0.9"]],
        pictures=[(picture, '2 "kept"')] * 2,
        notes=["A sentence & another."],
    )
    write_report(tmp_path / "report.html", report)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    reader = Reader()
    reader.feed(text)
    assert reader.cells == ["F1", "net <1>", "0.9"]
    (address,) = reader.addresses
    assert base64.b64decode(address.partition(",")[2]) == picture.read_bytes()
    assert "<b>" not in text and "A sentence &amp; another." in text
    assert "1 more pictures lie beside" in text
    assert not re.search("<script|https?:", text)
    assert written_by_topiary(tmp_path / "report.html")
    (tmp_path / "other.html").write_text("<html></html>", encoding="utf-8")
    assert not written_by_topiary(tmp_path / "other.html")
