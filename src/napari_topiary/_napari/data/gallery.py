"""The images of the project as a list: thumbnail, name, size, what is marked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import Property, QModelIndex, QRect, QSize, Qt, Signal
from qtpy.QtGui import QColor, QFont, QImage, QPainter, QPalette, QPixmap
from qtpy.QtWidgets import (
    QListWidget,
    QListWidgetItem,
    QSizePolicy,
    QStyledItemDelegate,
    QStyleOptionViewItem,
)

from napari_topiary._napari.canvas.shown_image import contrast, displayed
from napari_topiary.io.large_images import AnyImage, LargeImage
from napari_topiary.io.pyramids import needs_reading

if TYPE_CHECKING:
    from napari_topiary.session import Session

THUMBNAIL = 46
_FINE = 8
_WORDS, _MARKED = (Qt.ItemDataRole.UserRole + n for n in range(1, 3))


def thumbnail(image: AnyImage) -> NDArray[np.uint8]:
    """Shrink an image to a small colour picture, averaging so that noise goes.

    `image` `(c, y, x)`; of a large one that has no small copy, what is read so far.
    Returns `(y, x, 3)`, the longer side about `THUMBNAIL` pixels.
    """
    if isinstance(image, LargeImage):
        image = image.glance()
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
    """Say what is marked on an image, and what it is for."""
    drawn = sorted(session.annotations.get(name, ()), key=lambda one: one.place)
    words = [one.status() for one in drawn]
    if not words:
        words.append("nothing marked yet")
    parts = [part for part, names in session.split.items() if name in names]
    if is_held_out(session, name):
        words.append("kept aside")
    elif parts and "train" not in parts:  # as a data set that was opened has them
        words.append(f"in the part “{parts[0]}”, not learned from")
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
        return f"{words} · ? nm/px"
    return f"{words} · {entry.scale:.4g} nm/px"


class Gallery(QListWidget):
    """List of the project's images; a click opens one."""

    opened = Signal(str)

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session
        self._images: list[tuple[str, AnyImage]] = []
        self._pictures: dict[str, tuple[QPixmap, bool]] = {}
        self._good = QColor()
        self.setProperty("role", "gallery")
        self.setToolTip("Click an image to work on it.")
        self.setMinimumHeight(3 * (THUMBNAIL + 16))
        self.setMouseTracking(True)
        self.setUniformItemSizes(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollMode(QListWidget.ScrollMode.ScrollPerPixel)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Expanding)
        self.setItemDelegate(_Painter(self))
        self.itemClicked.connect(self._on_clicked)
        self.itemActivated.connect(self._on_clicked)

    # Set by the style sheet, which knows the theme.
    good = Property(
        QColor,
        lambda self: self._good,
        lambda self, colour: setattr(self, "_good", QColor(colour)),
    )

    def refresh(self, current: str | None) -> None:
        """Show the images as they are now; thumbnails are made when first seen."""
        images = [(name, entry.image) for name, entry in self.session.images.items()]
        kept = len(self._images)
        if not _same(self._images, images[:kept]):
            self.clear()
            self._pictures.clear()
            kept = 0
        for name, _ in images[kept:]:
            item = QListWidgetItem()
            item.setData(Qt.ItemDataRole.UserRole, name)
            height = max(THUMBNAIL, 3 * (self.fontMetrics().height() + 2))
            item.setSizeHint(QSize(200, height + 10))
            self.addItem(item)
        self._images = images
        self._forget_drafts()
        for number, (name, _) in enumerate(images):
            self._renew(number)
            if name == current and self.currentRow() != number:
                self.setCurrentRow(number)
        if current is None:
            self.setCurrentRow(-1)
            self.clearSelection()

    def refresh_row(self, name: str) -> None:
        """Say anew what is marked on one image."""
        for number, (known, _) in enumerate(self._images):
            if known == name:
                self._renew(number)

    def _renew(self, number: int) -> None:
        name, item = self._images[number][0], self.item(number)
        words = (size_words(self.session, name), status_words(self.session, name))
        if item.data(_WORDS) != words:
            item.setData(_WORDS, words)
            item.setData(_MARKED, bool(self.session.annotations.get(name)))
            item.setData(Qt.ItemDataRole.AccessibleTextRole, ", ".join((name, *words)))

    @property
    def selected(self) -> str | None:
        """Name of the selected image."""
        item = self.currentItem()
        return item.data(Qt.ItemDataRole.UserRole) if item is not None else None

    def picture(self, number: int) -> QPixmap:
        """Thumbnail of a row; that of a large image may have to be made again."""
        name, image = self._images[number]
        if name not in self._pictures:
            is_whole = not isinstance(image, LargeImage) or not needs_reading(image)
            final = is_whole or image.thin.complete
            self._pictures[name] = _square(image), final
        return self._pictures[name][0]

    def _forget_drafts(self) -> None:
        """Pictures of images that were not read to their end are made again."""
        final = {name: one for name, one in self._pictures.items() if one[1]}
        if len(final) < len(self._pictures):
            self._pictures = final
            self.viewport().update()

    def words(self, number: int) -> tuple[str, ...]:
        """What a row says: name, size and what is marked."""
        item = self.item(number)
        return (item.data(Qt.ItemDataRole.UserRole), *item.data(_WORDS))

    def _on_clicked(self, item: QListWidgetItem) -> None:
        self.opened.emit(item.data(Qt.ItemDataRole.UserRole))


