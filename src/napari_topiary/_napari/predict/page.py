"""The Predict page: find and count on any image, and move the threshold live."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import (
    QButtonGroup,
    QCheckBox,
    QFormLayout,
    QHBoxLayout,
    QRadioButton,
)

from napari_topiary._napari.canvas import result_layers
from napari_topiary._napari.canvas.layers import current_image_name, image_layer
from napari_topiary._napari.canvas.visible import visible_window
from napari_topiary._napari.drawing.drawing import drawing_of
from napari_topiary._napari.jobs.latest import at_end_of
from napari_topiary._napari.predict import predicting
from napari_topiary._napari.predict.counts_table import CountsTable
from napari_topiary._napari.predict.export_row import ExportRow
from napari_topiary._napari.predict.live_reading import LiveReading, Result
from napari_topiary._napari.predict.predicting import Answer, Wanted
from napari_topiary._napari.predict.reading_form import ReadingForm
from napari_topiary._napari.widgets import look
from napari_topiary._napari.widgets.checkpoint_choice import CheckpointChoice
from napari_topiary._napari.widgets.offer import Offer
from napari_topiary._napari.widgets.page import Page, button
from napari_topiary.config import PredictConfig
from napari_topiary.types import Prediction, Progress

if TYPE_CHECKING:
    import napari.viewer

    from napari_topiary._napari.jobs.runner import JobRunner
    from napari_topiary.checkpoint import Checkpoint
    from napari_topiary.session import Session

NO_IMAGE = "Open an image on the <b>Data</b> page first."
NO_NETWORK = (
    "<b>Train a network first</b>, or open one from a file below. Then this page finds "
    "and counts on any image."
)
RUN, STOP, STOPPING = "Predict", "Stop and keep what is done", "Stopping…"
AREAS = {
    "visible": ("Visible area", "Only the part of the image that you see: fastest."),
    "image": ("This image", "All of the image that is shown."),
    "all": ("All images", "Every image of the project, one after the other."),
}


class PredictPage(Page):
    """Runs a checkpoint over images; reads its probability anew without running."""

    title = "Predict"

    def __init__(
        self,
        viewer: napari.viewer.Viewer,
        session: Session | None = None,
        runner: JobRunner | None = None,
    ) -> None:
        super().__init__(viewer, session, runner)
        self.predicting = False
        self._used: Checkpoint | None = None
        self._problems: list[str] = []
        self._shown: str | None = None
        self._task_kind = "detect"
        self._make_run()
        self._make_reading()
        self._make_found()
        self.body.addStretch(1)
        self.live = LiveReading(self.session, self.form.value)
        self._connect()
        self.refresh()

    @property
    def results(self) -> dict[str, Result]:
        """What was predicted, by image."""
        return self.live.results

    # -- widgets ------------------------------------------------------------------

    def _make_run(self) -> None:
        self.choice = CheckpointChoice(self.session, "The network that looks.")
        self.areas: dict[str, QRadioButton] = {}
        group, areas = QButtonGroup(self), QHBoxLayout()
        areas.setContentsMargins(0, 0, 0, 0)
        for key, (text, tip) in AREAS.items():
            one = self.areas[key] = QRadioButton(text)
            one.setToolTip(tip)
            group.addButton(one)
            areas.addWidget(one)
        areas.addStretch(1)
        self.areas["image"].setChecked(True)
        rows = QFormLayout()
        rows.setHorizontalSpacing(10)
        rows.setVerticalSpacing(6)
        rows.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        rows.addRow("Network", self.choice)
        self.run_button = button(RUN, "", self.on_run, primary=True)
        self.offer = Offer()
        self.body.addLayout(rows)
        self.body.addLayout(areas)
        self.body.addWidget(self.run_button)
        self.body.addWidget(self.offer)

    def _make_reading(self) -> None:
        layout = self.section(
            "What counts as found",
            hint="Moving these does not run the network again: the image follows.",
        )
        self.form = ReadingForm()
        layout.addWidget(self.form)
        self.kinds: dict[str, QCheckBox] = {}
        row = QHBoxLayout()
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(10)
        for kind, text in result_layers.KINDS.items():
            one = self.kinds[kind] = QCheckBox(text)
            one.setToolTip(_KIND_TIPS[kind])
            one.setChecked(kind in ("probability", "detections", "lines"))
            one.toggled.connect(lambda on, kind=kind: self._on_kind(kind, on))
            row.addWidget(one)
        row.addStretch(1)
        layout.addLayout(row)

    def _make_found(self) -> None:
        layout = self.section("Found")
        self.table = CountsTable()
        self.notes = look.paragraph("", role="hint")
        self.export_row = ExportRow(
            lambda: {name: one.prediction for name, one in self.results.items()}
        )
        layout.addWidget(self.table)
        layout.addWidget(self.notes)
        layout.addWidget(self.export_row)

    def _connect(self) -> None:
        session = self.session
        self.choice.changed.connect(self._on_choice)
        self.choice.problem.connect(self.refuse)
        self.form.changed.connect(self._on_form)
        self.live.read.connect(self._on_read)
        self.live.problem.connect(self.refuse)
        self.export_row.said.connect(lambda text, bad: self.say(text, problem=bad))
        self.table.chosen.connect(self._on_row)
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
        if not self.choice.name and session.active_checkpoint:
            self.form.use_best()
        self.choice.refresh()
        self.form.show_checkpoint(self.choice.checkpoint)
        self.show_empty(
            "" if session.checkpoints and session.images
            else NO_IMAGE if session.checkpoints or not session.images
            else NO_NETWORK
        )  # fmt: skip
        self._drop_outdated()
        n = len(session.images)
        self.areas["all"].setText("All images" if n < 2 else f"All {n} images")
        self._show_kinds()
        self._show_counts()
        self._refresh_buttons()

    def _drop_outdated(self) -> None:
        for name in self.live.forget_outdated():
            result_layers.clear_result(self.viewer, name)

    def _refresh_buttons(self, *_: object) -> None:
        ready = bool(self.session.images) and self.choice.checkpoint is not None
        busy = self.runner.running and not self.predicting
        self.run_button.setText(STOP if self.predicting else RUN)
        self.run_button.setEnabled(self.predicting or (ready and not busy))
        self.run_button.setToolTip(
            "End after this tile; what was predicted so far is shown."
            if self.predicting
            else f"{self.runner.title} is still running." if busy
            else "Run the network, tile by tile; then move the sliders below."
        )  # fmt: skip
        self.export_row.button.setEnabled(bool(self.results) and not self.predicting)

    def _show_kinds(self) -> None:
        checkpoint = self.choice.checkpoint
        known = result_layers.shown_kinds(checkpoint.task) if checkpoint else ()
        lines = checkpoint is not None and bool(
            checkpoint.annotations_summary.get("line_classes")
        )
        if checkpoint is not None and checkpoint.task.kind != self._task_kind:
            self._task_kind = checkpoint.task.kind
            self.kinds["result-labels"].setChecked(self._task_kind != "detect")
        for kind, one in self.kinds.items():
            one.setVisible(kind in known and (kind != "lines" or lines))

    def _show_counts(self) -> None:
        shown = current_image_name(self.viewer, self.session)
        found = {name: one.prediction for name, one in self.results.items()}
        self.table.setVisible(bool(found))
        self.table.show_counts(found, shown)
        current = self.results.get(shown or "")
        sentences = list(self._problems)
        if current is not None:
            sentences += current.prediction.notes
            if (
                current.wanted.window is not None
                and current.prediction.done is not None
            ):
                sentences.append("Only the area that was visible has been looked at.")
        elif not found:
            sentences.append("Nothing was predicted yet.")
        self.notes.setText(" ".join(sentences))
        self.notes.setVisible(bool(sentences))

    def _on_drawing(self) -> None:
        """Another image may be shown now."""
        name = current_image_name(self.viewer, self.session)
        if name != self._shown and self.isVisible():
            self._show_current()

    def _show_current(self) -> None:
        name = self._shown = current_image_name(self.viewer, self.session)
        if name in self.results:
            self._draw(name, self.results[name].prediction)
        self._show_counts()

    def _draw(
        self,
        name: str,
        prediction: Prediction,
        *,
        probability: bool = True,
        labels: bool = True,
    ) -> None:
        left_out = {"probability": not probability, "result-labels": not labels}
        kinds = {
            kind: self.kinds[kind].isChecked()
            for kind in result_layers.shown_kinds(prediction.task)
            if not left_out.get(kind, False)
        }
        result_layers.show_result(
            self.viewer, name, prediction, colours=self.session.colours, kinds=kinds
        )

    def _on_kind(self, kind: str, on: bool) -> None:
        name = current_image_name(self.viewer, self.session)
        if name is None or name not in self.results:
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
            self.run_button.setText(STOPPING)
            self.run_button.setEnabled(False)
            self.runner.stop()
            return
        self.predict()

    def predict(self, *, convert: bool = False) -> None:
        """Run the chosen checkpoint over the chosen images.

        Parameters
        ----------
        convert
            Make colour images grey, or grey ones colour, as the network needs.
        """
        self.offer.close_offer()
        self.say("")
        checkpoint = self.choice.checkpoint
        wanted = self._wanted()
        if checkpoint is None or wanted is None:
            return
        unlike = [w for w in wanted if predicting.can_convert(w.image, checkpoint)]
        if unlike and not convert:
            self._ask_convert(unlike, checkpoint)
            return
        config = PredictConfig(detect=self.form.value())
        begun = self.runner.start(
            lambda: predicting.predicting(wanted, checkpoint, config, convert=convert),
            title="Predicting",
            on_progress=self._on_progress,
            on_error=self.refuse,
        )
        if not begun:
            self.refuse(self.runner.busy_sentence)
            return
        self._used, self._problems = checkpoint, []
        self.predicting = True
        self.runner.finished.connect(self._on_end)
        self._refresh_buttons()

    def _wanted(self) -> list[Wanted] | None:
        """What is to be predicted; None after a refusal."""
        session = self.session
        if self.areas["all"].isChecked():
            entries = list(session.images.values())
            return [Wanted(e.name, e.image, e.scale) for e in entries]
        name = current_image_name(self.viewer, session)
        if name is None:
            self.refuse("No image is shown: choose one on the Data page first.")
            return None
        entry, window = session.images[name], None
        if self.areas["visible"].isChecked():
            layer = image_layer(self.viewer, name)
            if layer is None:
                self.refuse(
                    f"{name} is not shown any more: open it on the Data page, or "
                    "choose This image."
                )
                return None
            window = visible_window(layer, entry.image.shape[1:])
        return [Wanted(name, entry.image, entry.scale, window)]

    def _ask_convert(self, unlike: list[Wanted], checkpoint: Checkpoint) -> None:
        kinds = {1: "grey", 3: "colour"}
        own = kinds[unlike[0].image.shape[0]]
        other = kinds[checkpoint.in_channels]
        names = unlike[0].name if len(unlike) == 1 else f"{len(unlike)} images"
        verb = "is" if len(unlike) == 1 else "are"
        self.offer.show_choice(
            f"{names} {verb} {own}, and this network was trained on {other} images. "
            "The images of the project stay as they are.",
            {
                f"Predict as {other}": lambda: self.predict(convert=True),
                "Cancel": lambda: None,
            },
        )

    def _on_progress(self, progress: Progress) -> None:
        answer = progress.report
        if not isinstance(answer, Answer) or self._used is None:
            return
        name = answer.wanted.name
        if answer.prediction is None:
            self._problems.append(f"{name}: {answer.problem}")
            self.refuse(answer.problem)
            return
        if not self.live.suits(answer.wanted):
            return  # the image is gone, or has another pixel size by now
        self.live.keep(Result(answer.wanted, self._used, answer.prediction))
        if name == current_image_name(self.viewer, self.session):
            self._show_current()
        self._show_counts()

    def _on_end(self) -> None:
        self.runner.finished.disconnect(self._on_end)
        self.predicting = False
        self._show_counts()
        self._refresh_buttons()
        self._on_form()  # the sliders may have moved meanwhile

    # -- reading live -------------------------------------------------------------

    def _on_choice(self) -> None:
        self.form.use_best()
        self.refresh()

    def _on_form(self) -> None:
        name = current_image_name(self.viewer, self.session)
        result = self.results.get(name or "")
        detects = result is None or result.prediction.task.kind == "detect"
        wanted = not detects or self.kinds["result-labels"].isChecked()
        self.live.renew(name, labels=wanted)

    def _on_read(self, name: str, labels: bool) -> None:
        if name == current_image_name(self.viewer, self.session):
            read = self.results[name].prediction
            self._draw(name, read, probability=False, labels=labels)
        self._show_counts()


_KIND_TIPS = {
    "probability": "How sure the network is, in the colour of the class.",
    "detections": "A ring around everything that was found.",
    "lines": "The filaments that were traced.",
    "result-labels": "Areas or objects, painted.",
}
