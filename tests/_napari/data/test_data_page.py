from __future__ import annotations

import numpy as np
import pytest
import tifffile

pytest.importorskip("qtpy")

from qtpy.QtCore import Qt

from napari_topiary import Points, write_image
from napari_topiary._napari.canvas.layers import layer_for
from napari_topiary._napari.data import gallery as gallery_module
from napari_topiary._napari.data.gallery import (
    THUMBNAIL,
    Gallery,
    status_words,
    thumbnail,
)
from napari_topiary._napari.data.intake import (
    Incoming,
    Refused,
    Stack,
    layer_source,
    read_files,
)
from napari_topiary._napari.data.page import DataPage
from napari_topiary._napari.state import unwrap
from napari_topiary.errors import TopiaryError
from napari_topiary.io.pixel_size import pixel_size_of_bar
from napari_topiary.session import ImageEntry, Session, recoverable_projects


@pytest.fixture
def open_page(make_napari_viewer_proxy):
    """A Data page on its own, docked in a viewer."""

    def make(session=None):
        viewer = make_napari_viewer_proxy()
        page = DataPage(viewer, session)
        viewer.window.add_dock_widget(page, name="Data")
        return viewer, page

    return make


@pytest.fixture
def grey(rng):
    """A grey image `(1, y, x)` with something in it."""
    return (rng.random((1, 50, 60)) * 200).astype(np.uint8)


@pytest.fixture
def colour(rng):
    """A colour image `(3, y, x)`."""
    return (rng.random((3, 50, 60)) * 200).astype(np.uint8)


def names(page):
    return list(page.session.images)


# -- opening -----------------------------------------------------------------------


def test_a_sample_opens_with_its_marks_as_layers(open_page, until):
    viewer, page = open_page()
    assert page.sample_button.property("emphasized")
    page.sample_actions["virus_phil"].trigger()
    until(lambda: len(page.session.images) == 3, 30)
    assert page.session.task.classes[1:] == ("adenovirus", "influenza", "ebola")
    page.open_image("influenza_h1n1")
    kinds = {layer._type_string for layer in unwrap(viewer).layers}
    assert kinds == {"image", "points", "shapes"}
    points = next(o for o in unwrap(viewer).layers if o._type_string == "points")
    expected = page.session.annotations["influenza_h1n1"]
    drawn = next(one for one in expected if one.kind == "points")
    assert np.allclose(points.data, drawn.coordinates)
    assert np.allclose(points.size, 2 * 17)
    assert not page.sample_button.property("emphasized")
    assert page.gallery.count() == 3


def test_images_are_listed_with_size_and_status(open_page, session, monkeypatch):
    _, page = open_page(session)
    assert page.gallery.count() == 2
    assert page.gallery.words(0) == ("grid 0", "96 × 96 px · 2 nm/px", "8 marked")
    session.set_split({"train": ("grid 0",), "val": ("grid 1",)})
    assert status_words(session, "grid 1") == "nothing marked yet · kept aside"
    before, kept = dict(session.split), "in the part “fold 2”, not learned from"
    session.set_split({"train": ["grid 0"], "fold 2": ["grid 0", "grid 1"]})
    assert status_words(session, "grid 1") == f"nothing marked yet · {kept}"
    assert "part" not in status_words(session, "grid 0")
    session.set_split(before)
    # One row is renewed where something is drawn, not all: projects have hundreds.
    looked_at = []
    monkeypatch.setattr(
        gallery_module,
        "status_words",
        lambda _, name: looked_at.append(name) or "drawn on",
    )
    page.session.set_annotations("grid 1", (Points(np.ones((1, 2)), ("virion",)),))
    assert looked_at == ["grid 1"] and page.gallery.words(1)[2] == "drawn on"


def test_a_click_opens_an_image(open_page, session):
    viewer, page = open_page(session)
    page.gallery.itemClicked.emit(page.gallery.item(1))
    assert [layer.name for layer in viewer.layers] == ["grid 1"]
    assert page.gallery.selected == "grid 1"
    page.gallery.itemClicked.emit(page.gallery.item(0))
    assert [layer.name for layer in viewer.layers] == ["grid 0", "grid 0 · marks"]


