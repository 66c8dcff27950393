from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("qtpy")

from napari_topiary._napari.canvas.layers import (
    adopt,
    current_image_name,
    drop_spare_layers,
    image_layer,
    key_of,
    layer_for,
    placement,
    put_layer,
    remove_layer,
)
from napari_topiary._napari.canvas.overlay import found_colours
from napari_topiary._napari.canvas.shown_image import contrast, displayed, show_image
from napari_topiary._napari.drawing.drawing import drawing_of
from napari_topiary._napari.drawing.marks import class_colour
from napari_topiary._napari.state import state_of, unwrap
from napari_topiary.annotations import Labels
from napari_topiary.inference.overlay import FOUND_COLOURS
from napari_topiary.session import ImageEntry, Session
from napari_topiary.session.contents import PALETTE
from napari_topiary.types import BACKGROUND


@pytest.fixture
def shown(viewer, session):
    """The first image of the project is shown."""
    state_of(viewer, session)
    return show_image(viewer, session, "grid 0")


def put(viewer, like, data, kind="image", **visual):
    return put_layer(
        viewer, ("probability", "grid 0"), data, kind, like=like, name="p", **visual
    )


def edges(layer):
    """Outer edges of the first and the last pixel, in world units."""
    corners = np.array([[-0.5, -0.5], np.array(layer.data.shape[:2]) - 0.5])
    return np.array([layer.data_to_world(corner) for corner in corners])


def test_an_image_is_shown_with_its_pixel_size(viewer, session, shown):
    assert np.allclose(shown.scale, 2)
    assert [str(unit) for unit in shown.units] == ["nanometer"] * 2
    assert shown.axis_labels == ("y", "x")
    assert current_image_name(viewer, session) == "grid 0"
    low, high = shown.contrast_limits
    assert low >= session.images["grid 0"].image.min() and high > low


def test_layers_lie_on_their_image_and_never_mix_units(viewer, shown):
    layer = put(viewer, shown, np.zeros((96, 96)))
    assert np.allclose(edges(layer), edges(shown))
    assert viewer.layers.extent.units is not None


def test_a_coarse_grid_covers_the_same_area(viewer, shown):
    layer = put(viewer, shown, np.zeros((24, 32)), grid_factor=(4, 3))
    assert np.allclose(layer.scale, (8, 6))
    assert np.allclose(edges(layer), edges(shown))
    assert np.allclose(placement(None, 4)["translate"], (1.5, 1.5))


def test_a_moved_image_takes_its_layers_along(viewer, shown):
    shown.translate = (50, -20)
    layer = put(viewer, shown, np.zeros((48, 48)), grid_factor=2)
    assert np.allclose(edges(layer), edges(shown))


def test_layers_are_updated_in_place_and_keep_what_the_user_changed(viewer, shown):
    first = put(viewer, shown, np.zeros((96, 96)), colormap="magma")
    first.name, first.visible, first.colormap = "mine", False, "viridis"
    before = len(viewer.layers)
    again = put(viewer, shown, np.ones((96, 96)), colormap="magma")
    assert again is first and len(viewer.layers) == before
    assert first.name == "mine" and not first.visible
    assert first.colormap.name == "viridis"
    assert first.data.max() == 1


def test_a_deleted_layer_is_made_anew(viewer, shown):
    first = put(viewer, shown, np.zeros((96, 96)))
    viewer.layers.remove(first)
    assert layer_for(viewer, ("probability", "grid 0")) is None
    again = put(viewer, shown, np.zeros((96, 96)))
    assert again is not first and unwrap(viewer.layers[-1]) is again


def test_a_duplicate_of_our_layer_is_the_users(viewer, shown):
    ours = put(viewer, shown, np.zeros((96, 96)))
    data, meta, _ = ours.as_layer_data_tuple()
    theirs = unwrap(unwrap(viewer).add_image(data, **meta))
    assert key_of(viewer, ours) == ("probability", "grid 0")
    assert key_of(viewer, theirs) is None
    viewer.layers.remove(ours)
    assert layer_for(viewer, ("probability", "grid 0")) is None


