from __future__ import annotations

import gc
import importlib
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import napari
import numpy as np
import pint
import pytest

pytest.importorskip("qtpy")

from qtpy.QtCore import QTimer, QUrl
from qtpy.QtWidgets import QApplication, QScrollArea, QStyle

from napari_topiary import Progress, Stop
from napari_topiary._napari import loading
from napari_topiary._napari import workbench as workbench_module
from napari_topiary._napari.header import readme, section_of
from napari_topiary._napari.loading import (
    AHEAD,
    FOR_LAYERS,
    load_ahead,
    units_ahead,
    use_ahead,
)
from napari_topiary._napari.state import state_of, unwrap
from napari_topiary._napari.widgets.page import NARROWEST
from napari_topiary._napari.workbench import (
    PAGE_MODULES,
    PAGES,
    Workbench,
    next_page,
)
from napari_topiary.errors import TopiaryError
from napari_topiary.session import ImageEntry, Session


@pytest.fixture
def open_workbench(make_napari_viewer_proxy, qtbot) -> Callable[..., Any]:
    """Open a viewer with the workbench docked in it."""

    def make(session=None, *, show=False):
        viewer = make_napari_viewer_proxy(show=show)
        workbench = Workbench(viewer, session)
        viewer.window.add_dock_widget(workbench, name="Topiary", area="right")
        if show:
            qtbot.waitUntil(workbench.isVisible, timeout=5000)
        return viewer, workbench

    return make


def test_pages_find_loaded_what_they_compute_with(open_workbench, qtbot, monkeypatch):
    loaded = {}
    monkeypatch.setattr(workbench_module, "AHEAD_MS", 0)
    monkeypatch.setattr(
        loading,
        "import_module",
        lambda name: loaded.update({name: threading.current_thread()}) or real(name),
    )
    real = importlib.import_module
    load_ahead.cache_clear()
    open_workbench(show=True)
    qtbot.waitUntil(lambda: load_ahead.cache_info().currsize == 1, timeout=60_000)
    others = {n for n, t in loaded.items() if t is not threading.main_thread()}
    assert others == {*FOR_LAYERS, *AHEAD, *PAGE_MODULES.values()}
    assert gc.get_freeze_count() > 0  # a layer that leaves searches none of it
    assert gc.isenabled()


def test_the_window_is_drawn_before_torch_is_loaded():
    """In a process of its own in which whoever needs torch fails."""
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import napari\n"
        "from napari_topiary._napari.workbench import open_workbench\n"
        "workbench = open_workbench(napari.Viewer(show=False))\n"
        "workbench.show_page('Annotate')\n"
        "print(workbench.grab().width(), flush=True)\n"
        "import os; os._exit(0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout.split()[-1]) >= NARROWEST


def test_a_page_that_is_still_being_loaded_says_so(open_workbench, until, monkeypatch):
    _, workbench = open_workbench(show=True)
    under_way = [True]
    monkeypatch.setattr(workbench_module, "is_loading", lambda: bool(under_way))
    workbench.tabs["Compare"].click()
    assert workbench.stack.currentWidget() is workbench._not_yet
    assert "Compare" not in workbench.pages
    workbench.tabs["Annotate"].click()  # that one needs nothing that loads for long
    assert workbench.page("Annotate").isVisible()
    workbench.tabs["Data"].click()
    assert workbench.page("Data").isVisible()
    workbench.keys["Compare"].activated.emit()
    assert workbench.current == "Compare" and workbench._not_yet.isVisible()
    under_way.clear()
    until(lambda: "Compare" in workbench.pages)
    assert workbench.pages["Compare"].isVisible()


def counting():
    """Counts until it is stopped."""
    number = 0
    while True:
        if (yield Progress(number, 1000, "Counting", 30.0)) is Stop:
            return number
        number += 1
        time.sleep(0.002)


def test_it_opens_on_the_data_page_and_says_what_to_do(open_workbench):
    _, workbench = open_workbench(show=True)
    assert workbench.current == "Data"
    page = workbench.page("Data")
    assert page.empty_label.isVisible() and "sample" in page.empty_label.text()
    assert page.sample_button.property("emphasized")


