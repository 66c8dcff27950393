"""The images of the project as a list: thumbnail, name, size, what is marked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtGui import QImage, QPixmap
from qtpy.QtWidgets import (
    QHBoxLayout,
    QLabel,
    QListWidget,
    QListWidgetItem,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_topiary._napari.canvas.layers import contrast, displayed
from napari_topiary._napari.widgets import look

if TYPE_CHECKING:
    from napari_topiary.session import Session

THUMBNAIL = 46
_FINE = 8


def thumbnail(image: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Shrink an image to a small colour picture, averaging so that noise goes.

    Parameters
    ----------
    image
        `(c, y, x)`.

    Returns
    -------
    NDArray[np.uint8]
        `(y, x, 3)`, the longer side about `THUMBNAIL` pixels.
    """
    side = max(image.shape[1:])
    step = max(1, side // (THUMBNAIL * _FINE))
    small = image[:, ::step, ::step]
    block = max(1, max(small.shape[1:]) // THUMBNAIL)
    height, width = (max(1, n // block) for n in small.shape[1:])
    small = small[:, : height * block, : width * block].astype(np.float32)
    if block > 1 and min(small.shape[1:]) >= block:
        small = small.reshape(len(small), height, block, width, block).mean((2, 4))
    data, is_rgb = displayed(small)
    if not is_rgb:
        low, high = contrast(data)
        data = np.clip((data - low) / (high - low), 0, 1) * 255
        data = np.repeat(data[..., None], 3, axis=-1)
    return np.ascontiguousarray(data.astype(np.uint8))


def status_words(session: Session, name: str) -> str:
    """Say what is marked on an image, and what it is for.

    Parameters
    ----------
    session
        The project.
    name
        Name of one of its images.
    """
    counts = {one.kind: one for one in session.annotations.get(name, ())}
    words = []
    if "points" in counts:
        words.append(f"{len(counts['points'])} marked")
    if "centerlines" in counts:
        words.append(f"{len(counts['centerlines'])} traced")
    if "labels" in counts:
        words.append("painted")
    if "regions" in counts:
        number = len(counts["regions"])
        words.append(f"{number} area{'s' if number > 1 else ''} finished")
    if not words:
        words.append("nothing marked yet")
    if is_held_out(session, name):
        words.append("kept aside")
    return " · ".join(words)


def is_held_out(session: Session, name: str) -> bool:
    """Whether an image is kept aside to judge quality."""
    return any(name in session.split.get(part, ()) for part in ("val", "test"))


def size_words(session: Session, name: str) -> str:
    """Say how large an image is, in pixels and nm per pixel."""
    entry = session.images[name]
    channels, height, width = entry.image.shape
    words = f"{width} × {height} px"
    if channels == 3:
        words += " · colour"
    elif channels > 1:
        words += f" · {channels} channels"
    if entry.scale is None:
        return f"{words} · pixel size unknown"
    return f"{words} · {entry.scale:.4g} nm/px"


class Gallery(QListWidget):
    """List of the project's images; a click opens one.

    Parameters
    ----------
    session
        The project.
    """

    opened = Signal(str)

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session
        self.setProperty("role", "gallery")
        self.setToolTip("Click an image to work on it.")
        self.setMinimumHeight(3 * (THUMBNAIL + 16))
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollMode(QListWidget.ScrollMode.ScrollPerPixel)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Expanding)
        self.itemClicked.connect(self._on_clicked)
        self.itemActivated.connect(self._on_clicked)
        self._rows: dict[str, _Row] = {}

    def refresh(self, current: str | None) -> None:
        """Show the images as they are now; thumbnails are made only once.

        Parameters
        ----------
        current
            Name of the image that is being worked on.
        """
        names = list(self.session.images)
        if names != list(self._rows) or any(
            row.image is not self.session.images[name].image
            for name, row in self._rows.items()
        ):
            self._rebuild(names)
        for number, (name, row) in enumerate(self._rows.items()):
            row.refresh(self.session, name)
            if name == current and self.currentRow() != number:
                self.setCurrentRow(number)
        if current is None:
            self.setCurrentRow(-1)
            self.clearSelection()

    @property
    def selected(self) -> str | None:
        """Name of the selected image."""
        item = self.currentItem()
        return item.data(Qt.ItemDataRole.UserRole) if item is not None else None

    def _rebuild(self, names: list[str]) -> None:
        self.clear()
        self._rows = {}
        for name in names:
            item = QListWidgetItem()
            item.setData(Qt.ItemDataRole.UserRole, name)
            item.setSizeHint(QSize(200, THUMBNAIL + 14))
            row = _Row(self.session.images[name].image)
            self.addItem(item)
            self.setItemWidget(item, row)
            self._rows[name] = row

    def _on_clicked(self, item: QListWidgetItem) -> None:
        self.opened.emit(item.data(Qt.ItemDataRole.UserRole))


class _Row(QWidget):
    """One image of the list."""

    def __init__(self, image: NDArray[np.generic]) -> None:
        super().__init__()
        self.image = image
        picture = thumbnail(image)
        height, width = picture.shape[:2]
        shown = QImage(
            picture.data, width, height, 3 * width, QImage.Format.Format_RGB888
        )
        thumb = QLabel()
        thumb.setFixedSize(THUMBNAIL, THUMBNAIL)
        thumb.setPixmap(
            QPixmap.fromImage(shown).scaled(
                THUMBNAIL,
                THUMBNAIL,
                Qt.AspectRatioMode.KeepAspectRatioByExpanding,
                Qt.TransformationMode.SmoothTransformation,
            )
        )
        self.name, self.size, self.status = QLabel(), QLabel(), QLabel()
        for label in (self.name, self.size, self.status):
            label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        look.set_role(self.name, "title")
        look.set_role(self.size, "hint")
        texts = QVBoxLayout()
        texts.setSpacing(1)
        texts.setContentsMargins(0, 0, 0, 0)
        texts.addWidget(self.name)
        texts.addWidget(self.size)
        texts.addWidget(self.status)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(5, 4, 5, 4)
        layout.setSpacing(8)
        layout.addWidget(thumb)
        layout.addLayout(texts, 1)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)

    def refresh(self, session: Session, name: str) -> None:
        self.name.setText(name)
        self.size.setText(size_words(session, name))
        self.status.setText(status_words(session, name))
        look.set_role(self.status, "good" if session.annotations.get(name) else "hint")
