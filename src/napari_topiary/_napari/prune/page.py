"""The Prune page: drag, see what the smaller network still finds, fine-tune, keep."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QCheckBox, QVBoxLayout, QWidget

from napari_topiary._napari.jobs.latest import Latest, at_end_of
from napari_topiary._napari.learning.checkpoint_files import named
from napari_topiary._napari.learning.growing import STOP, STOPPING, Growing
from napari_topiary._napari.learning.readiness import Lesson
from napari_topiary._napari.prune.card import PruneCard
from napari_topiary._napari.prune.compression_slider import CompressionSlider
from napari_topiary._napari.prune.form import PruneForm
from napari_topiary._napari.prune.jobs import Ready, fine_tuning, keeping
from napari_topiary._napari.prune.keep_row import KeepRow
from napari_topiary._napari.prune.live_pruning import LivePruning
from napari_topiary._napari.prune.resting import PositionQuality, Speeds
from napari_topiary._napari.prune.tabs import PruneTabs
from napari_topiary._napari.prune.tuning_row import TUNE, TuningRow
from napari_topiary._napari.prune.view import Look
from napari_topiary._napari.widgets.page import Page, button, row
from napari_topiary._napari.widgets.plot import plot_colours
from napari_topiary.errors import TopiaryError
from napari_topiary.prediction import working_factor_for
from napari_topiary.pruning import PlanStatistics

if TYPE_CHECKING:
    import napari.viewer

    from napari_topiary._napari.jobs.runner import JobRunner
    from napari_topiary.checkpoint import Checkpoint
    from napari_topiary.session import Session

EMPTY = (
    "<b>Train a network first.</b> Then this page cuts it back to what it needs, while "
    "you watch what it still finds."
)


class PrunePage(Page):
    """A slider that prunes while the image shows what is still found."""

    title = "Prune"

    def __init__(
        self,
        viewer: napari.viewer.Viewer,
        session: Session | None = None,
        runner: JobRunner | None = None,
    ) -> None:
        super().__init__(viewer, session, runner)
        self._own_change = False
        self.live = LivePruning(self.viewer, self.session, self.runner)
        self._keeping = Latest()
        self._make_widgets()
        self.growing = Growing(
            self.viewer, self.session, self.runner, curves=self.tabs.curves
        )
        self._place_widgets()
        self._connect()
        self.restyle()
        self.live.renew_hold_out()
        self._on_checkpoints()

    # -- widgets ------------------------------------------------------------------

    def _make_widgets(self) -> None:
        self.form = PruneForm()
        self.slider = CompressionSlider()
        self.show_switch = QCheckBox("Show what it finds")
        self.show_switch.setChecked(True)
        self.show_switch.setToolTip(
            "The pruned network is tried on the part of the image that you see, at "
            "most\n512 × 512 pixels of the size that the network reads."
        )
        self.card = PruneCard()
        self.tabs = PruneTabs()
        self.tune = TuningRow()
        self.keep_row = KeepRow()
        self.back_button = button(
            "Back to the original",
            "Show the network as it was before pruning.",
            self.go_back,
        )

    def _place_widgets(self) -> None:
        self.desk = QWidget()
        desk = QVBoxLayout(self.desk)
        desk.setContentsMargins(0, 0, 0, 0)
        desk.setSpacing(self.body.spacing())
        desk.addWidget(self.form)
        desk.addWidget(self.slider)
        desk.addLayout(row(self.show_switch, 1, self.back_button))
        for widget in (self.card, self.tune, self.keep_row, self.tabs):
            desk.addWidget(widget)
        self.body.addWidget(self.desk)
        self.body.addStretch(1)

    def _connect(self) -> None:
        session, live = self.session, self.live
        self.form.changed.connect(self.replan)
        self.slider.changed.connect(self._on_slider)
        self.show_switch.toggled.connect(live.set_shown)
        self.tune.pressed.connect(self.on_tune)
        self.keep_row.asked.connect(self.keep)
        self.keep_row.refused.connect(self.refuse)
        self.tabs.versions.chosen.connect(self.open_version)
        self.tabs.versions.preferred.connect(self._on_preferred)
        live.planned.connect(self._on_planned)
        live.looked.connect(self._on_looked)
        live.counted.connect(self._on_counted)
        live.found.connect(self._on_found)
        live.problem.connect(self.refuse)
        self.growing.made.connect(self._on_tuned)
        self.growing.said.connect(self.say)
        self.growing.problem.connect(self.refuse)
        self.growing.ended.connect(self._on_end)
        self.listen(session.checkpoints_changed, self._on_checkpoints)
        self.listen(session.active_checkpoint_changed, self._on_active)
        for signal in (
            session.annotations_changed,
            session.images_changed,
            session.task_changed,
        ):
            self.listen(signal, self._on_material)
        camera = self.viewer.scene.camera.events
        for event in (camera.center, camera.zoom):
            self.listen(event, live.on_camera)
        self.listen(self.viewer.events.theme, self.restyle)
        self.runner.started.connect(self._refresh_buttons)
        self.runner.finished.connect(self._refresh_buttons)
        at_end_of(self, live.close_down, self._keeping.close)

    def restyle(self, _event: object = None) -> None:
        """Take over the colours of the theme."""
        self.tabs.restyle(plot_colours(self.viewer))

    # -- coming and going ---------------------------------------------------------

    def activated(self) -> None:
        """Draw over the image again, and open a plan if there is none."""
        self.live.set_active(True)
        if self.live.ready is None and self.form.name:
            self.replan()

    def hideEvent(self, event: Any) -> None:
        """Take what was drawn away when another page comes to the front."""
        super().hideEvent(event)
        if not event.spontaneous():
            self.live.set_active(False)

    # -- the network to prune -----------------------------------------------------

    def _on_checkpoints(self) -> None:
        known = self.session.checkpoints
        name = self.form.name
        wanted = name if name in known else self.session.active_checkpoint
        if wanted not in known:  # the active one is just being taken away
            wanted = next(reversed(known), None)
        self.form.set_names(known, wanted)
        self.show_empty("" if known else EMPTY)
        self.desk.setVisible(bool(known))
        if wanted != name:
            self.replan()
        self._show_versions()
        self._refresh_buttons()

    def _on_active(self) -> None:
        name = self.session.active_checkpoint
        if not self._own_change and name is not None and name != self.form.name:
            self.open_version(name)
        self._show_versions()

    def _on_material(self, *_: object) -> None:
        self.live.renew_hold_out()

    def open_version(self, name: str) -> None:
        """Prune this one from now on.

        Parameters
        ----------
        name
            Of a checkpoint of the session.
        """
        self.form.set_names(self.session.checkpoints, name)
        self.replan()

    def replan(self) -> None:
        """Rank anew: another network, kind, criterion or scope."""
        name = self.form.name
        if self.tuning:
            return
        self.say("")
        if name is None or not self.live.active:
            self.live.close_plan()  # there is time until the page comes to the front
        else:
            self.live.open(self.session.checkpoints[name], self.form.config(0.75))
        self._refresh_buttons()

    def _on_planned(self, ready: Ready) -> None:
        checkpoint = ready.plan.checkpoint
        try:
            factor, _ = working_factor_for(checkpoint, self._scale())
        except TopiaryError:
            factor = checkpoint.working_factor
        self.card.set_network(ready.before, factor)
        share = max(self.slider.share, ready.plan.start)
        self.slider.set_share(share)
        self.live.share = share
        self._after_move()

    def _scale(self) -> float | None:
        return next((e.scale for e in self.session.images.values()), None)

    # -- the slider ---------------------------------------------------------------

    def _on_slider(self, share: float) -> None:
        self.say("")
        self.live.move(share)
        self._after_move()

    def _after_move(self) -> None:
        self.card.wait()
        self.tune.propose(self.slider.share)
        self._propose_name()
        self._refresh_buttons()

    def _on_looked(self, look: Look) -> None:
        is_detection = self.live.ready.plan.checkpoint.task.kind == "detect"
        self.card.show_look(look, particles=is_detection)

    def _on_counted(self, statistics: PlanStatistics) -> None:
        self.card.show_statistics(statistics)
        self.tabs.show_layers(statistics, kind=self.form.kind)
        if statistics.note and statistics.asked > 0:
            self.say(statistics.note)

    def _on_found(self, report: object) -> None:
        if isinstance(report, Speeds):
            self.card.show_speeds(report)
        elif isinstance(report, PositionQuality):
            self.card.show_quality(report.before, report.after)
        self._show_versions()

    def _show_versions(self) -> None:
        self.tabs.versions.show_versions(
            self.live.versions(),
            self.live.findings,
            self.session.active_checkpoint or "",
        )

    def _on_preferred(self, name: str) -> None:
        self._activate(name)
        self.say(f"“{name}” is used from now on, for Predict and Compare.")

    def _activate(self, name: str) -> None:
        self._own_change = True
        try:
            self.session.activate(name)
        finally:
            self._own_change = False

    def go_back(self) -> None:
        """Show the network as it was before pruning."""
        ready = self.live.ready
        if ready is None:
            return
        origin = self._origin(ready.plan.checkpoint)
        self.slider.set_share(0.0)
        if origin is not None and origin != self.form.name:
            self.open_version(origin)
        else:
            self._on_slider(max(0.0, ready.plan.start))

    def _origin(self, checkpoint: Checkpoint) -> str | None:
        """Name of the unpruned network that a checkpoint comes from, if it is kept."""
        for name, each in self.live.versions().items():
            if (
                not each.pruning
                and each.unpruned_parameters == checkpoint.unpruned_parameters
                and dict(each.sizes) == dict(checkpoint.sizes)
            ):
                return name
        return None

    def _propose_name(self) -> None:
        self.keep_row.propose(self.form.name or "", self.form.kind, self.slider.share)

    # -- keeping ------------------------------------------------------------------

    def keep(self, name: str) -> None:
        """Keep what the slider shows as a version of its own.

        Parameters
        ----------
        name
            To keep it under.
        """
        ready, share = self.live.ready, self.slider.share
        if ready is None:
            return
        hold_out = self.live.findings.hold_out
        name = self.session.unique_checkpoint_name(name)
        self._keeping.ask(
            lambda: keeping(ready.plan, share, name, hold_out),
            title="Keeping the pruned network",
            on_result=self._on_kept,
            on_error=self.refuse,
        )

    def _on_kept(self, checkpoint: Checkpoint) -> None:
        self._add(checkpoint.name, checkpoint)
        self.say(f"Kept as “{checkpoint.name}”.")

    def _add(self, name: str, checkpoint: Checkpoint) -> None:
        self._own_change = True
        try:
            self.session.add_checkpoint(name, checkpoint)
        finally:
            self._own_change = False
        self.keep_row.forget()
        self._propose_name()
        self.tabs.setCurrentWidget(self.tabs.versions)
        self.live.look()

    # -- fine-tuning --------------------------------------------------------------

    @property
    def tuning(self) -> bool:
        """Whether this page's fine-tuning runs."""
        return self.growing.running

    def on_tune(self) -> None:
        """Start fine-tuning, or stop it and keep the best."""
        if self.tuning:
            self.tune.set_state(STOPPING, enabled=False)
            self.growing.stop()
            return
        ready, share = self.live.ready, self.slider.share
        if ready is None:
            return
        lesson, tuning = Lesson.of(self.session), self.tune.tuning()
        begun = self.growing.start(
            lambda: fine_tuning(ready.plan, share, tuning, lesson),
            title="Fine-tuning",
            preview=self.show_switch.isChecked(),
        )
        if begun:
            self.say("")
            self.tabs.setCurrentWidget(self.tabs.curves)
            self._refresh_buttons()

    def _on_tuned(self, checkpoint: Checkpoint) -> None:
        name = self.session.unique_checkpoint_name(
            f"{self.keep_row.name.text()}, tuned"
        )
        made = named(checkpoint, name)
        self.live.tuned = made
        self._add(name, made)
        self.say(f"Fine-tuned and kept as “{name}”.")

    def _on_end(self) -> None:
        self._refresh_buttons()
        self.live.look()

    def _refresh_buttons(self, *_: object) -> None:
        ready = self.live.ready is not None
        busy = self.runner.running and not self.tuning
        for widget in (self.form, self.slider, self.back_button):
            widget.setEnabled(not self.tuning and bool(self.session.checkpoints))
        self.keep_row.setEnabled(ready and not self.tuning)
        if self.tuning:
            self.tune.set_state(STOP, enabled=True)
        else:
            self.tune.set_state(TUNE, enabled=ready and not busy)