def _same(
    known: Sequence[tuple[str, AnyImage]], now: Sequence[tuple[str, AnyImage]]
) -> bool:
    return len(known) == len(now) and all(
        old_name == name and old is image
        for (old_name, old), (name, image) in zip(known, now, strict=True)
    )


def _square(image: AnyImage) -> QPixmap:
    picture = thumbnail(image)
    height, width = picture.shape[:2]
    shown = QImage(picture.data, width, height, 3 * width, QImage.Format.Format_RGB888)
    return QPixmap.fromImage(shown).scaled(
        THUMBNAIL,
        THUMBNAIL,
        Qt.AspectRatioMode.KeepAspectRatioByExpanding,
        Qt.TransformationMode.SmoothTransformation,
    )


class _Painter(QStyledItemDelegate):
    """Draws a row: a widget for each would take seconds for some hundred images."""

    def paint(
        self, painter: QPainter, option: QStyleOptionViewItem, index: QModelIndex
    ) -> None:
        gallery: Any = self.parent()
        super().paint(painter, option, index)  # what hovering and selecting look like
        place = option.rect.adjusted(5, 4, -6, -4)
        thumb = QRect(place.left(), 0, THUMBNAIL, THUMBNAIL)
        thumb.moveTop(place.top() + (place.height() - THUMBNAIL) // 2)
        picture = gallery.picture(index.row())
        middle = picture.rect().center()
        seen = QRect(0, 0, THUMBNAIL, THUMBNAIL)
        seen.moveCenter(middle)
        painter.save()
        painter.drawPixmap(thumb, picture, seen)
        text = place.adjusted(THUMBNAIL + 8, 0, 0, 0)
        plain = gallery.palette().color(QPalette.ColorRole.Text)
        hint = QColor(plain)
        hint.setAlphaF(0.72)
        marked = gallery.good if index.data(_MARKED) else hint
        name, (size, status) = index.data(Qt.ItemDataRole.UserRole), index.data(_WORDS)
        font = gallery.font()
        bold = QFont(font)
        bold.setWeight(QFont.Weight.DemiBold)
        for line, (words, style, colour) in enumerate(
            ((name, bold, plain), (size, font, hint), (status, font, marked))
        ):
            painter.setFont(style)
            painter.setPen(colour)
            height = text.height() // 3
            box = QRect(text.left(), text.top() + line * height, text.width(), height)
            shown = painter.fontMetrics().elidedText(
                words, Qt.TextElideMode.ElideRight, box.width()
            )
            painter.drawText(box, Qt.AlignmentFlag.AlignVCenter, shown)
        painter.restore()
