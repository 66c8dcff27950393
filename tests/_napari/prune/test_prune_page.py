from __future__ import annotations

import time
from statistics import median

import numpy as np
import pytest
import torch

pytest.importorskip("qtpy")

from napari_topiary import Task
from napari_topiary._napari import training_run
from napari_topiary._napari.canvas.layers import image_layer, layer_for, put_layer
from napari_topiary._napari.canvas.shown_image import show_image
from napari_topiary._napari.prune import keeping, live_pruning
from napari_topiary._napari.prune.card import ROWS
from napari_topiary._napari.prune.form import PruneForm
from napari_topiary._napari.prune.keeping import KEEP, KEEPING, KEPT, TUNE
from napari_topiary._napari.prune.page import PrunePage
from napari_topiary._napari.state import Preferences
from napari_topiary._napari.training_run import STOP
from napari_topiary._napari.widgets.page import NARROWEST
from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import PruneConfig
from napari_topiary.data import hold_out
from napari_topiary.errors import TopiaryError
from napari_topiary.evaluation.quality import Quality
from napari_topiary.jobs import pruning as pruning_jobs
from napari_topiary.jobs.pruning import Position, PositionQuality
from napari_topiary.networks import build_network, count_parameters
from napari_topiary.pruning import Criterion, criteria
from napari_topiary.session import Session
from napari_topiary.types import BACKGROUND

DETECT = Task("detect", (BACKGROUND, "virion"), radius_nm={"virion": 12.0})


def untrained(task=DETECT, *, base=8, levels=2, seed=0):
    """A network with random weights: pruning does not mind."""
    sizes = {"base": base, "levels": levels}
    torch.manual_seed(seed)
    network = build_network("unet", sizes, 1, len(task.classes))
    return Checkpoint(
        network="unet",
        sizes=sizes,
        in_channels=1,
        task=task,
        state={n: t.detach().clone() for n, t in network.state_dict().items()},
        pixel_size_nm=2.0,
        unpruned_parameters=count_parameters(network),
        provenance={"name": "grown"},
    )


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(hold_out, "FEWEST", 4)  # part of the image's 8 virions judges
    monkeypatch.setattr(pruning_jobs, "SIDE", 32)
    monkeypatch.setattr(pruning_jobs, "ROUNDS", 1)
    monkeypatch.setattr(live_pruning, "REST_MS", 30)
    monkeypatch.setattr(training_run, "FIRST_MS", 50)
    monkeypatch.setattr(training_run, "EVERY_MS", 100)


@pytest.fixture
def page(viewer, session, until):
    """The page with an untrained network opened in it."""
    show_image(viewer, session, "grid 0")
    session.add_checkpoint("grown", untrained())
    made = PrunePage(viewer, session)
    viewer.window.add_dock_widget(made, name="Prune")
    made.activated()
    until(lambda: made.live.ready is not None, 30)
    settle(made, until)
    return made


def settle(page, until, timeout_s=60):
    """Wait until everything that the slider set off has come back."""
    live = page.live

    def calm():
        lanes = live._previewing, live._validating, page.maker._lane
        waiting = live._rest.isActive() or live._camera.isActive()
        return not waiting and not any(lane.busy for lane in lanes)

    until(calm, timeout_s)


def move(page, until, share):
    """Drag to a share and wait for what follows."""
    page.slider.number.setValue(100 * share)
    settle(page, until)


def cells(page, key):
    """What a row of the card says, with plain spaces."""
    return tuple(
        text.replace("\N{NO-BREAK SPACE}", " ") for text in page.card.text(key)
    )


# -- the slider ----------------------------------------------------------------


