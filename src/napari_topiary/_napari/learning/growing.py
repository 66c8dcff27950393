"""A training or fine-tuning that runs: its curves, its preview, and Stop."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Signal

from napari_topiary._napari.learning.live_preview import LivePreview
from napari_topiary._napari.widgets.plot import CurvePlot
from napari_topiary.checkpoint import Checkpoint
from napari_topiary.training import TrainReport
from napari_topiary.types import Job, Progress

if TYPE_CHECKING:
    import napari.viewer

    from napari_topiary._napari.jobs.runner import JobRunner
    from napari_topiary.session import Session

STOP, STOPPING = "Stop and keep the best", "Stopping…"


class Growing(QObject):
    """Starts `fit`, or a job that ends in it, and shows how it goes.

    Signals
    -------
    made(Checkpoint)
        The best network, also after a stop.
    said(str), problem(str)
        A sentence for the user.
    ended()
        It is over, however it went.
    """

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
        """Begin; False, with a sentence said, while something else runs.

        Parameters
        ----------
        make_job
            Makes the job; called in the worker thread.
        title
            For the status line.
        preview
            Whether to show what is found meanwhile.
        """
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
        """Whether to show what is found meanwhile.

        Parameters
        ----------
        on
            False takes away what is drawn.
        """
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
