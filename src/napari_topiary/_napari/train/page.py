"""The Train page: a network learns from what is marked, and can be watched doing it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QCheckBox, QFileDialog

from napari_topiary._napari.drawing.drawing import drawing_of
from napari_topiary._napari.jobs.latest import Latest, at_end_of, later
from napari_topiary._napari.state import preferences
from napari_topiary._napari.train.form import TrainForm
from napari_topiary._napari.train.result import MoreHelp, ResultCard
from napari_topiary._napari.training_run import (
    STOP,
    STOPPING,
    CheckpointFiles,
    TrainingRun,
)
from napari_topiary._napari.widgets.page import Offer, Page, button
from napari_topiary._napari.widgets.plot import CurvePlot, plot_colours
from napari_topiary.annotations import Regions
from napari_topiary.checkpoint import Checkpoint
from napari_topiary.jobs.training import (
    Checked,
    TrainingData,
    checking,
    finish,
    short_name,
    training,
)
from napari_topiary.words import listed

if TYPE_CHECKING:
    pass

TRAIN = "Train"
_START = "Start learning from what is marked."
_SETTLE_MS = 150


class TrainPage(Page):
    """Choose a network, train it, watch it learn, keep the best."""

    title = "Train"

    def build(self) -> None:
        """Fill the page."""
        chosen = preferences()
        self.form = TrainForm(chosen)
        self.train_button = button(TRAIN, _START, self.on_train, primary=True)
        self.preview_switch = QCheckBox("Show what it finds while it learns")
        self.preview_switch.setChecked(chosen.preview)
        self.preview_switch.setToolTip(
            "Every two seconds the network is tried on the part of the image that you "
            "see,\nand its answer is drawn over it."
        )
        self.plot = CurvePlot()
        self.plot.setToolTip(
            "Left: the loss, how wrong the network is where it learns; it should fall."
            "\nRight: its quality on what is held back; the best one is kept."
        )
        self.card = ResultCard()
        self.more_help = MoreHelp(
            self.runner, lambda: (TrainingData.of(self.session), self.form.config())
        )
        self.offer = Offer()
        self.part_offer = Offer()
        self._parts: Mapping[str, Regions] = {}
        # Changes of the session: how many, asked about, looked at.
        self._changes, self._asked, self._seen = 1, 0, 0
        self._wanted = False
        for widget in (
            self.offer,
            self.form,
            self.part_offer,
            self.train_button,
            self.form.below,
            self.preview_switch,
            self.plot,
            self.card,
            self.more_help,
        ):
            self.body.addWidget(widget)
        self.body.addStretch(1)
        self.plot.hide()
        self._checks = Latest()
        self.files = CheckpointFiles(self.session, self.offer)
        self.training_run = TrainingRun(
            self.viewer, self.session, self.runner, curves=self.plot
        )
        self._settle = later(self, _SETTLE_MS, self.refresh)
        self._listen_to_all()
        self.restyle()
        self.refresh()

    def _listen_to_all(self) -> None:
        session = self.session
        for signal in (
            session.images_changed,
            session.annotations_changed,
            session.task_changed,
            session.scale_changed,
        ):
            self.listen(signal, self._on_session)
        self.listen(session.checkpoints_changed, self._on_checkpoints)
        self.listen(self.viewer.events.theme, self.restyle)
        self.form.changed.connect(self._on_form)
        self.form.file_wanted.connect(self.choose_file)
        self.preview_switch.toggled.connect(self.training_run.set_preview)
        self.training_run.made.connect(self._on_made)
        self.training_run.said.connect(self._on_said)
        self.training_run.problem.connect(self.refuse)
        self.training_run.ended.connect(self._on_end)
        self.more_help.problem.connect(self.refuse)
        self.files.opened.connect(self._on_opened)
        self.files.recovered.connect(self._show_result)
        self.files.problem.connect(self.refuse)
        self.runner.started.connect(self._on_busy)
        self.runner.finished.connect(self._on_idle)
        at_end_of(self, self._checks.close, self.form.network.cost.lane.close)
        self._on_checkpoints()

    def on_other_project(self) -> None:
        """Another project was opened: curves and figures were of the one before."""
        super().on_other_project()
        self.offer.close_offer()
        self.part_offer.close_offer()
        self._parts = {}
        self._changes += 1
        self._wanted = False
        self.form.set_marks_problem("")
        self._refresh_button()
        self.plot.reset()
        self.plot.hide()
        self.card.hide()
        self.more_help.card.hide()

    # -- what is around -----------------------------------------------------------

    def activated(self) -> None:
        """Look again at what there is to learn from."""
        self.refresh()
        self.files.offer_unfinished()

    def hideEvent(self, event: Any) -> None:
        """Take what was drawn away when another page comes to the front."""
        super().hideEvent(event)
        if not event.spontaneous() and not self.training:
            self.training_run.preview.stop(clear=True)

    def restyle(self, _event: object = None) -> None:
        """Take over the colours of the theme."""
        colours = plot_colours(self.viewer)
        self.plot.restyle(colours)
        self.more_help.card.picture.restyle(colours)

    def refresh(self) -> None:
        """Renew all that follows from the session; not while another page is shown."""
        if self.window().isVisible() and not self.isVisible():
            return
        training_data = TrainingData.of(self.session)
        missing = training_data.first_step()
        self.show_empty(missing)
        self.form.set_training_data(training_data, measure=not self.runner.running)
        self._refresh_button()
        if missing:
            self._checks.drop()
            self.form.set_marks_problem("")
            self._seen, self._wanted = self._changes, False
            return
        config, start = self.form.config(), self.form.start.checkpoint
        self._asked = self._changes
        self._checks.ask(
            lambda: checking(training_data, config, start),
            title="Looking at what is marked",
            on_result=self._on_checked,
            # The training looks again, and says it.
            on_error=lambda _: self._on_checked(Checked()),
        )

    def _on_session(self, *_: object) -> None:
        self._changes += 1
        self._settle.start()

    def _on_checkpoints(self) -> None:
        self.form.set_checkpoints(self.session.checkpoints)

    def _on_form(self) -> None:
        self.say("")
        self.form.refresh(measure=not self.runner.running)
        self._refresh_button()
        # The start and the pixel size decide what is held back.
        self._settle.start()

    def _on_checked(self, found: Checked) -> None:
        self._parts = found.parts
        self.part_offer.close_offer()
        self.form.set_marks_problem(found.problem, found.notes)
        self.form.set_held_back(found.held_back)
        self._seen = self._asked
        self._refresh_button()
        if self._wanted and self._seen == self._changes:
            self._wanted = False
            self.say("")
            if self.train_button.isEnabled():
                self.on_train()

    def _on_busy(self, *_: object) -> None:
        self._refresh_button()

    def _on_idle(self) -> None:
        self._settle.start()

    def _refresh_button(self) -> None:
        if self.training:
            return
        blocked = (
            self.runner.running
            or self.form.problem
            or self.empty_label.text()
            or self.form.marks_problem.text()
        )
        self.train_button.setEnabled(not blocked)
        self.more_help.button.show_state(possible=not blocked)

    # -- training -----------------------------------------------------------------

    @property
    def training(self) -> bool:
        """Whether this page's training runs."""
        return self.training_run.running

    def on_train(self) -> None:
        """Start, or stop and keep the best."""
        if self.training:
            self.train_button.setEnabled(False)
            self.train_button.setText(STOPPING)
            self.training_run.stop()
        elif self._seen != self._changes:
            # Whoever is faster than the look at what is marked is answered after it.
            self._wanted = True
            self.say("Looking at what is marked…")
        elif self._parts:
            self._ask_about_the_rest()
        else:
            self._start()

    def _ask_about_the_rest(self) -> None:
        """All marks in one corner: is the rest empty, or has nobody looked there."""
        names = listed(list(self._parts))
        things = " or ".join(self.session.task.classes[1:])
        self.part_offer.show_choice(
            f"All marks on {names} lie in one part of the image. Is the rest empty, or "
            "not marked yet? What is not marked teaches a network that there is no "
            f"{things}.",
            {
                "Learn only around the marks": lambda: self._finish(self._parts),
                "The rest is empty": lambda: self._finish(dict.fromkeys(self._parts)),
            },
            problem=False,
        )

    def _finish(self, parts: Mapping[str, Regions | None]) -> None:
        """Draw what is finished, as somebody would have, and learn from it."""
        drawing_of(self.viewer).gather()
        finish(self.session, parts)
        self._parts = {}
        self._start()

    def _start(self) -> None:
        training_data, config = TrainingData.of(self.session), self.form.config()
        name = self.form.start_name
        start = None if name is None else self.session.checkpoints[name]
        self._base_name = name or self.session.name
        begun = self.training_run.start(
            lambda: training(training_data, config, start),
            title="Training",
            preview=self.preview_switch.isChecked(),
        )
        if begun:
            self._begin()

    def _begin(self) -> None:
        self.say("")
        self.form.freeze(True)
        self.card.hide()
        self.plot.show()
        self.train_button.setText(STOP)
        self.train_button.setToolTip("End the training; its best network is kept.")
        self.train_button.setEnabled(True)
        self.more_help.button.show_state(possible=False)

    def _on_made(self, checkpoint: Checkpoint) -> None:
        proposed = short_name(self._base_name, checkpoint.parameters_nonzero)
        name = self.session.unique_checkpoint_name(proposed)
        self.session.add_checkpoint(name, checkpoint.named(name))
        self._show_result(name)

    def _show_result(self, name: str) -> None:
        self.card.show_result(name, self.session.checkpoints[name], self.form.notes)

    def _on_said(self, sentence: str) -> None:
        if sentence not in self.form.notes:  # those stand below the button already
            self.say(sentence)

    def _on_end(self) -> None:
        self.form.freeze(False)
        self.train_button.setText(TRAIN)
        self.train_button.setToolTip(_START)
        self._refresh_button()

    # -- start from a file --------------------------------------------------------

    def choose_file(self) -> None:
        """Ask for a checkpoint file, and start from it."""
        path, _ = QFileDialog.getOpenFileName(
            self, "Start from a checkpoint", "", "Checkpoint (*.safetensors)"
        )
        if path:
            self.files.open(Path(path))

    def _on_opened(self, name: str) -> None:
        self.form.set_checkpoints(self.session.checkpoints, choose=name)
