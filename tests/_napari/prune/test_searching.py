"""Ranking by loss, and what layers are worth, on the Prune page."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

pytest.importorskip("qtpy")

from napari_topiary import Task
from napari_topiary._napari.canvas.shown_image import show_image
from napari_topiary._napari.prune.form import NO_SAMPLES, NOTHING_FOUND, WORDS
from napari_topiary._napari.prune.page import PrunePage
from napari_topiary._napari.prune.view import planning
from napari_topiary.checkpoint import Checkpoint
from napari_topiary.jobs.training import short_name
from napari_topiary.networks import build_network, count_parameters
from napari_topiary.pruning.filter_plan import FilterPlan
from napari_topiary.types import BACKGROUND, Stop

TASK = Task("detect", (BACKGROUND, "virion"), radius_nm={"virion": 12.0})
FEW = {
    "unet": {"base": 2, "levels": 1},
    "membrane_cnn": {"conv1": 3, "conv2": 2, "conv3": 2, "fc": 3},
}


def untrained(network):
    """A network of few maps with random weights."""
    torch.manual_seed(0)
    made = build_network(network, FEW[network], 1, 2)
    return Checkpoint(
        network=network,
        sizes=FEW[network],
        in_channels=1,
        task=TASK,
        state={n: t.detach().clone() for n, t in made.state_dict().items()},
        pixel_size_nm=2.0,
        unpruned_parameters=count_parameters(made),
        provenance={"name": network},
    )


@pytest.fixture(params=list(FEW))
def page(request, viewer, session, until):
    """The page with a network to be ranked by loss."""
    show_image(viewer, session, "grid 0")
    session.add_checkpoint("grown", untrained(request.param))
    made = PrunePage(viewer, session)
    viewer.window.add_dock_widget(made, name="Prune")
    made.activated()
    until(lambda: made.live.ready is not None, 30)
    return made


def rank_by(page, criterion):
    """Choose a criterion, as the user does."""
    box = page.form.criterion
    box.setCurrentIndex(box.findData(criterion))
    box.activated.emit(box.currentIndex())


def test_the_slider_waits_for_the_search_and_then_works(page, until):
    rank_by(page, "loss")
    row = page.panel.search
    assert row.isVisibleTo(page) and row.button.text() == WORDS.start
    assert page.live.ready is None and not page.slider.isEnabled()
    row.button.click()
    assert row.button.text() == WORDS.stop
    until(lambda: not page.runner.running and page.live.ready is not None, 60)
    plan = page.live.ready.plan
    assert plan.config.criterion == "loss" and not row.isVisibleTo(page)
    assert page.slider.isEnabled()
    page.slider.number.setValue(50.0)
    until(lambda: page.card.text("weights")[1] != page.card.text("weights")[0])
    rank_by(page, "l1")
    until(lambda: page.live.ready is not None and page.live.ready.plan is not plan)
    rank_by(page, "loss")
    assert page.live.ready.plan is plan, "an order is searched for only once"


def test_without_annotations_there_is_nothing_to_try_filters_on(page, session):
    session.set_annotations("grid 0", ())
    rank_by(page, "loss")
    assert page.panel.search.hint.text() == NO_SAMPLES
    assert not page.panel.search.button.isVisibleTo(page)


def test_layers_are_measured_when_asked_for(page, until):
    tab = page.tabs.sensitivity
    page.tabs.setCurrentWidget(tab)
    assert not tab.bars.isVisibleTo(tab)
    tab.button.click()
    until(lambda: not tab.button.running, 60)
    assert page.message.text() == ""
    found = tab.bars.found
    assert tab.bars.isVisibleTo(tab) and np.isfinite(found.rise).all()
    first = tab.bars.describe(0)
    assert found.layers[0] in first and "without 75%" in first


def stopped_at_once(*asked, **how):
    """The real job, stopped before it has tried anything."""
    job = planning(*asked, **how)
    message = None
    while True:
        try:
            yield job.send(message)
        except StopIteration as end:
            return end.value
        message = Stop


def test_a_search_stopped_too_early_gives_no_order(page, until, monkeypatch):
    module = "napari_topiary._napari.prune.form.planning"
    monkeypatch.setattr(module, stopped_at_once)
    rank_by(page, "loss")
    page.panel.search.button.click()
    until(lambda: not page.runner.running, 60)
    assert page.message.text() == NOTHING_FOUND
    assert page.live.ready is None and not page.slider.isEnabled()
    assert page.panel.search.button.text() == WORDS.start


def test_an_order_that_ends_early_is_named_by_what_it_removes(page):
    plan = page.live.ready.plan
    short = FilterPlan(
        plan.checkpoint,
        plan.config,
        network=plan.checkpoint.build(),
        coupling=plan.coupling,
        steps=plan.steps[: len(plan) // 2],
    )
    page.live.take(replace(page.live.ready, plan=short))
    page.slider.number.setValue(99.0)
    name = page.keep_row.name.text()
    assert short.end < 0.98
    assert name == short_name("grown", short.nonzero(len(short)))


def test_nothing_is_drawn_while_an_order_has_to_be_searched_for(page, until):
    page.slider.number.setValue(50.0)
    until(lambda: page.live.drawn.drawn_on is not None)
    rank_by(page, "loss")
    assert page.live.drawn.drawn_on is None
    assert not page.panel.advice.isVisibleTo(page)