def test_the_card_shows_before_and_after(page, session, until):
    original = session.checkpoints["grown"]
    move(page, until, 0.75)
    statistics = page.live.ready.plan.statistics(0.75)
    assert 0.75 <= statistics.share < 0.8
    before, after, change = cells(page, "weights")
    assert before == f"{original.parameters / 1000:.1f} k"
    assert after == f"{statistics.nonzero / 1000:.2f} k"
    assert change.startswith("÷ 4")
    assert cells(page, "file")[2].startswith("÷ 3")
    assert cells(page, "macs")[2].startswith("÷ ")
    assert cells(page, "memory")[2].startswith("÷ ")
    assert all(text.endswith("s") for text in cells(page, "speed")[:2])
    assert cells(page, "agreement")[0] == "100 %"
    heading = page.card._headings["quality"].text()
    assert page.card._titles["quality"].text() == "F1"
    assert heading.startswith("On what it has not learned from: ")
    for row in ("quality", "common"):
        assert all(0 <= float(text) <= 1 for text in cells(page, row)[:2])


def test_weights_make_the_file_smaller_and_nothing_faster(page, until):
    page.form.kinds["weights"].setChecked(True)
    until(lambda: page.live.ready is not None)
    move(page, until, 0.8)
    assert page.form.criterion.currentText() == "magnitude"
    assert cells(page, "weights")[2] == "÷ 5"
    assert cells(page, "file")[2].startswith("÷ ")
    for row in ("macs", "memory", "speed"):
        assert cells(page, row)[2] == "same"
    assert page.tabs.bars.unit == "weights"


def test_the_original_is_never_touched(page, session, until):
    original = session.checkpoints["grown"]
    before = original.hash
    for share in (0.5, 0.95, 0.0):
        move(page, until, share)
    page.keep_row.keep()
    settle(page, until)
    assert session.checkpoints["grown"] is original
    assert Checkpoint.hash.func(original) == before


def test_bars_show_what_each_layer_keeps(page, until):
    move(page, until, 0.9)
    layers = page.live.ready.plan.statistics(0.9).layers
    assert [(b.name, b.kept, b.total) for b in page.tabs.bars.bars] == [
        (one.name, one.kept, one.total) for one in layers
    ]
    assert all(bar.kept >= 1 for bar in page.tabs.bars.bars)


def test_the_overlay_follows_and_lies_on_the_image(page, viewer, until):
    move(page, until, 0.5)
    layer = layer_for(viewer, ("preview", "grid 0"))
    height, width = layer.data.shape[:2]
    assert np.multiply(layer.scale, (height, width)) == pytest.approx(2.0 * 96)
    corner = np.asarray(layer.translate) - np.asarray(layer.scale) / 2
    assert corner == pytest.approx([-1.0, -1.0])
    seen = layer.data.copy()
    move(page, until, 0.95)
    assert layer_for(viewer, ("preview", "grid 0")) is layer
    assert not np.array_equal(seen, layer.data)


def test_only_the_latest_position_matters(page, until):
    looks = []
    page.live.previewed.connect(looks.append)
    shares = np.linspace(0.1, 0.97, 60)
    for share in shares:
        page.slider.number.setValue(100 * share)
    settle(page, until)
    assert looks[-1].share == page.slider.share == pytest.approx(0.97)
    assert len(looks) < len(shares) / 2


def test_a_look_is_quick(page, until, capsys):
    looks = []
    page.live.previewed.connect(looks.append)
    times = []
    for share in (0.3, 0.55, 0.7, 0.85, 0.97):
        looks.clear()
        begun = time.perf_counter()
        page.slider.number.setValue(100 * share)
        until(lambda: len(looks) > 0)
        times.append(1e3 * (time.perf_counter() - begun))
    with capsys.disabled():
        print(f" [slider to overlay, 96 px: median {median(times):.0f} ms]")
    assert median(times) < 1000


def test_what_cannot_be_reached_is_said(page, until):
    move(page, until, 0.99)
    if page.live.ready.plan.end < 0.99:
        assert "cannot be reached" in page.message.text()
        move(page, until, 0.5)
        assert page.message.text() == ""


