from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

pytest.importorskip("qtpy")

from qtpy.QtCore import Qt
from qtpy.QtOpenGLWidgets import QOpenGLWidget
from qtpy.QtTest import QTest

from napari_topiary import Labels, Points, Regions, Task
from napari_topiary._napari.annotate.classes import KEYS
from napari_topiary._napari.annotate.page import AnnotatePage
from napari_topiary._napari.annotate.review import (
    ACCEPT_KEY,
    REJECT_KEY,
    open_questions,
)
from napari_topiary._napari.annotate.tools import active_tool, tools
from napari_topiary._napari.canvas.layers import image_layer, layer_for
from napari_topiary._napari.canvas.result_layers import show_result
from napari_topiary._napari.canvas.turns import turns_of
from napari_topiary._napari.drawing.marks import in_the_making, layer_data
from napari_topiary._napari.state import unwrap
from napari_topiary.jobs.training import TrainingData
from napari_topiary.session import ImageEntry, Session
from napari_topiary.session.contents import set_radius
from napari_topiary.types import BACKGROUND, Detections, Prediction


@pytest.fixture
def open_page(make_napari_viewer_proxy, qtbot):
    """An Annotate page on its own; the first image of the project is shown."""

    def make(session=None, *, show=False):
        viewer = make_napari_viewer_proxy(show=show)
        page = AnnotatePage(viewer, session)
        viewer.window.add_dock_widget(page, name="Annotate")
        if page.session.images:
            page.drawing.show(next(iter(page.session.images)))
        if show:
            qtbot.waitUntil(page.isVisible, timeout=5000)
        return viewer, page

    return make


def drawn(page, kind, image="grid 0"):
    """What the session has of a kind on an image."""
    found = [a for a in page.session.annotations.get(image, ()) if a.kind == kind]
    return found[0] if found else None


def layer(page, kind):
    return page.drawing.layer(kind)


def settle(page):
    """What a drag or a stroke leaves behind is read after a moment."""
    page.drawing.gather()


# -- classes -------------------------------------------------------------------------


def test_an_empty_page_says_what_to_do_first(open_page):
    _, page = open_page()
    assert "Data" in page.empty_label.text() and not page.empty_label.isHidden()
    assert not any(b.isEnabled() for b in page.tools.buttons.values())


def test_without_a_class_the_page_asks_for_one(open_page, session):
    session.set_annotations("grid 0", ())
    session.set_task(Task("detect", (BACKGROUND,)))
    _, page = open_page(session)
    assert "looking for" in page.empty_label.text()
    assert page.classes.add_button.property("emphasized")
    page.classes.add_button.click()
    assert page.message.text().startswith("Type what you are looking for")
    page.classes.new_name.setText("  adeno  virus ")
    page.classes.add_button.click()
    assert session.task.classes == (BACKGROUND, "adeno virus")
    assert session.task.radius_nm["adeno virus"] == pytest.approx(4.8)  # 2.4 px
    assert page.message.isHidden() and page.empty_label.isHidden()
    assert active_tool(page.drawing) == "point"


def test_a_second_class_of_the_same_name_is_refused(open_page, session):
    _, page = open_page(session)
    page.classes.new_name.setText("virion")
    page.classes.add_button.click()
    assert "already" in page.message.text()
    assert page.message.property("role") == "problem"


def test_classes_are_shown_with_radius_count_and_key(open_page, session):
    _, page = open_page(session)
    row = page.classes.rows["virion"]
    assert row.radius.value() == 12 and row.count.text() == "8"
    assert row.radio.text() == KEYS[0] and row.radio.isChecked()


def test_the_radius_is_the_size_of_the_circles(open_page, session):
    _, page = open_page(session)
    assert np.allclose(layer(page, "points").size, 12)  # 2 x 12 nm at 2 nm per pixel
    page.classes.rows["virion"].radius.setValue(20)
    assert np.allclose(layer(page, "points").size, 20)
    page.pick_tool("point")
    layer(page, "points").add([5, 5])
    assert layer(page, "points").size[-1] == 20
    assert session.task.radius_nm["virion"] == 20


def test_all_of_a_radius_is_read(open_page, session):
    _, page = open_page(session, show=True)
    field = page.classes.rows["virion"].radius
    for value in (6500.0, 65000.0, 12.25):
        field.show_value(value)
        words = field.lineEdit().fontMetrics().horizontalAdvance(field.text())
        assert words < field.lineEdit().width(), value


def test_a_class_is_renamed_everywhere(open_page, session):
    _, page = open_page(session)
    row = page.classes.rows["virion"]
    row.title.setText("phage")
    row.title.editingFinished.emit()
    assert session.task.classes == (BACKGROUND, "phage")
    assert set(drawn(page, "points").classes) == {"phage"}
    assert set(layer(page, "points").features["class"]) == {"phage"}
    page.pick_tool("point")
    layer(page, "points").add([5, 5])
    assert drawn(page, "points").classes[-1] == "phage"


def test_an_impossible_name_is_refused_and_the_old_one_stays(open_page, session):
    session.set_task(Task("detect", (BACKGROUND, "virion", "phage")))
    _, page = open_page(session)
    row = page.classes.rows["virion"]
    row.title.setText("phage")
    row.title.editingFinished.emit()
    assert page.message.property("role") == "problem"
    assert row.title.text() == "virion"


def test_a_colour_is_the_colour_of_the_circles(open_page, session):
    _, page = open_page(session)
    session.set_colour("virion", "#00ff00")
    assert np.allclose(layer(page, "points").border_color, (0, 1, 0, 1))
    swatch = page.classes.rows["virion"].swatch.styleSheet()
    assert "#00ff00" in swatch and swatch.startswith("QPushButton")  # no tooltip


def test_a_class_with_marks_is_removed_only_after_asking(open_page, session):
    _, page = open_page(session)
    page.classes.new_name.setText("phage")
    page.classes.add_button.click()
    page.classes.rows["virion"].remove.click()
    assert "8 times" in page.offer.text.text()
    page.offer.buttons["Remove virion"].click()
    assert session.task.classes == (BACKGROUND, "phage")
    assert drawn(page, "points") is None
    page.classes.rows["phage"].remove.click()  # it has no marks
    assert session.task.classes == (BACKGROUND,)


