"""The workbench: one dock widget with all pages, and napari opened with it."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import partial
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import napari
from napari.settings import get_settings
from qtpy.QtCore import QEvent, QObject, QSize, Qt
from qtpy.QtGui import QKeySequence, QShortcut
from qtpy.QtWidgets import (
    QButtonGroup,
    QDockWidget,
    QHBoxLayout,
    QMainWindow,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from napari_topiary._napari.header import Header, Help
from napari_topiary._napari.jobs.latest import later
from napari_topiary._napari.loading import is_loading, load_behind
from napari_topiary._napari.saving import watch_window
from napari_topiary._napari.state import state_of, unwrap
from napari_topiary._napari.status import StatusLine
from napari_topiary._napari.widgets import look
from napari_topiary._napari.widgets.look import filled
from napari_topiary._napari.widgets.page import Listening, Page

if TYPE_CHECKING:
    import napari.viewer

    from napari_topiary.session import Session

PAGES = {
    "Data": ("data", "DataPage", "1 · The images of this project"),
    "Annotate": ("annotate", "AnnotatePage", "2 · Mark what is to be found"),
    "Train": ("train", "TrainPage", "3 · Let a small network learn from your marks"),
    "Prune": ("prune", "PrunePage", "4 · Cut the network back to what it needs"),
    "Predict": ("predict", "PredictPage", "5 · Find and count on any image"),
    "Compare": ("compare", "ComparePage", "6 · See what two networks disagree about"),
}
"""Title -> (package, class, tooltip), in the order of the work."""
PAGE_MODULES = {
    title: f"napari_topiary._napari.{package}.page"
    for title, (package, _, _) in PAGES.items()
}
_SAME_LINE = 6
"""Pixels by which the middles of two fields in one line may differ in height."""
WIDE, NARROWEST = 392, 320
"""The dock is as wide as all texts need, or as narrow as they can be read."""
LITTLE_ROOM = 1000
"""In a window of fewer pixels the image needs what the dock can spare."""
AHEAD_MS = 800
"""The window is drawn and answers before what takes seconds is loaded."""
LIGHT = ("Data", "Annotate")
"""Pages that need no torch: they are never waited for."""
NOT_YET, WAIT_MS = "One moment: the page is still being loaded.", 100
"""What stands in place of a page, and how often is looked whether it is there."""


class Workbench(QWidget):
    """The Topiary dock: header, page bar, the pages, and the status line."""

    def __init__(
        self, viewer: napari.viewer.Viewer, session: Session | None = None
    ) -> None:
        super().__init__()
        self.setObjectName("Topiary")
        state = state_of(viewer, session)
        self.viewer, self.session, self.runner = viewer, state.session, state.runner
        self.pages: dict[str, Page] = {}
        self.setMinimumWidth(NARROWEST)
        self.header = Header(viewer, self.session)
        self.header.help.clicked.connect(lambda _=False: self.show_help())
        self.help: Help | None = None
        self.tabs: dict[str, QPushButton] = {}
        self.keys: dict[str, QShortcut] = {}
        self.stack = QStackedWidget()
        self.stack.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Ignored)
        self._places: dict[str, QWidget] = {}
        self.status = StatusLine(self.runner)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(2, 4, 2, 4)
        layout.setSpacing(4)
        layout.addWidget(self.header)
        layout.addWidget(self._make_tabs())
        layout.addWidget(self.stack, 1)
        layout.addWidget(self.status)
        self.keys["?"] = QShortcut(QKeySequence("F1"), self)
        self.keys["?"].activated.connect(self.show_help)
        look.dress(self, viewer)
        self._follow_session()
        self._giving_way = _GivingWay(self)
        load = partial(load_behind, tuple(PAGE_MODULES.values()))
        self._ahead = later(self, AHEAD_MS, load)
        self._not_yet = look.paragraph(NOT_YET)
        self._not_yet.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.stack.addWidget(self._not_yet)
        self._wait = later(self, WAIT_MS, lambda: self.go_to(self.current))
        # By then this widget is gone: only what outlives it may be called.
        self.destroyed.connect(_Closer(self.runner))
        self.show_page("Data")

    def _make_tabs(self) -> QWidget:
        bar = QWidget()
        layout = QHBoxLayout(bar)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        group = QButtonGroup(self)
        for number, (title, (_, _, tip)) in enumerate(PAGES.items(), start=1):
            tab = QPushButton(title)
            tab.setCheckable(True)
            tab.setToolTip(f"{tip} (Ctrl+{number})")
            tab.setFocusPolicy(Qt.FocusPolicy.TabFocus)
            # From anywhere in the window, the canvas as well.
            key = QShortcut(QKeySequence(f"Ctrl+{number}"), self)
            key.activated.connect(partial(self.go_to, title))
            self.keys[title] = key
            tab.setProperty("role", "tab")
            tab.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
            tab.clicked.connect(self._on_tab)
            group.addButton(tab)
            layout.addWidget(tab)
            self.tabs[title] = tab
        return bar

    def _on_tab(self) -> None:
        for title, tab in self.tabs.items():
            if tab.isChecked():
                self.go_to(title)

    def go_to(self, title: str) -> None:
        """Show a page; while what it needs is being loaded, say so until it is there.

        Python would wait for it here, and the window would stand still.
        """
        self._wait.stop()
        if title in self.pages or title in LIGHT or not is_loading():
            self.show_page(title)
            return
        self.tabs[title].setChecked(True)
        self.stack.setCurrentWidget(self._not_yet)
        self._wait.start()

    @property
    def current(self) -> str:
        """Title of the page that is in front."""
        return next(title for title, tab in self.tabs.items() if tab.isChecked())

    def page(self, title: str) -> Page:
        """One of the pages, made when first asked for (torch stays away until then)."""
        if title not in self.pages:
            page_class = getattr(import_module(PAGE_MODULES[title]), PAGES[title][1])
            page = page_class(self.viewer, self.session, self.runner)
            self.pages[title] = page
            self._places[title] = _with_message(look.scrolled(page), page)
            self.stack.addWidget(self._places[title])
        return self.pages[title]

    def show_page(self, title: str) -> Page:
        """Bring a page to the front."""
        page = self.page(title)
        self.tabs[title].setChecked(True)
        was_in_front = self.stack.currentWidget() is self._places[title]
        self.stack.setCurrentWidget(self._places[title])
        if was_in_front or not self.isVisible():
            page.activated()  # otherwise its show event says so
        self._mark_next()
        return page

    def show_help(self) -> None:
        """Show what the README says about the page in front."""
        if self.help is None:
            self.help = Help(self)
        self.help.show_page(self.current)

    def open_sample(self, name: str) -> None:
        """Open one of the sample projects."""
        data: Any = self.show_page("Data")
        data.projects.open_sample(name)

    def open_folder(self, folder: Path) -> None:
        """Open a project or dataset folder."""
        data: Any = self.show_page("Data")
        data.projects.open_folder(folder)

    def _follow_session(self) -> None:
        self._listening = Listening(self)
        session = self.session
        for signal in (
            session.images_changed,
            session.annotations_changed,
            session.checkpoints_changed,
        ):
            self._listening.to(signal, self._mark_next)

    def _mark_next(self, *_: object) -> None:
        wanted = next_page(self.session, self.current)
        for title, tab in self.tabs.items():
            look.emphasize(tab, title == wanted and not tab.isChecked())

    def sizeHint(self) -> QSize:
        """Open as wide as all texts need; a person may make it narrower."""
        return QSize(WIDE, super().sizeHint().height())

    def focusNextPrevChild(self, forward: bool) -> bool:
        """Let Tab go round in the workbench, not out into napari's dock buttons."""
        stops = self._tab_stops()
        here = self.window().focusWidget()
        if here not in stops:
            return bool(super().focusNextPrevChild(forward))
        step = 1 if forward else -1
        reason = Qt.FocusReason
        stops[(stops.index(here) + step) % len(stops)].setFocus(
            reason.TabFocusReason if forward else reason.BacktabFocusReason
        )
        return True

    def _tab_stops(self) -> list[QWidget]:
        """What Tab stops at, as one reads: line by line, from the left."""
        stops: list[QWidget] = []
        each = self.nextInFocusChain()
        while each is not None and each is not self:
            takes = each.focusPolicy() & Qt.FocusPolicy.TabFocus
            scrolls_only = type(each) is QScrollArea  # it follows the focus by itself
            usable = (
                each.isVisible() and each.isEnabled() and takes and not scrolls_only
            )
            if usable and self.isAncestorOf(each) and each.focusProxy() is None:
                stops.append(each)
            each = each.nextInFocusChain()
        middle = {one: one.mapTo(self, one.rect().center()) for one in stops}
        stops.sort(key=lambda one: middle[one].y())
        line, lines = 0, dict.fromkeys(stops, 0)
        for above, one in pairwise(stops):
            line += middle[one].y() - middle[above].y() > _SAME_LINE
            lines[one] = line
        return sorted(stops, key=lambda one: (lines[one], middle[one].x()))

    def showEvent(self, event: Any) -> None:
        """Close down in good order when the window closes."""
        super().showEvent(event)
        watch_window(self.viewer, self)
        if isinstance(self.window(), QMainWindow):
            self._giving_way.watch(self.window())
        self._ahead.start()