def test_every_page_opens_with_and_without_images(open_workbench, session):
    _, empty = open_workbench(show=True)
    for title in PAGES:
        assert empty.show_page(title).title == title
        assert empty.current == title
        assert empty.minimumSizeHint().width() <= 420, title
    viewer, full = open_workbench(session)
    full.page("Data").open_image("grid 0")
    for title in PAGES:
        assert full.show_page(title).viewer is viewer


def test_pages_of_the_manifest_stand_alone_and_share_the_session(viewer):
    from napari_topiary._napari.annotate.page import AnnotatePage
    from napari_topiary._napari.data.page import DataPage

    data, annotate = DataPage(viewer), AnnotatePage(viewer)
    viewer.window.add_dock_widget(data, name="Data")
    viewer.window.add_dock_widget(annotate, name="Annotate")
    assert data.session is annotate.session is state_of(viewer).session
    assert data.runner is annotate.runner is state_of(viewer).runner
    for page, part in ((data, data.gallery), (annotate, annotate.tools)):
        assert page.findChild(QScrollArea).isAncestorOf(part)  # two fit a window


def test_the_next_useful_page_is_highlighted(open_workbench, session):
    _, workbench = open_workbench()

    def highlighted():
        return [t for t, tab in workbench.tabs.items() if tab.property("emphasized")]

    assert highlighted() == []  # Data is wanted, and in front
    entry = session.images["grid 0"]
    workbench.session.set_task(session.task)
    workbench.session.add_image(ImageEntry("one", entry.image, 2.0))
    assert highlighted() == ["Annotate"]
    workbench.session.set_annotations("one", session.annotations["grid 0"])
    assert highlighted() == ["Train"]
    assert next_page(Session(), "Train") == "Data"


def test_the_header_says_what_is_open_and_when_it_was_saved(
    open_workbench, session, tmp_path, until
):
    _, workbench = open_workbench(session)
    header = workbench.header
    assert header.name.words == "Untitled"
    workbench.page("Data").projects.save_to(tmp_path / "viruses")
    until(lambda: header.saved.text().startswith("saved"))
    assert header.name.words == "viruses"
    assert (tmp_path / "viruses" / "dataset.json").exists()
    session.saved_at -= 50
    header.refresh()
    assert header.saved.text() == "saved 50 s ago"


def test_the_device_chip_is_filled_in_after_the_start(open_workbench, until):
    _, workbench = open_workbench(show=True)
    until(lambda: "core" in workbench.header.device.text().lower(), 60)


def test_what_is_drawn_is_saved_without_being_asked(open_workbench, session, until):
    _, workbench = open_workbench(session)
    session.set_annotations("grid 1", session.annotations["grid 0"])
    assert session.changed
    workbench.header.saver.save()
    until(lambda: session.saved_at is not None)
    assert not session.changed


def test_the_status_line_shows_progress_and_stops(open_workbench, until):
    _, workbench = open_workbench(show=True)
    status, results = workbench.status, []
    assert not status.stop_button.isVisible() and status.text.words == ""
    workbench.runner.start(counting, title="Training", on_result=results.append)
    until(lambda: status.eta.text() == "30 s left" and status.eta.isVisible())
    assert status.text.words == "Counting"
    assert status.stop_button.isVisible() and status.bar.value() >= 0
    status.stop_button.click()
    assert not status.stop_button.isEnabled()
    until(lambda: bool(results))
    assert not status.stop_button.isVisible() and status.text.words == ""


def test_closing_the_window_in_mid_job_keeps_what_the_job_has(open_workbench, until):
    viewer, workbench = open_workbench(show=True)
    runner, results = workbench.runner, []
    runner.start(counting, title="Training", on_result=results.append)
    until(lambda: runner.running)
    began = time.monotonic()
    viewer.close()
    assert time.monotonic() - began < 6
    assert len(results) == 1 and not runner.running


def test_closing_saves_what_was_drawn_last(open_workbench, session, tmp_path, until):
    viewer, workbench = open_workbench(session, show=True)
    session.save(tmp_path / "p")
    drawing = workbench.page("Data").drawing
    drawing.show("grid 0")
    moved = drawing.layer("points").data.copy()
    moved[0] = (3, 4)
    drawing.layer("points").data = moved  # not settled yet
    viewer.close()
    saved = Session.open(tmp_path / "p").annotations["grid 0"][0]
    assert np.allclose(saved.coordinates[0], (3, 4))