def test_drawing_can_be_switched_off_and_ends_with_the_page(page, viewer, until):
    move(page, until, 0.5)
    page.panel.show_switch.setChecked(False)
    assert layer_for(viewer, ("preview", "grid 0")) is None
    move(page, until, 0.75)
    assert layer_for(viewer, ("preview", "grid 0")) is None
    assert cells(page, "weights")[2].startswith("÷ 4")
    page.panel.show_switch.setChecked(True)
    settle(page, until)
    assert layer_for(viewer, ("preview", "grid 0")) is not None
    page.live.set_active(False)
    assert layer_for(viewer, ("preview", "grid 0")) is None


# -- other tasks and other circumstances ------------------------------------------


def test_segmentation_draws_outlines(viewer, session, until):
    task = Task("segment", (BACKGROUND, "a", "b"))
    session.set_annotations("grid 0", ())
    session.set_task(task)
    session.add_checkpoint("grown", untrained(task))
    show_image(viewer, session, "grid 0")
    page = PrunePage(viewer, session)
    viewer.window.add_dock_widget(page, name="Prune")
    page.activated()
    until(lambda: page.live.ready is not None, 30)
    move(page, until, 0.5)
    labels = layer_for(viewer, ("preview-labels", "grid 0"))
    assert labels is not None and labels.contour == 1
    assert labels.data.shape == (96, 96)
    assert cells(page, "quality") == ("–", "–", "")
    assert not page.card._titles["same"].isVisibleTo(page)
    page.on_tune()
    until(lambda: page.message.text() != "")
    assert "Fine-tuning learns from annotated images" in page.message.text()


def test_without_a_network_it_says_what_to_do(viewer, until):
    page = PrunePage(viewer, Session())
    page.activated()
    assert "Train a network first" in page.empty_label.text()
    assert not page.panel.isVisibleTo(page) and not page.tune.button.isEnabled()


def test_without_an_image_it_still_counts(viewer, until):
    session = Session()
    session.add_checkpoint("grown", untrained())
    page = PrunePage(viewer, session)
    page.activated()
    until(lambda: page.live.ready is not None, 30)
    move(page, until, 0.75)
    assert cells(page, "weights")[2].startswith("÷ 4")
    assert cells(page, "agreement")[1] == "–"


def test_layers_and_images_may_go(page, viewer, session, until):
    move(page, until, 0.5)
    viewer.layers.remove(layer_for(viewer, ("preview", "grid 0")))
    move(page, until, 0.75)
    assert layer_for(viewer, ("preview", "grid 0")) is not None
    page.slider.number.setValue(80.0)
    viewer.layers.clear()
    session.remove_image("grid 0")
    settle(page, until)
    move(page, until, 0.9)
    assert cells(page, "weights")[2] == "÷ 10"
    assert len(viewer.layers) == 0


def test_another_image_is_looked_at_when_it_is_shown(page, viewer, session, until):
    move(page, until, 0.5)
    show_image(viewer, session, "grid 1")
    move(page, until, 0.6)
    assert layer_for(viewer, ("preview", "grid 1")) is not None
    assert layer_for(viewer, ("preview", "grid 0")) is None


def test_the_network_may_be_taken_away(page, session, until):
    session.add_checkpoint("other", untrained(base=4), activate=False)
    session.remove_checkpoint("grown")
    until(lambda: page.form.name == "other")
    until(lambda: page.live.ready is not None)
    move(page, until, 0.5)
    session.remove_checkpoint("other")
    assert page.live.ready is None
    assert "Train a network first" in page.empty_label.text()


# -- keeping ------------------------------------------------------------------------