def test_thumbnails_are_small_and_show_the_image(rng):
    ramp = np.tile(np.linspace(0, 60000, 900).astype(np.uint16), (700, 1))[None]
    small = thumbnail(ramp)
    assert max(small.shape[:2]) <= 2 * THUMBNAIL and small.dtype == np.uint8
    assert small[:, -1].mean() > 200 > 50 > small[:, 0].mean()
    assert thumbnail(rng.random((3, 5, 7), dtype=np.float32)).shape[2] == 3


# -- adding files --------------------------------------------------------------------


def test_files_are_added_and_their_pixel_size_is_read(open_page, grey, tmp_path, until):
    _, page = open_page()
    write_image(tmp_path / "a.tif", grey, scale=4.6)
    write_image(tmp_path / "b.png", grey)
    page.adder.add_files([tmp_path / "a.tif", tmp_path / "b.png"])
    until(lambda: len(page.session.images) == 2)
    assert page.session.images["a"].scale == pytest.approx(4.6, rel=1e-4)
    assert page.session.images["b"].scale is None
    assert page.message.text().startswith("Added 2 images.")
    assert page.scale_field.value() == pytest.approx(4.6, rel=1e-4)


@pytest.mark.parametrize(
    ("pixels", "words"),
    [
        (np.full((40, 40), 7, np.uint8), "constant"),
        (np.where(np.eye(40) > 0, np.nan, 1).astype(np.float32), "nothing to see"),
        (np.r_[np.zeros(10), np.full(1590, 255)].reshape(40, 40).astype(np.uint8),
         "saturated"),
    ],
)  # fmt: skip
def test_useless_images_are_refused_with_a_sentence(
    open_page, tmp_path, until, pixels, words
):
    _, page = open_page()
    tifffile.imwrite(tmp_path / "bad.tif", pixels)
    page.adder.add_files([tmp_path / "bad.tif"])
    until(lambda: words in page.message.text())
    assert page.message.property("role") == "problem"
    assert names(page) == []


@pytest.mark.parametrize("dtype", [np.int32, np.float32, np.uint16])
def test_other_number_types_are_accepted(open_page, rng, tmp_path, until, dtype):
    _, page = open_page()
    tifffile.imwrite(tmp_path / "x.tif", (rng.random((40, 50)) * 999).astype(dtype))
    page.adder.add_files([tmp_path / "x.tif"])
    until(lambda: names(page) == ["x"])
    assert page.session.images["x"].image.dtype == dtype


def test_what_is_no_image_is_refused_and_the_rest_is_added(
    open_page, grey, tmp_path, until
):
    _, page = open_page()
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG nothing")
    write_image(tmp_path / "good.png", grey)
    page.adder.add_files(sorted(tmp_path.glob("*.*")))
    until(lambda: names(page) == ["good"])
    assert "notes.txt" in page.message.text() and "broken.png" in page.message.text()
    assert "Traceback" not in page.message.text()


def test_a_stack_is_offered_slice_by_slice(open_page, rng, tmp_path, until):
    _, page = open_page()
    volume = (rng.random((30, 40, 50)) * 255).astype(np.uint8)
    tifffile.imwrite(tmp_path / "volume.tif", volume, metadata={"axes": "ZYX"})
    page.adder.add_files([tmp_path / "volume.tif"])
    until(lambda: bool(page.offer.buttons))
    assert "30 slices" in page.offer.text.text()
    assert list(page.offer.buttons) == [
        "Every 10th",
        "All 30",
        "The middle one",
        "None",
    ]
    page.offer.buttons["Every 10th"].click()
    assert names(page) == ["volume 00", "volume 10", "volume 20"]
    assert np.array_equal(page.session.images["volume 10"].image[0], volume[10])
    assert not page.offer.buttons


def with_banner(rng):
    """Twenty rows of a microscope's information below an image."""
    image = rng.integers(20, 230, (80, 90), dtype=np.uint8)
    image[60:] = 0
    image[66:72, 10:30:3] = 255  # letters
    return image


