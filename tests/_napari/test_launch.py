from __future__ import annotations

import napari
import pytest

pytest.importorskip("qtpy")

from napari_topiary._napari import launch as launching
from napari_topiary._napari.state import unwrap
from napari_topiary._napari.workbench import Workbench


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