def test_keep_as(page, session, until):
    move(page, until, 0.8)
    assert page.keep_row.name.text() == "grown · 5.75 k"
    page.keep_row.name.clear()
    page.keep_row.name.insert("  small  ")
    page.keep_row.name.textEdited.emit("  small  ")
    page.keep_row.keep()
    assert page.keep_row.button.text() == KEEPING
    settle(page, until)
    kept = session.checkpoints["small"]
    assert page.panel.kept.text().startswith("✓ Kept as “small”: Predict and Compare")
    assert page.panel.kept.isVisibleTo(page) and page.keep_row.button.text() == KEPT
    page.keep_row.keep()  # Enter once more: nothing is kept twice
    settle(page, until)
    assert list(session.checkpoints) == ["grown", "small"]
    assert kept.name == "small" == session.active_checkpoint
    assert kept.sparsity == pytest.approx(page.live.ready.plan.statistics(0.8).share)
    assert kept.metrics["quality_name"] == "F1" and "virion" in kept.thresholds
    assert kept.pruning[-1]["kind"] == "filters"
    # The page goes on with the network that it was opened with.
    assert page.form.name == "grown"
    assert page.slider.share == pytest.approx(0.8)
    move(page, until, 0.5)
    assert not page.panel.kept.isVisibleTo(page)
    assert page.keep_row.button.isEnabled() and page.keep_row.button.text() == KEEP


def test_kept_versions_are_compared(page, session, until):
    for share in (0.5, 0.9):
        move(page, until, share)
        page.keep_row.keep()
        settle(page, until)
    plotted = {v.name: v for v in page.tabs.versions.plot.versions}
    assert set(plotted) == {"grown", "grown · 14.6 k", "grown · 2.81 k"}
    weights = [plotted[name].weights for name in plotted]
    assert weights == sorted(weights, reverse=True)
    session.activate("grown")
    settle(page, until)
    assert page.tabs.versions.use_button.isVisibleTo(page.tabs.versions)
    small = page.tabs.versions._smallest
    page.tabs.versions.preferred.emit(small)
    assert session.active_checkpoint == small
    page.tabs.versions.chosen.emit("grown · 14.6 k")
    assert page.form.name == "grown · 14.6 k"


def test_pruning_a_pruned_network_starts_where_it_stands(page, session, until):
    move(page, until, 0.5)
    page.keep_row.keep()
    settle(page, until)
    page.open_version("grown · 14.6 k")
    until(lambda: page.live.ready is not None)
    settle(page, until)
    assert page.slider.share >= 0.5
    move(page, until, 0.8)
    assert cells(page, "weights")[2].startswith("÷ 2.")
    page.go_back()
    until(lambda: page.form.name == "grown" and page.live.ready is not None)
    settle(page, until)
    assert page.slider.share == 0.0
    assert cells(page, "weights")[2] == "same"


def test_back_to_the_original(page, until):
    move(page, until, 0.9)
    page.panel.back_button.click()
    settle(page, until)
    assert page.slider.share == 0.0
    assert cells(page, "weights") == (*[cells(page, "weights")[0]] * 2, "same")
    assert cells(page, "agreement")[1] == "100 %"


# -- fine-tuning ----------------------------------------------------------------------


def test_gradual_is_proposed_above_ratio_4(page, until):
    for share, gradual in ((0.5, False), (0.75, False), (0.76, True), (0.95, True)):
        move(page, until, share)
        assert page.tune.gradual.isChecked() is gradual
    page.tune.gradual.click()
    move(page, until, 0.9)
    assert page.tune.gradual.isChecked() is False  # the user's choice stays


def test_fine_tuning_ends_at_the_position_of_the_slider(page, session, until):
    move(page, until, 0.8)
    page.tune.minutes.setDecimals(3)
    page.tune.minutes.setRange(0.001, 1)
    page.tune.minutes.setValue(0.01)
    page.tune.button.click()
    assert page.tune.button.text() == STOP
    assert not page.slider.isEnabled() and not page.form.isEnabled()
    until(lambda: not page.tuning, 60)
    settle(page, until)
    made = session.checkpoints["grown · 5.75 k, tuned"]
    assert made.sparsity == pytest.approx(page.live.ready.plan.statistics(0.8).share)
    assert made.provenance["parent"] == session.checkpoints["grown"].hash
    assert page.live.tuned is made
    assert float(cells(page, "quality")[1]) == pytest.approx(
        made.metrics["quality"], abs=0.0006
    )
    assert "Fine-tuned and kept as" in page.panel.kept.text()
    assert page.tune.button.text() == TUNE and page.slider.isEnabled()
    assert len(page.tabs.curves.losses) > 0
    good, bad = (Quality(value=value, name="F1", loss=0.1) for value in (0.9, 0.1))
    page._on_found(PositionQuality(good, bad))  # "Fine-tune" is no advice any more
    assert not page.panel.advice.isVisibleTo(page)
    assert page.card._after.text() == "fine-tuned"
    # "Keep" would keep what was before fine-tuning, under the figures of the tuned one.
    assert page.keep_row.button.text() == KEPT and not page.keep_row.isEnabled()
    assert page.keep_row.name.text() == made.name
    move(page, until, 0.5)
    assert page.live.tuned is None and page.keep_row.button.isEnabled()
    assert page.keep_row.name.text() == "grown · 14.6 k"


