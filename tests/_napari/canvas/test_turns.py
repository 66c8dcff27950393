"""Layers come, are drawn and leave in turns of their own, and may be used again."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("qtpy")

from napari._vispy import canvas as napari_canvas

from napari_topiary._napari.canvas.layers import layer_for, put_layer, remove_layer
from napari_topiary._napari.canvas.overlay import Overlay, clear_overlay, show_overlay
from napari_topiary._napari.canvas.result_layers import show_result
from napari_topiary._napari.canvas.turns import turns_of
from napari_topiary._napari.drawing.drawing import drawing_of
from napari_topiary._napari.state import state_of
from napari_topiary.types import Detections, Prediction

NAME = "grid 0"


@pytest.fixture
def seen(make_napari_viewer, session):
    """A window on the screen that shows an image with marks."""
    viewer = make_napari_viewer(show=True)
    state_of(viewer, session)
    drawing_of(viewer).show(NAME)
    turns_of(viewer).finish()
    return viewer


@pytest.fixture
def found(session):
    """Two particles, and what is painted."""
    return Prediction(
        probability=np.full((2, 48, 48), 0.5, np.float32),
        shape=(96, 96),
        task=session.task,
        scale=2.0,
        labels=np.ones((96, 96), np.uint8),
        detections=Detections(
            np.array([[10.0, 10.0], [50.0, 40.0]]), np.ones(2, np.int64), np.ones(2)
        ),
    )


def in_turns(viewer) -> list[list[str]]:
    """Take all turns; returns what was made or taken out in each, and drawn."""
    happened: list[list[str]] = []
    layers, turns = viewer.layers, turns_of(viewer)
    layers.events.inserted.connect(lambda e: happened[-1].append(f"+{e.value.name}"))
    layers.events.removed.connect(lambda e: happened[-1].append(f"-{e.value.name}"))
    scene = viewer.window._qt_viewer.canvas._scene_canvas
    while turns.busy:
        happened.append([])
        if not turns.holding:
            scene._update_pending = False  # as it is when all is drawn
        was_held = turns.holding
        turns._next()
        if was_held and not turns.holding:
            happened[-1].append("drawn")
    return happened


def test_a_result_comes_layer_by_layer_and_leaves_so(seen, found, session):
    kinds = {"probability": True, "detections": True, "result-labels": True}
    show_result(seen, NAME, found, colours=session.colours, kinds=kinds)
    made = in_turns(seen)
    assert sum(one[0].startswith("+") for one in made) == 3
    assert all(len(one) == 1 for one in made)
    # What is new is drawn before anything else happens.
    assert all(after == ["drawn"] for after in made[1::2])
    keys = [(kind, NAME) for kind in kinds]
    layers = [layer_for(seen, key) for key in keys]
    remove_layer(seen, *keys)
    assert not any(layer.visible for layer in layers)
    assert [layer_for(seen, key) for key in keys] == [None] * 3
    gone = in_turns(seen)
    assert sum(one[0].startswith("-") for one in gone) == 3
    assert all(len(one) == 1 for one in gone)
    assert not any(layer in seen.layers for layer in layers)


def test_a_newer_result_takes_the_place_of_one_that_waits(seen, found, session):
    kinds = {"probability": True, "detections": True}
    for _ in range(3):
        show_result(seen, NAME, found, colours=session.colours, kinds=kinds)
    assert sum(one[0].startswith("+") for one in in_turns(seen)) == 2


def test_what_waits_is_shown_though_the_rest_is_read_anew(seen, found, session):
    """A result read anew at once, which leaves the probability as it is, lost it."""
    for kinds in ({"probability": True, "detections": True}, {"detections": True}):
        show_result(seen, NAME, found, colours=session.colours, kinds=kinds)
    turns_of(seen).finish()
    assert layer_for(seen, ("probability", NAME)).visible
    assert layer_for(seen, ("detections", NAME)).visible


def test_what_is_on_its_way_out_is_used_again(seen):
    key, like = ("preview", NAME), seen.layers[0]
    picture = np.zeros((8, 8, 4), np.uint8)
    first = put_layer(seen, key, picture, "image", like=like, name="live", rgb=True)
    remove_layer(seen, key)
    again = put_layer(seen, key, picture, "image", like=like, name="live", rgb=True)
    turns_of(seen).finish()
    assert again is first and first in seen.layers and first.visible
    remove_layer(seen, key)
    other = put_layer(seen, key, np.zeros((2, 2)), "points", like=like, name="live")
    turns_of(seen).finish()
    assert first not in seen.layers and other in seen.layers


def test_what_is_cleared_before_its_turn_is_not_shown(seen, session):
    overlay = Overlay(np.zeros((8, 8, 4), np.uint8), (0, 96, 0, 96))
    show_overlay(seen, NAME, overlay, task=session.task, colours=session.colours)
    clear_overlay(seen, NAME)
    turns_of(seen).finish()
    assert [layer.name for layer in seen.layers] == [NAME, f"{NAME} · marks"]


def test_what_was_drawn_stays_until_the_new_is_drawn(seen):
    scene, turns = seen.window._qt_viewer.canvas._scene_canvas, turns_of(seen)
    scene._update_pending, ordered = False, []  # all is drawn
    scene._backend._vispy_update = lambda: ordered.append(turns.holding)
    put_layer(seen, "x", np.zeros((4, 4)), "image", like=seen.layers[0], name="x")
    assert turns.holding and not ordered
    turns.finish()
    assert ordered == [False]


def test_new_layers_leave_the_active_one_alone(seen):
    seen.layers.selection.active = marks = seen.layers[1]
    chosen = []
    seen.layers.selection.events.active.connect(lambda e: chosen.append(e.value))
    put_layer(seen, "x", np.zeros((4, 4)), "image", like=seen.layers[0], name="x")
    assert seen.layers.selection.active is marks and not chosen
    assert seen.add_points(np.zeros((1, 2))) is seen.layers.selection.active


def test_what_a_step_did_is_drawn_in_a_turn_of_its_own(seen):
    done: list[str] = []
    turns_of(seen).add("two", [lambda: done.append("1"), lambda: done.append("2")])
    assert in_turns(seen) == [[], ["drawn"], [], ["drawn"]]
    assert done == ["1", "2"]


def test_what_waits_is_forgotten_where_the_window_is_gone(seen, monkeypatch):
    """Closed while layers leave: their canvas cannot be made the current one."""
    turns, done = turns_of(seen), []
    turns.add("late", [lambda: done.append("late")])
    monkeypatch.setattr(turns, "_window", lambda: None)
    turns._on_turn()
    assert not (turns.busy or done or turns._timer.isActive())


@pytest.mark.parametrize("first", ["grid 0", "grid 1"])
def test_an_image_in_other_units_comes_without_a_warning(
    seen, session, monkeypatch, first
):
    warned = []
    monkeypatch.setattr(napari_canvas, "show_warning", warned.append)
    session.set_scale("grid 1", None)
    marks = session.annotations["grid 0"]
    session.set_annotations("grid 1", marks)
    drawing = drawing_of(seen)
    drawing.show(first)
    put_layer(seen, ("x", first), np.zeros((1, 2)), "points", like=None, name="x")
    seen.layers[-1].units = seen.layers[0].units
    warned.clear()
    drawing.show({"grid 0": "grid 1", "grid 1": "grid 0"}[first])
    turns_of(seen).finish()
    assert warned == []
