"""Projects as things one can handle: begun, opened again, saved by name, replaced."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile

pytest.importorskip("qtpy")

from qtpy.QtWidgets import QApplication, QFileDialog, QPushButton

from napari_topiary._napari.canvas.layers import image_layer
from napari_topiary._napari.data import intake
from napari_topiary._napari.data.intake import Incoming, Refused, read_files
from napari_topiary._napari.data.page import DataPage
from napari_topiary._napari.data.projects import virus_phil
from napari_topiary._napari.reader import read_layers
from napari_topiary._napari.state import state_of, unwrap
from napari_topiary.annotations import Points
from napari_topiary.errors import TopiaryError
from napari_topiary.io.large_images import LargeImage
from napari_topiary.networks import build_network, count_parameters, resolve_sizes
from napari_topiary.session import ImageEntry, Session, recent_projects


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
def checkpoint(task):
    """An untrained network that finds virions."""
    from napari_topiary.checkpoint import Checkpoint

    sizes = resolve_sizes("unet", "tiny")
    network = build_network("unet", sizes, 1, 2)
    return Checkpoint(
        network="unet",
        sizes=sizes,
        in_channels=1,
        task=task,
        state=network.state_dict(),
        unpruned_parameters=count_parameters(network),
    )


def entries(page):
    page.open_menu.aboutToShow.emit()
    return {one.text(): one for one in page.open_menu.actions() if one.text()}


def test_a_project_is_saved_under_a_name_that_is_new(
    open_page, session, tmp_path, until, monkeypatch
):
    _, page = open_page(session)
    asked = []

    def answer(_parent, _title, proposed, _filter):
        asked.append(Path(proposed))
        return str(tmp_path / "my viruses"), ""

    monkeypatch.setattr(QFileDialog, "getSaveFileName", answer)
    page.save_button.click()
    until(lambda: session.folder == tmp_path / "my viruses")
    assert asked[0].name == "my project" and session.name == "my viruses"
    # The folder of another project is left alone.
    other = Session()
    other.add_image(ImageEntry("x", session.images["grid 0"].image))
    other.save(tmp_path / "other")
    page.projects.save_to(tmp_path / "other")
    assert "another name" in page.message.text()
    assert session.folder == tmp_path / "my viruses"
    # What was open is in the menu of another window, which shows the last image again.
    page.open_image("grid 1")
    page.projects.saver.remember()
    viewer, again = open_page()
    entries(again)["my viruses"].trigger()
    until(lambda: list(again.session.images) == ["grid 0", "grid 1"])
    assert state_of(viewer).shown == "grid 1"


def test_a_new_project_leaves_nothing_of_the_one_before(
    open_page, session, checkpoint, tmp_path, until
):
    _, page = open_page(session)
    session.add_checkpoint("one", checkpoint)
    session.add_checkpoint("two", checkpoint)
    page.say("Something about this project.")
    entries(page)["New project"].trigger()
    assert list(page.offer.buttons) == [
        "Save it first…",
        "Replace it",
        "Replace it, keep the 2 networks",
        "Cancel",
    ]
    page.offer.buttons["Replace it, keep the 2 networks"].click()
    assert session.images == {} and list(session.checkpoints) == ["one", "two"]
    entries(page)["New project"].trigger()
    page.offer.buttons["Replace it"].click()
    assert session.checkpoints == {} and session.active_checkpoint is None
    assert session.name == "Untitled" and session.folder is None
    assert session.annotations == {} and not session.changed
    assert "A new project" in page.message.text()
    assert not page.networks.isVisibleTo(page)


def test_nothing_is_replaced_while_a_job_runs(open_page, session, monkeypatch):
    from napari_topiary._napari.jobs.runner import JobRunner

    _, page = open_page(session)
    monkeypatch.setattr(JobRunner, "running", property(lambda _: True))
    page.runner.title = "Training"
    page.projects.new_project()
    assert "Training is still running" in page.message.text() and session.images


def test_a_copied_folder_is_called_like_itself(session, tmp_path):
    session.save(tmp_path / "first")
    (tmp_path / "first").rename(tmp_path / "copy of it")
    assert Session.open(tmp_path / "copy of it").name == "copy of it"


def test_images_come_back_in_the_order_they_were_in(session, tmp_path):
    session.add_image(ImageEntry("a first", session.images["grid 0"].image))
    session.save(tmp_path / "p")
    again = Session.open(tmp_path / "p")
    assert list(again.images) == ["grid 0", "grid 1", "a first"]


def test_what_was_open_last_is_remembered(tmp_path, session):
    from napari_topiary.session import remember_project, shown_last

    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        remember_project(tmp_path / name, f"image of {name}")
    remember_project(tmp_path / "a", "another")
    assert [Path(one.folder).name for one in recent_projects()] == ["a", "b"]
    assert shown_last(tmp_path / "a") == "another"
    (tmp_path / "b").rmdir()
    assert [Path(one.folder).name for one in recent_projects()] == ["a"]


def test_recovery_is_offered_by_name_and_goes_with_another_project(
    open_page, session, until
):
    session.name = "nuclei"
    session._changed = True
    kept = session.autosave()
    kept.rename(kept.with_name(f"20260101-120000-{2**31 - 2}-1"))
    _, page = open_page()
    until(lambda: bool(page.offer.buttons))
    assert page.offer.text.text().startswith("nuclei, 2 images, of ")
    assert any(
        words.startswith("nuclei, 2 images · not saved") for words in entries(page)
    )
    page.session.clear()
    assert not page.offer.buttons


def test_a_sample_from_naparis_menu_is_opened_as_a_whole_project(
    open_page, checkpoint, until
):
    viewer, page = open_page()
    for data, meta, kind in virus_phil():
        getattr(viewer, f"add_{kind}")(data, **meta)
    until(lambda: len(page.session.images) == 3, 30)
    assert page.session.name == "virus_phil"
    shown = next(iter(page.session.images))
    assert viewer.layers[0].name == shown
    assert all(one.name.startswith(shown) for one in viewer.layers)
    assert "3 images" in page.message.text() and "Next: Train" in page.message.text()
    page.session.add_checkpoint("one", checkpoint)
    page.activated()
    assert "3 images" in page.message.text() and "Next: Prune" in page.message.text()


# -- networks -------------------------------------------------------------------------


def test_networks_are_renamed_deleted_and_saved_as_files(
    open_page, session, checkpoint, tmp_path, until
):
    from napari_topiary.checkpoint import load_checkpoint

    _, page = open_page(session)
    assert page.networks.isHidden()
    session.add_checkpoint("viruses · 121 k", checkpoint)
    provenance = {"parent": checkpoint.hash}
    session.add_checkpoint("small", replace(checkpoint, provenance=provenance))
    rows = page.networks.rows
    until(lambda: "from viruses · 121 k" in rows.item(1).text())
    assert page.networks.selected == "small"
    assert "121 k weights" in rows.item(1).text().replace("\N{NO-BREAK SPACE}", " ")
    page.networks.name.setText("  tiny  one ")
    page.networks.name.editingFinished.emit()
    assert list(session.checkpoints) == ["viruses · 121 k", "tiny one"]
    assert session.active_checkpoint == page.networks.selected == "tiny one"
    page.networks.name.setText("viruses · 121 k")
    page.networks.name.editingFinished.emit()
    assert "already" in page.message.text()
    assert page.networks.name.text() == "tiny one"
    page.networks.save_file(tmp_path / "shared")
    until(lambda: "is in" in page.message.text())
    assert load_checkpoint(tmp_path / "shared.safetensors").name == "tiny one"
    mine = tmp_path / "mine.safetensors"
    mine.write_text("my own", encoding="utf-8")
    page.networks.save_file(tmp_path / "mine")  # the dialog has not seen the ending
    assert "there already" in page.offer.text.text()
    page.offer.buttons["Cancel"].click()
    assert mine.read_text(encoding="utf-8") == "my own"
    page.networks.save_file(tmp_path / "mine")
    page.offer.buttons["Replace"].click()
    until(lambda: f"is in {mine}" in page.message.text())
    assert load_checkpoint(mine).name == "tiny one"
    page.networks.delete_button.click()
    page.offer.buttons["Keep it"].click()
    assert "tiny one" in session.checkpoints
    page.networks.delete_button.click()
    page.offer.buttons["Delete it"].click()
    assert list(session.checkpoints) == ["viruses · 121 k"]
    assert session.active_checkpoint == "viruses · 121 k"
    # The names and what comes from what outlive the window.
    session.save(tmp_path / "p")
    assert list(Session.open(tmp_path / "p").checkpoints) == ["viruses · 121 k"]


def test_a_network_is_written_for_other_programs(
    open_page, session, checkpoint, tmp_path, until, monkeypatch
):
    _, page = open_page(session)
    session.add_checkpoint("small", checkpoint)
    chosen = []

    def choose(parent, title, proposed, filters):
        chosen.append(filters.split(";;"))
        # The name that was proposed, and another kind of file.
        return str(tmp_path / "small.safetensors"), chosen[-1][-1]

    monkeypatch.setattr(QFileDialog, "getSaveFileName", choose)
    page.networks.file_button.click()
    until(lambda: "small.zip" in page.message.text())
    endings = [one.split("*")[1].rstrip(")") for one in chosen[0]]
    assert endings == [".safetensors", ".onnx", ".zip"]
    assert zipfile.is_zipfile(tmp_path / "small.zip")
    assert not (tmp_path / "small.safetensors").exists()
    page.networks.file_button.click()  # the dialog has not seen the ending
    assert "small.zip is there already" in page.offer.text.text()
    page.offer.buttons["Cancel"].click()


# -- layers of the user ---------------------------------------------------------------


def test_layers_of_the_user_do_not_cover_the_image(open_page, session, until):
    viewer, page = open_page(session)
    page.open_image("grid 0")
    dropped = viewer.add_image(session.images["grid 1"].image[0], name="dropped")
    seen_through = viewer.add_image(
        session.images["grid 1"].image[0], name="glow", blending="additive"
    )
    until(lambda: not dropped.visible)
    assert seen_through.visible and "dropped is hidden" in page.message.text()
    assert "Convert to Labels" not in page.message.text()
    masks = viewer.add_image(
        np.kron(np.eye(4, dtype=np.uint8), np.ones((24, 24))).astype(np.uint8),
        name="masks",
    )
    until(lambda: not masks.visible)
    assert "masks is hidden" in page.message.text()
    assert "Convert to Labels" in page.message.text()
    viewer.layers.selection.active = dropped
    assert page.layer_button.property("emphasized")
    dropped.visible = True  # by its eye: until another image is worked on
    page.open_image("grid 1")
    assert not dropped.visible
    viewer.layers.selection.active = dropped
    page.layer_button.click()
    until(lambda: "dropped" in session.images)
    page.open_image("dropped")
    assert dropped.visible


def test_a_flipped_layer_has_a_pixel_size(open_page, session, until):
    viewer, page = open_page()
    viewer.add_image(
        session.images["grid 0"].image[0], name="mine", scale=(-2, 2), units=("nm",) * 2
    )
    page.layer_button.click()
    until(lambda: "mine" in page.session.images)
    assert page.session.images["mine"].scale == 2
    page.session.set_task(session.task)
    page.session.set_annotations("mine", session.annotations["grid 0"])
    page.scale_field.setValue(4)
    assert tuple(viewer.layers[0].scale) == (-4, 4)


def test_answers_that_do_not_fit_stand_under_one_another(open_page, qtbot):
    from qtpy.QtWidgets import QBoxLayout

    from napari_topiary._napari.widgets.page import Offer

    offer = Offer()
    qtbot.addWidget(offer)
    offer.resize(300, 100)
    offer.show_choice("?", {f"A rather long answer {n}": print for n in range(4)})
    assert offer._row.direction() == QBoxLayout.Direction.TopToBottom
    offer.resize(900, 100)
    assert offer._row.direction() == QBoxLayout.Direction.LeftToRight
    offer.show_choice("?", {"All": print, "The one in the middle": print, "No": print})
    wanted = sum(answer.sizeHint().width() for answer in offer.buttons.values())
    offer.resize(wanted + 40, 100)
    offer.show()
    assert offer._row.direction() == QBoxLayout.Direction.LeftToRight
    for answer in offer.buttons.values():  # none is cut for the sake of a shorter one
        assert answer.width() >= answer.sizeHint().width()


def test_slices_are_checked_where_they_are_read(tmp_path, rng):
    volume = (rng.random((5, 20, 30)) * 255).astype(np.uint8)
    volume[1] = 7
    tifffile.imwrite(tmp_path / "v.tif", volume, metadata={"axes": "ZYX"})
    (stack,) = read_files([tmp_path / "v.tif"])
    assert [type(one) for one in stack.slices] == [Incoming, Refused, *[Incoming] * 3]
    assert "constant" in stack.slices[1].sentence


@pytest.fixture
def slide(tmp_path, rng, monkeypatch):
    """An image that counts as too large to be read whole, in tiles."""
    monkeypatch.setattr("napari_topiary.io.large_images.LARGE", 1000)
    monkeypatch.setattr("napari_topiary.io.image_area.LARGE", 1000)
    monkeypatch.setattr("napari_topiary.io.image_area.THIN_PIXELS", 2000)
    monkeypatch.setattr("napari_topiary.io.pyramids.GLANCE", 120)
    monkeypatch.setattr("napari_topiary.io.large_images.GLANCE", 120)
    monkeypatch.setattr("napari_topiary.io.large_images.WHOLE_PIXELS", 10_000)
    monkeypatch.setattr(intake, "WHOLE_PIXELS", 10_000)
    image = rng.integers(0, 255, (300, 400), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "slide.tif", image, tile=(64, 64))
    return tmp_path / "slide.tif", image


def test_a_large_image_is_added_without_being_read(slide, open_page, until, tmp_path):
    path, image = slide
    viewer, page = open_page()
    page.adder.add_files([path])
    until(lambda: "slide" in page.session.images)
    entry = page.session.images["slide"]
    assert isinstance(entry.image, LargeImage)
    layer = image_layer(viewer, "slide")
    assert layer.multiscale
    np.testing.assert_array_equal(layer.data[0][10:20, 30:50], image[10:20, 30:50])
    until(lambda: entry.image.thin.complete)
    step = entry.image.thin.step
    coarsest = np.asarray(layer.data[-1])
    np.testing.assert_array_equal(coarsest, image[::step, ::step])
    # Marks on it, a project with it, and all is there again.
    page.session.set_annotations("slide", [Points([(20, 30)], ("virus",))])
    page.session.save(tmp_path / "project")
    assert not list((tmp_path / "project" / "images").glob("*"))
    again = Session.open(tmp_path / "project")
    assert "virus" in again.task.classes
    assert isinstance(again.images["slide"].image, LargeImage)
    assert len(again.annotations["slide"][0]) == 1


@pytest.mark.parametrize("button", ["Add all of it", "Add what is on the screen"])
def test_of_a_large_layer_all_or_what_is_on_the_screen_is_added(
    slide, open_page, until, button
):
    path, image = slide
    viewer, page = open_page()
    ((levels, meta, _),) = read_layers(str(path))
    layer = viewer.add_image(levels, **meta)
    unwrap(layer)._data_level = 0
    unwrap(layer).corner_pixels = np.array([[100, 200], [149, 259]])
    page.adder.use_layer(unwrap(layer))
    choices = {one.text(): one for one in page.offer.findChildren(QPushButton)}
    choices[button].click()
    until(lambda: bool(page.session.images))
    (name, entry), *_ = page.session.images.items()
    if button == "Add all of it":
        assert isinstance(entry.image, LargeImage)
        assert image_layer(viewer, name) is unwrap(layer)
        return
    assert name == "slide y100 x200"
    np.testing.assert_array_equal(entry.image[0], image[100:150, 200:260])
    assert "60 × 50 of 400 × 300 pixels" in page.message.text()
    unwrap(layer).corner_pixels = np.array([[0, 0], [299, 399]])
    with pytest.raises(TopiaryError, match="move closer"):
        intake.layer_source(unwrap(layer), (0, 0))


def test_how_a_network_was_made_is_copied_as_commands(
    open_page, session, checkpoint, until
):
    _, page = open_page(session)
    session.add_checkpoint("small", checkpoint)
    page.networks.commands_button.click()
    until(lambda: "Copied" in page.message.text())
    assert QApplication.clipboard().text().startswith("# small: it does not say")