def test_removing_a_class_moves_painted_numbers_up(open_page, session):
    session.set_annotations("grid 0", ())
    session.set_task(Task("segment", (BACKGROUND, "a", "b")))
    painted = np.zeros((96, 96), np.uint8)
    painted[:10], painted[10:20] = 1, 2
    session.set_annotations("grid 0", (Labels(painted),))
    _, page = open_page(session)
    page.classes.rows["a"].remove.click()
    page.offer.buttons["Remove a"].click()
    assert session.task.classes == (BACKGROUND, "b")
    labels = drawn(page, "labels").labels
    assert labels[15, 0] == 1 and labels[5, 0] == 0
    assert layer(page, "labels").data[15, 0] == 1


# -- tools ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tool", "kind", "mode"),
    [
        ("point", "points", "add"),
        ("centerline", "centerlines", "add_polyline"),
        ("region", "regions", "add_rectangle"),
        ("negative", "points", "add"),
    ],
)
def test_a_tool_activates_the_right_layer(open_page, session, tool, kind, mode):
    viewer, page = open_page(session)
    page.tools.buttons[tool].click()
    active = unwrap(viewer.layers.selection.active)
    assert active is layer(page, kind) and active.mode == mode
    image = unwrap(viewer.layers[0])
    assert np.allclose(active.scale, image.scale) and active.units == image.units
    assert active.axis_labels == image.axis_labels
    assert viewer.layers.extent.units is not None
    assert page.tools.buttons[tool].isChecked()
    assert page.hint.text() == tools()[tool].hint


def test_tools_fit_what_is_to_be_found(open_page, session):
    _, page = open_page(session, show=True)

    def offered():
        return {name for name, one in page.tools.buttons.items() if one.isVisible()}

    assert offered() == {"point", "centerline", "region", "negative", "select"}
    page.classes.kind.setCurrentIndex(page.classes.kind.findData("segment"))
    page.classes.kind.activated.emit(page.classes.kind.currentIndex())
    assert session.task.kind == "segment"
    assert offered() == {"paint", "outline", "region", "select"}


def test_a_click_on_the_canvas_is_a_mark(open_page, session, canvas_of, qtbot):
    viewer, page = open_page(session, show=True)
    page.tools.buttons["point"].click()
    qtbot.wait(200)
    canvas_of(viewer).click((100.0, 60.0))  # nm
    points = drawn(page, "points")
    assert len(points) == 9 and points.classes[-1] == "virion"
    assert np.allclose(points.coordinates[-1], (50, 30), atol=1.0)
    assert page.classes.rows["virion"].count.text() == "9"
    page.tools.buttons["negative"].click()
    canvas_of(viewer).click((20.0, 20.0))
    assert drawn(page, "points").classes[-1] == BACKGROUND
    assert page.classes.rows["virion"].count.text() == "9"


def test_a_box_dragged_on_the_canvas_is_a_finished_area(
    open_page, session, canvas_of, qtbot
):
    viewer, page = open_page(session, show=True)
    page.tools.buttons["region"].click()
    qtbot.wait(200)
    canvas_of(viewer).drag((40, 40), (120, 140))
    qtbot.waitUntil(lambda: drawn(page, "regions") is not None, timeout=3000)
    settle(page)
    box = drawn(page, "regions").polygons[0]
    assert np.allclose(box.min(0), (20, 20), atol=1.5)
    assert np.allclose(box.max(0), (60, 70), atol=1.5)
    said = "<b>5 of 8 marks lie outside the finished areas"  # in a turn of its own
    qtbot.waitUntil(lambda: said in page.summary.text(), timeout=3000)


def test_paths_become_centerlines_as_wide_as_the_class(open_page, session):
    _, page = open_page(session)
    page.tools.buttons["centerline"].click()
    shapes = layer(page, "centerlines")
    shapes.add_paths(np.array([[10, 10], [30, 40], [60, 50.0]]))
    lines = drawn(page, "centerlines")
    assert lines.classes == ("virion",) and len(lines.paths[0]) == 3
    assert shapes.current_edge_width == 12
    assert shapes.mode == "add_polyline"


def test_a_filament_is_one_step_of_undo_however_slowly_it_is_clicked(
    open_page, session, canvas_of, qtbot
):
    viewer, page = open_page(session, show=True)
    page.tools.buttons["centerline"].click()
    qtbot.wait(200)
    canvas = canvas_of(viewer)
    for place in ((40.0, 40.0), (80.0, 80.0), (120.0, 60.0)):
        canvas.click(place)
        page.drawing.gather(patient=True)  # as after a while without a click
        page.drawing.gather()  # as before a save
        assert page.drawing.of_kind("centerlines") is None
    last = canvas.position((120.0, 60.0)).toPoint()
    QTest.mouseDClick(canvas.widget, Qt.MouseButton.LeftButton, pos=last)
    qtbot.waitUntil(lambda: not in_the_making(layer(page, "centerlines")))
    settle(page)
    assert len(drawn(page, "centerlines").paths[0]) == 3
    page.undo_button.click()
    assert drawn(page, "centerlines") is None


def test_a_shape_that_is_no_path_is_refused_with_a_sentence(open_page, session, until):
    _, page = open_page(session)
    page.tools.buttons["centerline"].click()
    shapes = layer(page, "centerlines")
    shapes.add_ellipses(np.array([[10, 10], [30, 40.0]]))
    until(lambda: page.message.property("role") == "problem")
    assert drawn(page, "centerlines") is None
    shapes.selected_data = {0}
    shapes.remove_selected()
    until(lambda: page.message.isHidden())


def test_painting_is_read_and_has_napari_s_undo(open_page, session):
    session.set_annotations("grid 0", ())
    session.set_task(Task("segment", (BACKGROUND, "membrane", "lumen")))
    _, page = open_page(session)
    page.classes.pick("lumen")
    labels = layer(page, "labels")
    assert labels.mode == "paint" and labels.selected_label == 2
    labels.paint((40, 40), 2)
    settle(page)
    assert set(np.unique(drawn(page, "labels").labels)) == {0, 2}
    assert not page.classes.kind.isEnabled()
    page.undo_button.click()
    settle(page)
    assert drawn(page, "labels") is None
    page.redo_button.click()
    settle(page)
    assert (drawn(page, "labels").labels == 2).any()
    # An area drawn after it is undone first, then the stroke.
    page.tools.buttons["region"].click()
    layer(page, "regions").add(np.array([[5, 5], [5, 60], [60, 60], [60, 5]]))
    settle(page)
    page.undo_button.click()
    assert drawn(page, "regions") is None and drawn(page, "labels") is not None
    assert page.undo_button.isEnabled()
    page.undo_button.click()
    assert drawn(page, "labels") is None
    assert not page.undo_button.isEnabled()
    page.redo_button.click()
    page.redo_button.click()
    assert drawn(page, "regions") is not None and drawn(page, "labels") is not None