@pytest.mark.parametrize(("answer", "rows"), [("Cut it off", 60), ("Keep it", 80)])
def test_an_information_banner_can_be_cut_off(
    open_page, rng, tmp_path, until, answer, rows
):
    _, page = open_page()
    image = with_banner(rng)
    tifffile.imwrite(tmp_path / "sem.tif", image)
    page.adder.add_files([tmp_path / "sem.tif"])
    until(lambda: bool(page.offer.buttons))
    assert "sem has an information banner" in page.offer.text.text()
    page.offer.buttons[answer].click()
    entry = page.session.images["sem"]
    np.testing.assert_array_equal(entry.image[0], image[:rows])
    # The file is not the source of what was cut.
    assert (entry.path is None) == (rows == 60)


def test_colour_among_grey_offers_conversion(
    open_page, session, colour, tmp_path, until
):
    _, page = open_page(session)
    write_image(tmp_path / "stained.png", colour)
    page.adder.add_files([tmp_path / "stained.png"])
    until(lambda: bool(page.offer.buttons))
    assert "stained is in colour" in page.offer.text.text()
    page.offer.buttons["Convert to grey"].click()
    assert page.session.images["stained"].image.shape == (1, 50, 60)
    assert page.session.images["stained"].path is None


def test_colour_can_be_left_out(open_page, session, colour, tmp_path, until):
    _, page = open_page(session)
    write_image(tmp_path / "stained.png", colour)
    page.adder.add_files([tmp_path / "stained.png"])
    until(lambda: bool(page.offer.buttons))
    page.offer.buttons["Leave out"].click()
    assert names(page) == ["grid 0", "grid 1"]


def test_grey_among_colour_offers_conversion(open_page, grey, colour, tmp_path, until):
    first = Session()
    first.add_image(ImageEntry("stained", colour))
    _, page = open_page(first)
    write_image(tmp_path / "grey.png", grey)
    page.adder.add_files([tmp_path / "grey.png"])
    until(lambda: bool(page.offer.buttons))
    page.offer.buttons["Make in colour"].click()
    assert page.session.images["grey"].image.shape == (3, 50, 60)


def test_channels_that_cannot_be_converted_are_refused(open_page, colour, rng):
    first = Session()
    first.add_image(ImageEntry("stained", colour))
    _, page = open_page(first)
    page.adder.take([Incoming("two", rng.random((2, 20, 20)), None)])
    assert "project of their own" in page.message.text()
    assert names(page) == ["stained"]


def test_two_questions_are_asked_one_after_the_other(open_page, session, colour, rng):
    _, page = open_page(session)
    slices = tuple(Incoming(f"s{n}", rng.random((1, 20, 20)), None) for n in range(3))
    page.adder.take([Stack("s.tif", slices), Incoming("rgb", colour, None)])
    assert "s.tif" in page.offer.text.text()
    page.offer.buttons["The middle one"].click()
    assert "rgb" in page.offer.text.text()
    page.offer.buttons["Convert to grey"].click()
    assert names(page) == ["grid 0", "grid 1", "s1", "rgb"]


# -- adding layers -------------------------------------------------------------------


def use_layer(page, until, number=1):
    assert not page.layer_button.isHidden()
    page.layer_button.click()
    until(lambda: len(page.session.images) == number or bool(page.offer.buttons))


def test_a_layer_becomes_an_image_and_stays_the_users(open_page, grey, until):
    viewer, page = open_page()
    assert page.layer_button.isHidden()
    viewer.add_image(
        grey[0], name="mine", scale=(0.0046,) * 2, units=("um", "um"), colormap="magma"
    )
    use_layer(page, until)
    entry = page.session.images["mine"]
    assert entry.scale == pytest.approx(4.6) and np.array_equal(entry.image, grey)
    assert len(viewer.layers) == 1 and viewer.layers[0].colormap.name == "magma"
    page.session.set_annotations("mine", ())
    page.drawing.ensure("points")
    assert np.allclose(viewer.layers[1].scale, 0.0046)
    assert viewer.layers.extent.units is not None
    assert page.layer_button.isHidden()


@pytest.mark.parametrize(
    ("answer", "rows", "layers"), [("Cut it off", 60, 2), ("Keep it", 80, 1)]
)
def test_the_banner_of_a_layer_can_be_cut_off(
    open_page, rng, until, answer, rows, layers
):
    viewer, page = open_page()
    image = with_banner(rng)
    viewer.add_image(image, name="sem")
    use_layer(page, until)
    assert "sem has an information banner" in page.offer.text.text()
    page.offer.buttons[answer].click()
    entry = page.session.images["sem"]
    np.testing.assert_array_equal(entry.image[0], image[:rows])
    assert len(viewer.layers) == layers


