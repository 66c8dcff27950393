"""What is drawn is saved by itself, and two windows on one project are told."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import weakref

import pytest

pytest.importorskip("qtpy")

from napari_topiary import Points
from napari_topiary._napari.data.page import DataPage
from napari_topiary._napari.saving import Saver
from napari_topiary.session import OpenMark, Session, recoverable_projects

LOST_MS = 5000
"""No more of the work is lost with a program that is killed."""


def test_what_is_drawn_is_soon_saved_and_another_window_is_told(
    session, until, tmp_path
):
    folder, said = tmp_path / "project", []
    session.save(folder)
    saver, other = Saver(session, lambda: None), OpenMark()
    assert saver._timer.isActive() and saver._timer.interval() < LOST_MS
    saver.problem.connect(said.append)
    other.note(folder)
    marks = Points([(5, 6)], ("virion",))
    session.set_annotations("grid 0", (marks,))
    saver._timer.timeout.emit()
    until(lambda: bool(said) and saver._writing is None)
    assert not session.changed
    assert said[0].startswith("project is open in another window too")
    assert Session.open(folder).annotations["grid 0"] == (marks,)
    saver._timer.timeout.emit()
    until(lambda: not saver._looking.running)
    assert len(said) == 1
    saver.save_and_wait()
    assert len(list(folder.glob(".open-*"))) == 1
    other.drop()


KILLED_WHILE_ANNOTATING = """
import os, signal
import napari
import numpy as np
from qtpy.QtCore import QTimer
from napari_topiary import Task
from napari_topiary._napari.annotate.page import AnnotatePage
from napari_topiary._napari.saving import saver_of
from napari_topiary.session import ImageEntry, Session

session = Session()
session.add_image(ImageEntry("a", np.eye(64, dtype=np.uint8)[None], 2.0))
session.set_task(Task("detect", ("background", "virion"), {"virion": 12.0}))
viewer = napari.Viewer(show=False)
page = AnnotatePage(viewer, session)
viewer.window.add_dock_widget(page)
page.drawing.show("a")
saver = saver_of(viewer)
saver._timer.setInterval(1000)  # sooner than it is, to wait no longer than needed

def draw(place):
    layer = page.drawing.ensure("points")
    page.drawing.aim("virion")
    layer.add([place])

def kill():
    if saver._writing is not None:
        QTimer.singleShot(1, kill)
    else:
        draw((50, 50))
        os.kill(os.getpid(), signal.SIGKILL)

def begin():
    draw((10, 20))
    QTimer.singleShot(400, lambda: draw((30, 40)))
    QTimer.singleShot(2000, kill)

QTimer.singleShot(0, begin)
napari.run(force=True)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows kills in another way.")
def test_killed_while_annotating_what_was_drawn_is_offered():
    done = subprocess.run(
        [sys.executable, "-c", KILLED_WHILE_ANNOTATING], capture_output=True, text=True
    )
    assert done.returncode < 0, done.stderr  # by a signal
    (left,) = recoverable_projects()
    (points,) = Session.open(left.folder).annotations["a"]
    assert points.coordinates.tolist() == [[10, 20], [30, 40]]


def test_a_window_that_is_gone_is_saved_no_more(session, qtbot):
    """What was drawn in it would come back beside the work of the next window."""
    seen = [True]
    saver = Saver(session, lambda: None, lambda: bool(seen))
    assert session.changed
    seen.clear()
    saver._timer.timeout.emit()
    assert not saver._timer.isActive()
    assert saver._writing is None and session.home is None


def test_a_closed_window_is_not_kept(session, make_napari_viewer, qtbot):
    """Neither by the saver, which speaks to a page, nor by what else it had."""
    viewer = make_napari_viewer()
    viewer.window.add_dock_widget(DataPage(viewer, session), name="Data")
    seen = weakref.ref(viewer)
    viewer.close()
    del viewer

    def gone() -> bool:
        gc.collect()
        return seen() is None

    qtbot.waitUntil(gone, timeout=20_000)


def test_what_was_asked_for_during_a_save_that_fails_is_done(
    session, until, tmp_path, monkeypatch
):
    saver, said = Saver(session, lambda: None), []
    saver.problem.connect(said.append)
    (tmp_path / "file").write_text("x")
    saver.save(tmp_path / "file" / "p")
    saver.save(tmp_path / "kept")
    until(lambda: session.folder == tmp_path / "kept")
    assert len(said) == 1 and "could not be written" in said[0]
    assert set(Session.open(tmp_path / "kept").images) == set(session.images)
