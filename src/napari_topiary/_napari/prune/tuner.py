"""Fine-tunes what the slider shows, and keeps what comes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Signal

from napari_topiary._napari.learning.growing import STOPPING, Growing
from napari_topiary._napari.learning.readiness import Lesson
from napari_topiary._napari.prune.desk import PruneDesk
from napari_topiary._napari.prune.jobs import fine_tuning
from napari_topiary._napari.prune.keeper import Keeper
from napari_topiary._napari.prune.live_pruning import LivePruning

if TYPE_CHECKING:
    from napari_topiary.checkpoint import Checkpoint


class Tuner(QObject):
    """Starts and stops fine-tuning.

    Parameters
    ----------
    live
        Knows the plan.
    desk
        Says for how long, and how; shows the curves.
    keeper
        Keeps the result.

    Signals
    -------
    begun()
        Fine-tuning has started.
    made(str)
        Its result is kept; a sentence.
    said(str), problem(str)
        A sentence for the user.
    ended()
        It is over, however it went.
    """

    begun = Signal()
    made = Signal(str)
    said = Signal(str)
    problem = Signal(str)
    ended = Signal()

    def __init__(self, live: LivePruning, desk: PruneDesk, keeper: Keeper) -> None:
        super().__init__()
        self.live, self.desk, self.keeper = live, desk, keeper
        self.growing = Growing(
            live.drawn.viewer, live.session, live.runner, curves=desk.tabs.curves
        )
        self.growing.made.connect(self._on_made)
        self.growing.said.connect(self.said)
        self.growing.problem.connect(self.problem)
        self.growing.ended.connect(self.ended)

    @property
    def running(self) -> bool:
        """Whether it runs."""
        return self.growing.running

    def toggle(self) -> None:
        """Start fine-tuning, or stop it and keep the best."""
        if self.running:
            self.desk.tune.set_state(STOPPING, enabled=False)
            self.growing.stop()
            return
        ready, share = self.live.ready, self.desk.slider.share
        if ready is None:
            return
        lesson, tuning = Lesson.of(self.live.session), self.desk.tune.tuning()
        begun = self.growing.start(
            lambda: fine_tuning(ready.plan, share, tuning, lesson),
            title="Fine-tuning",
            preview=self.desk.show_switch.isChecked(),
        )
        if begun:
            self.desk.tabs.setCurrentWidget(self.desk.tabs.curves)
            self.begun.emit()

    def _on_made(self, checkpoint: Checkpoint) -> None:
        name = self.desk.keep_row.name.text()
        made = self.keeper.keep_tuned(checkpoint, name)
        self.live.tuned = made
        problems = made.provenance.get("problems", ())
        said = (f"Fine-tuned and kept as “{made.name}”.", *problems)
        self.made.emit(" ".join(said))
