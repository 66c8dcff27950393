"""Layers leave the window without taking it down.

Without care the following ends in a segmentation fault (napari 0.9.2, vispy 0.17,
Qt 6), because napari frees the first image's OpenGL objects in the context of the
window around the canvas, which Qt made current when it composed the window last::

    viewer = napari.Viewer()
    viewer.window.add_dock_widget(QLabel("dock"))
    first = viewer.add_image(np.random.rand(300, 300))
    QTest.qWait(500)
    second = viewer.add_image(np.random.rand(300, 300))
    QTest.qWait(500)
    first.visible = False
    QTest.qWait(300)
    viewer.layers.remove(first)
    QTest.qWait(500)
    viewer.camera.zoom = 3  # dies in the next redraw

A fault of this kind takes the tests with it, so that the real window here runs in a
process of its own.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("qtpy")

from qtpy.QtGui import QOpenGLContext
from qtpy.QtOpenGLWidgets import QOpenGLWidget

from napari_topiary._napari.canvas.layers import remove_layer
from napari_topiary._napari.canvas.shown_image import show_image
from napari_topiary._napari.canvas.turns import turns_of
from napari_topiary._napari.drawing.drawing import drawing_of
from napari_topiary._napari.state import state_of, unwrap

SWITCHING = """
import sys
from pathlib import Path

import napari
import numpy as np
import tifffile
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QLineEdit

from napari_topiary import Points, Regions, Task
from napari_topiary._napari.workbench import Workbench
from napari_topiary.session import ImageEntry, Session

session, random = Session(), np.random.default_rng(0)
for name in ("a", "b"):
    session.add_image(ImageEntry(name, random.random((1, 96, 96), "f4")))
session.set_task(Task("detect", ("background", "virion"), {"virion": 4.0}))
marks = Points(random.random((8, 2)) * 90, ("virion",) * 8, (8.0,) * 8)
box = np.array([[5, 5], [5, 60], [60, 60], [60, 5.0]])
session.set_annotations("a", (marks, Regions((box,), ("rectangle",))))

viewer = napari.Viewer()
viewer.window._qt_window.resize(900, 600)
bench = Workbench(viewer, session)
viewer.window.add_dock_widget(bench)
page = bench.page("Data")
QTest.qWait(300)


def look(name):
    for zoom in (3.0, 0.4):
        viewer.scene.camera.zoom *= zoom
        QTest.qWait(60)
    seen = viewer.screenshot(canvas_only=True, flash=False)
    assert seen[..., :3].std() > 1, name


for name in sys.argv[2]:
    page.open_image(name)
    QTest.qWait(120)
    look(name)
# A third image is dropped in, taken, and its pixel size typed.
file = Path(sys.argv[1]) / "c.tif"
tifffile.imwrite(file, random.integers(0, 60000, (90, 90)).astype("u2"))
viewer.open(file, plugin="napari")
QTest.qWait(300)
QTest.mouseClick(page.layer_button, Qt.MouseButton.LeftButton)
for _ in range(100):
    QTest.qWait(50)
    if "c" in session.images:
        break
QTest.qWait(300)
typed = page.scale_field.findChild(QLineEdit)
typed.selectAll()
QTest.keyClicks(typed, "1.5")
QTest.keyClick(typed, Qt.Key.Key_Return)
QTest.qWait(200)
look("c")
assert session.images["c"].scale == 1.5
viewer.layers.remove(viewer.layers[0])  # the user's own doing
QTest.qWait(100)
viewer.close()
print("alive")
"""


def test_images_are_switched_and_taken_in_a_real_window(tmp_path: Path) -> None:
    # With annotations and without, in both orders.
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SWITCHING, str(tmp_path), "aba"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert ran.stdout.strip().endswith("alive")


def test_layers_are_freed_where_they_were_drawn(make_napari_viewer, session, qtbot):
    viewer = make_napari_viewer(show=True)
    state_of(viewer, session)
    drawing = drawing_of(viewer)
    drawing.show("grid 0")
    canvas = viewer.window._qt_window.findChild(QOpenGLWidget)
    qtbot.waitUntil(canvas.isValid)
    freed_in = []
    viewer.layers.events.removed.connect(
        lambda _: freed_in.append(QOpenGLContext.currentContext() == canvas.context())
    )
    canvas.doneCurrent()
    remove_layer(viewer, ("points", "grid 0"))
    turns_of(viewer).finish()
    canvas.doneCurrent()
    viewer.layers.remove(viewer.layers[0])  # by the user
    assert freed_in == [True, True]


def test_several_layers_leave_at_once(viewer, session, monkeypatch):
    state_of(viewer, session)
    drawing_of(viewer).show("grid 0")
    drawing_of(viewer).ensure("regions")
    cleaned = []
    unwrap(viewer).layers.events.end_batch.connect(lambda _: cleaned.append(1))
    remove_layer(viewer, ("points", "grid 0"), ("regions", "grid 0"), ("none", "x"))
    assert [layer.name for layer in viewer.layers] == ["grid 0"]
    assert cleaned == [1]


def test_a_scale_bar_is_there_while_the_pixel_size_is_known(viewer, session):
    state_of(viewer, session)
    bar = unwrap(viewer).canvas.overlays.scale_bar
    show_image(viewer, session, "grid 0")
    assert bar.visible
    bar.visible = False  # the user does not want it
    show_image(viewer, session, "grid 1")
    assert not bar.visible
    drawing_of(viewer)
    session.set_scale("grid 1", None)
    session.set_scale("grid 1", 3.0)
    assert bar.visible
