"""Choosing a network on the Train page: words, recipe, cost and warnings."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("qtpy")

from napari_topiary import Labels, Task
from napari_topiary._napari.canvas.shown_image import show_image
from napari_topiary._napari.train.page import TrainPage
from napari_topiary.jobs.network_cost import (
    Blueprint,
    Circumstances,
    Figures,
    figures,
    training_bytes,
    warning,
)
from napari_topiary.networks import networks, suited
from napari_topiary.types import BACKGROUND, run

PLAIN = "\N{NO-BREAK SPACE}"


@pytest.fixture
def page(viewer, session, until):
    """The page, ready to train."""
    show_image(viewer, session, "grid 0")
    made = TrainPage(viewer, session)
    viewer.window.add_dock_widget(made, name="Train")
    made.activated()
    until(lambda: not made._checks.busy)
    return made


def cost(page):
    """What the live line says, with plain spaces."""
    return page.form.network.cost.line.text().replace(PLAIN, " ")


def test_every_network_of_ours_is_called_something():
    ours = {name for name in networks if networks[name].sizes}
    assert {name for name in networks if networks[name].title} >= ours


def test_only_networks_that_suit_the_task_are_offered():
    assert suited("detect")[0] == "unet" and "nuclei" not in suited("detect")
    assert suited("instances")[:2] == ["nuclei", "unet"]


def test_the_choice_follows_the_task(page, session, until):
    form = page.form.network
    assert form.network.findData("nuclei") < 0
    painted = Labels(np.pad(np.ones((9, 9), int), 20), instances=True)
    session.set_annotations("grid 0", ())
    session.set_annotations("grid 1", ())
    session.set_task(Task("instances", (BACKGROUND, "nucleus")))
    labels = np.zeros((96, 96), int)
    labels[:49, :49] = painted.labels
    session.set_annotations("grid 0", (Labels(labels, instances=True),))
    until(lambda: form.network.findData("nuclei") >= 0)
    config = page.form.config()
    assert (config.network, config.preset) == ("nuclei", "tiny"), "made for this task"
    session.set_annotations("grid 0", ())
    session.set_task(Task("detect", (BACKGROUND, "virion")))
    until(lambda: form.network.findData("nuclei") < 0)
    assert page.form.config().network == "unet"
    form.choose("unet")
    form.suit("instances")
    assert form.name == "unet", "what a person has chosen stays"


def test_choosing_a_network_applies_its_recipe(page):
    form = page.form.network
    usual = page.form.config()
    form.choose("membrane_cnn")
    config, recipe = page.form.config(), networks["membrane_cnn"].recipe
    assert {name: getattr(config, name) for name in recipe} == dict(recipe)
    assert config.preset == "N"
    shown = form.finer.training_form
    rows = {n: shown._problems[n].parentWidget().isVisibleTo(shown) for n in recipe}
    assert rows["balance"] and not rows["dice_weight"]
    form.choose("unet")
    assert page.form.config() == usual


def test_the_line_counts_at_once_when_a_size_changes(page, until):
    form = page.form.network
    form.choose("membrane_cnn")
    until(lambda: cost(page).startswith("237 k weights · 0.95 MB · 237 k MACs"))
    form.finer.sizes_form.widgets["conv1"].value = 10
    assert form.preset.currentText() == "own sizes"
    until(lambda: not cost(page).startswith(("237 k", "Counting")))
    config = form.finer.sizes_form.value()
    assert cost(page).startswith(f"{config.parameters(1, 2) / 1000:.1f} k weights")


def test_what_is_out_of_reach_is_said(page, until):
    form = page.form.network
    form.finer.sizes_form.widgets["levels"].value = 8
    form.finer.sizes_form.widgets["multiplier"].value = 1.0
    until(lambda: form.cost.warning.isVisibleTo(page))
    assert "256 × 256 pixels" in form.cost.warning.text()
    assert "only 96" in form.cost.warning.text()
    form.choose("unet")
    until(lambda: not form.cost.warning.isVisibleTo(page))


def counted(**changes):
    """Figures of a small network."""
    known = {
        "weights": 1000,
        "file_bytes": 4000,
        "macs_per_pixel": 1000.0,
        "values": 100.0,
        "stride": 8,
        "patch": None,
    }
    return Figures(**(known | changes))


def test_warnings_name_what_is_too_much():
    around = Circumstances(smallest_side=100, factor=2.0, batch=8)
    assert warning(counted(), around) == ""
    assert "55 × 55" in warning(counted(patch=55), around)
    assert "8.40 min" in warning(counted(ms_per_megapixel=2_016_000), around).replace(
        PLAIN, " "
    )
    assert "of memory" in warning(counted(values=1e12), around)
    assert training_bytes(counted(weights=10, values=2.0, patch=55), 4) == (
        2.0 * 4 * 3 * 4 + 160
    )


def test_slow_networks_are_measured_on_a_small_image():
    found = run(figures(Blueprint.new("dccn", {}, 3, 2), measure=False))
    assert found.weights == 4_794_754 and found.patch == 55
    few = {"conv1": 2, "conv2": 2, "conv3": 2, "fc": 2}
    small = Blueprint.new("membrane_cnn", few, 1, 2)
    assert run(figures(small, measure=True)).ms_per_megapixel > 0


def test_a_learning_curve_of_ones_own(page, until):
    page.form.network.finer.sizes_form.widgets["base"].value = 2
    page.form.network.finer.sizes_form.widgets["levels"].value = 1
    page.form.time.unit.setCurrentText("passes")
    page.form.time.amount.setValue(1)
    until(page.more_help.button.isEnabled)
    page.more_help.button.click()
    assert page.more_help.running and not page.train_button.isEnabled()
    until(lambda: not page.more_help.running, 90)
    card = page.more_help.card
    assert card.isVisibleTo(page) or page.message.text()
    if card.isVisibleTo(page):
        assert "half of your annotations" in card.sentence.text()
        assert len(card.picture._points.data) == 4
    until(page.train_button.isEnabled)