def test_a_colour_layer_is_read_channels_first(open_page, colour, until):
    viewer, page = open_page()
    viewer.add_image(np.moveaxis(colour, 0, -1), name="stained", rgb=True)
    use_layer(page, until)
    assert np.array_equal(page.session.images["stained"].image, colour)


def test_of_a_volume_the_shown_slice_can_be_taken(open_page, rng, until):
    viewer, page = open_page()
    volume = rng.random((5, 20, 30)).astype(np.float32)
    viewer.add_image(volume, name="tomo", scale=(3, 2, 2), units=("nm",) * 3)
    viewer.dims.set_point(0, 3 * 3)
    use_layer(page, until)
    assert "5 slices" in page.offer.text.text()
    page.offer.buttons["Add the slice shown"].click()
    until(lambda: names(page) == ["tomo"])
    assert np.array_equal(page.session.images["tomo"].image[0], volume[3])
    assert page.session.images["tomo"].scale == 2
    assert "tomo" in [layer.name for layer in viewer.layers]


def test_every_slice_of_a_volume_can_be_taken(open_page, rng, until):
    viewer, page = open_page()
    viewer.add_image(rng.random((3, 20, 30)), name="tomo")
    use_layer(page, until)
    page.offer.buttons["Add every slice"].click()
    until(lambda: len(page.session.images) == 3)
    assert names(page) == ["tomo 0", "tomo 1", "tomo 2"]


def test_pixels_that_are_not_square_are_refused(viewer):
    layer = viewer.add_image(np.eye(9), scale=(2, 3), units=("nm", "nm"))
    with pytest.raises(TopiaryError, match="square"):
        layer_source(layer, (0, 0))


def test_nothing_but_image_layers_is_offered(open_page, session):
    viewer, page = open_page(session)
    page.open_image("grid 0")
    assert page.layer_button.isHidden()
    viewer.add_points(np.zeros((1, 2)))
    assert page.layer_button.isHidden()
    page.use_selected_layer()
    assert page.message.text().startswith("Select an image layer")


def test_reading_files_never_raises(tmp_path):
    found = read_files([tmp_path / "absent.tif"])
    assert isinstance(found[0], Refused) and "no file" in found[0].sentence


# -- the open image ------------------------------------------------------------------


def test_a_pixel_size_that_is_typed_in_moves_all_layers(open_page, session):
    viewer, page = open_page(session)
    page.open_image("grid 0")
    page.scale_field.setValue(0.5)
    assert session.images["grid 0"].scale == 0.5
    assert all(np.allclose(layer.scale, 0.5) for layer in viewer.layers)
    points = unwrap(viewer.layers[1])
    assert np.allclose(points.size, 2 * 12 / 0.5)  # the radius is in nm
    page.scale_field.setValue(0)
    assert session.images["grid 0"].scale is None
    assert {str(u) for layer in viewer.layers for u in layer.units} == {"pixel"}


def test_one_pixel_size_for_all(open_page, session):
    _, page = open_page(session)
    page.open_image("grid 0")
    page.scale_field.setValue(1.5)
    page.all_scales_button.click()
    assert {entry.scale for entry in session.images.values()} == {1.5}


def test_an_image_is_kept_aside_and_given_back(open_page, session):
    _, page = open_page(session)
    page.open_image("grid 1")
    page.hold_out.click()
    assert session.split == {"train": ("grid 0",), "val": ("grid 1",)}
    page.hold_out.click()
    assert session.split == {"train": ("grid 0", "grid 1"), "val": ()}


def test_removing_a_marked_image_asks_first(open_page, session):
    viewer, page = open_page(session)
    page.open_image("grid 0")
    page.remove_button.click()
    page.offer.buttons["Keep it"].click()
    assert "grid 0" in session.images
    page.remove_button.click()
    page.offer.buttons["Remove it all the same"].click()
    assert names(page) == ["grid 1"]
    assert [layer.name for layer in viewer.layers] == ["grid 1"]
    page.remove_button.click()
    assert names(page) == [] and len(viewer.layers) == 0
    assert not page.empty_label.isHidden()


# -- projects ------------------------------------------------------------------------


