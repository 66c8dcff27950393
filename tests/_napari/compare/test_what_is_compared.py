"""Which part, which class, and both views: what the Compare page can be asked."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
import torch

pytest.importorskip("qtpy")

from napari_topiary import Points, Task
from napari_topiary._napari.canvas.layers import layer_for
from napari_topiary._napari.compare.controls import ANY_CLASS
from napari_topiary._napari.compare.page import ComparePage
from napari_topiary._napari.compare.result_panel import untuned
from napari_topiary._napari.drawing.drawing import drawing_of
from napari_topiary.checkpoint import Checkpoint
from napari_topiary.evaluation.ground_truth import truth_of
from napari_topiary.io.large_images import open_lazily
from napari_topiary.jobs.comparing import said_within, truth_within
from napari_topiary.networks import build_network
from napari_topiary.session import ImageEntry
from napari_topiary.types import BACKGROUND

SIZES = {"base": 2, "levels": 1}
CLASSES = (BACKGROUND, "virion", "debris")
WINDOW = (16, 64, 24, 96)


@pytest.fixture
def viewer(make_napari_viewer_proxy):
    """A viewer that is shown: what a page draws depends on whether it is in front."""
    return make_napari_viewer_proxy(show=True)


@pytest.fixture
def page(viewer, session):
    """The page with two untrained networks that know two classes."""
    centres = session.annotations["grid 0"][0].coordinates
    names = ("virion", "debris") * (len(centres) // 2)
    task = Task("segment", CLASSES, radius_nm={"virion": 12.0, "debris": 12.0})
    session.set_annotations("grid 0", ())
    session.set_task(task)
    session.set_annotations("grid 0", (Points(centres, names),))
    for seed, name in enumerate(("first", "second")):
        torch.manual_seed(seed)
        made = build_network("unet", SIZES, 1, 3)
        session.add_checkpoint(
            name,
            Checkpoint(
                network="unet",
                sizes=SIZES,
                in_channels=1,
                task=task,
                state={n: t.clone() for n, t in made.state_dict().items()},
                pixel_size_nm=2.0,
                thresholds={"virion": 0.3, "debris": 0.3},
                provenance={"name": name},
            ),
        )
    page = ComparePage(viewer, session)
    viewer.window.add_dock_widget(page, name="Compare")
    drawing_of(viewer).show("grid 0")
    page.show()
    return page


def compared(page, until):
    """Press Compare and wait."""
    page.compare()
    until(lambda: not page.comparing)
    assert page.match is not None, page.message.text()
    return page.match


def shown(page, what):
    """One of the comparison's layers."""
    return layer_for(page.viewer, (f"compare-{what}", "grid 0"))


def test_the_difference_of_one_class_can_be_chosen(page, until):
    match = compared(page, until)
    bar, maps = page.result.modes, match.comparison.difference
    assert not bar.class_row.isVisibleTo(page)
    bar.choose("difference")
    page.view.turns.finish()
    assert bar.class_row.isVisibleTo(page)
    names = [bar.class_box.itemText(i) for i in range(bar.class_box.count())]
    assert names == [ANY_CLASS, "virion", "debris"]
    assert np.allclose(shown(page, "difference").data, -maps[0])
    bar.class_box.setCurrentIndex(2)
    bar.class_box.activated.emit(2)
    assert np.allclose(shown(page, "difference").data, maps[2])
    compared(page, until)
    page.view.turns.finish()
    assert bar.class_box.currentText() == "debris"
    assert np.allclose(shown(page, "difference").data, maps[2])


def test_other_labels_are_outlined_in_both_views(page, until):
    compared(page, until)
    page.result.modes.choose("side")
    page.view.turns.finish()
    assert page.result.labels_switch.isChecked()
    first, second = shown(page, "labels"), shown(page, "labels-b")
    assert np.array_equal(first.data, second.data) and first.data.any()
    page.result.labels_switch.setChecked(False)
    assert shown(page, "labels") is None and shown(page, "labels-b") is None
    page.result.labels_switch.setChecked(True)
    assert shown(page, "labels-b") is not None
    page.result.modes.choose("curtain")
    page.view.turns.finish()
    assert shown(page, "labels-b") is None


