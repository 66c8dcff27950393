from __future__ import annotations

import os
import time
from dataclasses import replace
from statistics import median

import numpy as np
import pytest

pytest.importorskip("qtpy")

from qtpy.QtCore import QTimer

from napari_topiary import Centerlines, Labels, Points, Task
from napari_topiary._napari import training_run
from napari_topiary._napari.canvas.layers import layer_for
from napari_topiary._napari.canvas.shown_image import show_image
from napari_topiary._napari.train.page import TRAIN, TrainPage
from napari_topiary._napari.training_run import STOP
from napari_topiary._napari.widgets.page import NARROWEST
from napari_topiary.data import hold_out
from napari_topiary.data.prepared import PreparedData
from napari_topiary.jobs.training import training_folder
from napari_topiary.session import ImageEntry, Session
from napari_topiary.training.record import KeptWeights, TrainingRecord
from napari_topiary.types import BACKGROUND

LONGEST_PAUSE_MS = 50


@pytest.fixture
def page(viewer, session, until, monkeypatch):
    """The page with a small network, ready to train."""
    show_image(viewer, session, "grid 0")
    monkeypatch.setattr(hold_out, "FEWEST", 4)  # part of its 8 virions judges
    made = TrainPage(viewer, session)
    viewer.window.add_dock_widget(made, name="Train")
    form = made.form.network.finer.sizes_form
    form.widgets["base"].value = 4
    form.widgets["levels"].value = 1
    made.form.time.unit.setCurrentText("passes")
    made.form.time.amount.setValue(3)
    made.activated()
    until(lambda: not made._checks.busy)
    return made


def train(page, until, *, minutes=None):
    """Press Train; wait for the end unless it is a long one."""
    if minutes is not None:
        page.form.time.unit.setCurrentText("min")
        page.form.time.amount.setValue(minutes)
    page.train_button.click()
    if minutes is None:
        until(lambda: not page.training and not page.runner.running, 60)


# -- the happy path ------------------------------------------------------------------


def test_it_trains_and_keeps_the_result(page, session, until):
    train(page, until)
    assert page.message.text().startswith("Also learned from")
    (name,) = session.checkpoints
    checkpoint = session.checkpoints[name]
    assert session.active_checkpoint == name == checkpoint.name == "Untitled · 1.65 k"
    assert checkpoint.sizes["base"] == 4 and checkpoint.sizes["levels"] == 1
    assert page.card.headline.text().startswith(
        f"F1 {checkpoint.metrics['quality']:.2f}"[:6]
    )
    assert "has not seen" in page.card.headline.text()
    assert name in page.card.details.text()
    assert len(page.plot.losses) >= 3
    assert page.train_button.text() == TRAIN and page.train_button.isEnabled()


def test_few_marks_are_not_judged_and_the_page_says_once_why(page, until, monkeypatch):
    monkeypatch.setattr(hold_out, "FEWEST", 10)
    page.refresh()
    until(lambda: "nothing to judge it on" in page.form.summary.text())
    assert "Only 8 things are marked" in page.form.marks_notes.text()
    train(page, until)
    assert "nothing to judge on" in page.card.headline.text()
    why = "Only 8 things are marked where all is finished"
    assert why in page.form.marks_notes.text()  # still there, above
    assert why not in page.card.details.text()
    page.form.set_marks_problem("")
    page.card.show_result("n", *page.session.checkpoints.values())
    assert why in page.card.details.text()
    (made,) = page.session.checkpoints.values()
    nothing = {"quality": 0.0, "quality_name": "F1"}
    page.card.show_result("n", made.replaced(metrics=nothing))
    assert page.card.details.text().startswith("It finds hardly anything right.")


def test_a_second_training_gets_a_name_of_its_own(page, session, until):
    train(page, until)
    train(page, until)
    assert list(session.checkpoints) == ["Untitled · 1.65 k", "Untitled 2 · 1.65 k"]


def test_the_form_says_what_it_learns_from_and_what_the_network_costs(page, until):
    text = "Learns from 1 image: 8 particles. A part of it is kept back to judge it."
    until(lambda: page.form.summary.text() == text)
    line = page.form.network.cost.line
    until(lambda: "per megapixel" in line.text(), 30)
    text = line.text().replace("\N{NO-BREAK SPACE}", " ")
    weights = page.form.network.finer.sizes_form.value().parameters(1, 2)
    assert text.startswith(f"{weights / 1000:.2f} k weights · ")


