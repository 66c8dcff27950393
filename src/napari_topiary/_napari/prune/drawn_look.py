"""What the pruned network finds, drawn over the image while the page is in front."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_topiary._napari.canvas.layers import current_image_name, image_layer
from napari_topiary._napari.canvas.overlay import clear_overlay, show_overlay
from napari_topiary._napari.canvas.visible import visible_window
from napari_topiary._napari.prune.view import Area, Look
from napari_topiary._napari.state import unwrap

if TYPE_CHECKING:
    import napari.viewer

    from napari_topiary.session import Session
    from napari_topiary.types import Task


class DrawnLook:
    """Finds the area to look at, and draws what was seen there.

    Parameters
    ----------
    viewer
        Where.
    session
        Knows the images.
    """

    def __init__(self, viewer: napari.viewer.Viewer, session: Session) -> None:
        self.viewer, self.session = unwrap(viewer), session
        self.active, self.shown = False, True
        self.drawn_on: str | None = None

    @property
    def on(self) -> bool:
        """Whether anything is drawn: the page is in front, and it is wanted."""
        return self.active and self.shown

    def area(self) -> Area | None:
        """The visible part of the shown image; None where nothing is to be drawn."""
        name = current_image_name(self.viewer, self.session)
        layer = None if name is None else image_layer(self.viewer, name)
        if layer is None or not self.on:
            return None
        entry = self.session.images[name]
        window = visible_window(layer, entry.image.shape[1:])
        return Area(name, entry.image, window, entry.scale)

    def draw(self, look: Look, task: Task) -> None:
        """Show what was seen.

        Parameters
        ----------
        look
            At one position of the slider.
        task
            Of the network.
        """
        if not self.on:
            return
        self.clear(but=look.area.name)
        show_overlay(
            self.viewer,
            look.area.name,
            look.overlay,
            task=task,
            colours=self.session.colours,
        )
        self.drawn_on = look.area.name

    def clear(self, *, but: str | None = None) -> None:
        """Take away what is drawn.

        Parameters
        ----------
        but
            Except over the image of this name.
        """
        if self.drawn_on is not None and self.drawn_on != but:
            clear_overlay(self.viewer, self.drawn_on)
            self.drawn_on = None