@pytest.mark.parametrize("kind", ["segment", "instances"])
def test_a_mask_of_0_and_255_can_be_painted_on(open_page, session, kind):
    """Until then it stays as it was read; then it means what it was taken for."""
    mask = np.zeros((96, 96), np.uint8)
    for y, x in np.ndindex(4, 4):
        mask[24 * y + 4 : 24 * y + 12, 24 * x + 4 : 24 * x + 12] = 255
    as_read = Labels(mask, instances=kind == "instances")
    session.set_annotations("grid 0", (as_read,))
    session.set_task(Task(kind, (BACKGROUND, "cell")))
    _, page = open_page(session)
    page.tools.buttons["paint"].click()
    settle(page)
    assert drawn(page, "labels") is as_read
    labels, meant = layer(page, "labels"), 16 if kind == "instances" else 1
    assert len(np.unique(labels.data)) == 1 + meant
    labels.paint((20, 20), labels.selected_label)
    settle(page)
    found = drawn(page, "labels")
    assert found.labels[20, 20] == (17 if kind == "instances" else 1)
    assert len(found) == (17 if kind == "instances" else 1)
    problem = found.problem((96, 96), task=session.task, scale=None, radii=True)
    assert problem is None


def test_strokes_of_one_image_are_not_undone_in_another(open_page, session):
    session.set_annotations("grid 0", ())
    session.set_task(Task("segment", (BACKGROUND, "membrane")))
    _, page = open_page(session)
    page.tools.buttons["paint"].click()
    layer(page, "labels").paint((40, 40), 1)
    session.set_colour("membrane", "#123456")
    assert page.undo_button.isEnabled()
    page.drawing.show("grid 1")
    assert layer(page, "labels").data.max() == 0
    assert not page.undo_button.isEnabled()
    page.drawing.show("grid 0")
    assert layer(page, "labels").data.max() == 1
    assert (drawn(page, "labels").labels == 1).any()


def test_each_painted_object_gets_a_number_of_its_own(open_page, session):
    session.set_annotations("grid 0", ())
    session.set_task(Task("instances", (BACKGROUND, "nucleus")))
    _, page = open_page(session)
    page.tools.buttons["paint"].click()
    labels = layer(page, "labels")
    assert labels.data.dtype == np.uint16  # which napari draws as they are
    labels.paint((20, 20), 1)
    page.tools.buttons["paint"].click()
    assert labels.selected_label == 2
    labels.paint((60, 60), labels.selected_label)
    settle(page)
    assert drawn(page, "labels").instances
    assert set(np.unique(drawn(page, "labels").labels)) == {0, 1, 2}
    for high, dtype in ((400, np.uint16), (65_000, np.int32)):  # room for more of them
        many = np.zeros((96, 96), np.int32)
        many[:9, :9] = high
        session.set_annotations("grid 0", (Labels(many, instances=True),))
        shown, _ = layer_data(session, "grid 0", "labels")
        assert shown.dtype == dtype and shown.max() == high


def test_a_stroke_apart_from_the_object_in_the_hand_begins_another(
    open_page, session, canvas_of, qtbot
):
    session.set_annotations("grid 0", ())
    session.set_task(Task("instances", (BACKGROUND, "nucleus")))
    viewer, page = open_page(session, show=True)
    page.tools.buttons["paint"].click()
    assert "begins the next" in page.hint.text() and KEYS[0] in page.hint.text()
    labels, canvas = layer(page, "labels"), canvas_of(viewer)
    labels.brush_size = 6
    qtbot.wait(200)
    canvas.drag((40, 40), (40, 60))  # nm, at 2 nm per pixel
    canvas.drag((44, 60), (60, 60))  # touches it: the same object
    canvas.drag((140, 140), (140, 160))
    canvas.click((40, 40))  # back on the first: its number is in the hand again
    settle(page)
    painted = drawn(page, "labels").labels
    assert painted[20, 25] == painted[30, 30] == 1 and painted[70, 75] == 2
    assert labels.selected_label == 1 and set(np.unique(painted)) == {0, 1, 2}
    qtbot.keyClick(canvas.widget, KEYS[0])  # the next, even where it touches
    canvas.click((40, 40))
    settle(page)
    assert drawn(page, "labels").labels[20, 20] == 3


def test_what_is_typed_goes_to_the_canvas_once_a_class_has_its_name(
    open_page, session, canvas_of, qtbot
):
    viewer, page = open_page(session, show=True)
    name, canvas = page.classes.new_name, canvas_of(viewer).widget
    name.setFocus()
    qtbot.keyClicks(name, "phage")
    qtbot.keyClick(name, Qt.Key.Key_Return)
    assert session.task.classes[-1] == page.classes.current == "phage"
    assert page.window().focusWidget() is canvas
    qtbot.keyClick(page.window().focusWidget(), KEYS[0])
    assert page.classes.current == "virion" and name.text() == ""
    title = page.classes.rows["virion"].title
    title.setFocus()
    title.selectAll()
    qtbot.keyClicks(title, "capsid")
    qtbot.keyClick(title, Qt.Key.Key_Return)
    assert session.task.classes == (BACKGROUND, "capsid", "phage")
    assert page.window().focusWidget() is canvas


def test_tools_have_keys_that_their_tooltips_name(open_page, session, canvas_of, qtbot):
    viewer, page = open_page(session, show=True)
    canvas, shift = canvas_of(viewer).widget, Qt.KeyboardModifier.ShiftModifier
    for letter, tool in (("C", "centerline"), ("F", "region"), ("D", "point")):
        qtbot.keyClick(canvas, letter, shift)
        assert active_tool(page.drawing) == tool
        assert f"Key Shift+{letter}." in page.tools.buttons[tool].toolTip()
    qtbot.keyClick(canvas, "B", shift)  # nothing is painted here
    assert active_tool(page.drawing) == "point"


def test_in_3d_one_sentence_and_the_way_back(open_page, session, canvas_of, qtbot):
    viewer, page = open_page(session, show=True)
    dims, canvas = unwrap(viewer).dims, canvas_of(viewer).widget
    control = Qt.KeyboardModifier.ControlModifier
    page.tools.buttons["point"].click()
    layer(page, "points").add([5, 5])
    qtbot.keyClick(canvas, "z", control)
    assert len(drawn(page, "points")) == 8
    viewer.layers.selection.active = unwrap(viewer.layers[0])  # the image
    qtbot.keyClick(canvas, "y", control)
    assert len(drawn(page, "points")) == 9 and dims.ndisplay == 2
    dims.ndisplay = 3
    assert "3-D" in page.hint.text() and page.flat_button.isVisible()
    assert not any(one.isEnabled() for one in page.tools.buttons.values())
    page.flat_button.click()
    assert dims.ndisplay == 2 and not page.flat_button.isVisible()
    assert page.tools.buttons["point"].isEnabled()


