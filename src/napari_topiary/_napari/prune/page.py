"""The Prune page: drag, see what the smaller network still finds, fine-tune, keep."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from napari_topiary._napari.jobs.latest import at_end_of
from napari_topiary._napari.prune.form import is_searched
from napari_topiary._napari.prune.keeping import (
    KEEP,
    KEEPING,
    KEPT,
    FineTuning,
    VersionMaker,
)
from napari_topiary._napari.prune.live_pruning import LivePruning
from napari_topiary._napari.prune.panel import PrunePanel
from napari_topiary._napari.prune.view import PruningPreview, Ready
from napari_topiary._napari.widgets.page import Page
from napari_topiary._napari.widgets.plot import plot_colours
from napari_topiary.jobs.pruning import origin_of
from napari_topiary.pruning import PlanStatistics

if TYPE_CHECKING:
    pass

EMPTY = (
    "<b>Train a network first.</b> Then this page cuts it back to what it needs, while "
    "you watch what it still finds."
)


class PrunePage(Page):
    """A slider that prunes while the image shows what is still found."""

    title = "Prune"

    def build(self) -> None:
        """Fill the page."""
        self.live = LivePruning(self.viewer, self.session, self.runner)
        self.maker = VersionMaker(self.session)
        self.panel = panel = PrunePanel(self.session, self.runner)
        self.form, self.slider, self.card = panel.form, panel.slider, panel.card
        self.tune, self.keep_row, self.tabs = panel.tune, panel.keep_row, panel.tabs
        self.fine_tuning = FineTuning(self.live, panel, self.maker)
        self.body.addWidget(panel)
        self.body.addStretch(1)
        self._connect_panel()
        self._connect_work()
        self.restyle()
        self.live.renew_hold_out()
        self._on_checkpoints()

    def _connect_panel(self) -> None:
        panel = self.panel
        self.form.changed.connect(self.replan)
        panel.search.found.connect(self.replan)
        panel.search.problem.connect(self.refuse)
        self.slider.changed.connect(self._on_slider)
        panel.show_switch.toggled.connect(self.live.set_shown)
        panel.back_button.clicked.connect(lambda _checked=False: self.go_back())
        self.tabs.sensitivity.problem.connect(self.refuse)
        self.tune.pressed.connect(self.on_tune)
        self.keep_row.asked.connect(self.keep)
        self.keep_row.refused.connect(self.refuse)
        self.tabs.versions.chosen.connect(self.open_version)
        self.tabs.versions.preferred.connect(self._on_preferred)
        self.tabs.versions.unwanted.connect(self.delete_version)

    def _connect_work(self) -> None:
        session, live = self.session, self.live
        live.planned.connect(self._on_planned)
        live.previewed.connect(self._on_preview)
        live.counted.connect(self._on_counted)
        live.found.connect(self._on_found)
        live.problem.connect(self.refuse)
        self.maker.kept.connect(self._on_position_kept)
        self.maker.problem.connect(self._on_not_kept)
        self.fine_tuning.begun.connect(self._on_tuning)
        self.fine_tuning.made.connect(self._on_kept)
        self.fine_tuning.said.connect(self.say)
        self.fine_tuning.problem.connect(self.refuse)
        self.fine_tuning.ended.connect(self._on_end)
        self.listen(session.checkpoints_changed, self._on_checkpoints)
        self.listen(session.active_checkpoint_changed, self._on_active)
        for signal in (
            session.annotations_changed,
            session.images_changed,
            session.task_changed,
        ):
            self.listen(signal, self._on_marks)
        camera = self.viewer.scene.camera.events
        for event in (camera.center, camera.zoom):
            self.listen(event, live.on_camera)
        self.listen(self.viewer.events.theme, self.restyle)
        self.runner.started.connect(self._refresh_buttons)
        self.runner.finished.connect(self._refresh_buttons)
        at_end_of(self, live.close_down, self.maker.close)

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
        self.panel.setVisible(bool(known))
        if wanted != name:
            self.replan()
        self._show_versions()
        self._refresh_buttons()

    def _on_active(self) -> None:
        name = self.session.active_checkpoint
        if not self.maker.acting and name is not None and name != self.form.name:
            self.open_version(name)
        self._show_versions()

    def _on_marks(self, *_: object) -> None:
        self.live.renew_hold_out()
        self._refresh_buttons()

    def open_version(self, name: str) -> None:
        """Prune this one from now on."""
        self.form.set_names(self.session.checkpoints, name)
        self.replan()
        self._show_versions()

    def replan(self) -> None:
        """Rank anew: another network, kind, criterion or scope."""
        if self.tuning:
            return
        self.say("")
        chosen = self.panel.chosen()
        if chosen is None or not self.live.active:
            self.live.close_plan()  # there is time until the page comes to the front
        elif not is_searched(chosen[1]):
            self.live.open(*chosen)
        elif (found := self.panel.search.known(chosen)) is not None:
            self.live.take(found)
        else:
            self.live.wait_for_plan()
            self.panel.forget()
        self._refresh_buttons()

    def _on_planned(self, ready: Ready) -> None:
        scale = next((e.scale for e in self.session.images.values()), None)
        factor = ready.plan.checkpoint.factor_for(scale)
        self.panel.show_plan(ready, factor)
        self.live.share = self.slider.share
        self._after_move()

    # -- the slider ---------------------------------------------------------------

    def _on_slider(self, share: float) -> None:
        self.say("")
        self.live.move(share)
        self._after_move()

    def _after_move(self) -> None:
        self.card.wait()
        self.panel.show_kept("")
        self.panel.show_problems()
        self.panel.propose(self.live.ready)
        self._refresh_buttons()

    def _on_preview(self, preview: PruningPreview) -> None:
        self.panel.show_preview(preview, self.live.ready.plan.checkpoint.task)

    def _on_counted(self, statistics: PlanStatistics) -> None:
        tuned = self.live.tuned is not None
        self.card.call_after("fine-tuned" if tuned else "after")
        self.panel.show_statistics(statistics)
        if statistics.note and statistics.asked > 0:
            self.say(statistics.note)

    def _on_found(self, report: object) -> None:
        self.panel.show_finding(report)
        if self.live.tuned is not None:
            self.panel.advice.hide()  # it was just done
        self._show_versions()

    def go_back(self) -> None:
        """Show the network as it was before pruning."""
        ready = self.live.ready
        if ready is None:
            return
        origin = origin_of(ready.plan.checkpoint, self.session.checkpoints)
        self.slider.set_share(0.0)
        if origin is not None and origin != self.form.name:
            self.open_version(origin)
        else:
            self._on_slider(max(0.0, ready.plan.start))

    # -- keeping ------------------------------------------------------------------

    def _show_versions(self) -> None:
        self.tabs.versions.show_versions(
            self.live.versions(),
            self.live.findings,
            self.session.active_checkpoint or "",
            self.form.name or "",
        )

    def _on_preferred(self, name: str) -> None:
        self.maker.use(name)
        self.say(f"“{name}” is used from now on, for Predict and Compare.")

    def delete_version(self, name: str) -> None:
        """Take a kept version out of the project."""
        if self.tuning:
            self.refuse("Fine-tuning is still running: stop it first.")
            return
        self.session.remove_checkpoint(name)
        self.panel.show_kept("")
        self.say(f"“{name}” is deleted.")

    def keep(self, name: str) -> None:
        """Keep what the slider shows as a version of its own."""
        ready = self.live.ready
        if ready is not None:
            hold_out = self.live.findings.hold_out
            int8 = self.keep_row.int8.isChecked()
            self.keep_row.show_state(KEEPING)
            self.maker.keep(ready, self.slider.share, name, hold_out, int8=int8)

    def _on_not_kept(self, sentence: str) -> None:
        self.keep_row.show_state(KEEP)
        self.refuse(sentence)

    def _on_position_kept(self, sentence: str, remarks: Sequence[str]) -> None:
        self._on_kept(sentence, remarks)
        if self.keep_row.button.text() == KEEPING:  # the slider was not moved since
            self.keep_row.show_state(KEPT)

    def _on_kept(self, sentence: str, remarks: Sequence[str]) -> None:
        self.keep_row.forget()
        self.panel.propose(self.live.ready)
        self.panel.show_kept(sentence)
        if (tuned := self.live.tuned) is not None:
            self.keep_row.show_tuned(tuned.name)
            self._refresh_buttons()
        self.tabs.setCurrentWidget(self.tabs.versions)
        self.live.look()
        shown = self.panel.problems.text()  # said in the card already
        self.say(" ".join(one for one in remarks if one not in shown))

    # -- fine-tuning --------------------------------------------------------------

    @property
    def tuning(self) -> bool:
        """Whether this page's fine-tuning runs."""
        return self.fine_tuning.running

    def on_tune(self) -> None:
        """Start fine-tuning, or stop it and keep the best."""
        self.fine_tuning.toggle()

    def _on_tuning(self) -> None:
        self.say("")
        self._refresh_buttons()

    def _on_end(self) -> None:
        self._refresh_buttons()
        self.live.look()

    def _refresh_buttons(self, *_: object) -> None:
        self.panel.show_state(
            ready=self.live.ready is not None,
            tuning=self.tuning,
            busy=self.runner.running and not self.tuning,
            tuned=self.live.tuned is not None,
        )