def test_the_type_of_a_layer_may_change(viewer, shown):
    put(viewer, shown, np.zeros((96, 96)))
    layer = put(viewer, shown, np.ones((3, 2)), "points", size=4)
    assert layer._type_string == "points"
    assert layer_for(viewer, ("probability", "grid 0")) is layer


def test_points_can_become_fewer_while_they_are_selected(viewer, shown):
    layer = put(
        viewer, shown, np.random.rand(5, 2), "points", size=np.arange(1, 6),
        features={"class": list("abcde")},
    )  # fmt: skip
    layer.selected_data = {3, 4}
    put(
        viewer,
        shown,
        np.zeros((2, 2)),
        "points",
        size=[7, 8],
        features={"class": ["x", "y"]},
    )
    assert list(layer.size) == [7, 8] and list(layer.features["class"]) == ["x", "y"]


def test_marks_that_stay_are_not_drawn_anew(viewer, shown):
    """Of ten thousand each setting takes napari a tenth of a second."""
    at = np.array([[5.0, 5.0], [9.0, 9.0]])
    look = {"size": np.array([4.0, 4.0]), "symbol": "disc"}
    layer = put(viewer, shown, at, "points", **look)
    heard = []
    for event in (layer.events.data, layer.events.size, layer.events.symbol):
        event.connect(lambda event: heard.append(event.type))
    put(viewer, shown, at, "points", **look)
    assert heard == []
    put(viewer, shown, at[:1] + 1, "points", size=np.array([6.0]), symbol=["x"])
    assert set(heard) == {"data"}  # drawn once for all that is new
    assert layer.size.tolist() == [6.0] and str(layer.symbol[0]) == "x"
    assert layer.data.tolist() == [[6.0, 6.0]]


def test_what_is_painted_takes_the_room_of_the_image_before(viewer, session, shown):
    """Fresh memory for a large image takes longer than filling it."""
    session.set_task(replace(session.task, kind="segment"))
    drawing = drawing_of(viewer)
    for number in (0, 1):
        labels = np.zeros((96, 96), np.uint8)
        labels[number, :] = 1
        session.set_annotations(f"grid {number}", (Labels(labels),))
    drawing.show("grid 0")
    first = drawing.layer("labels")
    room = first.data
    drawing.show("grid 1")
    second = drawing.layer("labels")
    assert second is first and second.data is room
    assert room[1].all() and not room[0].any()
    kept = session.annotations["grid 0"][0].labels
    assert kept[0].all() and not kept[1].any()
    second.paint((50, 50), 1)
    drawing.show("grid 0")
    assert session.annotations["grid 1"][0].labels[50, 50] == 1
    assert not room[50].any() and room[0].all()


def test_the_status_bar_may_ask_while_a_mark_is_added(viewer, shown, monkeypatch):
    layer = put(viewer, shown, np.array([[4.0, 5.0], [6.0, 7.0]]), "points", size=4)
    assert "4" in layer.get_status((4.0, 5.0), world=True)["coordinates"]

    def between(*_):
        return np.zeros((11, 2)) <= np.zeros((12, 2))  # a place has no size yet

    monkeypatch.setattr(type(layer), "_get_value", between)
    with pytest.raises(ValueError, match="broadcast"):
        type(layer).get_status(layer, (4.0, 5.0), world=True)
    assert layer.get_status((4.0, 5.0), world=True)["layer_name"] == layer.name