def test_stop_keeps_the_best(page, session, until, viewer):
    move(page, until, 0.9)
    page.tune.minutes.setValue(10)
    page.on_tune()
    until(lambda: len(page.tabs.curves.losses) > 3, 60)
    page.on_tune()
    assert not page.tune.button.isEnabled()
    until(lambda: not page.tuning, 60)
    made = session.checkpoints["grown · 2.81 k, tuned"]
    assert made.sparsity == pytest.approx(page.live.ready.plan.statistics(0.9).share)
    settle(page, until)


def test_int8_can_be_ticked_where_something_computes_it(page):
    from napari_topiary.jobs.int8 import int8_problem

    problem = int8_problem("cpu")
    tick = page.keep_row.int8
    assert tick.isEnabled() == (problem is None)
    assert not tick.isChecked()
    assert tick.toolTip()


def test_closing_in_mid_tuning_and_in_mid_look(
    make_napari_viewer_proxy, session, until
):
    from napari_topiary._napari.workbench import Workbench

    viewer = make_napari_viewer_proxy(show=True)
    session.add_checkpoint("grown", untrained())
    workbench = Workbench(viewer, session)
    viewer.window.add_dock_widget(workbench, name="Topiary")
    show_image(viewer, session, "grid 0")
    page = workbench.show_page("Prune")
    until(lambda: page.live.ready is not None, 30)
    move(page, until, 0.9)
    page.tune.minutes.setValue(10)
    page.on_tune()
    until(lambda: len(page.tabs.curves.losses) > 1, 60)
    runner = workbench.runner
    page.live.look()
    viewer.close()
    until(lambda: not runner.running, 30)
    assert "grown · 2.81 k, tuned" in session.checkpoints


def test_nothing_is_ranked_before_the_page_is_in_front(viewer, session, until):
    page = PrunePage(viewer, session)
    session.add_checkpoint("grown", untrained())
    assert page.form.name == "grown"
    assert page.live.ready is None and not page.live._planning.busy
    page.activated()
    until(lambda: page.live.ready is not None, 30)
    settle(page, until)


def test_the_page_fits_a_narrow_dock(page):
    wide = {"before": "0.49 MB", "after": "0.25 MB", "change": "180 wrong"}
    for row in ROWS:
        page.card.set_row(row.key, **wide)
        page.card.show_row(row.key, True)
    page.card.set_title("found", "Found of 160")
    assert page.layout().minimumSize().width() <= NARROWEST


def test_a_new_criterion_is_offered_in_its_own_words(qtbot, monkeypatch):
    monkeypatch.setattr(criteria, "_things", dict(criteria._things))
    criteria.register("backwards")(
        Criterion(
            removes="filters",
            title="last first",
            tip="The last ones go first.",
            by="their place",
            score=lambda subject: {
                group.name: torch.arange(group.channels, 0, -1)
                for group in subject.coupling.groups
            },
        )
    )
    form = PruneForm()
    qtbot.addWidget(form)
    shown = [form.criterion.itemText(i) for i in range(form.criterion.count())]
    assert shown == ["L1 norm", "loss", "last first"]
    assert "The last ones go first." in form.criterion.toolTip()
    form.criterion.setCurrentIndex(2)
    assert form.config(0.5) == PruneConfig(criterion="backwards", remove=0.5)


