from __future__ import annotations

import napari
import pytest

pytest.importorskip("qtpy")

from napari_topiary._napari import launch as launching
from napari_topiary._napari.state import unwrap
from napari_topiary._napari.workbench import Workbench
from napari_topiary.errors import TopiaryError


def test_the_workbench_is_docked_and_a_sample_opened(make_napari_viewer_proxy, until):
    viewer = make_napari_viewer_proxy()
    workbench = launching.open_workbench(viewer, "virus_phil")
    assert unwrap(viewer.window.dock_widgets["Topiary"]) is workbench
    until(lambda: len(viewer.layers) > 0, 30)
    assert workbench.session.name == "virus_phil"


def test_launch_opens_napari_and_waits(make_napari_viewer_proxy, monkeypatch):
    viewer = make_napari_viewer_proxy()
    waited = []
    monkeypatch.setattr(napari, "Viewer", lambda **_: viewer)
    monkeypatch.setattr(napari, "run", lambda: waited.append(True))
    assert launching.launch() == 0
    assert waited == [True]
    assert isinstance(unwrap(viewer.window.dock_widgets["Topiary"]), Workbench)


def test_libraries_that_qt_lacks_are_named_before_it_ends_the_process(monkeypatch):
    from napari_topiary.cli import window

    monkeypatch.setattr(window.sys, "platform", "linux")
    monkeypatch.setenv("QT_QPA_PLATFORM", "xcb")
    monkeypatch.setattr(window, "_xcb_plugin", lambda: "libqxcb.so")
    lacking = ("libqxcb.so", "libxcb-icccm.so.4", "libxcb-keysyms.so.1")
    monkeypatch.setattr(window, "_loads", lambda name: name not in lacking)
    with pytest.raises(TopiaryError, match=r"install libxcb-icccm4 libxcb-keysyms1$"):
        window.open_window(None)
    monkeypatch.setattr(window, "_loads", lambda name: True)
    assert window._missing_libraries() == []


def test_a_home_that_cannot_be_used_is_replaced_and_said(monkeypatch, tmp_path):
    from napari_topiary.cli import window

    monkeypatch.setattr(window.sys, "platform", "linux")
    for variable in window._XDG:
        monkeypatch.setenv(variable, "")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert window._home_for_now() == ""
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("HOME", str(tmp_path / "file"))
    monkeypatch.setattr(window.tempfile, "mkdtemp", lambda **_: str(tmp_path / "new"))
    said = window._home_for_now()
    assert str(tmp_path / "file") in said and "Save your project" in said
    assert window.os.environ["HOME"] == str(tmp_path / "new")
    assert window.os.environ["XDG_CONFIG_HOME"] == str(tmp_path / "new")


def test_what_is_to_be_known_from_the_beginning_is_on_the_first_page(
    make_napari_viewer_proxy, monkeypatch
):
    viewer = make_napari_viewer_proxy()
    monkeypatch.setattr(napari, "Viewer", lambda **_: viewer)
    monkeypatch.setattr(napari, "run", lambda: None)
    launching.launch(notice="Nothing can be written there.")
    data = unwrap(viewer.window.dock_widgets["Topiary"]).page("Data")
    assert data.message.text() == "Nothing can be written there."