@pytest.mark.parametrize(
    ("kind", "then", "example"),
    [
        ("detect", "click the particles", "adenovirus"),
        ("segment", "paint it", "membrane"),
        ("instances", "paint each", "nucleus"),
    ],
)
def test_the_words_are_those_of_the_task(open_page, session, kind, then, example):
    session.set_annotations("grid 0", ())
    session.set_task(Task(kind, (BACKGROUND,)))
    _, page = open_page(session)
    assert then in page.empty_label.text()
    assert example in page.classes.new_name.placeholderText()
    page.classes.add_button.click()
    assert example in page.message.text()


def test_marks_of_what_is_none_are_counted(open_page, session):
    _, page = open_page(session, show=True)
    assert not page.classes.unlike.isVisible()
    page.tools.buttons["negative"].click()
    layer(page, "points").add([5, 5])
    assert page.classes.unlike.isVisible()
    assert page.classes.unlike_count.text() == "1"
    assert page.classes.rows["virion"].count.text() == "8"


def test_a_tool_stays_in_the_hand_on_the_next_image(open_page, session):
    viewer, page = open_page(session)
    page.tools.buttons["point"].click()
    page.drawing.show("grid 1")
    active = unwrap(viewer.layers.selection.active)
    assert active is layer(page, "points") and active.mode == "add"
    active.add([7, 8])
    assert np.allclose(drawn(page, "points", "grid 1").coordinates, [[7, 8]])
    assert len(drawn(page, "points", "grid 0")) == 8


def test_selected_marks_can_be_given_another_class(open_page, session):
    _, page = open_page(session)
    page.classes.new_name.setText("phage")
    page.classes.add_button.click()
    page.tools.buttons["select"].click()
    points = layer(page, "points")
    assert points.mode == "select"
    points.selected_data = {1, 2}
    page.classes.pick("phage")
    classes = drawn(page, "points").classes
    assert classes[1] == classes[2] == "phage" and classes.count("virion") == 6
    assert list(points.features["class"]) == list(classes)
    page.undo_button.click()
    assert set(drawn(page, "points").classes) == {"virion"}


def test_selecting_a_mark_does_not_change_what_is_drawn_next(open_page, session):
    _, page = open_page(session)
    page.classes.new_name.setText("phage")
    page.classes.add_button.click()
    points = layer(page, "points")
    page.tools.buttons["select"].click()
    points.selected_data = {0}  # a virion
    page.tools.buttons["point"].click()
    points.add([3, 3])
    assert drawn(page, "points").classes[-1] == "phage"
    assert drawn(page, "points").classes[0] == "virion"


def test_keys_pick_classes_and_the_negative_tool(open_page, session):
    viewer, page = open_page(session, show=True)
    page.classes.new_name.setText("phage")
    page.classes.add_button.click()
    keymap = {str(key): action for key, action in unwrap(viewer).keymap.items()}
    keymap[KEYS[0]](viewer)
    assert page.classes.current == "virion"
    keymap[KEYS[1]](viewer)
    assert page.classes.current == "phage"
    keymap[tools()["negative"].key](viewer)
    assert active_tool(page.drawing) == "negative"
    page.hide()
    assert not {*KEYS} & {str(key) for key in unwrap(viewer).keymap}


def test_our_keys_delete_and_erase_nothing():
    from napari.utils.shortcuts import default_shortcuts

    taken = {
        str(key)
        for name, keys in default_shortcuts.items()
        for key in keys
        if "image" not in name and "orient" not in name and "contrast" not in name
    }
    ours = {*KEYS, tools()["negative"].key, "G", ACCEPT_KEY, REJECT_KEY}
    assert not ours & taken


# -- undo ----------------------------------------------------------------------------


def test_every_mark_is_a_step_of_undo(open_page, session):
    _, page = open_page(session)
    before = drawn(page, "points")
    page.tools.buttons["point"].click()
    points = layer(page, "points")
    assert not page.undo_button.isEnabled()
    points.add([5, 5])
    points.add([9, 9])
    page.undo_button.click()
    assert np.allclose(points.data[-1], (5, 5)) and len(points.data) == 9
    page.undo_button.click()
    assert drawn(page, "points") == before and len(points.data) == 8
    assert not page.undo_button.isEnabled()
    page.redo_button.click()
    page.redo_button.click()
    assert len(points.data) == 10 and len(drawn(page, "points")) == 10
    assert not page.redo_button.isEnabled()


def test_the_key_that_deletes_points_is_undone(open_page, session):
    _, page = open_page(session)
    before = drawn(page, "points")
    page.tools.buttons["select"].click()
    points = layer(page, "points")
    points.selected_data = {0, 3, 5}
    points.remove_selected()
    assert len(drawn(page, "points")) == 5
    undo = {str(key): action for key, action in points.keymap.items()}["Ctrl+Z"]
    undo(points)
    assert drawn(page, "points") == before
    assert np.allclose(points.data, before.coordinates)
    assert np.allclose(points.size, 12)


def test_a_drag_is_one_step(open_page, session):
    _, page = open_page(session)
    before = drawn(page, "points")
    points = layer(page, "points")
    for step in range(5):
        moved = points.data.copy()
        moved[0] = (10 + step, 10)
        points.data = moved
    settle(page)
    assert np.allclose(drawn(page, "points").coordinates[0], (14, 10))
    page.undo_button.click()
    assert drawn(page, "points") == before


def test_images_have_undo_of_their_own(open_page, session):
    _, page = open_page(session)
    page.tools.buttons["point"].click()
    layer(page, "points").add([5, 5])
    page.drawing.show("grid 1")
    assert not page.undo_button.isEnabled()
    page.drawing.show("grid 0")
    page.undo_button.click()
    assert len(drawn(page, "points")) == 8


def test_classes_may_be_added_renamed_and_removed_between_steps(open_page, session):
    _, page = open_page(session)
    page.tools.buttons["point"].click()
    points = layer(page, "points")
    points.add([5, 5])
    page.classes.new_name.setText("phage")
    page.classes.add_button.click()
    points.add([9, 9])
    session.rename_class("virion", "capsid")
    assert page.undo_button.isEnabled()
    page.undo_button.click()
    assert drawn(page, "points").classes == ("capsid",) * 9
    page.redo_button.click()
    assert drawn(page, "points").classes == (*("capsid",) * 9, "phage")
    session.remove_class("phage")
    page.undo_button.click()
    page.undo_button.click()
    assert drawn(page, "points").classes == ("capsid",) * 8
    assert session.task.classes == (BACKGROUND, "capsid")