def test_shapes_can_change_number_and_type(viewer, shown):
    box = np.array([[0, 0], [0, 9], [9, 9], [9, 0]])
    layer = put(viewer, shown, [box], "shapes", shape_type=["rectangle"])
    path = np.array([[1, 1], [5, 5], [9, 2.0]])
    put(
        viewer, shown, [path, path + 3], "shapes", shape_type=["path", "path"],
        edge_width=[3, 4], features={"class": ["x", "y"]},
    )  # fmt: skip
    assert layer.shape_type == ["path", "path"] and list(layer.edge_width) == [3, 4]
    assert list(layer.features["class"]) == ["x", "y"]
    put(viewer, shown, [], "shapes", shape_type=[], features={"class": []})
    assert len(layer.data) == 0


def test_a_new_layer_leaves_the_active_one_active(viewer, shown):
    viewer.layers.selection.active = shown
    put(viewer, shown, np.zeros((96, 96)))
    assert unwrap(viewer.layers.selection.active) is shown


def test_another_image_takes_our_layers_away_but_not_the_users(viewer, session, shown):
    put(viewer, shown, np.zeros((96, 96)))
    own = unwrap(viewer.add_image(np.zeros((5, 5)), name="own"))
    again = show_image(viewer, session, "grid 1")
    assert again is shown and shown.visible  # used again: napari is slow to make one
    assert np.array_equal(shown.data, session.images["grid 1"].image[0])
    drop_spare_layers(viewer)
    left = [unwrap(layer) for layer in viewer.layers]
    assert own in left and {layer.name for layer in left} == {"own", "grid 1"}
    assert current_image_name(viewer, session) == "grid 1"


def test_result_layers_show_the_next_image_or_go(viewer, session, shown):
    one = put(viewer, shown, np.zeros((96, 96)))
    other = put_layer(
        viewer,
        ("detections", "grid 0"),
        np.zeros((2, 2)),
        "points",
        like=shown,
        name="d",
    )
    show_image(viewer, session, "grid 1")
    assert not one.visible and not other.visible
    image = image_layer(viewer, "grid 1")
    again = put_layer(
        viewer, ("probability", "grid 1"), np.ones((96, 96)), "image", like=image,
        name="p 1",
    )  # fmt: skip
    assert again is one and one.visible and one.name == "p 1" and one.data.max() == 1
    drop_spare_layers(viewer)
    assert other not in viewer.layers and one in viewer.layers
    assert layer_for(viewer, ("probability", "grid 0")) is None


def test_colour_and_grey_images_take_turns(viewer, rng):
    session = Session()
    session.add_image(ImageEntry("grey", rng.random((1, 8, 9)), 2.0))
    session.add_image(ImageEntry("stained", (rng.random((3, 5, 6)) * 255).astype("u1")))
    session.add_image(ImageEntry("dim", rng.integers(0, 9, (1, 7, 7)).astype("u2")))
    state_of(viewer, session)
    for name in ("grey", "stained", "dim", "grey"):
        layer = show_image(viewer, session, name)
        drop_spare_layers(viewer)
        assert [one.name for one in viewer.layers] == [name]
        assert layer.data.shape[:2] == session.images[name].image.shape[1:]
    assert [str(unit) for unit in layer.units] == ["nanometer"] * 2


def test_an_adopted_layer_is_hidden_not_removed(viewer, session):
    state_of(viewer, session)
    own = viewer.add_image(session.images["grid 0"].image[0], name="mine")
    adopt(viewer, ("image", "grid 0"), own, users=True)
    assert show_image(viewer, session, "grid 0") is unwrap(own)
    show_image(viewer, session, "grid 1")
    assert own in viewer.layers and not own.visible
    show_image(viewer, session, "grid 0")
    assert own.visible and image_layer(viewer, "grid 0") is unwrap(own)


def test_a_deleted_image_layer_comes_back(viewer, session, shown):
    viewer.layers.remove(shown)
    assert image_layer(viewer, "grid 0") is None
    assert image_layer(viewer, "grid 0") is None
    again = show_image(viewer, session, "grid 0")
    assert image_layer(viewer, "grid 0") is again


