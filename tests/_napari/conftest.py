"""A viewer with the workbench, a small project in it, and hands on the canvas."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("qtpy")

from npe2 import PluginManifest
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt, QThreadPool
from qtpy.QtGui import QMouseEvent
from qtpy.QtWidgets import QApplication, QWidget

from napari_topiary import Points, Task
from napari_topiary._napari.saving import Saver
from napari_topiary._napari.state import _states
from napari_topiary.session import ImageEntry, Session
from napari_topiary.types import BACKGROUND


@pytest.fixture(autouse=True, scope="module")
def _what_is_loaded_stays() -> None:
    """Libraries are not searched for garbage: napari collects it with every layer."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _it_stays_after_a_window_was_closed() -> None:
    """What the window of the test before let be searched again is left out again."""
    gc.freeze()


@cache
def _installed() -> tuple[Any, ...]:
    return tuple(PluginManifest.discover())


@pytest.fixture(autouse=True, scope="module")
def _plugins_are_looked_for_once() -> Iterator[None]:
    """Every viewer looks for what is installed, which does not change in between."""
    found = _installed()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PluginManifest, "discover", lambda *_, **__: found)
        yield


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what is saved for recovery out of the way."""
    monkeypatch.setenv("NAPARI_TOPIARY_HOME", str(tmp_path / "home"))


@pytest.fixture(autouse=True)
def _no_work_left() -> Iterator[None]:
    """Let every test end with its own background work, its savers first.

    A window that was never shown is not closed as a person closes one, and would save
    what was drawn in it into the home of the next test.
    """
    yield
    for state in list(_states.values()):
        if Saver in state.parts:
            state.parts[Saver]._timer.stop()
    QThreadPool.globalInstance().waitForDone(20_000)


@pytest.fixture
def task() -> Task:
    """Virions of 12 nm radius."""
    return Task("detect", (BACKGROUND, "virion"), radius_nm={"virion": 12.0})


@pytest.fixture
def session(virions: Callable[..., Any], task: Task) -> Session:
    """Two images of 96 px at 2 nm; the first has its 8 virions marked."""
    made = Session()
    for number in (0, 1):
        drawn = virions(number)
        made.add_image(ImageEntry(f"grid {number}", drawn.image, drawn.scale))
        if number == 0:
            centres = drawn.centres
    made.set_task(task)
    made.set_annotations("grid 0", (Points(centres, ("virion",) * len(centres)),))
    return made


@pytest.fixture
def viewer(make_napari_viewer_proxy: Callable[..., Any]) -> Any:
    """A napari viewer behind the proxy that plugins are handed; not shown."""
    return make_napari_viewer_proxy()


@dataclass
class Canvas:
    """The canvas of a shown viewer, for clicks at places of the image."""

    viewer: Any
    widget: QWidget

    def position(self, world: tuple[float, float]) -> QPointF:
        """Where a place in world units `(y, x)` is on the canvas."""
        centre = np.asarray(self.viewer.scene.camera.center)[-2:]
        y, x = (np.asarray(world) - centre) * self.viewer.scene.camera.zoom
        middle = self.widget.rect().center()
        return QPointF(middle.x() + x, middle.y() + y)

    def click(self, world: tuple[float, float]) -> None:
        """Press and release the left button, as the mouse does."""
        place = self.position(world)
        self._send(QEvent.Type.MouseMove, place, False)
        self._send(QEvent.Type.MouseButtonPress, place, True)
        self._send(QEvent.Type.MouseButtonRelease, place, False)

    def drag(self, *world: tuple[float, float]) -> None:
        """Press at the first place, move to all others, release at the last."""
        places = [self.position(one) for one in world]
        self._send(QEvent.Type.MouseMove, places[0], False)
        self._send(QEvent.Type.MouseButtonPress, places[0], True)
        for start, end in pairwise(places):
            for share in (0.25, 0.5, 0.75, 1.0):
                self._send(QEvent.Type.MouseMove, start + (end - start) * share, True)
        self._send(QEvent.Type.MouseButtonRelease, places[-1], False)

    def _send(self, kind: QEvent.Type, place: QPointF, pressed: bool) -> None:
        nothing, left = Qt.MouseButton.NoButton, Qt.MouseButton.LeftButton
        event = QMouseEvent(
            kind,
            place,
            QPointF(self.widget.mapToGlobal(QPoint(0, 0))) + place,
            nothing if kind == QEvent.Type.MouseMove else left,
            left if pressed else nothing,
            Qt.KeyboardModifier.NoModifier,
        )
        QApplication.sendEvent(self.widget, event)
        QApplication.processEvents()


@pytest.fixture
def canvas_of() -> Callable[[Any], Canvas]:
    """Find the canvas of a viewer that is shown."""

    def find(viewer: Any) -> Canvas:
        found = [
            widget
            for top in QApplication.topLevelWidgets()
            for widget in top.findChildren(QWidget)
            if type(widget).__name__ == "CanvasBackendDesktop" and widget.isVisible()
        ]
        assert len(found) == 1, found
        return Canvas(viewer=viewer, widget=found[0])

    return find


@pytest.fixture
def until(qtbot: Any) -> Callable[..., None]:
    """Let the window live until something is true."""

    def wait(is_true: Callable[[], bool], timeout_s: float = 60.0) -> None:
        qtbot.waitUntil(is_true, timeout=int(1000 * timeout_s))

    return wait