def test_closing_a_window_with_one_page_stops_its_job(make_napari_viewer_proxy, qtbot):
    from napari_topiary._napari.data.page import DataPage

    viewer = make_napari_viewer_proxy(show=True)
    page = DataPage(viewer)
    viewer.window.add_dock_widget(page, name="Data")
    qtbot.waitUntil(page.isVisible)
    runner, results = page.runner, []
    runner.start(counting, title="Training", on_result=results.append)
    qtbot.wait(100)
    viewer.close()
    assert len(results) == 1 and not runner.running


def test_closing_a_hidden_window_stops_the_job_too(open_workbench, until):
    viewer, workbench = open_workbench()
    runner = workbench.runner
    runner.start(counting, title="Training")
    until(lambda: runner.running)
    viewer.close()
    until(lambda: not runner.running, 8)


def test_taking_the_dock_away_stops_the_job(open_workbench, until):
    viewer, workbench = open_workbench(show=True)
    runner = workbench.runner
    runner.start(counting, title="Training")
    until(lambda: runner.running)
    viewer.window.remove_dock_widget(workbench)
    workbench.deleteLater()
    del workbench
    until(lambda: not runner.running, 8)


def test_a_reopened_dock_finds_the_project_again(open_workbench, session, qtbot):
    viewer, workbench = open_workbench(session)
    workbench.page("Data").open_image("grid 0")
    viewer.window.remove_dock_widget(workbench)
    workbench.deleteLater()
    qtbot.wait(50)
    again = Workbench(viewer)
    viewer.window.add_dock_widget(again, name="Topiary")
    assert again.session is session
    session.set_annotations("grid 1", ())
    session.task_changed.emit()  # nothing of the old dock answers
    session.images_changed.emit()


def test_two_viewers_have_projects_of_their_own(open_workbench, session):
    one, first = open_workbench(session)
    other, second = open_workbench()
    assert first.session is session and second.session is not session
    first.page("Data").open_image("grid 0")
    assert len(one.layers) == 2 and len(other.layers) == 0
    assert second.page("Data").gallery.count() == 0


def test_the_colours_follow_the_theme(open_workbench):
    viewer, workbench = open_workbench()
    unwrap(viewer).theme = "dark"
    dark = workbench.styleSheet()
    unwrap(viewer).theme = "light"
    assert workbench.styleSheet() != dark


def test_every_control_says_what_it_does(open_workbench, session):
    from qtpy.QtWidgets import QAbstractButton, QAbstractSpinBox, QComboBox, QLineEdit

    _, workbench = open_workbench(session, show=True)
    for title in ("Data", "Annotate"):
        page = workbench.show_page(title)
        for kind in (QAbstractButton, QAbstractSpinBox, QComboBox, QLineEdit):
            for control in page.findChildren(kind):
                inner = isinstance(control.parent(), QAbstractSpinBox)
                if not inner and control.objectName() != "qt_toolbar_ext_button":
                    assert control.toolTip(), (title, control, control.objectName())


def test_the_window_stays_alive_while_something_heavy_runs(
    open_workbench, qtbot, until
):
    """A busy worker that also reports a lot never stops the window for long."""
    _, workbench = open_workbench(show=True)
    qtbot.wait(1500)  # the start itself, and the look for a device

    def heavy():
        matrix = np.random.default_rng(0).random((300, 300))
        for number in range(10_000):
            matrix = matrix @ matrix
            matrix /= matrix.max()
            if (yield Progress(number, 10_000, "Heavy", report=number)) is Stop:
                return None

    gaps, last = [], [time.perf_counter()]

    def beat():
        now = time.perf_counter()
        gaps.append(now - last[0])
        last[0] = now

    timer = QTimer()
    timer.timeout.connect(beat)
    workbench.runner.start(heavy, title="Heavy", on_progress=lambda p: None)
    until(lambda: workbench.runner.running)
    last[0] = time.perf_counter()
    timer.start(5)
    ends = time.monotonic() + 2
    while time.monotonic() < ends:
        QApplication.processEvents()
        time.sleep(0.001)
    timer.stop()
    workbench.runner.stop()
    until(lambda: not workbench.runner.running)
    assert len(gaps) > 50
    assert np.percentile(gaps, 95) < 0.05


