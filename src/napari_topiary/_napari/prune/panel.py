"""All widgets of the Prune page, from the form at the top to the pictures below."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QCheckBox, QVBoxLayout, QWidget

from napari_topiary._napari.prune.card import PruneCard
from napari_topiary._napari.prune.compression_slider import CompressionSlider
from napari_topiary._napari.prune.form import PruneForm, SearchRow
from napari_topiary._napari.prune.keeping import KEEP, TUNE, KeepRow, TuningRow
from napari_topiary._napari.prune.tabs import PruneTabs
from napari_topiary._napari.prune.view import PruningPreview, Ready
from napari_topiary._napari.training_run import STOP
from napari_topiary._napari.widgets import look
from napari_topiary._napari.widgets.page import button, row
from napari_topiary.jobs.pruning import PositionQuality, Speeds
from napari_topiary.pruning import PlanStatistics
from napari_topiary.types import Task

if TYPE_CHECKING:
    from napari_topiary._napari.jobs.runner import JobRunner
    from napari_topiary.checkpoint import Checkpoint
    from napari_topiary.config import PruneConfig
    from napari_topiary.io.dataset import Sample
    from napari_topiary.session import Session


_SPACING = 8
ADVICE = (
    "So much is usually lost at first: <b>Fine-tune</b> brings most of it back, at the "
    "same size."
)
WORTH_TUNING = 0.02
"""A loss of quality that fine-tuning can be expected to win back."""
SEARCHED_FOR = 0.75
"""Share that searches assume to be removed from the layers below."""


class PrunePanel(QWidget):
    """Form, slider, card, fine-tuning, keeping and the tabs."""

    def __init__(self, session: Session, runner: JobRunner) -> None:
        super().__init__()
        self.session = session
        self.form = PruneForm()
        self.search = SearchRow(session, runner, self.chosen)
        self.slider = CompressionSlider()
        self.show_switch = QCheckBox("Show what it finds")
        self.show_switch.setChecked(True)
        self.show_switch.setToolTip(
            "The pruned network is tried on the part of the image that you see, at "
            "most\n512 × 512 pixels of the size that the network reads."
        )
        self.back_button = button(
            "Back to original",
            "Show the network as it was before pruning.",
            lambda: None,
        )
        self.card = PruneCard()
        self.problems = look.paragraph("", role="problem")
        self.problems.hide()
        self.advice = look.paragraph(ADVICE, role="hint")
        self.advice.hide()
        self.tune = TuningRow()
        self.keep_row = KeepRow()
        self.kept = look.paragraph("", role="good")
        self.kept.hide()
        self.tabs = PruneTabs(runner, self._asked)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(_SPACING)
        layout.addWidget(self.form)
        layout.addWidget(self.search)
        layout.addWidget(self.slider)
        layout.addLayout(row(self.show_switch, 1, self.back_button))
        for widget in (
            self.card,
            self.problems,
            self.advice,
            self.tune,
            self.keep_row,
            self.kept,
            self.tabs,
        ):
            layout.addWidget(widget)

    def chosen(self) -> tuple[Checkpoint, PruneConfig] | None:
        """The network that is pruned, and how; None if there is none."""
        checkpoint = self.session.checkpoints.get(self.form.name or "")
        if checkpoint is None:
            return None
        return checkpoint, self.form.config(SEARCHED_FOR)

    def _asked(self) -> tuple[Checkpoint, tuple[Sample, ...]] | None:
        """The network that is pruned, and annotated images."""
        checkpoint = self.session.checkpoints.get(self.form.name or "")
        return None if checkpoint is None else (checkpoint, self.session.samples())

    def show_state(self, *, ready: bool, tuning: bool, busy: bool) -> None:
        """Enable what can be done now."""
        self.search.show_state(ready=ready)
        self.form.setEnabled(not tuning)
        for widget in (self.slider, self.back_button):
            widget.setEnabled(not tuning and (ready or not self.search.wanted))
        self.keep_row.setEnabled(ready and not tuning)
        self.tabs.sensitivity.refresh()
        if tuning:
            self.tune.set_state(STOP, enabled=True)
        else:
            self.tune.set_state(TUNE, enabled=ready and not busy)

    def show_plan(self, ready: Ready, factor: float) -> None:
        """Show a plan before the slider moves."""
        self.card.set_network(ready.before, factor)
        share = min(self.slider.share, ready.plan.end)
        self.slider.set_share(max(share, ready.plan.start))

    def show_preview(self, preview: PruningPreview, task: Task) -> None:
        """Show what was seen on the image."""
        self.card.show_preview(preview, particles=task.kind == "detect")

    def show_statistics(self, statistics: PlanStatistics) -> None:
        """Show what the position means for the network."""
        self.card.show_statistics(statistics)
        self.tabs.show_layers(statistics, kind=self.form.kind)

    def show_finding(self, report: object) -> None:
        """Show what was found out while the slider rested."""
        if isinstance(report, Speeds):
            self.card.show_speeds(report)
        elif isinstance(report, PositionQuality):
            self.card.show_quality(report.before, report.after)
            self.show_problems(report.problems)
            self._advise(report)

    def show_problems(self, sentences: Sequence[str] = ()) -> None:
        """Say what a person should know about this position; mostly nothing."""
        self.problems.setText(" ".join(sentences))
        self.problems.setVisible(bool(sentences))

    def show_kept(self, sentence: str) -> None:
        """Say beside the button what it has done; empty once that is over."""
        self.kept.setText(f"✓ {sentence}: Predict and Compare use it now.")
        self.kept.setVisible(bool(sentence))
        if not sentence:
            self.keep_row.show_state(KEEP)

    def _advise(self, report: PositionQuality) -> None:
        before, after = report.before, report.after
        known = before is not None and after is not None
        lost = known and before.value - after.value > WORTH_TUNING
        self.advice.setVisible(lost and bool(self.session.samples()))

    def forget(self) -> None:
        """Show nothing of a plan that is void."""
        self.card.forget()
        self.show_problems()
        self.advice.hide()

    def propose(self, ready: Ready | None) -> None:
        """Propose a name, and a way to fine-tune, for where the slider stands."""
        share = self.slider.share
        if ready is not None:
            share = min(share, ready.plan.end)
            weights = ready.plan.nonzero(ready.plan.cursor(share))
            self.keep_row.propose(self.form.name or "", weights)
        self.tune.propose(share)
