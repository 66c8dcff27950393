"""Shows what the network of a running training finds where the person is looking."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QObject, QTimer

from napari_topiary._napari.canvas.layers import current_image_name, image_layer
from napari_topiary._napari.canvas.overlay import (
    Overlay,
    clear_overlay,
    coloured,
    show_overlay,
)
from napari_topiary._napari.canvas.visible import visible_window
from napari_topiary._napari.state import unwrap
from napari_topiary.training import Preview, PreviewRequest

if TYPE_CHECKING:
    import napari.viewer

    from napari_topiary._napari.jobs.runner import JobRunner
    from napari_topiary.session import Session

EVERY_MS = 2000
FIRST_MS = 1200


class LivePreview(QObject):
    """Asks the running job for previews, and draws the answers over the image.

    Parameters
    ----------
    viewer, session, runner
        Of the page that trains.
    """

    def __init__(
        self, viewer: napari.viewer.Viewer, session: Session, runner: JobRunner
    ) -> None:
        super().__init__()
        self.viewer, self.session, self.runner = unwrap(viewer), session, runner
        self.shown_on: str | None = None
        self._timer = QTimer(self)
        self._timer.timeout.connect(self.ask)

    def start(self) -> None:
        """Ask again and again; the layer is made now, while nothing runs yet."""
        name = current_image_name(self.viewer, self.session)
        if name is not None:
            clear_overlay(self.viewer, name)
            self._draw(name, np.zeros((2, 2, 4), np.uint8), (0, 2, 0, 2))
        self._timer.start(FIRST_MS)

    def stop(self, *, clear: bool = False) -> None:
        """Ask no more.

        Parameters
        ----------
        clear
            Whether what was drawn is taken away.
        """
        self._timer.stop()
        if clear and self.shown_on is not None:
            clear_overlay(self.viewer, self.shown_on)
            self.shown_on = None

    @property
    def active(self) -> bool:
        """Whether previews are being asked for."""
        return self._timer.isActive()

    def ask(self) -> None:
        """Ask for one preview of the visible area of the current image."""
        self._timer.setInterval(EVERY_MS)
        name = current_image_name(self.viewer, self.session)
        layer = None if name is None else image_layer(self.viewer, name)
        if not self.active or not self.runner.running or layer is None:
            return
        entry = self.session.images[name]
        window = visible_window(layer, entry.image.shape[1:])
        self.runner.send(
            PreviewRequest(entry.image, window=window, scale=entry.scale, key=name)
        )

    def show(self, preview: Preview) -> None:
        """Draw an answer; nothing where its image has gone since.

        Parameters
        ----------
        preview
            From the job.
        """
        name = str(preview.key)
        if not self.active or name not in self.session.images:
            return
        colours = coloured(preview.probability, self.session.task, self.session.colours)
        self._draw(name, colours, preview.window)

    def _draw(
        self, name: str, colours: np.ndarray, window: tuple[int, int, int, int]
    ) -> None:
        if image_layer(self.viewer, name) is None:
            return
        show_overlay(
            self.viewer,
            name,
            Overlay(colours, window),
            task=self.session.task,
            colours=self.session.colours,
        )
        self.shown_on = name
