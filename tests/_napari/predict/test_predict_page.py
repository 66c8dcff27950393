"""The Predict page with a real network on a real viewer."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import tifffile
from scipy.ndimage import gaussian_filter

pytest.importorskip("qtpy")

from qtpy.QtCore import Qt

from napari_topiary._napari.canvas.layers import image_layer, layer_for
from napari_topiary._napari.drawing.drawing import drawing_of
from napari_topiary._napari.predict.found_panel import TOTAL, counts_of
from napari_topiary._napari.predict.page import NO_IMAGE, NO_NETWORK, PredictPage
from napari_topiary._napari.state import unwrap
from napari_topiary._napari.workbench import Workbench
from napari_topiary.annotations import Labels
from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import TrainConfig
from napari_topiary.inference.large.writing import LargePrediction
from napari_topiary.io.dataset import Sample
from napari_topiary.io.large_images import open_lazily
from napari_topiary.jobs import predicting
from napari_topiary.jobs.exporting import Found, export
from napari_topiary.networks import build_network
from napari_topiary.session import ImageEntry, Session
from napari_topiary.training import fit
from napari_topiary.types import Task, run

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


def test_an_image_whose_layer_was_deleted_is_shown_again(page, viewer, until):
    viewer.layers.clear()
    page.on_run()
    until(lambda: not page.predicting)
    assert image_layer(viewer, "grid 0") is not None and "grid 0" in page.results


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


def test_the_visible_area_says_that_it_is_a_part(page, until, monkeypatch):
    monkeypatch.setattr(
        "napari_topiary._napari.predict.run_panel.visible_window",
        lambda *_: (0, 48, 0, 48),
    )
    page.run.areas["visible"].setChecked(True)
    page.on_run()
    until(lambda: not page.predicting)
    assert "visible" in page.found.notes.text()
    assert "(a part)" in page.found.table.item(0, 0).text()


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


def test_export_writes_for_other_programs_what_is_ticked(predicted, until, tmp_path):
    also = predicted.found.export_row.also
    also.menu().aboutToShow.emit()
    assert all(box.isEnabled() for box in also.boxes.values())
    also.boxes["png"].click()
    also.boxes["star"].click()
    assert also.text() == "and 2 more"
    predicted.found.export_row.export_to(tmp_path)
    until(lambda: "written" in predicted.message.text())
    names = {path.name for path in tmp_path.iterdir()}
    assert {"grid 0_overlay.png", "grid 0.star", "grid 0_objects.csv"} <= names
    assert "grid 0.box" not in names
    also._possible = lambda: ("png",)  # found by a network that paints, then
    predicted.refresh()
    assert also.kinds() == ("png",) and also.text() == "and 1 more"


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


def other(checkpoint, threshold=0.2):
    """Another network: the same weights, read at another threshold."""
    return checkpoint.replaced(
        thresholds={"virion": threshold}, metrics={"held_out": "3 particles"}
    )


def test_the_newest_network_is_taken_until_the_user_chooses(page, session, checkpoint):
    assert page.choice.name == "green"
    session.add_checkpoint("newer", other(checkpoint))
    assert page.choice.name == "newer"
    assert page.form.threshold.value() == pytest.approx(0.2)
    page.choice.choose("green")
    session.add_checkpoint("newest", other(checkpoint, 0.7))
    assert page.choice.name == "green"
    session.remove_checkpoint("green")
    assert page.choice.name == "newest"


def test_what_another_network_found_steps_back(predicted, session, checkpoint, until):
    until(lambda: not predicted.live.busy)
    viewer, before = predicted.viewer, predicted.results["grid 0"]
    session.add_checkpoint("newer", other(checkpoint, 0.02))
    table = predicted.found.table
    assert table.item(0, 0).text() == "grid 0 (from green)"
    assert table.item(0, 0).foreground().color().alphaF() < 0.5
    assert layer_for(viewer, ("probability", "grid 0")) is None
    assert layer_for(viewer, ("detections", "grid 0")) is None
    assert "What green found is grey" in predicted.found.notes.text()
    predicted.form.threshold.setValue(0.9)  # the new network's; reads nothing old
    until(lambda: not predicted.live.busy)
    assert predicted.results["grid 0"] is before
    predicted.choice.choose("green")
    predicted.activated()
    until(lambda: not predicted.live.busy)
    assert table.item(0, 0).text() == "grid 0"
    assert layer_for(viewer, ("probability", "grid 0")) is not None
    assert predicted.form.value().threshold is None  # its own best again


def test_the_best_threshold_says_where_it_comes_from(page, session, checkpoint):
    assert page.form.origin.text() == "0.40: best when judged"
    session.add_checkpoint("newer", other(checkpoint))
    assert page.form.origin.text() == "0.20: best on what was held back: 3 particles"
    page.form.threshold.setValue(0.6)
    assert page.form.origin.text().startswith("set by hand; 0.20: best on")


def test_prediction_computes_where_the_preferences_say(page, monkeypatch, until):
    from napari_topiary._napari.predict import page as home
    from napari_topiary._napari.state import Preferences

    asked = []
    monkeypatch.setattr(home, "preferences", lambda: Preferences(device="cpu"))
    real = predicting.predicting
    monkeypatch.setattr(
        predicting,
        "predicting",
        lambda w, c, config, **k: (
            asked.append(config.device) or real(w, c, config, **k)
        ),
    )
    page.on_run()
    until(lambda: not page.predicting)
    assert asked == ["cpu"]


def test_workers_that_do_not_answer_are_a_sentence(page, until):
    pytest.importorskip("distributed")
    page.run.scheduler.setText(" nonsense:// ")
    page.on_run()
    until(lambda: not page.predicting)
    assert "No dask scheduler answers at nonsense://" in page.message.text()
    page.run.scheduler.clear()
    page.on_run()
    until(lambda: not page.predicting)
    assert "grid 0" in page.results


def test_export_writes_a_summary_and_never_replaces_a_persons_file(
    predicted, until, tmp_path
):
    mine = tmp_path / "summary.csv"
    mine.write_text("my,own\n1,2\n", encoding="utf-8")
    predicted.found.export_row.export_to(tmp_path)
    assert "choose another folder" in predicted.message.text()
    assert mine.read_text(encoding="utf-8") == "my,own\n1,2\n"
    mine.unlink()
    predicted.found.export_row.export_to(tmp_path)
    until(lambda: "written" in predicted.message.text())
    with mine.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    found = predicted.results["grid 0"].prediction
    assert len(rows) == 1 and rows[0]["count"] == str(len(found.detections))
    assert rows[0]["network"] == "green" and float(rows[0]["threshold"]) == 0.4


@pytest.fixture
def slide(page, tmp_path, monkeypatch, rng):
    """The page with an image that counts as too large to be read whole."""
    for name in ("io.large_images.LARGE", "io.image_area.LARGE"):
        monkeypatch.setattr(f"napari_topiary.{name}", 1000)
    monkeypatch.setattr("napari_topiary.io.large_images.WHOLE_PIXELS", 1000)
    monkeypatch.setattr("napari_topiary.inference.large.running.SIDE", 64)
    monkeypatch.setattr("napari_topiary.inference.large.running.SMALLEST_SIDE", 64)
    monkeypatch.setattr("napari_topiary.io.ome_zarr.SMALLEST", 100)
    image = (rng.random((150, 170)) * 200).astype(np.uint8)
    tifffile.imwrite(tmp_path / "slide.tif", image, tile=(64, 64))
    large = open_lazily(tmp_path / "slide.tif")
    page.session.add_image(ImageEntry("slide", large, 2.0, tmp_path / "slide.tif"))
    drawing_of(page.viewer).show("slide")
    return page


def test_all_of_a_large_image_is_predicted_into_files(slide, until, tmp_path):
    slide.on_run()
    until(lambda: not slide.predicting)
    found = slide.results["slide"].prediction
    assert isinstance(found, LargePrediction), slide.message.text()
    assert found.complete
    shown = layer_for(slide.viewer, ("probability", "slide"))
    image = image_layer(slide.viewer, "slide")
    assert np.allclose(shown.extent.world, image.extent.world, atol=2.1)
    particles = layer_for(slide.viewer, ("detections", "slide"))
    assert len(particles.data) == len(found.found.detections) > 0
    count = str(len(found.found.detections))
    assert slide.found.table.item(0, 1).text() == count
    slide.kinds.switches["result-labels"].setChecked(True)
    labels = layer_for(slide.viewer, ("result-labels", "slide"))
    assert labels.multiscale
    assert labels.data[0].shape == (150, 170)
    # Particles of it can be reviewed on the Annotate page.
    reviewed = slide.session.predictions["slide"].detections
    assert len(reviewed) == len(found.found.detections)
    files = export(
        tmp_path / "out",
        {
            name: Found(
                prediction=one.prediction,
                checkpoint=one.checkpoint,
                network=one.network,
                config=one.config,
            )
            for name, one in slide.results.items()
        },
    )
    names = {file.name for file in files}
    assert {"slide_labels.zarr", "slide_detections.csv", "summary.csv"} <= names
    table = (tmp_path / "out" / "slide_detections.csv").read_text().splitlines()
    assert len(table) == 1 + len(reviewed)


def test_the_visible_part_of_a_large_image_lies_where_it_is(slide, until):
    layer = image_layer(slide.viewer, "slide")
    unwrap(layer)._data_level = 0
    unwrap(layer).corner_pixels = np.array([[60, 70], [99, 119]])
    slide.run.areas["visible"].setChecked(True)
    slide.on_run()
    until(lambda: not slide.predicting)
    found = slide.results["slide"].prediction
    assert found.corner == (60.0, 70.0)
    assert found.shape == (40, 50)
    shown = layer_for(slide.viewer, ("probability", "slide"))
    np.testing.assert_allclose(
        shown.extent.world, [[119.0, 139.0], [199.0, 239.0]], atol=2.1
    )
    assert "(a part)" in slide.found.table.item(0, 0).text()
    places = slide.session.predictions["slide"].detections.coordinates
    assert ((places > (58, 68)) & (places < (102, 122))).all()


@pytest.mark.parametrize(("value", "said"), [(0.0, "same answer"), (1e30, "no number")])
def test_a_dead_network_is_said_of_a_part_of_a_large_image_too(
    slide, checkpoint, until, monkeypatch, value, said
):
    import torch

    state = {n: torch.full_like(one, value) for n, one in checkpoint.state.items()}
    slide.session.add_checkpoint("dead", checkpoint.replaced(state=state))
    layer = image_layer(slide.viewer, "slide")
    unwrap(layer)._data_level = 0
    unwrap(layer).corner_pixels = np.array([[60, 70], [99, 119]])
    for where in ("image", "visible"):
        for name in ("grid 0", "slide"):
            drawing_of(slide.viewer).show(name)
            slide.run.areas[where].setChecked(True)
            slide.on_run()
            until(lambda: not slide.predicting)
            found = slide.results[name].prediction
            assert said in slide.found.notes.text(), (where, name)
            assert len(found.problems) == 1
            slide.live.results.clear()


def dark_lines(seed):
    """Dark lines on a bright ground, `(1, y, x)`, and where they are."""
    noise = np.random.default_rng(seed).normal(size=(192, 192))
    ridge = np.abs(gaussian_filter(noise, 5))
    there = ridge < np.quantile(ridge, 0.12)
    grey = 180 - 110 * gaussian_filter(there.astype(float), 0.8) + 6 * noise
    return grey.clip(0, 255)[None].astype(np.uint8), there


def test_a_click_tells_the_likeness_and_a_tick_at_invert_heals_it(
    make_napari_viewer_proxy, until, qtbot
):
    image, there = dark_lines(0)
    short = TrainConfig(
        epochs=8, minutes=None, patch=64, batch=4, learning_rate=0.02,
        sizes={"base": 4, "levels": 1}, device="cpu",
    )  # fmt: skip
    drawn = Sample(image, (Labels(there.astype(np.uint8)),), 4.0, "drawn")
    lines = Task("segment", ("background", "membrane"))
    network = run(fit([drawn], short, task=lines, validation=[drawn]))
    image, there = dark_lines(7)

    viewer = make_napari_viewer_proxy(show=True)
    workbench = Workbench(viewer)
    viewer.window.add_dock_widget(workbench, name="Topiary", area="right")
    session, page = workbench.session, workbench.show_page("Predict")
    for name, pixels in {"as learned": image, "negative": 255 - image}.items():
        session.add_image(ImageEntry(name, pixels, 4.0))
    session.add_checkpoint("lines", network)
    words = "The contrast of this image is the opposite of what the network learned"

    def predicted(name):
        drawing_of(viewer).show(name)
        qtbot.mouseClick(page.run.button, Qt.MouseButton.LeftButton)
        until(lambda: not page.predicting and name in page.results)
        found = page.results[name].prediction.labels > 0
        page.live.results.clear()
        return found, page.message.text(), page.found.notes.text()

    found, said, noted = predicted("as learned")
    assert dice(found, there) > 0.7 and words not in said + noted
    found, said, noted = predicted("negative")
    assert dice(found, there) < 0.5
    assert said.startswith(f"negative: {words}") and words in noted
    assert "tick Invert" in noted
    qtbot.mouseClick(page.run.invert, Qt.MouseButton.LeftButton)
    found, said, noted = predicted("negative")
    assert dice(found, there) > 0.7 and words not in said + noted
    found, said, noted = predicted("as learned")
    assert dice(found, there) < 0.5 and said.startswith(f"as learned: {words}")


def dice(found, there):
    return 2 * (found & there).sum() / (found.sum() + there.sum())


def test_it_says_that_it_was_stopped_and_what_there_is(page, session, until):
    page.run.areas["all"].setChecked(True)
    page.on_run()
    page.on_run()  # Stop
    until(lambda: not page.predicting)
    number = len(session.images)
    assert len(page.results) < number
    first = next(iter(page.results.values()))
    done = 0 if first.is_part else 1
    some = f", and a part of {first.wanted.name}" if first.is_part else ""
    text = f"Stopped: {done} of {number} images predicted{some}."
    assert page.message.text() == text
    page.run.areas["image"].setChecked(True)
    page.on_run()
    until(lambda: not page.predicting)
    assert not page.message.text().startswith("Stopped")
