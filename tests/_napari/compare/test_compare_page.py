"""The Compare page with real networks on a real viewer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("qtpy")

from napari_topiary import Points, words
from napari_topiary._napari.canvas.layers import image_layer, layer_for
from napari_topiary._napari.compare import page as compare_page
from napari_topiary._napari.compare.curtain import cropped
from napari_topiary._napari.compare.page import NO_IMAGE, NO_NETWORK, ComparePage
from napari_topiary._napari.drawing.drawing import drawing_of
from napari_topiary._napari.state import Preferences, unwrap
from napari_topiary.checkpoint import Checkpoint
from napari_topiary.jobs import comparing as comparing_jobs
from napari_topiary.jobs.comparing import (
    TRUTH,
    Side,
    comparing,
    usable,
)
from napari_topiary.jobs.predicting import ProjectImage
from napari_topiary.networks import build_network
from napari_topiary.session import Session
from napari_topiary.types import Progress, run

SIZES = {"base": 4, "multiplier": 2.0, "levels": 2}


def network(task, seed: int, bias: float = 0.0) -> Checkpoint:
    """An untrained network; a bias makes it sure that everything is a virion."""
    import torch

    torch.manual_seed(seed)
    made = build_network("unet", SIZES, 1, len(task.classes))
    state = {k: v.clone() for k, v in made.state_dict().items()}
    last = next(k for k in reversed(state) if k.endswith("bias"))
    state[last][1:] += bias
    return Checkpoint(
        network="unet",
        sizes=SIZES,
        in_channels=1,
        task=task,
        state=state,
        pixel_size_nm=2.0,
        unpruned_parameters=sum(v.numel() for v in state.values()),
        provenance={"name": f"net {seed}"},
    )


@pytest.fixture
def viewer(make_napari_viewer_proxy):
    """A viewer that is shown: what a page draws depends on whether it is in front."""
    return make_napari_viewer_proxy(show=True)


@pytest.fixture
def page(viewer, session, task):
    """The page, shown, with two networks and the first image open."""
    session.add_checkpoint("first", network(task, 0))
    session.add_checkpoint("second", network(task, 1, 0.4), activate=False)
    made = ComparePage(viewer, session)
    viewer.window.add_dock_widget(made, name="Compare")
    drawing_of(viewer).show("grid 0")
    return made


@pytest.fixture
def compared(page, until):
    """The page after a comparison."""
    page.compare()
    until(lambda: not page.comparing)
    assert page.match is not None, page.message.text()
    page.view.turns.finish()
    return page


def shown(page, what: str):
    return layer_for(page.viewer, (f"compare-{what}", "grid 0"))


def visibility(viewer) -> dict[str, bool]:
    return {layer.name: layer.visible for layer in viewer.layers}


def test_a_report_of_both_networks_is_saved(compared, session, until, tmp_path):
    row = compared.report
    assert row.isVisible()
    mine = tmp_path / "report.html"
    mine.write_text("mine", encoding="utf-8")
    row.write_to(tmp_path)
    assert "no result of Topiary" in compared.message.text()
    assert mine.read_text(encoding="utf-8") == "mine"
    mine.unlink()
    row.write_to(tmp_path)
    until(lambda: compared.message.text().startswith("Written:"))
    until(lambda: not compared.runner.running)  # its end comes after its result
    names = {path.name for path in tmp_path.iterdir()}
    assert {"comparison.csv", "ro-crate-metadata.json", "grid 0_second.png"} <= names
    page = mine.read_text(encoding="utf-8")
    assert "first" in page and "second" in page and "data:image/png" in page
    row.write_to(tmp_path)
    assert "of an earlier report" in row.offer.text.text()
    mine.unlink()
    row.offer.buttons["Replace"].click()
    until(mine.exists)
    for name in list(session.annotations):
        session.set_annotations(name, [])
    row.write_to(tmp_path / "other")
    assert "mark something" in compared.message.text()


def test_an_empty_page_says_what_to_do_first(viewer):
    page = ComparePage(viewer, Session())
    assert page.empty_label.text() == NO_IMAGE
    assert not page.choice.run_button.isEnabled()


def test_without_networks_it_says_to_train(viewer, session):
    page = ComparePage(viewer, session)
    assert page.empty_label.text() == NO_NETWORK


def shows_both_and_what_became_of_everything(compared):
    assert [s.name for s in compared.match.sides] == ["first", "second"]
    image = image_layer(compared.viewer, "grid 0")
    for what in ("a", "b"):
        layer = shown(compared, what)
        assert np.allclose(layer.extent.world, image.extent.world, atol=2.1)
        assert layer.units == image.units
    counts = compared.match.comparison.things.counts()
    assert compared.result.legend.counts["lost"].text() == f"{counts['lost']} lost"
    assert compared.result.metrics.isVisibleTo(compared)
    table, report = compared.result.metrics, compared.match.comparison.metrics
    own = report["a"]["as_shown"]
    limit = compared.match.sides[0].checkpoint.thresholds.get("virion", 0.5)
    assert table.item(0, 0).text() == words.thresholds([limit])
    found = len(compared.match.a.detections)
    assert own["n_right"] + own["n_wrong"] == found  # the table counts what is shown
    assert table.item(2, 0).text() == f"{own['n_right']}/{own['n_true']}"
    assert table.item(3, 0).text() == str(own["n_wrong"])
    assert [table.verticalHeaderItem(n).text() for n in (2, 3)] == ["Found", "Wrong"]


def cuts_a_right_and_b_left_of_its_curtain(compared):
    compared.result.modes.slider.setValue(250)
    a, b = shown(compared, "a"), shown(compared, "b")
    width = a.data.shape[1]
    x = (compared.view.curtain.x + 0.5) / 96 * width
    left, right = compared.view.curtain._view()
    assert x == pytest.approx((0.75 * left + 0.25 * right + 0.5) / 96 * width)
    assert not a.data[:, int(x) + 1 :, 3].any() and a.data[:, : int(x) - 1, 3].any()
    assert not b.data[:, : int(x) - 1, 3].any() and b.data[:, int(x) + 1 :, 3].any()


def drags_the_curtain_by_the_mouse(compared):
    curtain, viewer = compared.view.curtain, unwrap(compared.viewer)

    class Event:
        type = "mouse_press"
        handled = False
        position = (48 * 2.0, curtain.x * 2.0)

    event = Event()
    drag = curtain._drag(viewer, event)
    next(drag)
    assert not viewer.scene.camera.mouse_pan
    event.type, event.position = "mouse_move", (48 * 2.0, 20 * 2.0)
    next(drag)
    assert curtain.x == pytest.approx(20)
    event.type = "mouse_release"
    with pytest.raises(StopIteration):
        next(drag)
    assert viewer.scene.camera.mouse_pan
    far = Event()
    far.position = (48 * 2.0, 80 * 2.0)
    viewer.scene.camera.zoom = 10
    with pytest.raises(StopIteration):
        next(curtain._drag(viewer, far))


def flickers_one_at_a_time(compared):
    compared.result.modes.choose("flicker")
    compared.view.turns.finish()
    assert shown(compared, "a").visible and not shown(compared, "b").visible
    compared.keys.press("Q")
    assert shown(compared, "b").visible and not shown(compared, "a").visible
    assert compared.result.modes.flip_button.text().startswith("B is shown")
    compared.result.modes.choose("curtain")
    compared.view.turns.finish()
    assert shown(compared, "a").visible and shown(compared, "b").visible


def shows_the_difference_with_the_right_sign(compared):
    compared.result.modes.choose("difference")
    compared.view.turns.finish()
    layer = shown(compared, "difference")
    low, high = layer.contrast_limits
    assert low == -high
    expected = compared.match.comparison.difference[1]
    assert np.allclose(layer.data, expected, atol=1e-5)
    assert compared.result.legend.ramp.isVisibleTo(compared)


def visits_disagreements_the_worst_first(compared):
    places = compared.match.comparison.places
    assert places
    compared.result.next()
    centre = np.asarray(compared.viewer.scene.camera.center)[-2:]
    assert np.allclose(centre, (places[0].y * 2, places[0].x * 2), atol=1e-3)
    assert compared.result.place_label.text().startswith(f"1 of {len(places)}")
    compared.result.previous()
    assert compared.result.place_label.text().startswith(f"{len(places)} of")


def makes_and_takes_out_one_layer_at_a_time(compared):
    """Making a layer takes napari long: the window lives between two of them."""
    turn, made, gone = [0], [], []
    layers, turns = compared.viewer.layers, compared.view.turns
    layers.events.inserted.connect(lambda _: made.append(turn[0]))
    layers.events.removed.connect(lambda _: gone.append(turn[0]))
    for mode in ("side", "difference", "side", "curtain"):
        compared.result.modes.choose(mode)
        while turns.busy:
            turn[0] += 1
            turns._next()
    assert len(made) > 6 and len(gone) > 6
    assert max((made + gone).count(one) for one in made + gone) == 1
    assert not turns.holding  # what is new was drawn in a turn of its own


def test_every_mode_shows_what_it_says(compared):
    """One window for all of them: opening one takes longer than looking."""
    shows_both_and_what_became_of_everything(compared)
    cuts_a_right_and_b_left_of_its_curtain(compared)
    drags_the_curtain_by_the_mouse(compared)
    flickers_one_at_a_time(compared)
    shows_the_difference_with_the_right_sign(compared)
    visits_disagreements_the_worst_first(compared)
    makes_and_takes_out_one_layer_at_a_time(compared)


def test_leaving_puts_everything_back(compared):
    marks = layer_for(compared.viewer, ("points", "grid 0"))
    assert not marks.visible  # out of the way while comparing
    compared.hide()
    assert marks.visible and shown(compared, "a") is None
    compared.view.turns.finish()
    assert set(visibility(compared.viewer)) == {"grid 0", marks.name}
    compared.show()
    compared.view.turns.finish()
    assert shown(compared, "a") is not None and not marks.visible


def test_cropping_leaves_the_original_alone():
    picture = np.full((2, 4, 4), 9, np.uint8)
    left = cropped(picture, 1, keep_left=True)
    assert left[..., 3].tolist() == [[9, 0, 0, 0]] * 2 and (picture == 9).all()
    assert not cropped(picture, 99, keep_left=False)[..., 3].any()


def test_side_by_side_gives_the_grid_back(compared):
    viewer = unwrap(compared.viewer)
    grid = viewer.canvas.grid
    grid.stride = 3
    compared.result.modes.choose("side")
    compared.view.turns.finish()
    compared.view.side_by_side.arrange()  # as soon as what was there before has left
    assert grid.enabled and tuple(grid.shape) == (1, 2)
    cells = [
        {viewer.layers[i] for i in grid.contents_at((0, column), viewer.layers)}
        for column in (0, 1)
    ]
    assert {image_layer(viewer, "grid 0"), shown(compared, "a")} <= cells[0]
    assert {shown(compared, "image-b"), shown(compared, "b")} <= cells[1]
    viewer.add_points(np.zeros((1, 2)), units="nm", scale=(2, 2), name="mine")
    compared.view.side_by_side.arrange()
    second = grid.contents_at((0, 1), viewer.layers)
    assert shown(compared, "b") in [viewer.layers[i] for i in second]
    assert viewer.layers["mine"] not in [viewer.layers[i] for i in second]
    compared.result.modes.choose("difference")
    compared.view.turns.finish()
    assert not grid.enabled and grid.stride == 3
    assert shown(compared, "image-b") is None and "mine" in viewer.layers


def test_a_network_is_compared_with_what_was_marked(page, until, session):
    page.choice.a.setCurrentText(TRUTH)
    page.compare()
    until(lambda: not page.comparing)
    comparison = page.match.comparison
    counts = comparison.things.counts()
    assert counts["kept"] + counts["lost"] + counts["changed"] == 8
    assert page.result.metrics.isColumnHidden(
        0
    ) and not page.result.metrics.isColumnHidden(1)


def test_a_pruned_network_is_compared_with_its_parent_at_once(
    page, until, session, task
):
    pruned = replace(network(task, 1), pruning=({"kind": "filters"},))
    session.add_checkpoint("pruned", pruned, activate=False)
    assert page.match is None and not page.comparing
    page.activated()
    until(lambda: page.match is not None)
    assert [side.name for side in page.match.sides] == list(page.choice.names)
    assert page.choice.names[1] == "pruned"
    # Nobody has chosen: a newer one takes its place, and what is shown goes with it.
    session.add_checkpoint("tuned", replace(pruned), activate=False)
    assert page.choice.names[1] == "tuned" and page.match is None
    page.activated()
    until(lambda: page.match is not None)
    assert page.match.sides[1].name == "tuned"
    page.compare()
    session.add_checkpoint("newest", replace(pruned), activate=False)
    until(lambda: page.match is not None)
    assert page.match.sides[1].name == "newest"


def test_nothing_marked_is_refused_with_a_sentence(page, until):
    drawing_of(page.viewer).show("grid 1")
    page.choice.a.setCurrentText(TRUTH)
    page.compare()
    until(lambda: not page.comparing)
    assert page.match is None and "Nothing is marked on grid 1" in page.message.text()


def test_long_names_are_whole_in_the_list_that_opens(page, session, task):
    name = "apoferritin in thick ice, second grid · 121 k, tuned"
    session.add_checkpoint(name, network(task, 2), activate=False)
    page.choice.a.showPopup()
    rows = page.choice.a.view()
    assert rows.minimumWidth() > rows.fontMetrics().horizontalAdvance(name)
    page.choice.a.hidePopup()


def test_the_same_twice_cannot_be_compared(page):
    page.choice.b.setCurrentText("first")
    page.choice._on_choice()
    assert (
        not page.choice.run_button.isEnabled()
        and "same" in page.choice.run_button.toolTip()
    )


def test_deleted_and_renamed_layers_break_nothing(compared):
    viewer = compared.viewer
    for mode in ("curtain", "flicker", "side", "difference"):
        compared.result.modes.choose(mode)
        compared.view.turns.finish()
        for layer in list(viewer.layers):
            if layer.name.startswith("grid 0 · "):
                layer.name = "renamed"
        for what in ("b", "line", "things", "image-b", "difference"):
            layer = shown(compared, what)
            if layer is not None:
                viewer.layers.remove(layer)
        compared.view.side_by_side.arrange()
        compared.result.modes.slider.setValue(300)
        compared.keys.press("Q")
        compared.result.next()
    viewer.layers.clear()
    compared.result.next()
    compared.result.modes.choose("curtain")
    compared.view.turns.finish()
    compared.compare()


def compared_again(page, until):
    page.compare()
    until(lambda: not page.comparing)
    assert page.match is not None, page.message.text()
    page.view.turns.finish()


def runs_no_network_twice(compared, until, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(
            "napari_topiary.jobs.comparing.predict",
            lambda *_, **__: pytest.fail("It ran again."),
        )
        for names in (["second", "first"], ["first", "second"]):
            compared.choice.swap()
            until(lambda: not compared.comparing)
            assert [s.name for s in compared.match.sides] == names


def read_at(page, until, what):
    """Choose a threshold, as the user does."""
    page.choice.at.setCurrentIndex(page.choice.at.findData(what))
    page.choice.at.activated.emit(page.choice.at.currentIndex())
    until(lambda: not page.comparing)
    return page.match.b.detections.score


def reads_as_learned_at_its_own_best_or_both_at_one(compared, until):
    learned = compared.match.b.detections.score
    assert compared.choice.at.currentData() == "learned"
    limit = compared.match.comparison.metrics["b"]["own_best"]["thresholds"]["virion"]
    assert (read_at(compared, until, "best") >= limit - 1e-6).all()
    table = compared.result.metrics
    assert table.item(0, 1).text() == words.thresholds([limit])
    assert (read_at(compared, until, "common") >= 0.5 - 1e-6).all()
    assert compared.match.comparison.metrics is not None
    assert read_at(compared, until, "learned").tolist() == learned.tolist()


def is_outdated_by_new_marks(compared, session):
    session.set_annotations("grid 0", (Points(np.array([[5.0, 5.0]]), ("virion",)),))
    assert compared.match is None


def choosing_starts_no_network_and_takes_the_old_result_away(compared, session, task):
    session.add_checkpoint("third", network(task, 2), activate=False)
    b = compared.choice.b
    b.setCurrentText("third")
    b.activated.emit(b.currentIndex())
    assert not compared.comparing and compared.match is None
    assert shown(compared, "a") is None
    assert compared.choice.run_button.isEnabled()


def another_image_takes_the_comparison_away(compared):
    drawing_of(compared.viewer).show("grid 1")
    assert compared.match is None
    assert not any("compare" in layer.name for layer in compared.viewer.layers)


def a_removed_network_takes_its_comparison_away(compared, session):
    session.remove_checkpoint("third")
    assert compared.match is None and shown(compared, "a") is None
    assert not compared.result.legend.isVisibleTo(compared)
    assert compared.choice.b.findText("third") < 0


def test_what_is_read_anew_and_what_takes_the_comparison_away(
    compared, session, task, until, monkeypatch
):
    """One window for all of it, as a comparison takes less time than a window."""
    runs_no_network_twice(compared, until, monkeypatch)
    reads_as_learned_at_its_own_best_or_both_at_one(compared, until)
    is_outdated_by_new_marks(compared, session)
    compared_again(compared, until)
    choosing_starts_no_network_and_takes_the_old_result_away(compared, session, task)
    compared_again(compared, until)
    another_image_takes_the_comparison_away(compared)
    drawing_of(compared.viewer).show("grid 0")
    compared_again(compared, until)
    a_removed_network_takes_its_comparison_away(compared, session)


def test_stop_before_both_have_looked_keeps_nothing(session, task):
    entry = session.images["grid 0"]
    subject = ProjectImage(
        name="grid 0", image=entry.image, scale=entry.scale, annotations=()
    )
    seen: list[Progress] = []
    result = run(
        comparing(subject, Side("a", network(task, 0)), Side("b", network(task, 1))),
        seen.append,
        should_stop=lambda: True,
    )
    assert result is None and len(seen) == 1


def test_marks_of_unknown_classes_are_not_used(task):
    drawn = (Points(np.array([[5.0, 5.0]]), ("ferritin",)),)
    assert usable(drawn, task) == ()
    assert usable((Points(np.array([[5.0, 5.0]]), ("virion",)),), task)


def test_comparing_computes_where_the_preferences_say(page, monkeypatch, until):
    asked = []
    monkeypatch.setattr(compare_page, "preferences", lambda: Preferences(device="cpu"))
    real = comparing_jobs.predict

    def predict(image, checkpoint, config, **more):
        asked.append(config.device)
        return real(image, checkpoint, config, **more)

    monkeypatch.setattr(comparing_jobs, "predict", predict)
    page.compare()
    until(lambda: not page.comparing)
    assert page.match is not None and asked == ["cpu", "cpu"]
