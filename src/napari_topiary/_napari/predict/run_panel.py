"""At the top of the Predict page: which network looks at what, and the button."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QButtonGroup,
    QCheckBox,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QRadioButton,
    QVBoxLayout,
    QWidget,
)

from napari_topiary._napari.canvas.layers import current_image_name, image_layer
from napari_topiary._napari.canvas.shown_image import visible_window
from napari_topiary._napari.widgets import look
from napari_topiary._napari.widgets.checkpoint_choice import CheckpointChoice
from napari_topiary._napari.widgets.look import filled
from napari_topiary._napari.widgets.page import NOT_SHOWN, Offer, button
from napari_topiary.checkpoint import Checkpoint
from napari_topiary.errors import TopiaryError
from napari_topiary.io.large_images import WHOLE_PIXELS
from napari_topiary.jobs.predicting import ProjectImage
from napari_topiary.session import Session

if TYPE_CHECKING:
    import napari.viewer

RUN, STOP, STOPPING = "Predict", "Stop and keep what is done", "Stopping…"
AREAS = {
    "visible": ("Visible area", "Only the part of the image that you see: fastest."),
    "image": ("This image", "All of the image that is shown."),
    "all": ("All", "Every image of the project, one after the other."),
}


class RunPanel(QWidget):
    """Network, area, and a button that starts and stops."""

    pressed = Signal()

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.choice = CheckpointChoice(session, "The network that looks.")
        self.areas: dict[str, QRadioButton] = {}
        group, areas = QButtonGroup(self), QHBoxLayout()
        areas.setContentsMargins(0, 0, 0, 0)
        for key, (text, tip) in AREAS.items():
            one = self.areas[key] = QRadioButton(text)
            one.setToolTip(tip)
            group.addButton(one)
            areas.addWidget(one)
        areas.addStretch(1)
        self.areas["image"].setChecked(True)
        self.invert = QCheckBox("Invert")
        self.invert.setToolTip(
            "Look at the negative: for images with the opposite contrast of those that "
            "the network learned from."
        )
        self.scheduler = QLineEdit()
        self.scheduler.setPlaceholderText("this computer")
        self.scheduler.setToolTip(
            "Address of a dask scheduler whose workers compute instead of this "
            "computer,\nsuch as tcp://node1:8786: a cluster, or a machine with a GPU."
        )
        how = QHBoxLayout()
        how.addWidget(self.invert)
        how.addSpacing(12)
        how.addWidget(QLabel("Compute on"))
        how.addWidget(self.scheduler, 1)
        rows = look.rows()
        rows.addRow("Network", self.choice)
        self.button = button(RUN, "", self.pressed.emit, primary=True)
        self.offer = Offer()
        filled(QVBoxLayout(self), rows, areas, how, self.button, self.offer, spacing=8)

    @property
    def area(self) -> str:
        """What is looked at: a key of `AREAS`."""
        return next(key for key, one in self.areas.items() if one.isChecked())

    def count_images(self, number: int) -> None:
        """Say how many images there are."""
        text = AREAS["all"][0] if number < 2 else f"All {number}"
        self.areas["all"].setText(text)

    def show_state(self, *, predicting: bool, ready: bool, busy: str = "") -> None:
        """Let the button say what it does now."""
        self.button.setText(STOP if predicting else RUN)
        self.button.setEnabled(predicting or (ready and not busy))
        self.button.setToolTip(
            "End after this tile; what was predicted so far is shown."
            if predicting
            else f"{busy} is still running." if busy
            else "Run the network, tile by tile; then move the sliders below."
        )  # fmt: skip

    def show_stopping(self) -> None:
        """Say that the button was pressed to stop."""
        self.button.setText(STOPPING)
        self.button.setEnabled(False)

    def ask_convert(
        self,
        unlike: Sequence[ProjectImage],
        checkpoint: Checkpoint,
        convert: Callable[[], object],
    ) -> None:
        """Offer to make colour images grey, or grey ones colour."""
        kinds = {1: "grey", 3: "colour"}
        own = kinds[unlike[0].image.shape[0]]
        other = kinds[checkpoint.in_channels]
        names = unlike[0].name if len(unlike) == 1 else f"{len(unlike)} images"
        verb = "is" if len(unlike) == 1 else "are"
        self.offer.show_choice(
            f"{names} {verb} {own}, and this network was trained on {other} images. "
            "The images of the project stay as they are.",
            {f"Predict as {other}": convert, "Cancel": lambda: None},
        )


def wanted_in(
    viewer: napari.viewer.Viewer, session: Session, *, area: str
) -> list[ProjectImage]:
    """Images, or the part of one, that are to be predicted."""
    if area == "all":
        entries = list(session.images.values())
        return [
            ProjectImage(name=e.name, image=e.image, scale=e.scale) for e in entries
        ]
    name = current_image_name(viewer, session)
    if name is None:
        raise TopiaryError(NOT_SHOWN)
    entry, layer = session.images[name], image_layer(viewer, name)
    seen = None if layer is None else visible_window(layer, entry.image.shape[1:])
    if area != "visible":
        return [
            ProjectImage(name=name, image=entry.image, scale=entry.scale, first=seen)
        ]
    if seen is None:
        raise TopiaryError(
            f"{name} is not shown any more: open it on the Data page, or choose This "
            "image."
        )
    top, bottom, left, right = seen
    if (bottom - top) * (right - left) > WHOLE_PIXELS:
        raise TopiaryError(
            f"{bottom - top:,} × {right - left:,} pixels are on the screen, which are "
            "too many to look at in one piece: move closer, or choose This image."
        )
    return [ProjectImage(name=name, image=entry.image, scale=entry.scale, window=seen)]