def test_pages_have_keys_and_tab_stays_in_the_workbench(open_workbench, until):
    _, workbench = open_workbench(show=True)
    for number, title in enumerate(PAGES, start=1):
        assert workbench.tabs[title].toolTip().endswith(f"(Ctrl+{number})")
        assert workbench.keys[title].key().toString() == f"Ctrl+{number}"
    workbench.keys["Annotate"].activated.emit()
    assert workbench.current == "Annotate"
    workbench.show_page("Data")
    stops = workbench._tab_stops()
    assert workbench.page("Data").add_button in stops
    stops[-1].setFocus()
    workbench.focusNextPrevChild(True)
    assert workbench.window().focusWidget() is stops[0]
    workbench.focusNextPrevChild(False)
    assert workbench.window().focusWidget() is stops[-1]
    assert workbench.minimumWidth() == 320 < workbench.sizeHint().width()
    window = workbench.window()
    for size, wide in ((854, 320), (1280, 392)):
        window.resize(size, 600)
        until(lambda wide=wide: abs(workbench.width() - wide) < 10)


def test_every_page_fits_the_narrowest_dock(open_workbench, session):
    _, workbench = open_workbench(session, show=True)
    for title in PAGES:
        page = workbench.show_page(title)
        stops = workbench._tab_stops()  # Tab goes down the page, never up
        heights = [one.mapTo(workbench, one.rect().center()).y() for one in stops]
        assert np.diff(heights).min() >= -6
        QApplication.processEvents()
        assert page.layout().minimumSize().width() <= NARROWEST, title
    margins = workbench.layout().contentsMargins()
    bar = workbench.style().pixelMetric(QStyle.PixelMetric.PM_ScrollBarExtent)
    around = margins.left() + margins.right() + bar
    assert NARROWEST + around <= workbench.minimumWidth()


def test_the_name_of_the_project_is_read_before_anything_else(open_workbench, session):
    _, workbench = open_workbench(session, show=True)
    header = workbench.header
    session.name, session.saved_at = "membrane_fibsem", time.time()
    header.refresh()
    assert header.saved.isVisible()
    session.name = "membranes of the second week, with all that was done since " * 2
    header.refresh()
    assert not header.saved.isVisible()


def test_every_page_has_its_section_of_the_readme_with_a_picture(open_workbench):
    _, workbench = open_workbench()
    text = readme().read_text(encoding="utf-8")
    for title in PAGES:
        section = section_of(text, title)
        assert len(section) > 200 and f"screenshots/{title.lower()}.png" in section
        assert section.count("\n#") == 0
    workbench.show_page("Train")
    workbench.keys["?"].activated.emit()
    assert workbench.help.isVisible() and "Train" in workbench.help.windowTitle()
    picture = workbench.help.loadResource(2, QUrl(".github/screenshots/train.png"))
    assert 0 < picture.width() <= 820
    workbench.help.close()


def test_units_that_are_in_use_stay():
    known = pint.get_application_registry()
    assert known.nm == known.nm
    before = known.get()
    assert units_ahead() is None
    use_ahead(pint.UnitRegistry(None))
    assert pint.get_application_registry().get() is before


def test_the_workbench_is_docked_and_a_sample_opened(make_napari_viewer_proxy, until):
    viewer = make_napari_viewer_proxy()
    workbench = workbench_module.open_workbench(viewer, "virus_phil")
    assert unwrap(viewer.window.dock_widgets["Topiary"]) is workbench
    until(lambda: len(viewer.layers) > 0, 30)
    assert workbench.session.name == "virus_phil"


def test_launch_opens_napari_and_waits(make_napari_viewer_proxy, monkeypatch):
    viewer = make_napari_viewer_proxy()
    waited = []
    monkeypatch.setattr(napari, "Viewer", lambda **_: viewer)
    monkeypatch.setattr(napari, "run", lambda: waited.append(True))
    assert workbench_module.launch() == 0
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
    workbench_module.launch(notice="Nothing can be written there.")
    data = unwrap(viewer.window.dock_widgets["Topiary"]).page("Data")
    assert data.message.text() == "Nothing can be written there."