def _with_message(scroll: QScrollArea, page: Page) -> QWidget:
    """A page that scrolls, above what it says, which is always in view."""
    place = QWidget()
    filled(QVBoxLayout(place), (scroll, 1), page.message, spacing=2)
    return place


class _GivingWay(QObject):
    """Makes the dock narrow while its window is, unless a person sets its width."""

    def __init__(self, workbench: Workbench) -> None:
        super().__init__(workbench)
        # What holds the window keeps napari's viewer alive after it is closed.
        self._window: Callable[[], QMainWindow | None] = lambda: None
        self._narrow = False
        self._soon = later(self, 0, self._set_width)

    def watch(self, window: QMainWindow) -> None:
        """Follow the width of a window."""
        if window is not self._window():
            self._window = weakref.ref(window)
            window.installEventFilter(self)
            self._soon.start()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Notice another width, and act once the window has it."""
        if watched is self._window() and event.type() == QEvent.Type.Resize:
            self._soon.start()
        return False

    def _set_width(self) -> None:
        window, dock = self._window(), self.parent()
        while dock is not None and not isinstance(dock, QDockWidget):
            dock = dock.parent()
        if window is None or dock is None or dock.isFloating():
            return
        narrow = window.width() < LITTLE_ROOM
        if narrow != self._narrow:
            self._narrow = narrow
            width = NARROWEST if narrow else max(WIDE, dock.width())
            window.resizeDocks([dock], [width], Qt.Orientation.Horizontal)


class _Closer:
    """Stops a runner whose workbench is gone."""

    def __init__(self, runner: Any) -> None:
        self._runner = runner

    def __call__(self, *_: object) -> None:
        self._runner.close(1.0, deliver=False)


def next_page(session: Session, current: str) -> str:
    """Title of the page that is useful next."""
    if not session.images:
        return "Data"
    if not any(session.annotations.get(name) for name in session.images):
        return "Annotate"
    if not session.checkpoints:
        return "Train"
    if not any(one.pruning for one in session.checkpoints.values()):
        return "Prune"
    order = list(PAGES)
    return order[min(max(order.index(current), 3) + 1, len(order) - 1)]


def open_workbench(
    viewer: napari.viewer.Viewer, sample: str | None = None
) -> Workbench:
    """Dock the workbench into a viewer."""
    workbench = Workbench(viewer)
    viewer.window.add_dock_widget(workbench, name="Topiary", area="right")
    if sample is not None:
        workbench.open_sample(sample)
    return workbench


def workbench_of(viewer: napari.viewer.Viewer) -> Workbench:
    """Return the workbench of a viewer; it is docked if there is none yet."""
    docked = viewer.window.dock_widgets.values()
    there = (one for one in docked if isinstance(one, Workbench))
    return next(there, None) or open_workbench(viewer)


def launch(sample: str | None = None, notice: str = "") -> int:
    """Open napari with the workbench and stay until the window is closed."""
    viewer = napari.Viewer(title="Topiary", show_welcome_screen=sample is None)
    first = get_settings().application.window_size is None
    workbench = open_workbench(viewer, sample)
    if notice:
        workbench.page("Data").refuse(notice)
    if first:  # napari remembers from then on how a person wants it
        unwrap(viewer).window._qt_window.showMaximized()
    napari.run()
    return 0