# -- layers that change under our hands ----------------------------------------------


def test_renamed_reordered_and_hidden_layers_go_on_working(open_page, session):
    viewer, page = open_page(session)
    points = layer(page, "points")
    points.name = "whatever"
    viewer.layers[0].name = points.name
    viewer.layers.reverse()
    viewer.add_points(np.zeros((2, 2)), name="grid 0 · marks")
    points.visible = False
    page.tools.buttons["point"].click()
    assert points.visible
    points.add([4, 4])
    assert len(drawn(page, "points")) == 9


def test_the_deleted_layer_of_the_image_comes_back(open_page, session):
    viewer, page = open_page(session)
    viewer.layers.remove(image_layer(viewer, "grid 0"))
    assert "project still has it" in page.offer.text.text()
    page.offer.buttons["Show it again"].click()
    assert image_layer(viewer, "grid 0") is unwrap(viewer.layers[0])
    assert len(layer(page, "points").data) == len(drawn(page, "points"))


def test_a_deleted_layer_loses_nothing(open_page, session):
    viewer, page = open_page(session)
    before = drawn(page, "points")
    viewer.layers.remove(layer(page, "points"))
    assert drawn(page, "points") == before
    assert page.offer.text.text().startswith("The layer “marks” was deleted")
    page.offer.buttons["Show it again"].click()
    assert np.allclose(layer(page, "points").data, before.coordinates)
    viewer.layers.remove(layer(page, "points"))
    page.offer.buttons["Delete it for good"].click()
    assert drawn(page, "points") is None
    page.undo_button.click()
    assert drawn(page, "points") == before and layer(page, "points") is not None


def test_a_deleted_image_layer_does_not_stop_the_drawing(open_page, session):
    viewer, page = open_page(session)
    viewer.layers.remove(unwrap(viewer.layers[0]))
    page.tools.buttons["region"].click()
    layer(page, "regions").add_rectangles(np.array([[1, 1], [1, 9], [9, 9], [9, 1]]))
    settle(page)
    assert len(drawn(page, "regions")) == 1
    assert np.allclose(layer(page, "regions").scale, 2)


def test_all_layers_may_be_cleared(open_page, session):
    viewer, page = open_page(session)
    viewer.layers.clear()
    assert len(drawn(page, "points")) == 8
    page.tools.buttons["point"].click()
    assert len(layer(page, "points").data) == 8


def test_two_pages_in_two_viewers_do_not_meet(open_page, session, task):
    other_session = Session()
    for entry in session.images.values():
        other_session.add_image(entry)
    other_session.set_task(task)
    _, one = open_page(session)
    _, other = open_page(other_session)
    other.tools.buttons["point"].click()
    layer(other, "points").add([1, 1])
    assert len(drawn(one, "points")) == 8 and len(drawn(other, "points")) == 1
    assert not one.undo_button.isEnabled() and other.undo_button.isEnabled()


def test_marks_outside_the_image_are_named(open_page, session):
    _, page = open_page(session)
    page.tools.buttons["point"].click()
    layer(page, "points").add([500, 5])
    assert "1 of 9 points lie more than a radius outside" in page.summary.text()


def test_what_the_session_is_given_is_shown(open_page, session):
    _, page = open_page(session)
    session.set_annotations("grid 0", (Points([[3, 4]], ("virion",)),))
    assert np.allclose(layer(page, "points").data, [[3, 4]])
    session.set_annotations("grid 0", ())
    assert len(layer(page, "points").data) == 0


# -- layers of the user --------------------------------------------------------------


def use(page):
    assert not page.layer_button.isHidden()
    page.layer_button.click()


def test_points_of_the_user_become_marks(open_page, session):
    viewer, page = open_page(session)
    assert page.layer_button.isHidden()
    theirs = viewer.add_points(
        [[10.0, 20.0]], scale=(4, 4), translate=(8, 0), units=("nm", "nm")
    )
    use(page)
    points = drawn(page, "points")
    assert len(points) == 9 and np.allclose(points.coordinates[-1], (24, 40))
    assert points.classes[-1] == "virion" and not theirs.visible
    page.undo_button.click()
    assert len(drawn(page, "points")) == 8


def test_a_table_of_pixels_is_taken_as_pixels(open_page, session, tmp_path):
    """napari shows it as if each were a nm; what a person has drawn lies as shown."""
    viewer, page = open_page(session)  # 96 pixels of 2 nm
    table = np.array([[20.0, 30.0], [90.0, 94.0]])
    file = tmp_path / "picked.csv"
    np.savetxt(file, np.c_[[0, 1], table], "%g", ",", comments="",
               header="index,axis-0,axis-1")  # fmt: skip
    viewer.open(file, plugin="napari")
    use(page)
    assert viewer.layers.extent.units is not None  # in pixels it would be none
    assert np.allclose(drawn(page, "points").coordinates[-2:], table)
    assert "taken as pixels" in page.message.text()
    viewer.add_points(table)
    use(page)
    assert np.allclose(drawn(page, "points").coordinates[-2:], table / 2)
    assert "taken as pixels" not in page.message.text()
    session.set_scale("grid 0", 0.5)
    viewer.add_points(table)  # beside the image, as it is shown
    use(page)
    assert np.allclose(drawn(page, "points").coordinates[-2:], table)


def test_a_guessed_radius_gives_way_to_marks_that_lie_close(open_page, session):
    """Of a large image it would be that of a block of marks."""
    viewer, page = open_page(session)  # 96 pixels of 2 nm: a guess of 4.8 nm
    close = np.indices((4, 4)).reshape(2, -1).T * 3.0 + 20  # 3 nm apart
    for name, chosen in (("dots", None), ("discs", 40.0)):
        page.classes.new_name.setText(name)
        page.classes.new_name.returnPressed.emit()
        if chosen is not None:
            set_radius(session, name, chosen, 2.0)
        viewer.add_points(close, name=name, units=("nm", "nm"))
        use(page)
        assert session.task.radius_nm[name] == (chosen or 1.5)
    viewer.add_points(close[:1] / 2, units=("nm", "nm"))
    use(page)
    assert session.task.radius_nm["discs"] == 40.0


def test_classes_that_a_layer_names_are_taken_along(open_page, session):
    viewer, page = open_page(session)
    viewer.add_points(
        [[1, 2], [3, 4]], features={"class": ["phage", BACKGROUND]}, scale=(2, 2),
        units=("nm", "nm"),
    )  # fmt: skip
    use(page)
    assert session.task.classes == (BACKGROUND, "virion", "phage")
    assert drawn(page, "points").classes[-2:] == ("phage", BACKGROUND)


