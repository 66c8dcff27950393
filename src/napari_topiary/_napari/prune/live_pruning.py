"""Behind the slider: ranks once, looks at every position, finds out more at rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Signal

from napari_topiary._napari.canvas.layers import current_image_name, image_layer
from napari_topiary._napari.canvas.overlay import clear_overlay, show_overlay
from napari_topiary._napari.canvas.shown_image import visible_window
from napari_topiary._napari.jobs.latest import Latest, later
from napari_topiary._napari.prune.view import (
    PruningPreview,
    Ready,
    VisibleArea,
    planning,
)
from napari_topiary._napari.state import preferences, unwrap
from napari_topiary.evaluation.validate import HoldOut
from napari_topiary.jobs.pruning import Findings, Position, PositionQuality, comparable
from napari_topiary.jobs.training import TrainingData
from napari_topiary.pruning import PlanStatistics
from napari_topiary.types import Progress

if TYPE_CHECKING:
    import napari.viewer

    from napari_topiary._napari.jobs.runner import JobRunner
    from napari_topiary.checkpoint import Checkpoint
    from napari_topiary.config import PruneConfig
    from napari_topiary.session import Session
    from napari_topiary.types import Task


class DrawnPreview:
    """Finds the area to look at, and draws what was seen there."""

    def __init__(self, viewer: napari.viewer.Viewer, session: Session) -> None:
        self.viewer, self.session = unwrap(viewer), session
        self.active, self.shown = False, True
        self.drawn_on: str | None = None

    @property
    def on(self) -> bool:
        """Whether anything is drawn: the page is in front, and it is wanted."""
        return self.active and self.shown

    def area(self) -> VisibleArea | None:
        """The visible part of the shown image; None where nothing is to be drawn."""
        name = current_image_name(self.viewer, self.session)
        layer = None if name is None else image_layer(self.viewer, name)
        if layer is None or not self.on:
            return None
        entry = self.session.images[name]
        window = visible_window(layer, entry.image.shape[1:])
        return VisibleArea(name, entry.image, window, entry.scale)

    def draw(self, preview: PruningPreview, task: Task) -> None:
        """Show what was seen."""
        if not self.on:
            return
        self.clear(but=preview.area.name)
        show_overlay(
            self.viewer,
            preview.area.name,
            preview.overlay,
            task=task,
            colours=self.session.colours,
        )
        self.drawn_on = preview.area.name

    def clear(self, *, but: str | None = None) -> None:
        """Take away what is drawn."""
        if self.drawn_on is not None and self.drawn_on != but:
            clear_overlay(self.viewer, self.drawn_on)
            self.drawn_on = None


REST_MS = 500
"""The slider rests when it has not moved for this long."""
CAMERA_MS = 150


class LivePruning(QObject):
    """Everything the slider sets off, none of it in the main thread."""

    planned = Signal(object)
    previewed = Signal(object)
    counted = Signal(object)
    found = Signal(object)
    problem = Signal(str)

    def __init__(
        self, viewer: napari.viewer.Viewer, session: Session, runner: JobRunner
    ) -> None:
        super().__init__()
        self.session, self.runner = session, runner
        self.ready: Ready | None = None
        self.share = 0.0
        self.tuned: Checkpoint | None = None
        self.drawn = DrawnPreview(viewer, session)
        self.findings = Findings(HoldOut((), ()))
        self._planning, self._validating = Latest(), Latest()
        self._previewing = Latest(finish_current=True)
        self._rest = later(self, REST_MS, self._on_rest)
        self._camera = later(self, CAMERA_MS, self.look)

    # -- what is looked at --------------------------------------------------------

    @property
    def active(self) -> bool:
        """Whether the page is in front."""
        return self.drawn.active

    def open(self, checkpoint: Checkpoint, config: PruneConfig) -> None:
        """Rank what there is to remove from a checkpoint."""
        self.close_plan()
        training_data = TrainingData.of(self.session)
        colours = dict(self.session.colours)
        device = preferences().device
        self._planning.ask(
            lambda: planning(checkpoint, config, training_data, colours, device=device),
            title="Ranking what to remove",
            on_result=self.take,
            on_error=self.problem.emit,
        )

    def take(self, ready: Ready) -> None:
        """Work on a plan from now on."""
        self.close_plan()
        self.ready = ready
        self.planned.emit(ready)
        self.look()

    def close_plan(self) -> None:
        """Forget the plan; nothing is asked for until there is another one."""
        self.ready, self.tuned = None, None
        for lane in (self._planning, self._previewing, self._validating):
            lane.drop()
        self._rest.stop()

    def wait_for_plan(self) -> None:
        """Show nothing until somebody has searched for an order."""
        self.close_plan()
        self.drawn.clear()

    def renew_hold_out(self) -> None:
        """Judge on what is annotated now; what was found out before is void."""
        training_data = TrainingData.of(self.session)
        self._validating.drop()
        self.findings = Findings(
            HoldOut(
                training_data.samples,
                training_data.validation,
                device=preferences().device,
            )
        )
        self._rest.start()

    def move(self, share: float) -> None:
        """The slider was moved."""
        self.share, self.tuned = share, None
        self.look()

    def set_active(self, active: bool) -> None:
        """Whether the page is in front; nothing is drawn while it is not."""
        self.drawn.active = active
        self._look_or_clear(active)

    def set_shown(self, shown: bool) -> None:
        """Whether to draw over the image."""
        self.drawn.shown = shown
        self._look_or_clear(shown)

    def _look_or_clear(self, on: bool) -> None:
        if on:
            self.look()
        else:
            self.drawn.clear()

    def on_camera(self, _event: object = None) -> None:
        """The visible area has changed: look again as soon as it holds still."""
        if self.active and self.ready is not None:
            self._camera.start()

    def close_down(self) -> None:
        """End everything; may be called when the window is gone."""
        for lane in (self._planning, self._previewing, self._validating):
            lane.close()

    # -- looking ------------------------------------------------------------------

    def look(self) -> None:
        """Try the present position on the visible area."""
        if self.ready is None:
            return
        self._validating.drop()
        self._rest.start()
        self._ask()

    def _ask(self) -> None:
        view = self.ready.view
        area = self.drawn.area()
        share = self.share
        tuned = self.tuned
        quality = self.findings.quality_at(Position(self.ready.plan, share))
        limits = None if quality is None else quality.thresholds
        self._previewing.ask(
            lambda: view.look(area, share, tuned=tuned, thresholds=limits),
            title="Looking at the pruned network",
            on_progress=self._on_previewed,
            on_result=self._on_counted,
            on_error=self.problem.emit,
        )

    def _on_previewed(self, progress: Progress) -> None:
        preview = progress.report
        if self.ready is None or not isinstance(preview, PruningPreview):
            return
        self.drawn.draw(preview, self.ready.plan.checkpoint.task)
        self.previewed.emit(preview)

    def _on_counted(self, statistics: PlanStatistics | None) -> None:
        if statistics is not None and self.ready is not None:
            self.counted.emit(statistics)

    # -- at rest ------------------------------------------------------------------

    def _on_rest(self) -> None:
        if self.ready is None or self.runner.running or not self.active:
            return
        if self._previewing.busy:
            self._rest.start()
            return
        position = Position(self.ready.plan, self.share, self.tuned)
        findings, versions = self.findings, list(self.versions().values())
        self._validating.ask(
            lambda: findings.find_out(position, versions),
            title="Validating the pruned network",
            on_progress=self._on_finding,
            on_result=lambda _none: None,
            on_error=self.problem.emit,
        )

    def _on_finding(self, progress: Progress) -> None:
        if progress.report is not None:
            self.found.emit(progress.report)
        if isinstance(progress.report, PositionQuality) and self.ready is not None:
            self._ask()  # now with the position's own best thresholds

    def versions(self) -> dict[str, Checkpoint]:
        """Kept versions that can be compared with the one that is being pruned."""
        own = None if self.ready is None else self.ready.plan.checkpoint
        return comparable(own, self.session.checkpoints)