def test_a_project_is_saved_and_opened_again(open_page, session, tmp_path, until):
    _, page = open_page(session)
    page.projects.save_to(tmp_path / "p")
    until(lambda: page.message.text().startswith("Saved in"))
    viewer, other = open_page()
    other.projects.open_folder(tmp_path / "p")
    until(lambda: names(other) == ["grid 0", "grid 1"])
    assert other.session.annotations["grid 0"] == session.annotations["grid 0"]
    assert other.session.task == session.task
    assert [layer.name for layer in viewer.layers] == ["grid 0", "grid 0 · marks"]


def test_changes_after_a_save_go_to_the_same_folder(
    open_page, session, tmp_path, until
):
    _, page = open_page(session)
    page.projects.save_to(tmp_path / "p")
    until(lambda: session.folder == tmp_path / "p")
    drawn = (Points([[5, 5]], ("virion",)),)
    session.set_annotations("grid 1", drawn)
    page.projects.saver.save()
    until(lambda: not session.changed and session.folder is not None)
    until(lambda: (tmp_path / "p" / "points" / "grid 1.csv").exists())
    assert Session.open(tmp_path / "p").annotations["grid 1"] == drawn


def test_a_folder_without_a_project_is_refused(open_page, tmp_path, until):
    _, page = open_page()
    page.projects.open_folder(tmp_path)
    until(lambda: page.message.property("role") == "problem")
    assert "dataset.json" in page.message.text()


def test_a_folder_that_cannot_be_written_to_is_refused(
    open_page, session, tmp_path, until
):
    _, page = open_page(session)
    (tmp_path / "file").write_text("x")
    page.projects.save_to(tmp_path / "file" / "p")
    until(lambda: page.message.property("role") == "problem")
    assert "could not be written" in page.message.text()
    assert session.changed and session.folder is None


def test_an_unsaved_project_is_not_replaced_without_asking(open_page, session, until):
    _, page = open_page(session)
    page.projects.open_sample("virus_phil")
    assert set(page.offer.buttons) == {"Save it first…", "Replace it", "Cancel"}
    page.offer.buttons["Cancel"].click()
    assert names(page) == ["grid 0", "grid 1"]
    page.projects.open_sample("virus_phil")
    page.offer.buttons["Replace it"].click()
    until(lambda: len(page.session.images) == 3, 30)


def test_work_that_was_never_saved_is_offered_again_at_once(open_page, session, until):
    session._changed = True
    kept = session.autosave()
    left = kept.rename(kept.with_name(f"20260101-120000-{2**31 - 2}-1"))
    _, page = open_page()
    until(lambda: bool(page.offer.buttons))
    assert "grid 0, 2 images, of" in page.offer.text.text()
    page.offer.buttons["Go on with it"].click()
    until(lambda: names(page) == ["grid 0", "grid 1"])
    assert page.session.annotations["grid 0"] == session.annotations["grid 0"]
    assert not left.exists()  # it belongs to this window now
    page.projects.save_to(left.parent.parent / "kept")
    # Saved: the copy for recovery is not needed.
    until(lambda: list(left.parent.iterdir()) == [])


def test_whoever_begins_something_else_is_not_asked_about_unsaved_work_any_more(
    open_page, session, until, rng, tmp_path
):
    session._changed = True
    kept = session.autosave()
    kept.rename(kept.with_name(f"20260101-120000-{2**31 - 2}-1"))
    volume = rng.random((30, 40, 50), np.float32)
    tifffile.imwrite(tmp_path / "stack.tif", volume, metadata={"axes": "ZYX"})
    _, page = open_page()
    until(lambda: page.projects.offers_recovery)
    page.adder.add_files([tmp_path / "stack.tif"])
    until(lambda: "slices" in page.offer.text.text() and bool(page.offer.buttons))
    assert not page.projects.offers_recovery
    page.offer.close_offer()
    left = len(recoverable_projects())
    assert left == 1  # the menu of projects still has it


