"""The pixel size by the scale bar: draw a line along it, type its length."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtWidgets import QHBoxLayout, QLineEdit, QWidget

from napari_topiary._napari.canvas.layers import (
    current_image_name,
    image_layer,
    layer_for,
    put_layer,
    remove_layer,
)
from napari_topiary._napari.widgets.page import button, label
from napari_topiary.errors import TopiaryError
from napari_topiary.io.pixel_size import pixel_size_of_bar

if TYPE_CHECKING:
    from napari_topiary._napari.data.page import DataPage

KEY = "scale bar"


class ScaleBar(QWidget):
    """A row that is shown while a scale bar is measured."""

    def __init__(self, page: DataPage) -> None:
        super().__init__()
        self.page = page
        self.name: str | None = None
        self.length = QLineEdit()
        self.length.setPlaceholderText("500 nm")
        self.length.setToolTip("As it is written beside the bar, with its unit.")
        self.length.returnPressed.connect(self.take)
        self.set_button = button(
            "Set", "Compute the pixel size from the line and its length.", self.take
        )
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(label("Its length"))
        row.addWidget(self.length, 1)
        row.addWidget(self.set_button)
        row.addWidget(button("Cancel", "Leave the pixel size as it is.", self.end))
        self.hide()

    def begin(self) -> None:
        """Let the person draw a line along the bar."""
        page = self.page
        name = current_image_name(page.viewer, page.session)
        image = None if name is None else image_layer(page.viewer, name)
        if image is None:
            return
        self.end()
        self.name = name
        layer = put_layer(
            page.viewer,
            (KEY, name),
            [],
            "shapes",
            like=image,
            name="Scale bar",
            edge_color="red",
            edge_width=2,
        )
        page.viewer.layers.selection.active = layer
        layer.mode = "add_line"
        self.length.clear()
        self.show()
        page.bar_button.hide()
        page.say("Draw a line from one end of the scale bar to the other.")

    def take(self) -> None:
        """Set the pixel size by the last line that was drawn."""
        page, name = self.page, self.name
        layer = None if name is None else layer_for(page.viewer, (KEY, name))
        if name not in page.session.images or layer is None or not len(layer.data):
            page.refuse("Draw a line along the scale bar first.")
            return
        ends = np.asarray(layer.data[-1])[[0, -1], -2:]
        try:
            size = pixel_size_of_bar(
                float(np.linalg.norm(ends[1] - ends[0])), self.length.text()
            )
        except TopiaryError as reason:
            page.refuse(str(reason))
            return
        self.end()
        page.session.set_scale(name, size)
        page.say(f"The pixels of {name} are {size:g} nm.")

    def end(self) -> None:
        """Take the line and this row away."""
        self.hide()
        self.page.bar_button.show()
        if self.name is not None:
            remove_layer(self.page.viewer, (KEY, self.name))
        self.name = None
