"""What is shown while a network is trained, and networks that come from files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QObject, QTimer, Signal

from napari_topiary._napari.canvas.layers import current_image_name, image_layer
from napari_topiary._napari.canvas.overlay import (
    Overlay,
    clear_overlay,
    coloured,
    show_overlay,
)
from napari_topiary._napari.canvas.shown_image import visible_window
from napari_topiary._napari.jobs.runner import in_background
from napari_topiary._napari.state import unwrap
from napari_topiary._napari.widgets.page import Offer
from napari_topiary._napari.widgets.plot import CurvePlot
from napari_topiary.checkpoint import Checkpoint, load_checkpoint
from napari_topiary.jobs.training import (
    forget_training,
    recover_training,
    unfinished_training,
)
from napari_topiary.training import Preview, PreviewRequest, TrainReport
from napari_topiary.types import Job, Progress

if TYPE_CHECKING:
    import napari.viewer

    from napari_topiary._napari.jobs.runner import JobRunner
    from napari_topiary.session import Session

EVERY_MS = 2000
FIRST_MS = 1200

STOP, STOPPING = "Stop and keep the best", "Stopping…"


class LivePreview(QObject):
    """Asks the running job for previews, and draws the answers over the image."""

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
        """Ask no more."""
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
        """Draw an answer; nothing where its image has gone since."""
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


class TrainingRun(QObject):
    """Starts `fit`, or a job that ends in it, and shows how it goes."""

    made = Signal(object)
    said = Signal(str)
    problem = Signal(str)
    ended = Signal()

    def __init__(
        self,
        viewer: napari.viewer.Viewer,
        session: Session,
        runner: JobRunner,
        *,
        curves: CurvePlot,
    ) -> None:
        super().__init__()
        self.runner, self.curves = runner, curves
        self.running = False
        self.preview = LivePreview(viewer, session, runner)

    def start(
        self, make_job: Callable[[], Job[Checkpoint]], *, title: str, preview: bool
    ) -> bool:
        """Begin; False, with a sentence said, while something else runs."""
        begun = self.runner.start(
            make_job,
            title=title,
            on_progress=self._on_progress,
            on_result=self.made.emit,
            on_error=self.problem.emit,
        )
        if not begun:
            self.problem.emit(self.runner.busy_sentence)
            return False
        self.runner.finished.connect(self._on_end)
        self.running = True
        self.curves.reset()
        self.set_preview(preview)
        return True

    def stop(self) -> None:
        """End it, and keep the best."""
        self.runner.stop()

    def set_preview(self, on: bool) -> None:
        """Whether to show what is found meanwhile."""
        if not on:
            self.preview.stop(clear=True)
        elif self.running:
            self.preview.start()

    def _on_progress(self, progress: Progress) -> None:
        report = progress.report
        if not isinstance(report, TrainReport):
            return
        self.curves.follow(report)
        if report.preview is not None:
            self.preview.show(report.preview)
        if report.note:
            self.said.emit(report.note)

    def _on_end(self) -> None:
        self.runner.finished.disconnect(self._on_end)
        self.running = False
        self.preview.stop()
        self.curves.redraw()
        self.ended.emit()


class CheckpointFiles(QObject):
    """Reads checkpoints into a session, in the background."""

    opened = Signal(str)  #: A file was read; the name that it is kept under
    #: What was left of a training that was cut off; the name that it is kept under
    recovered = Signal(str)
    problem = Signal(str)  #: A file could not be read

    def __init__(self, session: Session, offer: Offer) -> None:
        super().__init__()
        self.session, self.offer = session, offer

    def open(self, path: Path) -> None:
        """Read a file."""
        self._reading = in_background(
            lambda: (path.stem, load_checkpoint(path)),
            title="Reading the checkpoint",
            on_result=self._on_opened,
            on_error=self.problem.emit,
        )

    def offer_unfinished(self) -> None:
        """Ask what to do with a training that was cut off, if there is one."""
        file = unfinished_training()
        if file is None:
            return
        self.offer.show_choice(
            "A training was cut off before it ended. The best network that it had is "
            "still there.",
            {
                "Take it over": lambda: self._recover(file),
                "Delete it": lambda: forget_training(file),
            },
            problem=False,
        )

    def _recover(self, file: Path) -> None:
        self._reading = in_background(
            lambda: recover_training(file),
            title="Reading the network of the training that was cut off",
            on_result=self._on_recovered,
            on_error=self.problem.emit,
        )

    def _on_opened(self, found: tuple[str, Checkpoint]) -> None:
        stem, checkpoint = found
        name = self.session.unique_checkpoint_name(checkpoint.name or stem)
        self.session.add_checkpoint(name, checkpoint, activate=False)
        self.opened.emit(name)

    def _on_recovered(self, checkpoint: Checkpoint) -> None:
        name = self.session.unique_checkpoint_name("recovered")
        self.session.add_checkpoint(name, checkpoint.named(name))
        self.recovered.emit(name)