def test_shapes_of_the_user_become_lines_and_areas(open_page, session):
    viewer, page = open_page(session)
    box = np.array([[0, 0], [0, 9], [9, 9], [9, 0]])
    path = np.array([[1, 1], [5, 5], [9, 2]])
    viewer.add_shapes(
        [box, path], shape_type=["rectangle", "path"], scale=(2, 2), units=("nm", "nm")
    )
    use(page)
    assert np.allclose(drawn(page, "regions").polygons[0], box)
    assert np.allclose(drawn(page, "centerlines").paths[0], path)
    assert "1 centerlines and 1 finished areas" in page.message.text()


def test_labels_of_the_user_have_to_fit(open_page, session):
    viewer, page = open_page(session)
    viewer.add_labels(np.zeros((96, 96), int))
    use(page)
    assert "choose one of these" in page.message.text()
    session.set_annotations("grid 0", ())
    session.set_task(Task("segment", (BACKGROUND, "virion")))
    viewer.add_labels(np.zeros((50, 60), int))
    use(page)
    assert "60 × 50 pixels, the image 96 × 96" in page.message.text()
    fitting = np.zeros((96, 96), int)
    fitting[5:9] = 2
    theirs = viewer.add_labels(fitting)
    use(page)
    assert "labels up to 2" in page.message.text()
    theirs.data = np.minimum(theirs.data, 1)
    viewer.layers.selection.active = theirs
    use(page)
    assert np.array_equal(drawn(page, "labels").labels, np.minimum(fitting, 1))


def test_a_volume_of_points_is_refused(open_page, session):
    viewer, page = open_page(session)
    viewer.add_points(np.zeros((2, 3)))
    use(page)
    assert "3 dimensions" in page.message.text()
    assert len(drawn(page, "points")) == 8


# -- areas and review ----------------------------------------------------------------


def test_a_suggested_area_is_framed_and_taken_as_finished(open_page, session):
    viewer, page = open_page(session)
    page.suggest_button.click()
    area = page.areas.area
    assert area is not None and "next" in viewer.layers[-1].name
    assert active_tool(page.drawing) == "point"
    page.area_offer.buttons["Another one"].click()
    assert page.areas.area != area
    area = page.areas.area
    page.area_offer.buttons["It is finished"].click()
    box = drawn(page, "regions").polygons[0]
    assert np.allclose(box.min(0), (area[0] - 0.5, area[2] - 0.5))
    assert not page.area_offer.buttons and "next" not in viewer.layers[-1].name
    assert len(drawn(page, "points")) == 8
    page.undo_button.click()
    assert drawn(page, "regions") is None


def test_finished_areas_add_up(open_page, session):
    first = np.array([[0, 0], [0, 9], [9, 9], [9, 0]])
    session.set_annotations("grid 0", (Regions((first,), ("rectangle",)),))
    _, page = open_page(session)
    page.areas.suggest()
    page.areas.finish()
    assert len(drawn(page, "regions")) == 2


def test_the_line_of_a_finished_area_is_seen_with_the_whole_of_a_large_image(
    open_page, session
):
    square = np.array([[0, 0], [0, 9], [9, 9], [9, 0]])
    session.add_image(ImageEntry("large", np.zeros((1, 60, 2400), np.uint8), 1.0))
    _, page = open_page(session)
    for name, width in (("large", 4.0), ("grid 0", 2.0)):
        session.set_annotations(name, (Regions((square,), ("rectangle",)),))
        page.drawing.show(name)
        page.pick_tool("region")
        areas = page.drawing.layer("regions")
        areas.add(square + 20, shape_type="polygon")
        assert areas.edge_width == [width, width]


def test_a_suggestion_ends_with_its_image(open_page, session):
    viewer, page = open_page(session)
    page.areas.suggest()
    page.drawing.show("grid 1")
    assert page.areas.area is None and not page.area_offer.buttons
    assert not any("next" in one.name for one in viewer.layers)


def found_in(session, image, places, scores):
    """A prediction that found something at these places."""
    places = np.asarray(places, dtype=float)
    shape = session.images[image].image.shape[1:]
    return Prediction(
        probability=np.full((2, *shape), 0.5, np.float32),
        shape=shape,
        task=session.task,
        scale=session.images[image].scale,
        labels=np.zeros(shape, np.uint8),
        detections=Detections(
            places, np.ones(len(places), np.int64), np.asarray(scores, dtype=float)
        ),
    )


def test_detections_are_reviewed_the_most_doubtful_first(open_page, session):
    viewer, page = open_page(session, show=True)
    page.drawing.show("grid 1")
    assert not page.review.isVisible()
    places = [[10, 10], [30, 60], [70, 20], [80, 80]]
    found = found_in(session, "grid 1", places, [0.95, 0.52, 0.3, 0.99])
    session.set_prediction("grid 1", found)
    review = page.review
    assert review.isVisible() and review.current == 1
    review.accept_button.click()
    assert np.allclose(drawn(page, "points", "grid 1").coordinates, [[30, 60]])
    assert review.current == 2
    assert any("is this one" in one.name for one in viewer.layers)
    assert np.allclose(np.array(viewer.scene.camera.center)[-2:], (140, 40))  # nm
    review.reject_button.click()
    assert drawn(page, "points", "grid 1").classes == ("virion", BACKGROUND)
    review.skip_button.click()
    assert review.current == 3
    review.sure_button.click()
    points = drawn(page, "points", "grid 1")
    assert len(points) == 4 and points.classes.count("virion") == 3
    assert review.current is None and not review.accept_button.isEnabled()
    page.undo_button.click()
    assert len(drawn(page, "points", "grid 1")) == 2