def test_presets_and_own_sizes(page):
    form = page.form.network
    assert form.preset.currentText() == "own sizes"
    texts = [form.preset.itemText(i) for i in range(form.preset.count())]
    assert texts[0] == "small · 121\N{NO-BREAK SPACE}k"
    form.preset.setCurrentIndex(form.preset.findData("2m"))
    assert page.form.config().preset == "2m" and page.form.config().sizes == {}
    assert form.finer.sizes_form.value().base == 16
    assert form.finer.sizes_form.widgets["last"].native.text() == "automatic"
    assert form.finer.sizes_form.value().last is None
    form.finer.sizes_form.widgets["multiplier"].value = 1.5
    assert form.preset.currentText() == "own sizes"
    assert page.form.config().sizes["multiplier"] == 1.5


def test_the_working_pixel_size_is_proposed_and_can_be_changed(page):
    # 12 nm radius at 2 nm per pixel is 6 px already.
    pixel = page.form.pixel
    assert pixel.number.text() == "2 nm per pixel"
    assert pixel.number.value() == pytest.approx(2.0)
    assert page.form.config().working_pixel_size_nm is None
    pixel.number.setValue(3.0)
    assert page.form.config().working_pixel_size_nm == pytest.approx(3.0)
    assert pixel.reset_button.isVisibleTo(page)
    pixel.reset_button.click()
    assert page.form.config().working_pixel_size_nm is None


def test_unknown_pixel_sizes_are_counted_in_pixels(page, session):
    session.set_scale("grid 0", None)
    session.set_scale("grid 1", None)
    session.set_task(Task("detect", (BACKGROUND, "virion"), radius_px={"virion": 24}))
    page.refresh()
    pixel = page.form.pixel
    assert pixel.number.suffix() == " × image pixels"
    assert pixel.number.value() == pytest.approx(4.0)
    pixel.number.setValue(2.0)
    assert page.form.config().working_factor == pytest.approx(2.0)


def test_training_goes_on_from_a_checkpoint_and_from_a_file(
    page, session, until, tmp_path
):
    train(page, until)
    first = session.checkpoints["Untitled · 1.65 k"]
    first.save(tmp_path / "shared.safetensors")
    session.remove_checkpoint("Untitled · 1.65 k")
    page.files.open(tmp_path / "shared.safetensors")
    until(lambda: page.form.start_name is not None)
    assert page.form.start_name == "Untitled · 1.65 k"
    assert not page.form.network.preset.isEnabled()
    train(page, until)
    second = session.checkpoints["Untitled 2 · 1.65 k"]
    assert second.provenance["parent"] == session.checkpoints["Untitled · 1.65 k"].hash
    assert second.sizes == first.sizes


def test_a_damaged_file_is_a_sentence(page, until, tmp_path):
    (tmp_path / "bad.safetensors").write_bytes(b"not a checkpoint")
    page.files.open(tmp_path / "bad.safetensors")
    until(lambda: page.message.text() != "")
    assert "bad" in page.message.text() and "Traceback" not in page.message.text()
    assert page.form.start_name is None


# -- stopping ------------------------------------------------------------------------


@pytest.mark.parametrize("newest_counts", [False, True])
def test_stop_keeps_the_best(page, session, until, monkeypatch, newest_counts):
    """Or the newest, where too few are held back to say which is the best."""
    seen = []
    consider = TrainingRecord.consider

    def worse_and_worse(record, quality, network, shape):
        record.prepared = replace(record.prepared, few=newest_counts)
        seen.append(KeptWeights.of(network, shape).state)
        quality = replace(quality, value=0.9 / len(seen))
        return consider(record, quality, network, shape)

    monkeypatch.setattr(TrainingRecord, "consider", worse_and_worse)
    monkeypatch.setattr(PreparedData, "figure_only", newest_counts)
    train(page, until, minutes=10)
    assert page.train_button.text() == STOP
    assert not page.form.isEnabled()
    until(lambda: page.plot.qualities != [], 60)
    page.train_button.click()
    assert not page.train_button.isEnabled()
    until(lambda: not page.training, 30)
    (checkpoint,) = session.checkpoints.values()
    assert not checkpoint.provenance["complete"]
    best, newest = seen[0], seen[-1]
    assert any(not best[name].equal(newest[name]) for name in best)
    kept = newest if newest_counts else best
    assert all(checkpoint.state[name].equal(kept[name]) for name in kept)
    assert page.form.isEnabled() and page.train_button.text() == TRAIN


