"""The header of the workbench: project, when it was saved, where it computes."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, QTimer, QUrl
from qtpy.QtGui import QImage, QResizeEvent, QShowEvent
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QTextBrowser, QWidget

import napari_topiary
from napari_topiary._napari.jobs.latest import later
from napari_topiary._napari.jobs.runner import in_background
from napari_topiary._napari.saving import saver_of
from napari_topiary._napari.status import ElidedLabel, duration
from napari_topiary._napari.widgets import look
from napari_topiary._napari.widgets.page import Listening

if TYPE_CHECKING:
    import napari.viewer

    from napari_topiary.session import Session

_PICTURE = 820
"""Widest picture of a help page, in pixels."""
UNKNOWN, LOOK_MS = "…", 1500
"""torch knows where it is computed, and is being loaded by then."""


class Help(QTextBrowser):
    """What the README says about a page, with its picture, in a window of its own."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setWindowFlag(Qt.WindowType.Window)
        self.setOpenExternalLinks(True)
        self.resize(_PICTURE + 60, 760)

    def show_page(self, title: str) -> None:
        """Show the section of a page."""
        self.setWindowTitle(f"Topiary · {title}")
        self.setMarkdown(section_of(readme().read_text(encoding="utf-8"), title))
        self.show()
        self.raise_()

    def loadResource(self, kind: int, name: QUrl) -> Any:
        """Find pictures beside the README, no wider than the window."""
        file = readme().parent / name.path()
        picture = QImage(str(file)) if file.suffix == ".png" else QImage()
        if picture.isNull():
            return super().loadResource(kind, name)
        smooth = Qt.TransformationMode.SmoothTransformation
        return picture.scaledToWidth(min(_PICTURE, picture.width()), smooth)


def readme() -> Path:
    """The README: beside the package, or above it in a checkout."""
    own = Path(napari_topiary.__file__).parent
    return next(one / "README.md" for one in (own, own.parents[1])
                if (one / "README.md").exists())  # fmt: skip


def section_of(text: str, title: str) -> str:
    """A section of a text in Markdown, its heading included."""
    _, _, after = text.partition(f"\n### {title}\n")
    until = re.search(r"^##", after, re.MULTILINE)
    return f"### {title}\n{after[: until.start()] if until else after}"


class Header(QWidget):
    """One line above the pages."""

    def __init__(self, viewer: napari.viewer.Viewer, session: Session) -> None:
        super().__init__()
        self.session = session
        self.saver = saver_of(viewer)
        self.name = ElidedLabel()
        look.set_role(self.name, "title")
        self.saved = QLabel("")
        look.set_role(self.saved, "hint")
        self.device = QLabel(UNKNOWN)
        look.set_role(self.device, "chip")
        self.device.setToolTip("Where the networks are computed on this machine.")
        self.help = QPushButton("?")
        self.help.setFixedSize(22, 22)
        self.help.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.help.setToolTip("What this page is for, with a picture (F1).")
        look.set_role(self.help, "small")
        layout = QHBoxLayout(self)
        layout.setContentsMargins(2, 0, 2, 0)
        layout.setSpacing(8)
        layout.addWidget(self.name, 1)
        layout.addWidget(self.saved)
        layout.addWidget(self.device)
        layout.addWidget(self.help)
        self._listening = Listening(self)
        self._listening.to(session.saved, self.refresh)
        self._listening.to(session.images_changed, self.refresh)
        self._clock = QTimer(self)
        self._clock.timeout.connect(self.refresh)
        self._clock.start(1000)
        self._soon = later(self, LOOK_MS, self._look_up_device)
        self.refresh()

    def refresh(self, *_: object) -> None:
        """Write the project's name and when it was saved."""
        self.name.write(self.session.name)
        folder = self.session.folder
        self.name.setToolTip(
            f"Saved in {folder}"
            if folder
            else "Not in a folder of its own yet: Save project… on the Data page. "
            "What you draw is kept for recovery all the same."
        )
        words = ""
        if self.session.saved_at is not None:
            ago = time.time() - self.session.saved_at
            words = "saved just now" if ago < 2 else f"saved {duration(ago)} ago"
        self.saved.setText(words)
        self._make_room()

    def showEvent(self, event: QShowEvent) -> None:
        """Look where it is computed once the window is there."""
        super().showEvent(event)
        if self.device.text() == UNKNOWN:
            self._soon.start()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Leave the room to the name where it is scarce."""
        super().resizeEvent(event)
        self._make_room()

    def _make_room(self) -> None:
        """The name of the project is read whole before anything else."""
        name = self.name.fontMetrics().horizontalAdvance(self.name.words) + 12
        wanted = name + self.saved.sizeHint().width() + self.device.sizeHint().width()
        self.saved.setVisible(bool(self.saved.text()) and wanted + 50 <= self.width())
        self.saved.setToolTip(self.name.toolTip())

    def _look_up_device(self) -> None:
        in_background(
            _device_label, title="Looking for a device", on_result=self._show_device
        )

    def _show_device(self, words: str) -> None:
        self.device.setText(words)
        self._make_room()


def _device_label() -> str:
    from napari_topiary.inference.devices import device_label

    return device_label()