def test_a_save_is_undone_from_the_menu_of_earlier_versions(
    open_page, session, until, tmp_path
):
    _, page = open_page(session)
    page.projects.save_to(tmp_path / "kept")
    until(lambda: page.session.folder is not None)
    before = page.session.annotations["grid 0"]
    page.session.set_annotations("grid 0", ())
    page.back_menu.aboutToShow.emit()
    assert [a.text() for a in page.back_menu.actions()] == ["None yet"]
    page.projects.save_to(tmp_path / "kept")
    until(lambda: not page.session.changed and bool(page.session.versions()))
    page.back_menu.aboutToShow.emit()
    (action,) = page.back_menu.actions()
    action.trigger()
    until(lambda: page.session.annotations.get("grid 0") == before)
    assert "as before the save" in page.message.text()


def test_nothing_is_offered_where_nothing_was_left(open_page, qtbot):
    _, page = open_page()
    qtbot.wait(200)
    assert not page.offer.buttons


def test_many_images_are_announced_once_and_only_new_rows_are_made(
    open_page, session, rng, monkeypatch
):
    _, page = open_page(session)
    made, announced = [], []
    real, name = page.gallery.addItem, Qt.ItemDataRole.UserRole
    monkeypatch.setattr(
        page.gallery, "addItem", lambda one: made.append(one.data(name)) or real(one)
    )
    session.images_changed.connect(lambda: announced.append(None))
    images = [
        Incoming(f"slice {n}", rng.integers(0, 255, (1, 20, 20), np.uint8), 2.0)
        for n in range(30)
    ]
    page.adder.take(images)
    assert made == [f"slice {n}" for n in range(30)]
    assert len(announced) == 1
    assert page.gallery.count() == 32
    assert page.gallery.words(31)[0] == "slice 29"


def test_a_scale_bar_gives_the_pixel_size(open_page, grey):
    session = Session()
    session.add_image(ImageEntry("a", grey, None))
    viewer, page = open_page(session)
    page.open_image("a")
    page.bar_button.click()
    assert page.scale_bar.isVisibleTo(page)
    page.scale_bar.set_button.click()
    assert session.images["a"].scale is None
    layer = viewer.layers["Scale bar"]
    assert layer.mode == "add_line"
    layer.add([[[45, 10], [45, 50]]], shape_type="line")
    page.scale_bar.length.setText("long")
    page.scale_bar.set_button.click()
    assert "500 nm" in page.message.text()
    page.scale_bar.length.setText("0,2 µm")
    page.scale_bar.length.returnPressed.emit()
    assert session.images["a"].scale == 5.0
    assert page.scale_field.value() == 5.0
    assert "Scale bar" not in viewer.layers
    assert not page.scale_bar.isVisibleTo(page)


@pytest.mark.parametrize(
    ("pixels", "written", "size"),
    [
        (100, "500 nm", 5.0),
        (50, "0.5um", 10.0),
        (40, "1 Å", 0.0025),
        (2, "500 nm", "zoom in"),
        (100, "500", "a unit"),
        (100, "nm", "not a length"),
        (100, "", "not a length"),
    ],
)
def test_lengths_of_scale_bars(pixels, written, size):
    if isinstance(size, float):
        assert pixel_size_of_bar(pixels, written) == size
        return
    with pytest.raises(TopiaryError, match=size):
        pixel_size_of_bar(pixels, written)


def test_thumbnails_are_made_of_what_is_seen(session, monkeypatch):
    made = []
    monkeypatch.setattr(
        "napari_topiary._napari.data.gallery.thumbnail",
        lambda image: made.append(image) or thumbnail(image),
    )
    for number in range(40):
        session.add_image(ImageEntry(f"slice {number}", np.ones((1, 8, 8), np.uint8)))
    gallery = Gallery(session)
    gallery.resize(300, 200)
    gallery.refresh(None)
    assert not made
    gallery.grab()
    assert 2 <= len(made) < 10
    gallery.grab()
    assert len(made) < 10


def test_images_opened_while_the_page_waits_for_some_are_taken(
    make_napari_viewer, grey, until
):
    viewer, session = make_napari_viewer(show=True), Session()
    page = DataPage(viewer, session)
    viewer.window.add_dock_widget(page, name="Data")
    mine = viewer.add_image(grey[0], name="mine")
    until(lambda: "mine" in session.images)
    until(lambda: layer_for(viewer, ("image", "mine")) is mine)
    viewer.add_image(grey[0], name="another")  # from now on a person is asked
    until(lambda: not viewer.layers["another"].visible)
    assert list(session.images) == ["mine"] and page.layer_button.isVisible()