def test_the_first_question_is_ringed_zoomed_and_bare(open_page, session):
    viewer, page = open_page(session, show=True)
    page.drawing.show("grid 1")
    found = found_in(session, "grid 1", [[10, 10], [30, 60]], [0.95, 0.52])
    session.set_prediction("grid 1", found)
    kinds = {"detections": True}
    show_result(viewer, "grid 1", found, colours=session.colours, kinds=kinds)
    turns_of(viewer).finish()
    shown = [layer_for(viewer, (kind, "grid 1")) for kind in kinds]
    assert all(one.visible for one in shown)
    page.activated()  # as when it comes to the front
    ring = layer_for(viewer, ("review", "grid 1"))
    assert np.allclose(ring.data, [[30, 60]])
    assert np.allclose(np.array(viewer.scene.camera.center)[-2:], (60, 120))  # nm
    radius = 2.0 * page.session.task.radius("virion", 2.0)
    across = min(viewer.canvas.size) / viewer.scene.camera.zoom
    assert 16 * radius <= across <= 22 * radius
    assert not any(one.visible for one in shown)
    page.review.accept_button.click()
    zoom = viewer.scene.camera.zoom
    assert np.allclose(layer_for(viewer, ("review", "grid 1")).data, [[10, 10]])
    page.undo_button.click()
    assert np.allclose(layer_for(viewer, ("review", "grid 1")).data, [[30, 60]])
    assert np.allclose(np.array(viewer.scene.camera.center)[-2:], (60, 120))
    assert viewer.scene.camera.zoom == zoom
    page.review.leave()  # as when another page does
    assert all(one.visible for one in shown)
    assert layer_for(viewer, ("review", "grid 1")) is None


def test_what_is_marked_already_is_not_asked_about(open_page, session):
    _, page = open_page(session)
    centres = drawn(page, "points").coordinates
    session.set_prediction(
        "grid 0", found_in(session, "grid 0", centres + 0.5, [0.6] * len(centres))
    )
    assert page.review.current is None


def test_painted_predictions_can_be_taken_over(open_page, session):
    session.set_annotations("grid 0", ())
    session.set_task(Task("segment", (BACKGROUND, "virion")))
    _, page = open_page(session)
    found = found_in(session, "grid 0", np.zeros((0, 2)), [])
    found.labels[5:20, 5:20] = 1
    session.set_prediction("grid 0", found)
    assert not page.review.isHidden()
    page.review.labels_button.click()
    assert np.array_equal(drawn(page, "labels").labels, found.labels)
    assert np.array_equal(layer(page, "labels").data, found.labels)


def test_the_suggestion_follows_the_network_s_doubt(open_page, session):
    _, page = open_page(session)
    page.drawing.show("grid 1")
    found = found_in(session, "grid 1", np.zeros((0, 2)), [])
    found.probability[0], found.probability[1] = 1, 0
    found.probability[:, 60:90, 5:35] = 0.5
    session.set_prediction("grid 1", found)
    top, bottom, left, right = page.areas.suggest()
    assert 60 <= (top + bottom) / 2 <= 90 and 5 <= (left + right) / 2 <= 35


@pytest.fixture
def painted(session):
    """Two objects painted by hand, and a network that found another one."""
    mine, found = np.zeros((96, 96), np.uint16), np.zeros((96, 96), np.int64)
    mine[5:9, 5:9], mine[20:30, 20:30], found[60:80, 60:80] = 1, 2, 1
    session.set_task(Task("instances", (BACKGROUND, "virion")))
    session.set_annotations("grid 0", (Labels(mine, instances=True),))
    answer = found_in(session, "grid 0", np.zeros((0, 2)), [])
    answer.labels[:] = found
    session.set_prediction("grid 0", answer)
    return mine, found


@pytest.mark.parametrize("way", ["of the network", "of a layer"])
def test_painted_objects_are_replaced_after_asking_and_come_back(
    open_page, session, painted, way, qtbot
):
    mine, found = painted
    viewer, page = open_page(session, show=True)
    layer(page, "labels").data_setitem(
        (np.array([50]), np.array([50])), 7
    )  # a stroke, not yet read
    mine[50, 50] = 7

    def replace():
        if way == "of a layer":
            viewer.layers.selection.active = viewer.add_labels(found)
            page.layer_button.click()
        else:
            page.review.labels_button.click()

    replace()
    assert "painted already" in page.offer.text.text()
    page.offer.buttons["Keep what is painted"].click()
    assert np.array_equal(drawn(page, "labels").labels, mine)
    replace()
    page.offer.buttons["Replace it"].click()
    assert np.array_equal(drawn(page, "labels").labels, found)
    assert np.array_equal(layer(page, "labels").data, found)
    assert page.undo_button.isEnabled()
    keyboard = page.window().findChild(QOpenGLWidget)
    qtbot.keyClick(keyboard, "z", Qt.KeyboardModifier.ControlModifier)
    assert np.array_equal(drawn(page, "labels").labels, mine)
    assert np.array_equal(layer(page, "labels").data, mine)
    qtbot.keyClick(keyboard, "y", Qt.KeyboardModifier.ControlModifier)
    assert unwrap(viewer).dims.ndisplay == 2
    assert np.array_equal(drawn(page, "labels").labels, found)
    page.undo_button.click()
    assert np.array_equal(layer(page, "labels").data, mine)


def test_labels_taken_where_nothing_was_painted_can_be_undone(
    open_page, session, painted
):
    _, page = open_page(session)
    session.set_annotations("grid 0", ())
    page.review.labels_button.click()
    assert page.offer.isHidden()
    assert np.array_equal(drawn(page, "labels").labels, painted[1])
    page.undo_button.click()
    assert drawn(page, "labels") is None
    assert not layer(page, "labels").data.any()


def test_marks_that_do_not_teach_are_said_and_can_be_made_to(open_page, session):
    box = np.array([[0, 0], [0, 10], [10, 10], [10, 0.0]])
    few = (Points([[5, 5], [50, 50], [60, 60]], ("virion",) * 3),)
    session.set_annotations("grid 0", (*few, Regions((box,), ("rectangle",))))
    _, page = open_page(session, show=True)
    turns_of(page.viewer).finish()
    assert "2 of 3 marks" in page.summary.text() and "not teach" in page.summary.text()
    assert "1 particle." in TrainingData.of(session).summary()
    (note,) = TrainingData.of(session).notes()
    assert "2 of 3 marks lie outside" in note and "do not teach" in note
    assert page.whole_button.isVisible()
    page.whole_button.click()
    assert not page.whole_button.isVisible() and drawn(page, "regions") is None
    assert "3 particles." in TrainingData.of(session).summary()
    assert not any("not teach" in note for note in TrainingData.of(session).notes())
    page.undo_button.click()
    assert page.whole_button.isVisible() and len(drawn(page, "regions")) == 1


def test_answers_of_a_review_teach_outside_finished_areas(open_page, session):
    box = np.array([[0, 0], [0, 10], [10, 10], [10, 0.0]])
    session.set_annotations("grid 0", (Regions((box,), ("rectangle",)),))
    found = found_in(session, "grid 0", [[50, 50], [70, 30]], [0.6, 0.8])
    session.set_prediction("grid 0", found)
    _, page = open_page(session, show=True)
    page.review.accept_button.click()
    page.review.reject_button.click()
    points = drawn(page, "points")
    assert points.classes == ("virion", BACKGROUND) and points.reviewed == (True, True)
    turns_of(page.viewer).finish()
    assert "not teach" not in page.summary.text()
    layer(page, "points").add([[80, 80]])
    settle(page)
    assert drawn(page, "points").reviewed == (True, True, False)
    turns_of(page.viewer).finish()
    assert "1 of 3 marks" in page.summary.text()
    page.undo_button.click()
    assert drawn(page, "points").reviewed == (True, True)


