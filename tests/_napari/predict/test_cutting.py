"""Touching objects: cut anew by the sliders, without running the network."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

pytest.importorskip("qtpy")

from napari_topiary import Task
from napari_topiary._napari.canvas.layers import layer_for
from napari_topiary._napari.drawing.drawing import drawing_of
from napari_topiary._napari.predict.page import PredictPage
from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import DetectConfig
from napari_topiary.jobs.network_cost import Traits, traits_of
from napari_topiary.networks import build_network
from napari_topiary.types import BACKGROUND

SIZES = {"base": 2, "levels": 1}


@pytest.fixture
def page(viewer, session, until):
    """The page with an untrained nuclei network that has looked at an image."""
    torch.manual_seed(0)
    session.set_annotations("grid 0", ())
    session.set_task(Task("instances", (BACKGROUND, "nucleus")))
    made = build_network("nuclei", SIZES, 1, 2)
    session.add_checkpoint(
        "nuclei",
        Checkpoint(
            network="nuclei",
            sizes=SIZES,
            in_channels=1,
            task=session.task,
            state={n: t.clone() for n, t in made.state_dict().items()},
            pixel_size_nm=2.0,
            provenance={"name": "nuclei"},
        ),
    )
    page = PredictPage(viewer, session)
    viewer.window.add_dock_widget(page, name="Predict")
    drawing_of(viewer).show("grid 0")
    page.on_run()
    until(lambda: not page.predicting)
    assert page.results["grid 0"].prediction.regression is not None
    return page


def touching(prediction):
    """The prediction of two discs that touch, with their distances."""
    y, x = np.mgrid[: prediction.shape[0], : prediction.shape[1]]
    depth = np.zeros(prediction.shape, np.float32)
    for centre, height in ((36, 1.0), (60, 0.9)):
        depth = np.maximum(depth, height * (1 - np.hypot(y - 48, x - centre) / 15))
    inside = (depth > 0).astype(np.float32)
    return replace(
        prediction,
        probability=np.stack([1 - inside, inside]),
        regression=np.maximum(depth, 0)[None],
    )


def test_networks_are_told_apart_by_what_they_answer():
    assert traits_of("nuclei") == Traits(has_distance=True)
    assert traits_of("dcnn") == Traits(names_centres=True)
    assert traits_of("unet") == traits_of("not there") == Traits()


def test_sliders_cut_touching_objects_without_a_new_run(page, until):
    result = page.results["grid 0"]
    seen = touching(result.prediction)
    page.live.keep(replace(result, prediction=seen))
    cutting = page.form.cutting
    assert cutting.isVisibleTo(page)
    page.form.threshold.setValue(0.5)
    until(lambda: page.results["grid 0"].prediction.labels.max() == 2)
    cutting.spacing.setValue(40)
    until(lambda: page.results["grid 0"].prediction.labels.max() == 1)
    assert cutting.usual_button.isEnabled()
    cutting.usual_button.click()
    until(lambda: page.results["grid 0"].prediction.labels.max() == 2)
    cutting.height_slider.setValue(1.0)
    until(lambda: page.results["grid 0"].prediction.labels.max() == 1)
    assert page.results["grid 0"].prediction.probability is seen.probability


def test_the_usual_settings_are_those_of_the_core(page):
    assert page.form.value() == DetectConfig()


def test_the_distance_is_a_layer_of_its_own(page):
    key = ("distance", "grid 0")
    assert layer_for(page.viewer, key) is None
    page.kinds.switches["distance"].setChecked(True)
    layer = layer_for(page.viewer, key)
    assert layer.visible and layer.data.shape == (96, 96)
    assert np.allclose(layer.scale, 2.0)


def test_the_visible_area_gives_the_same_distance(page, until, monkeypatch):
    whole = page.results["grid 0"].prediction.regression
    monkeypatch.setattr(
        "napari_topiary._napari.predict.run_panel.visible_window",
        lambda *_: (20, 60, 30, 96),
    )
    page.run.areas["visible"].setChecked(True)
    page.on_run()
    until(lambda: not page.predicting)
    part = page.results["grid 0"].prediction.regression
    assert np.allclose(part[:, 20:60, 30:96], whole[:, 20:60, 30:96], atol=1e-5)
    assert not part[:, :20].any()


def test_the_smallest_size_begins_at_what_the_network_has_learned(page, session):
    (name,) = session.checkpoints
    learned = replace(
        session.checkpoints[name],
        working_factor=2.0,
        annotations_summary={"smallest_object": 30.0},
    )
    form = page.form
    form.show_checkpoint(learned)
    assert form.smallest.value() == 4 * 30
    assert form.value().min_size_px == 0, "left to the network: images differ in size"
    huge = replace(learned, annotations_summary={"smallest_object": 3000.0})
    form.show_checkpoint(huge)
    assert form.smallest.value() == 4 * 3000, "what is used, however large"
    form.show_checkpoint(learned)
    form.smallest.setValue(50)
    assert form.value().min_size_px == 50
    form.smallest.setValue(0)
    assert form.value().min_size_px == 1, "somebody wants to see every speck"
    form.show_checkpoint(learned)
    assert form.smallest.value() == 0, "what a person has chosen stays"