def test_only_the_visible_area_is_compared(page, until, monkeypatch):
    monkeypatch.setattr(
        "napari_topiary._napari.compare.page.visible_window", lambda *_: WINDOW
    )
    page.choice.visible_only.setChecked(True)
    part = compared(page, until).comparison
    page.choice.visible_only.setChecked(False)
    whole = compared(page, until).comparison
    inside = np.zeros((96, 96), bool)
    inside[16:64, 24:96] = True
    assert np.array_equal(part.looked, inside) and whole.looked is None
    assert np.allclose(
        part.difference[:, inside], whole.difference[:, inside], atol=1e-5
    )
    assert not part.difference[:, ~inside].any() and whole.difference[:, ~inside].any()
    page.choice.visible_only.setChecked(True)
    again = compared(page, until).comparison  # from what is known about all of it
    assert np.array_equal(again.looked, inside)
    assert again.disagreement.sum() == part.disagreement.sum()


def test_the_truth_of_a_window_knows_nothing_outside():
    task = Task("detect", (BACKGROUND, "virion"), radius_px={"virion": 4})
    marked = (Points(np.array([[20.0, 30.0], [80.0, 80.0]]), ("virion",) * 2),)
    truth = truth_within(truth_of(marked, (96, 96), task=task, scale=None), WINDOW)
    assert truth.area.sum() == 48 * 72
    assert (truth.classes[~truth.area] == -1).all()
    assert (truth.classes[truth.area] == 1).any()


def test_what_was_not_looked_at_stays_so(page, until):
    said = compared(page, until).a
    half = said_within(said, (0, 48, 0, 96))
    both = said_within(half, WINDOW)
    assert both.done[16:48, 24:].all() and both.done.sum() == 32 * 72


def test_of_a_large_image_what_is_on_the_screen_is_compared(
    page, until, monkeypatch, tmp_path
):
    for name in ("LARGE", "WHOLE_PIXELS"):
        monkeypatch.setattr(f"napari_topiary.io.large_images.{name}", 1000)
    monkeypatch.setattr("napari_topiary.jobs.comparing.MARGIN", 8)
    monkeypatch.setattr(
        "napari_topiary._napari.compare.page.visible_window", lambda *_: WINDOW
    )
    image = page.session.images["grid 0"].image[0]
    tifffile.imwrite(tmp_path / "slide.tif", np.tile(image, (2, 2)), tile=(64, 64))
    large = open_lazily(tmp_path / "slide.tif")
    page.session.add_image(ImageEntry("slide", large, 2.0, tmp_path / "slide.tif"))
    drawing_of(page.viewer).show("slide")
    page.refresh()
    match = compared(page, until)
    page.view.turns.finish()
    corner = np.array([WINDOW[0] - 8, WINDOW[2] - 8])
    shape = match.comparison.shape
    for mode in ("difference", "side"):
        page.result.modes.choose(mode)
        page.view.turns.finish()
        for what in {"difference"} if mode == "difference" else {"a", "b"}:
            layer = layer_for(page.viewer, (f"compare-{what}", "slide"))
            (top, left), end = np.asarray(layer.extent.world)
            np.testing.assert_allclose((top, left), 2.0 * corner, atol=2.1)
            np.testing.assert_allclose(end, 2.0 * (corner + shape), atol=2.1)
    places = [(one.y, one.x) for one in match.comparison.places]
    top, bottom, left, right = WINDOW
    assert places and all(top <= y < bottom and left <= x < right for y, x in places)
    assert page.match is match  # it is still that of the image that is shown
    page.result.next()


def test_figures_far_below_at_a_half_are_explained():
    def side(tuned, common):
        return {
            "as_shown": {"f1": tuned, "thresholds": {"virion": 0.27}},
            "at_common_threshold": {"f1": common},
        }

    both = untuned({"a": side(0.9, 0.0), "b": side(0.9, 0.1)}, "detect", "learned")
    assert both.startswith("The columns at 0.5 read both at 0.50 instead of 0.27, ")
    one = untuned({"a": side(0.9, 0.0), "b": side(0.9, 0.85)}, "detect", "learned")
    assert "that network was not tuned" in one
    assert not untuned({"a": side(0.9, 0.9), "b": side(0.9, 0.85)}, "detect", "learned")
    assert not untuned(None, "detect", "learned")