def test_marks_with_a_radius_of_their_own_are_shown_and_added_to(open_page, session):
    points = Points([[10, 10], [40, 40]], ("virion",) * 2, (9.0, None))
    session.set_annotations("grid 0", (points,))
    _, page = open_page(session)
    page.pick_tool("point")
    layer(page, "points").add([[70, 70]])
    settle(page)
    assert drawn(page, "points").radius_nm == (9.0, None, None)


def test_ten_thousand_marks_and_detections_need_no_table_of_all_pairs():
    """Such a table has 800 MB, and held the window for a quarter of a minute."""
    grid = 20.0 * np.stack(np.divmod(np.arange(10_000), 100), axis=1)
    score = np.linspace(0.5, 1.0, len(grid))
    found = Detections(
        coordinates=grid, class_index=np.ones(len(grid), np.int64), score=score
    )
    marks = Points(coordinates=grid[::2] + 3.0, classes=("virion",) * 5000)
    tracemalloc.start()
    left = open_questions(found, marks, np.array([0.0, 6.0]))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert left.tolist() == list(range(1, 10_000, 2))  # the most doubtful first
    assert most < 2e7


def test_what_is_around_the_marks_can_be_finished(open_page, session):
    _, page = open_page(session)
    assert page.around_button.isVisibleTo(page)
    page.around_button.click()
    points, regions = session.annotations["grid 0"]
    assert regions.contains(points.coordinates).all()
    assert regions.mask((96, 96)).mean() < 0.9
    assert not page.around_button.isVisibleTo(page)
    assert page.undo_button.isEnabled()
    page.undo_button.click()
    assert [one.kind for one in session.annotations["grid 0"]] == ["points"]


# -- small tools for what is painted --------------------------------------------------


@pytest.fixture
def touching(session):
    """Two discs painted as one object, one with a hole, and a crumb."""
    rows, columns = np.ogrid[:96, :96]
    made = np.zeros((96, 96), np.uint16)
    made[(rows - 40) ** 2 + (columns - 30) ** 2 <= 144] = 4
    made[(rows - 40) ** 2 + (columns - 50) ** 2 <= 100] = 4
    made[38:41, 28:31] = 0
    made[80:82, 80:82] = 9
    session.set_task(Task("instances", (BACKGROUND, "nucleus")))
    session.set_annotations("grid 0", (Labels(made, instances=True),))
    return made


def test_sliders_tidy_what_is_painted_live_and_undo_brings_it_back(
    open_page, session, touching, until
):
    viewer, page = open_page(session, show=True)
    clean = page.clean_up
    assert clean.isVisible() and not clean.take_button.isVisible()
    clean.smallest.setValue(6)
    clean.hole.setValue(20)
    until(lambda: "1 hole" in clean.words.text() and not clean.busy)
    assert "1 piece would be gone" in clean.words.text()
    shown = layer_for(viewer, ("tidied", "grid 0"))
    assert shown.data[39, 29] == 4 and not (shown.data == 9).any()
    assert not layer(page, "labels").visible
    assert np.array_equal(drawn(page, "labels").labels, touching)  # not yet
    clean.leave_button.click()
    assert layer(page, "labels").visible and clean.hole.value() == 0
    assert layer_for(viewer, ("tidied", "grid 0")) is None
    clean.hole.setValue(20)
    until(lambda: clean._tidied is not None and not clean.busy)
    clean.take_button.click()
    assert "Undo" in page.message.text() and layer(page, "labels").visible
    assert drawn(page, "labels").labels[39, 29] == 4
    page.undo_button.click()
    assert np.array_equal(drawn(page, "labels").labels, touching)
    clean.cut_button.click()
    until(lambda: "1 new object" in page.message.text())
    assert set(np.unique(drawn(page, "labels").labels)) == {0, 4, 9, 10}
    page.undo_button.click()
    assert np.array_equal(drawn(page, "labels").labels, touching)


def test_objects_are_cut_and_joined_by_clicks(
    open_page, session, touching, canvas_of, qtbot
):
    viewer, page = open_page(session, show=True)
    canvas = canvas_of(viewer)
    qtbot.wait(200)
    page.tools.buttons["split"].click()
    assert page.tools.buttons["split"].isChecked()
    canvas.click((80, 50))  # nm, at 2 nm per pixel
    settle(page)
    parts = drawn(page, "labels").labels
    assert parts[40, 22] == 4 and parts[40, 56] == 10
    assert page.message.text().startswith("Cut in 2")
    page.tools.buttons["merge"].click()
    assert page.tools.buttons["merge"].isChecked()
    canvas.click((80, 44))
    canvas.click((80, 112))
    settle(page)
    assert np.array_equal(drawn(page, "labels").labels, touching)
    page.undo_button.click()
    page.undo_button.click()
    assert np.array_equal(drawn(page, "labels").labels, touching)
    page.redo_button.click()
    assert drawn(page, "labels").labels[40, 56] == 10


def test_an_outline_fills_itself_and_the_next_begins_another(
    open_page, session, canvas_of, qtbot
):
    session.set_annotations("grid 0", ())
    session.set_task(Task("instances", (BACKGROUND, "nucleus")))
    viewer, page = open_page(session, show=True)
    canvas = canvas_of(viewer)
    page.tools.buttons["outline"].click()
    assert "fills itself" in page.hint.text()
    qtbot.wait(200)
    for left in (20, 100):
        for place in ((20, left), (60, left), (60, left + 40), (20, left + 40)):
            canvas.click(place)
        layer(page, "labels")._overlays["polygon"].add_polygon_to_labels(
            layer(page, "labels")
        )
        settle(page)
    painted = drawn(page, "labels").labels
    assert painted[20, 20] == 1 and painted[20, 60] == 2


def test_the_name_of_the_first_class_can_be_typed_at_once(open_page, session):
    alone = Session()
    alone.add_images([session.images["grid 1"]])
    _, page = open_page(alone, show=True)
    assert page.window().focusWidget() is page.classes.new_name
    page.classes.new_name.setText("virion")
    page.classes.new_name.returnPressed.emit()
    assert page.tool == "point"  # and then the particles are clicked