# -- what is said, and where it computes ---------------------------------------------


def test_a_network_that_finds_nothing_any_more_is_said_in_the_card(page, until):
    assert not page.panel.problems.isVisibleTo(page)
    move(page, until, 0.5)
    sentence = "The pruned network finds hardly anything right any more"
    problems = (f"{sentence}: F1 0.00.",)
    page.panel.show_finding(PositionQuality(None, None, problems))
    assert page.panel.problems.isVisibleTo(page)
    assert sentence in page.panel.problems.text()
    page._on_kept("Kept", (*problems, "It is slow."))  # said once
    assert page.message.text() == "It is slow."
    page.slider.number.setValue(10.0)
    assert not page.panel.problems.isVisibleTo(page)
    settle(page, until)


def test_a_position_is_held_against_the_unpruned_network(page):
    plan = page.live.ready.plan
    good, bad = (Quality(value=value, name="F1", loss=0.1) for value in (0.9, 0.1))
    said = Position(plan, 0.5).problems(good, bad)
    assert len(said) == 1 and "hardly anything" in said[0] and "0.90 before" in said[0]
    assert Position(plan, 0.5).problems(good, good) == ()


def test_a_figure_far_below_that_at_the_best_threshold_is_explained(page):
    near, far = (
        Quality(value=0.9, name="F1", loss=0.1, at_common=low) for low in (0.85, 0.3)
    )
    page.card.show_quality(near, near)
    assert not page.card.untuned.isVisibleTo(page)
    page.card.show_quality(near, far)
    assert page.card.untuned.isVisibleTo(page)
    assert "“F1 at 0.5”" in page.card.untuned.text()
    page.card.forget()
    assert not page.card.untuned.isVisibleTo(page)


def test_a_renamed_class_is_said_in_plain_words(page, session, until):
    session.rename_class("virion", "phage")
    settle(page, until)
    until(lambda: "phage" in page.message.text())
    assert "finds virion and does not know phage" in page.message.text()


def test_a_kept_version_can_be_deleted(page, session, until):
    move(page, until, 0.5)
    page.keep_row.keep()
    settle(page, until)
    name = next(reversed(session.checkpoints))
    page.open_version(name)
    versions = page.tabs.versions
    versions.delete_button.click()
    assert name in versions.offer.text.text()
    versions.offer.buttons["Keep it"].click()
    assert name in session.checkpoints
    versions.delete_button.click()
    versions.offer.buttons["Delete"].click()
    assert list(session.checkpoints) == ["grown"] and page.form.name == "grown"
    settle(page, until)


def test_results_step_aside_while_the_pruned_network_is_shown(page, viewer, until):
    name = "grid 0"
    image = image_layer(viewer, name)
    result = put_layer(
        viewer, ("detections", name), np.zeros((1, 2)), "points", like=image, name="old"
    )
    move(page, until, 0.5)
    assert layer_for(viewer, ("preview", name)) is not None and not result.visible
    page.panel.show_switch.setChecked(False)
    assert layer_for(viewer, ("preview", name)) is None and result.visible


def test_pruning_computes_where_the_preferences_say(page, monkeypatch, until):
    monkeypatch.setattr(live_pruning, "preferences", lambda: Preferences(device="cpu"))
    page.live.renew_hold_out()
    assert page.live.findings.hold_out.device == "cpu"
    page.replan()
    until(lambda: page.live.ready is not None, 30)
    assert page.live.ready.view.device == "cpu"
    settle(page, until)


def test_fine_tuning_computes_where_the_preferences_say(page, monkeypatch, until):
    asked = []

    def fit(samples, config, **_):
        asked.append(config.device)
        raise TopiaryError("That is enough.")

    monkeypatch.setattr(keeping, "preferences", lambda: Preferences(device="cpu"))
    monkeypatch.setattr(pruning_jobs, "fit", fit)
    move(page, until, 0.5)
    page.on_tune()
    until(lambda: page.message.text() == "That is enough.")
    assert asked == ["cpu"]
