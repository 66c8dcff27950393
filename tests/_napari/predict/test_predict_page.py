"""The Predict page with a real network on a real viewer."""

from __future__ import annotations

import time

import numpy as np
import pytest

pytest.importorskip("qtpy")

from napari_topiary import PredictConfig, predict
from napari_topiary._napari.canvas.layers import image_layer, layer_for
from napari_topiary._napari.drawing.drawing import drawing_of
from napari_topiary._napari.predict import predicting
from napari_topiary._napari.predict.counts_table import TOTAL, counts_of
from napari_topiary._napari.predict.page import NO_IMAGE, NO_NETWORK, PredictPage
from napari_topiary._napari.predict.predicting import Answer, Wanted
from napari_topiary._napari.predict.rereading import rereading
from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import DetectConfig
from napari_topiary.networks import build_network
from napari_topiary.session import ImageEntry, Session
from napari_topiary.types import run

SIZES = {"base": 4, "multiplier": 2.0, "levels": 2}


@pytest.fixture
def checkpoint(task) -> Checkpoint:
    """An untrained network that finds something somewhere."""
    import torch

    torch.manual_seed(0)
    made = build_network("unet", SIZES, 1, len(task.classes))
    return Checkpoint(
        network="unet",
        sizes=SIZES,
        in_channels=1,
        task=task,
        state={k: v.clone() for k, v in made.state_dict().items()},
        pixel_size_nm=2.0,
        thresholds={"virion": 0.4, "common": 0.4},
        provenance={"name": "green"},
    )


@pytest.fixture
def page(viewer, session, checkpoint):
    """The page, shown, with a network and the first image open."""
    session.add_checkpoint("green", checkpoint)
    made = PredictPage(viewer, session)
    viewer.window.add_dock_widget(made, name="Predict")
    drawing_of(viewer).show("grid 0")
    made.show()
    return made


@pytest.fixture
def predicted(page, until):
    """The page after a prediction of the image that is shown."""
    page.on_run()
    until(lambda: not page.predicting)
    assert "grid 0" in page.results, page.message.text()
    return page


def test_an_empty_page_says_what_to_do_first(viewer):
    page = PredictPage(viewer, Session())
    assert page.empty_label.text() == NO_IMAGE
    assert not page.run.button.isEnabled()


def test_without_a_network_it_says_to_train(viewer, session):
    page = PredictPage(viewer, session)
    assert page.empty_label.text() == NO_NETWORK
    assert not page.form.isEnabled() and not page.found.export_row.button.isEnabled()


def test_it_shows_and_counts_what_it_finds(predicted, session):
    image = image_layer(predicted.viewer, "grid 0")
    shown = layer_for(predicted.viewer, ("probability", "grid 0"))
    assert np.allclose(shown.extent.world, image.extent.world, atol=2.1)
    assert shown.units == image.units and shown.axis_labels == image.axis_labels
    found = predicted.results["grid 0"].prediction
    assert predicted.found.table.item(0, 1).text() == counts_of(found)["virion"]
    assert session.predictions["grid 0"].probability is found.probability


def test_the_threshold_is_live_and_runs_nothing(predicted, until, monkeypatch):
    monkeypatch.setattr(predicting, "predict", lambda *_, **__: pytest.fail("It ran."))
    probability = predicted.results["grid 0"].prediction.probability
    peak = float(probability[1].max())
    predicted.form.threshold.setValue(min(0.98, peak + 0.02))
    until(lambda: predicted.found.table.item(0, 1).text() == "0")
    assert layer_for(predicted.viewer, ("detections", "grid 0")) is None
    predicted.form.threshold.setValue(0.02)
    until(lambda: predicted.found.table.item(0, 1).text() != "0")
    assert len(layer_for(predicted.viewer, ("detections", "grid 0")).data) == len(
        predicted.results["grid 0"].prediction.detections
    )
    assert predicted.results["grid 0"].prediction.probability is probability
    predicted.form.use_best()
    assert predicted.form.value().threshold is None
    assert predicted.form.threshold.value() == pytest.approx(0.4)


def test_reading_anew_is_instant(predicted):
    result = predicted.results["grid 0"]
    times = []
    for threshold in (0.3, 0.4, 0.5):
        begun = time.perf_counter()
        config = DetectConfig(threshold)
        run(rereading(result.prediction, result.checkpoint, config))
        times.append(time.perf_counter() - begun)
    assert min(times) < 0.05


def test_what_is_shown_can_be_chosen(predicted):
    labels = ("result-labels", "grid 0")
    assert layer_for(predicted.viewer, labels) is None
    predicted.kinds.switches["result-labels"].setChecked(True)
    assert layer_for(predicted.viewer, labels).visible
    predicted.kinds.switches["result-labels"].setChecked(False)
    assert not layer_for(predicted.viewer, labels).visible


def test_all_images_are_counted_and_summed(page, until):
    page.run.areas["all"].setChecked(True)
    page.on_run()
    until(lambda: not page.predicting)
    assert list(page.results) == ["grid 0", "grid 1"]
    assert page.found.table.rowCount() == 3
    assert page.found.table.item(2, 0).text() == TOTAL
    counts = [int(page.found.table.item(y, 1).text()) for y in range(3)]
    assert counts[0] + counts[1] == counts[2]
    page.found.table.chosen.emit("grid 1")
    assert layer_for(page.viewer, ("probability", "grid 1")) is not None