def test_only_one_job_at_a_time(page, session, until):
    from napari_topiary import Progress, Stop

    def endless():
        while (yield Progress(0, 0, "Predicting")) is not Stop:
            time.sleep(0.005)

    page.runner.start(endless, title="Predicting")
    assert not page.train_button.isEnabled()
    page.on_train()
    assert "Predicting is still running" in page.message.text()
    page.runner.stop()
    until(lambda: not page.runner.running)
    until(page.train_button.isEnabled)


def test_a_training_that_was_cut_off_can_be_taken_over(
    viewer, page, session, until, tmp_path
):
    train(page, until)
    assert list(training_folder().glob("*")) == []  # what ended well leaves nothing
    running = training_folder() / f"20260101-120000-{os.getpid()}-9.safetensors"
    half = training_folder() / ".part-00ff00ff-20260101-120000-1.safetensors"
    session.checkpoints["Untitled · 1.65 k"].save(running)
    half.write_bytes(b"half a network")
    page.activated()
    assert not page.offer.isVisibleTo(page)  # it may still be running elsewhere
    assert not half.exists()
    lost = running.with_name(f"20260101-120000-{2**31 - 2}-1.safetensors")
    running.rename(lost)
    page.activated()
    assert "cut off" in page.offer.text.text()
    page.offer.buttons["Take it over"].click()
    until(lambda: "recovered" in session.checkpoints)
    assert not lost.exists()


# -- refused input -------------------------------------------------------------------


def problem_of(page, until):
    """What stops training, wherever it is shown."""
    page.refresh()
    until(lambda: not page._checks.busy)
    assert not page.train_button.isEnabled()
    return page.empty_label.text() or page.form.marks_problem.text()


def test_no_image(viewer, until):
    page = TrainPage(viewer, Session())
    assert "no image yet" in problem_of(page, until)


def test_no_annotation(page, session, until):
    session.set_annotations("grid 0", ())
    assert "Nothing is marked yet" in problem_of(page, until)


def test_no_class(page, session, until):
    session.set_annotations("grid 0", ())
    session.set_task(Task("segment", (BACKGROUND,)))
    assert "no class yet" in problem_of(page, until)


def test_everything_is_held_back(page, session, until):
    session.set_split({"val": ["grid 0"]})
    assert "held back" in problem_of(page, until)


@pytest.mark.parametrize(
    ("value", "words"), [(0, "Only background"), (1, "Everything")]
)
def test_one_class_only(page, session, until, value, words):
    session.set_task(Task("segment", (BACKGROUND, "virion")))
    labels = np.full((96, 96), value, dtype=np.uint8)
    session.annotations["grid 0"] = (Labels(labels, instances=False),)
    assert words in problem_of(page, until)


def test_only_counterexamples(page, session, until):
    centre = Points(np.array([[5.0, 5.0]]), (BACKGROUND,))
    session.set_annotations("grid 0", (centre,))
    assert "Only background" in problem_of(page, until)


def test_colour_and_grey(page, session, until):
    colour = np.zeros((3, 96, 96), np.uint8)
    colour[:, ::2] = 200
    session.add_image(ImageEntry("colour", colour, 2.0))
    session.set_annotations("colour", session.annotations["grid 0"])
    assert "one network learns from one kind" in problem_of(page, until)


def test_points_outside(page, session, until):
    outside = Points(np.array([[5.0, 500.0]]), ("virion",))
    session.set_annotations("grid 0", (outside,))
    text = problem_of(page, until)
    assert text.startswith("grid 0: 1 of 1 points lie outside the image")


def test_what_is_left_out_is_said_and_learned_without(page, session, until):
    centres = session.annotations["grid 0"][0].coordinates
    twice = Points(np.concatenate([centres, centres[:1] + 0.5]), ("virion",) * 9)
    session.set_annotations("grid 0", (twice,))
    page.refresh()
    until(lambda: not page._checks.busy)
    assert "1 of 9 points mark the same" in page.form.marks_notes.text()
    assert page.form.marks_notes.isVisibleTo(page)
    assert page.train_button.isEnabled()
    page.training_run.said.emit(page.form.notes[0])  # stands there already
    assert not page.message.text()


