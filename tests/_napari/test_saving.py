"""What is drawn is saved by itself, and two windows on one project are told."""

from __future__ import annotations

import pytest

pytest.importorskip("qtpy")

from napari_topiary import Points
from napari_topiary._napari.saving import Saver
from napari_topiary.session import OpenMark, Session

LOST_MS = 5000
"""No more of the work is lost with a program that is killed."""


def test_what_is_drawn_is_soon_saved_and_another_window_is_told(
    session, until, tmp_path
):
    folder, said = tmp_path / "project", []
    session.save(folder)
    saver, other = Saver(session, lambda: None), OpenMark()
    assert saver._timer.isActive() and saver._timer.interval() < LOST_MS
    saver.on_others = said.append
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
