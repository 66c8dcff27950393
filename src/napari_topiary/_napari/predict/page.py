"""The Predict page: find and count on any image, and move the threshold live."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from napari_topiary import words
from napari_topiary._napari.canvas import result_layers
from napari_topiary._napari.canvas.layers import current_image_name, image_layer
from napari_topiary._napari.drawing.drawing import drawing_of
from napari_topiary._napari.jobs.latest import at_end_of
from napari_topiary._napari.predict.found_panel import FoundPanel
from napari_topiary._napari.predict.live_postprocessing import (
    LivePostProcessing,
    Result,
)
from napari_topiary._napari.predict.postprocessing_form import (
    KindSwitches,
    PostProcessingForm,
)
from napari_topiary._napari.predict.run_panel import RunPanel, wanted_in
from napari_topiary._napari.state import preferences
from napari_topiary._napari.widgets.page import NO_IMAGE, Page
from napari_topiary.config import DetectConfig, PredictConfig
from napari_topiary.errors import TopiaryError
from napari_topiary.inference.large.writing import LargePrediction
from napari_topiary.jobs import predicting
from napari_topiary.jobs.predicting import Answer, Meanwhile, ProjectImage
from napari_topiary.types import Prediction, Progress

if TYPE_CHECKING:
    from napari_topiary.checkpoint import Checkpoint

NO_NETWORK = (
    "<b>Train a network first</b>, or open one from a file below. Then this page finds "
    "and counts on any image."
)
FROM_NETWORK = ("probability", "distance")
"""Layers that stay as they are when the sliders move."""


class PredictPage(Page):
    """Runs a checkpoint over images; reads its probability anew without running."""

    title = "Predict"

    def build(self) -> None:
        """Fill the page."""
        self.predicting = False
        self._network: Checkpoint | None = None
        self._problems: list[str] = []
        self._answers: list[Answer] = []
        self._shown: str | None = None
        self.run = RunPanel(self.session)
        self.choice = self.run.choice
        self.form, self.kinds = PostProcessingForm(), KindSwitches()
        self.live = LivePostProcessing(
            self.session, self.form.value, lambda: self.choice.checkpoint
        )
        self.found = FoundPanel(self.session, lambda: self.results)
        self._place_widgets()
        self._connect()
        self.refresh()

    @property
    def results(self) -> dict[str, Result]:
        """What was predicted, by image."""
        return self.live.results

    def _place_widgets(self) -> None:
        self.body.addWidget(self.run)
        reading = self.section(
            "What counts as found",
            hint="Moving these does not run the network again: the image follows.",
        )
        reading.addWidget(self.form)
        reading.addWidget(self.kinds)
        self.section("Found").addWidget(self.found)
        self.body.addStretch(1)

    def _connect(self) -> None:
        session = self.session
        self.run.pressed.connect(self.on_run)
        self.choice.changed.connect(self._on_choice)
        self.choice.problem.connect(self.refuse)
        self.form.changed.connect(self._on_form)
        self.kinds.toggled.connect(self._on_kind)
        self.live.read.connect(self._on_read)
        self.live.problem.connect(self.refuse)
        self.found.export_row.said.connect(
            lambda text, bad: self.say(text, problem=bad)
        )
        self.found.chosen.connect(self._on_row)
        for signal in (
            session.checkpoints_changed,
            session.active_checkpoint_changed,
            session.images_changed,
            session.scale_changed,
            session.task_changed,
        ):
            self.listen(signal, self.refresh)
        drawing_of(self.viewer).changed.connect(self._on_drawing)
        self.runner.started.connect(self._refresh_buttons)
        self.runner.finished.connect(self._refresh_buttons)
        at_end_of(self, self.live.close)

    # -- showing ------------------------------------------------------------------

    def activated(self) -> None:
        """Show the project as it is now."""
        self.refresh()
        self._show_current()

    def refresh(self, *_: object) -> None:
        """Follow what the session has now."""
        session = self.session
        self.choice.refresh()
        another = self.choice.checkpoint is not self._network
        if another:
            self._network = self.choice.checkpoint
            self.form.use_best()
        self.form.show_checkpoint(self.choice.checkpoint)
        self.show_empty(
            "" if session.checkpoints and session.images
            else NO_IMAGE if session.checkpoints or not session.images
            else NO_NETWORK
        )  # fmt: skip
        self._drop_outdated()
        self.run.count_images(len(session.images))
        self.kinds.show_checkpoint(self.choice.checkpoint)
        if another:
            self._step_back()
        self._show_counts()
        self._refresh_buttons()

    def _step_back(self) -> None:
        """What another network found is not drawn; what this one found is again."""
        for name in self.results:
            if not self.live.is_current(name):
                result_layers.clear_result(self.viewer, name)
        if self.isVisible():
            self._show_current()

    def _drop_outdated(self) -> None:
        for name in self.live.forget_outdated():
            result_layers.clear_result(self.viewer, name)

    def _refresh_buttons(self, *_: object) -> None:
        busy = self.runner.running and not self.predicting
        self.run.show_state(
            predicting=self.predicting,
            ready=bool(self.session.images) and self.choice.checkpoint is not None,
            busy=self.runner.title if busy else "",
        )
        self.found.export_row.button.setEnabled(
            bool(self.results) and not self.predicting
        )

    def _show_counts(self) -> None:
        shown = current_image_name(self.viewer, self.session)
        drawn = self.session.annotations.get(shown or "", ())
        self.found.show_counts(
            shown,
            self._problems,
            self.choice.checkpoint,
            marked=any(one.kind == "points" for one in drawn),
        )

    def _on_drawing(self) -> None:
        """Another image may be shown now."""
        name = current_image_name(self.viewer, self.session)
        if name != self._shown and self.isVisible():
            self._show_current()

    def _show_current(self) -> None:
        name = self._shown = current_image_name(self.viewer, self.session)
        if self.live.is_current(name):
            self._draw(name, self.results[name].prediction)
        elif name in self.results:
            result_layers.clear_result(self.viewer, name)
        self._show_counts()

    def _draw(
        self,
        name: str,
        prediction: Prediction | LargePrediction,
        *,
        without: tuple[str, ...] = (),
    ) -> None:
        large = isinstance(prediction, LargePrediction)
        task = prediction.found.task if large else prediction.task
        kinds = self.kinds.wanted(task, without=without)
        result_layers.show_result(
            self.viewer, name, prediction, colours=self.session.colours, kinds=kinds
        )

    def _on_kind(self, kind: str, on: bool) -> None:
        name = current_image_name(self.viewer, self.session)
        if not self.live.is_current(name):
            return
        layer = result_layers.set_shown(self.viewer, name, kind, on)
        if layer is None and on:
            self._draw(name, self.results[name].prediction)
        if kind == "result-labels" and on:
            self.live.rest()  # they may lag behind the sliders

    def _on_row(self, name: str) -> None:
        if name in self.session.images:
            drawing_of(self.viewer).show(name)
            self._show_current()

    # -- running ------------------------------------------------------------------

    def on_run(self) -> None:
        """Start, or stop and keep what is done."""
        if self.predicting:
            self.run.show_stopping()
            self.runner.stop()
            return
        self.predict()

    def predict(self, *, convert: bool = False) -> None:
        """Run the chosen checkpoint over the chosen images."""
        self.run.offer.close_offer()
        self.say("")
        checkpoint = self.choice.checkpoint
        if checkpoint is None:
            return
        name = current_image_name(self.viewer, self.session)
        gone = name is not None and image_layer(self.viewer, name) is None
        if name is not None and gone and self.run.area == "image":
            drawing_of(self.viewer).show(name)  # a result needs something to lie on
        try:
            wanted = wanted_in(self.viewer, self.session, area=self.run.area)
        except TopiaryError as reason:
            self.refuse(str(reason))
            return
        unlike = [w for w in wanted if predicting.can_convert(w.image, checkpoint)]
        if unlike and not convert:
            self.run.ask_convert(unlike, checkpoint, lambda: self.predict(convert=True))
            return
        network, detect = self.choice.name or "", self.form.value()
        config = PredictConfig(
            invert=self.run.invert.isChecked(),
            scheduler=self.run.scheduler.text().strip(),
            detect=detect,
            device=preferences().device,
        )
        begun = self.runner.start(
            lambda: predicting.predicting(
                wanted,
                checkpoint,
                config,
                convert=convert,
                folder=predicting.large_results(self.session.folder),
            ),
            title="Predicting",
            on_progress=lambda progress: self._on_progress(
                progress, network, checkpoint, detect
            ),
            on_result=lambda _done: self._say_stopped(wanted),
            on_error=self.refuse,
        )
        if not begun:
            self.refuse(self.runner.busy_sentence)
            return
        self._problems, self._answers = [], []
        self.predicting = True
        self.runner.finished.connect(self._on_end)
        self._refresh_buttons()

    def _on_progress(
        self,
        progress: Progress,
        network: str,
        checkpoint: Checkpoint,
        config: DetectConfig,
    ) -> None:
        answer = progress.report
        if isinstance(answer, str):
            self.say(answer)
        if isinstance(answer, Meanwhile):
            self._show_meanwhile(answer, checkpoint)
        if not isinstance(answer, Answer):
            return
        name = answer.wanted.name
        self._answers.append(answer)
        if answer.prediction is None:
            self._problems.append(f"{name}: {answer.problem}")
            self.refuse(answer.problem)
            return
        if not self.live.suits(answer.wanted):
            return  # the image is gone, or has another pixel size by now
        self.live.keep(
            Result(answer.wanted, network, checkpoint, answer.prediction, config)
        )
        if name == current_image_name(self.viewer, self.session):
            self._show_current()
        self._show_counts()

    def _say_stopped(self, wanted: Sequence[ProjectImage]) -> None:
        """Say what there is, if that is not all that was asked for."""
        parts = [one.wanted.name for one in self._answers if one.was_stopped]
        if len(wanted) == len(self._answers) and not parts:
            return
        if len(wanted) == 1:
            self.say(f"Stopped: only a part of {parts[0]} was looked at.")
            return
        whole = sum(one.prediction is not None for one in self._answers) - len(parts)
        some = f", and a part of {parts[0]}" if parts else ""
        number = words.plural(len(wanted), "image")
        self.say(f"Stopped: {whole} of {number} predicted{some}.")

    def _show_meanwhile(self, found: Meanwhile, checkpoint: Checkpoint) -> None:
        """Show what a network has said so far about a large image."""
        name = found.wanted.name
        if name != current_image_name(self.viewer, self.session):
            return
        if not self.live.suits(found.wanted):
            return
        result_layers.show_maps_so_far(
            self.viewer,
            name,
            found.so_far,
            checkpoint.task,
            shape=found.wanted.image.shape[1:],
            colours=self.session.colours,
        )

    def _on_end(self) -> None:
        self.runner.finished.disconnect(self._on_end)
        self.predicting = False
        self._show_counts()
        self._refresh_buttons()
        self._on_form()  # the sliders may have moved meanwhile

    # -- reading live -------------------------------------------------------------

    def _on_choice(self) -> None:
        self.refresh()

    def _on_form(self) -> None:
        name = current_image_name(self.viewer, self.session)
        result = self.results.get(name or "")
        detects = result is None or result.counted.task.kind == "detect"
        wanted = not detects or self.kinds.is_on("result-labels")
        self.live.renew(name, labels=wanted)

    def _on_read(self, name: str, labels: bool) -> None:
        if name == current_image_name(self.viewer, self.session):
            read = self.results[name].prediction
            without = FROM_NETWORK if labels else (*FROM_NETWORK, "result-labels")
            self._draw(name, read, without=without)
        self._show_counts()
