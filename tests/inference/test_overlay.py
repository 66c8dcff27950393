"""What was found, drawn on the image."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import zarr

from napari_topiary import Task
from napari_topiary.inference.large.writing import LargePrediction
from napari_topiary.inference.measures import Counted
from napari_topiary.inference.overlay import (
    FOUND_COLOURS,
    LONGEST,
    OBJECT_COLOURS,
    Picture,
    draw_overlay,
    overlay_of,
)
from napari_topiary.io.formats import RawImage
from napari_topiary.io.large_images import LargeImage
from napari_topiary.types import BACKGROUND, Detections

NOTHING = Detections.empty()
IMAGE = np.linspace(0, 1, 300 * 200, dtype=np.float32).reshape(1, 300, 200)


def at(picture, y, x):
    return "#" + bytes(picture.getpixel((x, y))).hex()


@pytest.mark.parametrize("step", [1, 2])
def test_particles_are_circles_and_filaments_lines_in_colours_of_their_class(step):
    task = Task("detect", (BACKGROUND, "virion", "rod"), {}, {"virion": 20, "rod": 9})
    found = Detections(
        np.array([[60.0, 40.0], [200.0, 100.0]]),
        np.array([1, 2]),
        np.ones(2),
        lines=(np.array([[250.0, 20.0], [250.0, 180.0]]),),
        line_class=np.array([1]),
        line_score=np.ones(1),
    )
    image = IMAGE[:, ::step, ::step]
    drawn = draw_overlay(
        image,
        np.zeros(image.shape[1:], np.uint8),
        task=task,
        scale=None,
        detections=found,
        step=step,
    )
    assert drawn.size == image.shape[:0:-1]
    first, second = FOUND_COLOURS[:2]
    assert at(drawn, 60 // step, 60 // step) == first  # right end of the circle
    assert at(drawn, 200 // step, 109 // step) == second
    assert at(drawn, 250 // step, 100 // step) == first
    grey = drawn.getpixel((40 // step, 60 // step))  # inside it
    assert len({*grey}) == 1


def test_classes_are_tinted_and_objects_have_an_edge():
    labels = np.zeros((300, 200), np.uint16)
    labels[50:80, 50:80], labels[50:80, 80:110] = 1, 2
    shared = {"scale": None, "detections": NOTHING}
    task = Task("segment", (BACKGROUND, "membrane", "lumen"))
    drawn = draw_overlay(IMAGE, labels, task=task, **shared)
    inside, other, outside = (drawn.getpixel((x, 60)) for x in (60, 100, 150))
    assert inside[2] > inside[0] and other[0] > other[1]  # blue, and magenta
    assert len({*outside}) == 1
    task = Task("instances", (BACKGROUND, "cell"))
    drawn = draw_overlay(IMAGE, labels, task=task, **shared)
    assert at(drawn, 60, 79) == OBJECT_COLOURS[0]
    assert at(drawn, 60, 80) == OBJECT_COLOURS[1]
    assert len({*drawn.getpixel((65, 65))}) == 1


def test_a_picture_is_never_longer_than_others_open():
    image = np.zeros((1, 10, 2 * LONGEST), np.uint8)
    image[0, :, 4000:6000] = 255
    task = Task("instances", (BACKGROUND, "cell"))
    labels = np.zeros(image.shape[1:], np.uint8)
    drawn = draw_overlay(image, labels, task=task, scale=None, detections=NOTHING)
    assert drawn.size == (LONGEST, 5)
    assert drawn.getpixel((2500, 2)) == (255, 255, 255)


def test_drawing_takes_few_bytes_a_pixel():
    labels = np.zeros(IMAGE.shape[1:], np.uint8)
    task = Task("segment", (BACKGROUND, "membrane"))
    wide = np.repeat(np.repeat(IMAGE, 2, axis=1), 2, axis=2)  # others may be 8192²
    tracemalloc.start()
    draw_overlay(wide, labels, task=task, scale=None, detections=NOTHING)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 24 * wide.size


def test_what_is_no_number_or_none_that_ends_is_black_or_white():
    image = np.full((1, 4, 40), 5.0, np.float32)
    image[0, 0, :4] = np.nan, -np.inf, np.inf, 9.0
    with np.errstate(all="raise"):
        shown = np.asarray(Picture.of(image).picture)[0, :4, 0]
    assert [*shown] == [0, 0, 255, 255]


def test_a_large_image_is_drawn_thin_without_its_banner(monkeypatch, tmp_path):
    monkeypatch.setattr("napari_topiary.io.large_images.thinning", lambda _shape: 2)
    monkeypatch.setattr("napari_topiary.inference.overlay.BAND_PIXELS", 3000)
    pixels = np.random.default_rng(0).integers(60, 200, (1, 400, 300), np.uint8)
    pixels[:, 360:] = 0
    pixels[:, 376:384, 40:120:4] = 255  # its letters
    image = LargeImage(raw=RawImage(pixels, "cyx", None))
    labels = np.zeros((360, 300), np.uint8)
    labels[100:200, 100:200] = 1
    zarr.create_array(tmp_path / "labels.zarr" / "0", data=labels)
    found = Counted(
        shape=(360, 300),
        task=Task("segment", (BACKGROUND, "cell")),
        scale=None,
        detections=NOTHING,
        counts={1: 1},
        covered={1: 10_000},
        looked_at=1.0,
        checkpoint="net",
    )
    files = {"labels": tmp_path / "labels.zarr"}
    drawn = overlay_of(LargePrediction(found=found, files=files), image)
    assert drawn.size == (150, 180)
    inside, outside = (np.asarray(drawn.getpixel(x)) for x in ((99, 99), (102, 102)))
    assert inside[2] > inside[0] and len({*outside}) == 1
    with pytest.raises(TypeError):
        overlay_of(LargePrediction(found=found, files=files), pixels)