def test_an_image_fills_the_canvas_beside_a_larger_hidden_one(viewer, session):
    state_of(viewer, session)
    show_image(viewer, session, "grid 0")
    alone = viewer.scene.camera.zoom, tuple(viewer.scene.camera.center)
    units = viewer.layers[0].units
    viewer.add_image(np.zeros((900, 900)), scale=(2, 2), units=units, visible=False)
    show_image(viewer, session, "grid 1")
    assert viewer.scene.camera.zoom == pytest.approx(alone[0], rel=0.02)
    assert np.allclose(viewer.scene.camera.center, alone[1])


def test_removing_a_layer_that_is_not_there_is_no_error(viewer, shown):
    remove_layer(viewer, ("nothing", "grid 0"))


def test_two_viewers_share_nothing(make_napari_viewer_proxy):
    one, other = make_napari_viewer_proxy(), make_napari_viewer_proxy()
    assert state_of(one).session is state_of(one).session
    assert state_of(one).session is not state_of(other).session
    assert state_of(one).runner is not state_of(other).runner
    layer = one.add_image(np.zeros((4, 4)))
    adopt(one, "key", layer)
    assert layer_for(one, "key") is unwrap(layer) and layer_for(other, "key") is None


def test_a_proxy_and_its_viewer_are_the_same_viewer(viewer):
    session = Session()
    state_of(viewer, session)
    assert state_of(unwrap(viewer)).session is session


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float32])
def test_any_image_can_be_shown(viewer, rng, channels, dtype):
    image = (rng.random((channels, 20, 30)) * 200).astype(dtype)
    session = Session()
    session.add_image(ImageEntry("one", image))
    state_of(viewer, session)
    layer = show_image(viewer, session, "one")
    assert layer.rgb == (channels == 3)
    assert layer.data.shape[:2] == (20, 30)
    assert [str(unit) for unit in layer.units] == ["pixel", "pixel"]


@pytest.mark.parametrize("channels", [1, 3])
def test_images_with_values_that_are_no_numbers_take_turns(viewer, rng, channels):
    sound = rng.normal(size=(channels, 20, 30)).astype(np.float32)
    border, spot = sound.copy(), sound.copy()
    border[:, :3] = np.nan
    spot[:, 5, 5] = np.inf
    whole = {"nan": np.nan, "inf": np.inf, "-inf": -np.inf}
    pixels = {"border": border, "spot": spot, "sound": sound} | {
        name: np.full_like(sound, value) for name, value in whole.items()
    }
    session = Session()
    for name, image in pixels.items():
        session.add_image(ImageEntry(name, image, None))
    for name in (*pixels, *list(pixels)[::-1], "inf", "border", "-inf", "spot"):
        layer = show_image(viewer, session, name)
        if channels == 1:
            assert np.isfinite(layer.contrast_limits_range).all()
            assert np.isfinite(layer.contrast_limits).all()


def test_contrast_leaves_out_outliers_and_what_is_no_number(rng):
    data = rng.random((200, 200))
    data[0, :20] = 1e6
    data[1, 0] = np.nan
    low, high = contrast(data)
    assert 0 <= low < 0.05 and 0.95 < high <= 1
    assert contrast(np.full((4, 4), 7.0)) == (7.0, 8.0)
    assert displayed(np.zeros((3, 4, 5), np.float32))[0].shape == (4, 5, 3)


@pytest.mark.parametrize("number", [1, 2, 4, 6])
def test_what_is_found_has_no_colour_of_a_mark(number):
    names = [f"class {n}" for n in range(number)]
    colours = dict(zip(names, PALETTE, strict=False)) | {BACKGROUND: "#808080"}
    own = found_colours([BACKGROUND, *names], colours)
    assert set(own) == set(names)
    assert not {*own.values()} & {
        *colours.values(),
        class_colour(Session(), BACKGROUND),
    }
    assert len({*own.values()}) == min(number, len(FOUND_COLOURS))