def test_a_part_is_predicted_as_in_the_whole(session, checkpoint):
    entry = session.images["grid 0"]
    whole = run(predict(entry.image, checkpoint, scale=entry.scale))
    wanted = Wanted("grid 0", entry.image, entry.scale, (20, 71, 33, 90))
    answers: list[Answer] = []
    run(
        predicting.predicting([wanted], checkpoint, PredictConfig()),
        lambda p: answers.append(p.report) if p.report else None,
    )
    part = answers[0].prediction
    assert part.probability.shape == whole.probability.shape
    inside = part.done
    assert inside[20:71, 33:90].all() and inside.sum() == 51 * 57
    both = part.probability[:, inside], whole.probability[:, inside]
    assert np.abs(both[0] - both[1]).max() < 1e-5
    assert not part.probability[:, ~inside].any()


def test_the_visible_area_says_that_it_is_a_part(page, until, monkeypatch):
    monkeypatch.setattr(
        "napari_topiary._napari.predict.wanted.visible_window",
        lambda *_: (0, 48, 0, 48),
    )
    page.run.areas["visible"].setChecked(True)
    page.on_run()
    until(lambda: not page.predicting)
    assert "visible" in page.found.notes.text()
    assert "(a part)" in page.found.table.item(0, 0).text()


def test_stop_keeps_what_is_done(session, checkpoint):
    wanted = [Wanted(e.name, e.image, e.scale) for e in session.images.values()]
    answers: list[Answer] = []
    done = run(
        predicting.predicting(wanted, checkpoint, PredictConfig(tile=32)),
        lambda p: answers.append(p.report) if p.report else None,
        should_stop=lambda: True,
    )
    assert done == 1 and [a.wanted.name for a in answers] == ["grid 0"]
    assert answers[0].prediction.done is not None
    assert "Stopped early" in answers[0].prediction.notes[-1]


def test_colour_images_are_offered_conversion(page, session, until, rng):
    colour = rng.integers(0, 255, (3, 64, 64)).astype(np.uint8)
    session.add_image(ImageEntry("he", colour, 2.0))
    drawing_of(page.viewer).show("he")
    page.on_run()
    assert not page.predicting and page.run.offer.isVisibleTo(page)
    assert (
        "colour" in page.run.offer.text.text() and "grey" in page.run.offer.text.text()
    )
    page.run.offer.buttons["Predict as grey"].click()
    until(lambda: not page.predicting)
    assert page.results["he"].prediction.shape == (64, 64)


def test_an_image_that_cannot_be_used_is_a_sentence(page, session, until):
    session.add_image(ImageEntry("flat", np.zeros((1, 64, 64), np.uint8), 2.0))
    page.run.areas["all"].setChecked(True)
    page.on_run()
    until(lambda: not page.predicting)
    flat = page.results["flat"].prediction
    assert not len(flat.detections)
    assert any("nothing to see on this image" in note for note in flat.notes)
    assert "grid 1" in page.results


def test_another_pixel_size_is_told(page, session, until):
    session.set_scale("grid 0", 4.0)
    page.on_run()
    until(lambda: not page.predicting)
    assert "rescaled" in page.found.notes.text()
    session.set_scale("grid 0", 2.0)
    assert "grid 0" not in page.results  # it was another network's view
    assert layer_for(page.viewer, ("probability", "grid 0")) is None


def test_deleted_renamed_layers_and_images_break_nothing(predicted, session, until):
    viewer = predicted.viewer
    layer_for(viewer, ("probability", "grid 0")).name = "mine"
    viewer.layers.remove(image_layer(viewer, "grid 0"))
    predicted.form.threshold.setValue(0.3)
    predicted.kinds.switches["result-labels"].setChecked(True)
    until(lambda: not predicted.live.busy)
    viewer.layers.clear()
    predicted.run.areas["visible"].setChecked(True)
    predicted.on_run()
    assert "not shown any more" in predicted.message.text()
    session.remove_image("grid 0")
    assert not predicted.results
    session.remove_checkpoint("green")
    assert not predicted.run.button.isEnabled()


def test_export_writes_what_the_command_line_writes(predicted, until, tmp_path):
    predicted.found.export_row.export_to(tmp_path)
    until(lambda: "written" in predicted.message.text())
    names = {path.name for path in tmp_path.iterdir()}
    assert {
        "grid 0_probability.tif",
        "grid 0_labels.tif",
        "grid 0_detections.csv",
    } <= names
    predicted.found.export_row.export_to(tmp_path)
    assert predicted.found.export_row.offer.isVisibleTo(predicted)
    assert "would be replaced" in predicted.found.export_row.offer.text.text()


def test_a_checkpoint_is_opened_from_a_file(
    viewer, session, checkpoint, until, tmp_path
):
    checkpoint.save(tmp_path / "kept.safetensors")
    page = PredictPage(viewer, session)
    page.choice.open_file(tmp_path / "kept.safetensors")
    until(lambda: page.choice.name == "kept")
    assert "kept" in session.checkpoints
    (tmp_path / "bad.safetensors").write_bytes(b"nothing")
    page.choice.open_file(tmp_path / "bad.safetensors")
    until(lambda: bool(page.message.text()))