@pytest.fixture
def corner(page, session, until):
    """Eight marks in a corner of an image with particles all over it."""
    drawn = session.annotations["grid 0"][0].coordinates
    session.set_annotations("grid 0", (Points(drawn / 4, ("virion",) * 8),))
    page.refresh()
    until(lambda: not page._checks.busy)
    return page


@pytest.mark.parametrize(
    ("answer", "share"), [("Learn only around", 0.15), ("The rest", 1.0)]
)
def test_marks_in_a_corner_are_asked_about(corner, session, until, answer, share):
    page = corner
    assert "All marks lie in one part" in page.form.marks_notes.text()
    page.train_button.click()
    assert not page.training and page.part_offer.isVisibleTo(page)
    assert "grid 0" in page.part_offer.text.text()
    pressed = next(
        b for t, b in page.part_offer.buttons.items() if t.startswith(answer)
    )
    pressed.click()
    until(lambda: not page.training and not page.runner.running, 60)
    assert session.checkpoints
    (finished,) = (a for a in session.annotations["grid 0"] if a.kind == "regions")
    assert 0.5 * share < finished.mask((96, 96)).mean() <= share
    page.refresh()
    until(lambda: not page._checks.busy)
    assert not page.part_offer.isVisibleTo(page) and not page._parts


def test_the_button_that_trains_stays_where_it_is(viewer, session, until, qtbot):
    page = TrainPage(viewer, session)
    viewer.window.add_dock_widget(page, name="Train")
    page.resize(340, 700)
    line = page.form.network.cost.line

    def place():
        qtbot.wait(20)
        return page.train_button.mapTo(page, page.train_button.rect().topLeft())

    page.activated()
    assert line.text() == "Counting…"
    before = place()
    until(lambda: "per megapixel" in line.text(), 30)
    assert place() == before
    page.form.network.more.setChecked(True)
    assert page.form.network.finer.isVisibleTo(page)
    page.form.set_marks_problem("", ("One note.", "Another one."))
    page.form.network.cost.warning.setText("It is slow here.")
    page.form.network.cost.warning.show()
    assert place() == before


def test_labels_of_another_size(page, session, until):
    session.set_task(Task("segment", (BACKGROUND, "virion")))
    labels = np.zeros((50, 96), np.uint8)
    labels[:9] = 1
    session.set_annotations("grid 0", (Labels(labels, instances=False),))
    assert "must have the same size" in problem_of(page, until)


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.full((1, 96, 96), 255, np.uint8), "every pixel is 255"),
        (np.full((1, 96, 96), np.nan, np.float32), "not a number"),
    ],
)
def test_images_without_anything_on_them(page, session, until, image, words):
    session.images["grid 0"] = ImageEntry("grid 0", image, 2.0)
    assert words in problem_of(page, until)


def test_a_start_that_does_not_fit(page, session, until):
    train(page, until)
    page.form.set_checkpoints(session.checkpoints, choose="Untitled · 1.65 k")
    session.rename_class("virion", "phage")
    page.refresh()
    assert "knows the classes virion" in page.form.problem_label.text()
    assert page.form.problem_label.isVisibleTo(page)
    assert not page.train_button.isEnabled()


def test_the_sentence_goes_when_the_problem_does(page, session, until):
    marked = session.annotations["grid 0"]
    session.set_annotations("grid 0", ())
    problem_of(page, until)
    session.set_annotations("grid 0", marked)
    until(page.train_button.isEnabled)
    assert page.empty_label.text() == "" and page.form.marks_problem.text() == ""


def test_counts_of_all_kinds(page, session):
    lines = Centerlines((np.array([[1.0, 1], [30, 30]]),), ("virion",))
    points = Points(np.array([[5.0, 5], [9, 9]]), ("virion", BACKGROUND))
    session.set_annotations("grid 1", (points, lines))
    page.refresh()
    assert page.form.summary.text().startswith(
        "Learns from 2 images: 9 particles, 1 counterexample, 1 centerline."
    )


# -- live preview --------------------------------------------------------------------


@pytest.fixture
def quick_preview(monkeypatch):
    monkeypatch.setattr(training_run, "FIRST_MS", 50)
    monkeypatch.setattr(training_run, "EVERY_MS", 100)


def test_the_preview_lies_on_the_image(page, viewer, session, until, quick_preview):
    train(page, until, minutes=10)

    def answered():
        layer = layer_for(viewer, ("preview", "grid 0"))
        return layer is not None and layer.data.shape[0] > 2

    until(answered, 60)
    layer = layer_for(viewer, ("preview", "grid 0"))
    image = layer_for(viewer, ("image", "grid 0"))
    height, width = layer.data.shape[:2]
    assert layer.scale[0] * height == pytest.approx(2.0 * 96)
    assert layer.scale[1] * width == pytest.approx(2.0 * 96)
    corner = np.asarray(layer.translate) - np.asarray(layer.scale) / 2
    assert corner == pytest.approx([-1.0, -1.0])
    assert layer.units == image.units
    page.preview_switch.setChecked(False)
    assert layer_for(viewer, ("preview", "grid 0")) is None
    page.preview_switch.setChecked(True)
    until(answered, 60)
    page.train_button.click()
    until(lambda: not page.training, 30)


def test_layers_may_go_during_training(page, viewer, session, until, quick_preview):
    train(page, until, minutes=10)
    until(lambda: layer_for(viewer, ("preview", "grid 0")) is not None, 60)
    viewer.layers.remove(layer_for(viewer, ("preview", "grid 0")))
    until(lambda: layer_for(viewer, ("preview", "grid 0")) is not None, 60)
    viewer.layers.clear()
    before = len(page.plot.losses)
    until(lambda: len(page.plot.losses) > before + 5, 60)
    assert len(viewer.layers) == 0
    session.remove_image("grid 0")
    page.train_button.click()
    until(lambda: not page.training, 30)
    assert len(session.checkpoints) == 1


# -- the window ----------------------------------------------------------------------


def test_closing_in_mid_training_stops_it(
    make_napari_viewer_proxy, session, until, qtbot
):
    from napari_topiary._napari.workbench import Workbench

    viewer = make_napari_viewer_proxy(show=True)
    workbench = Workbench(viewer, session)
    viewer.window.add_dock_widget(workbench, name="Topiary")
    show_image(viewer, session, "grid 0")
    page = workbench.show_page("Train")
    until(lambda: page.train_button.isEnabled(), 30)
    train(page, until, minutes=10)
    until(lambda: len(page.plot.losses) > 3, 60)
    runner = workbench.runner
    viewer.close()
    until(lambda: not runner.running, 30)
    assert len(session.checkpoints) == 1


def test_the_window_stays_awake_while_training(
    page, viewer, until, quick_preview, record_property, capsys
):
    """Gaps between ticks of a 2 ms timer: what a person feels as a pause."""
    gaps: list[float] = []
    last = [time.perf_counter()]

    def tick():
        now = time.perf_counter()
        gaps.append(1e3 * (now - last[0]))
        last[0] = now

    train(page, until, minutes=10)
    until(lambda: len(page.plot.losses) > 3, 60)
    timer = QTimer()
    timer.setInterval(2)
    timer.timeout.connect(tick)
    last[0] = time.perf_counter()
    timer.start()
    until(lambda: len(gaps) > 300, 60)
    timer.stop()
    page.train_button.click()
    until(lambda: not page.training, 30)
    worst, usual = max(gaps), median(gaps)
    record_property("longest pause ms", round(worst, 1))
    with capsys.disabled():
        print(f" [pauses while training: median {usual:.1f}, longest {worst:.1f} ms]")
    # The longest depends on what else the machine does; the usual one does not.
    assert usual < LONGEST_PAUSE_MS
    assert np.percentile(gaps, 95) < LONGEST_PAUSE_MS


def test_two_viewers_do_not_share(make_napari_viewer_proxy, session, until):
    first, second = make_napari_viewer_proxy(), make_napari_viewer_proxy()
    one, other = TrainPage(first, session), TrainPage(second, Session())
    assert one.runner is not other.runner
    assert one.form.summary.text() and not other.form.summary.text()


def test_the_page_fits_a_narrow_dock(page):
    assert page.layout().minimumSize().width() <= NARROWEST
