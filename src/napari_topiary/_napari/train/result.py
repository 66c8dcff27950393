"""What came out of a training, and whether more annotations would help."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyqtgraph as pg
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QFrame, QVBoxLayout, QWidget

from napari_topiary import words
from napari_topiary._napari.jobs.runner import ButtonWords, JobButton
from napari_topiary._napari.status import duration
from napari_topiary._napari.widgets import look
from napari_topiary._napari.widgets.look import filled
from napari_topiary._napari.widgets.page import bring_into_view
from napari_topiary._napari.widgets.plot import PlotColours, SmallPlot
from napari_topiary.checkpoint import Checkpoint
from napari_topiary.jobs.training import (
    TrainingData,
    drawing_curve,
    for_the_window,
)
from napari_topiary.pruning.outcome import NOTHING
from napari_topiary.training.learning_curve import LearningCurve
from napari_topiary.types import Job, Progress

if TYPE_CHECKING:
    from napari_topiary._napari.jobs.runner import JobRunner
    from napari_topiary.config import TrainConfig

TICKS = ((0.125, "⅛"), (0.25, "¼"), (0.5, "½"), (1.0, "all"), (2.0, "twice"))
CURVE_TIP = (
    "Points: trained on this share of your annotations, judged on what was held back."
    "\nLine: what the points say; shaded: what is likely, up to twice as many."
)
USELESS = (
    "It finds hardly anything right. Are the marks where they should be, and is all "
    "marked that counts as finished? Then mark more, or train longer."
)
WORDS = ButtonWords(
    "Would more annotations help?",
    "Asking whether more annotations would help",
    "Trains four times, on an eighth, a quarter, half and all of your annotations, and "
    "says what\nmore would bring (a learning curve). All four together take as long as "
    "chosen above.",
)


class ResultCard(QFrame):
    """Quality on what was held back, size and time; hidden until there is a result."""

    def __init__(self) -> None:
        super().__init__()
        self.setProperty("role", "card")
        self.headline = look.paragraph("", role="title")
        self.details = look.paragraph("", role="hint")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(10, 8, 10, 8)
        layout.setSpacing(3)
        layout.addWidget(self.headline)
        layout.addWidget(self.details)
        self.hide()

    def show_result(
        self, name: str, checkpoint: Checkpoint, said: Sequence[str] = ()
    ) -> None:
        """Show a checkpoint that was just made, without what is said above already."""
        self.headline.setText(headline(checkpoint))
        self.headline.setToolTip(_explained(checkpoint))
        parts = [f"Kept as “{name}”", f"{words.count(checkpoint.parameters)} weights"]
        seconds = checkpoint.provenance.get("seconds")
        if seconds:
            took = duration(float(seconds)).replace(" ", words.THIN)
            parts.append(f"in {took}")
        about = checkpoint.provenance
        notes = for_the_window([str(note) for note in about.get("notes", ())])
        quality = checkpoint.metrics.get("quality")
        told = (
            *([USELESS] if quality is not None and quality <= NOTHING else []),
            *map(str, about.get("problems", ())),
            " · ".join(parts),
            *(note for note in notes if note not in said),
        )
        self.details.setText("\n".join(told))
        self.show()


def headline(checkpoint: Checkpoint) -> str:
    """The quality of a checkpoint in a few words."""
    metrics = checkpoint.metrics
    value = metrics.get("quality")
    if value is None:
        return "Trained; there is nothing to judge on, so its quality is not known."
    figure = words.figure(metrics)
    if metrics.get("interval"):
        n, (low, high) = int(metrics["n_objects"]), metrics["interval"]
        many = str(metrics["counted"])
        one = many.removesuffix("es" if many == "patches" else "s")
        if "n_right" not in metrics:
            figure += f" on {words.plural(n, one, many)}"
        figure += f" ({words.quality(low)} to {words.quality(high)}),"
    held = str(metrics.get("held_out") or "")
    if held == "a part of the image":
        return f"{figure} on a part of the image that it has not seen"
    return f"{figure} on {held or 'areas'} that it has not seen"


def _explained(checkpoint: Checkpoint) -> str:
    text = {
        "F1": "F1 is 1 when every particle was found and nothing else was; 0.9 means "
        "about one mistake in ten.",
        "Dice": "Dice is 1 when the areas agree exactly with what was drawn, and 0 "
        "when they do not overlap.",
        "PQ": "PQ (panoptic quality) is 1 when every object was found with its exact "
        "outline; objects that are missed, invented, cut or fused take from it.",
    }.get(str(checkpoint.metrics.get("quality_name")), "")
    per_class = checkpoint.metrics.get("per_class") or {}
    if len(per_class) > 1:
        each = [f"{name} {words.quality(value)}" for name, value in per_class.items()]
        text += "\n" + ", ".join(each)
    return text


class CurvePicture(SmallPlot):
    """Measured points, the law through them, and what it likely lies between."""

    def __init__(self) -> None:
        super().__init__(120)
        item = self.getPlotItem()
        item.getAxis("bottom").setTicks([[(np.log2(x), t) for x, t in TICKS]])
        item.setXRange(np.log2(0.11), np.log2(2.2), padding=0)
        self._low, self._high = pg.PlotCurveItem(), pg.PlotCurveItem()
        self._band = pg.FillBetweenItem(self._low, self._high)
        self._law = pg.PlotCurveItem(antialias=True)
        self._points = pg.ScatterPlotItem(size=9)
        self.quality_name = "quality"
        for one in (self._band, self._law, self._points):
            item.addItem(one)
        self.setToolTip(CURVE_TIP)
        self.restyle(self.colours)

    def show_curve(self, curve: LearningCurve) -> None:
        """Show what is known so far."""
        self.quality_name = curve.quality_name or "quality"
        self._points.setData(np.log2(curve.fractions), list(curve.qualities))
        x, law, low, high = np.array(curve.curve or np.zeros((0, 4))).reshape(-1, 4).T
        x = np.log2(x)
        for one, y in ((self._law, law), (self._low, low), (self._high, high)):
            one.setData(x, np.clip(y, 0.0, 1.0))
        seen = [*curve.qualities, *np.clip(np.r_[low, high], 0.0, 1.0)]
        if seen:
            room = max(0.02, 0.1 * (max(seen) - min(seen)))
            self.getPlotItem().setYRange(min(seen) - room, max(seen) + room, padding=0)
        self.restyle(self.colours)

    def restyle(self, colours: PlotColours) -> None:
        """Take over the colours of a theme."""
        super().restyle(colours)
        if not hasattr(self, "_points"):
            return
        item = self.getPlotItem()
        item.setLabel("left", self.quality_name, color=colours.text)
        item.setLabel("bottom", "share of your annotations", color=colours.text)
        faint = pg.mkColor(colours.first)
        faint.setAlpha(50)
        self._band.setBrush(faint)
        self._law.setPen(pg.mkPen(colours.first, width=2))
        for edge in (self._low, self._high):
            edge.setPen(pg.mkPen(None))
        self._points.setBrush(colours.second)
        self._points.setPen(pg.mkPen(None))


class CurveCard(QFrame):
    """The picture and what it says; hidden until there is something."""

    def __init__(self) -> None:
        super().__init__()
        self.setProperty("role", "card")
        self.sentence = look.paragraph("", role="title")
        self.sentence.setTextFormat(Qt.TextFormat.PlainText)
        self.picture = CurvePicture()
        self.picture.setStyleSheet("background: transparent;")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(10, 8, 10, 8)
        layout.setSpacing(3)
        layout.addWidget(self.picture)
        layout.addWidget(self.sentence)
        self.hide()

    def show_curve(self, curve: LearningCurve, *, finished: bool) -> None:
        """Show the curve so far."""
        self.picture.show_curve(curve)
        trained = len(curve.fractions)
        waiting = f"{trained} of 4 trainings done…"
        self.sentence.setText(curve.sentence if finished else waiting)
        self.show()


class MoreHelp(QWidget):
    """Asks for the learning curve and shows it as it grows."""

    problem = Signal(str)

    def __init__(
        self, runner: JobRunner, asked: Callable[[], tuple[TrainingData, TrainConfig]]
    ) -> None:
        super().__init__()
        self._asked = asked
        self.button = JobButton(runner, self._make, WORDS)
        self.card = CurveCard()
        filled(QVBoxLayout(self), self.button, self.card)
        self.button.begun.connect(self._on_begun)
        self.button.progressed.connect(self._on_progress)
        self.button.result.connect(self._on_result)
        self.button.problem.connect(self._on_error)

    @property
    def running(self) -> bool:
        """Whether the trainings run."""
        return self.button.running

    def _make(self) -> Callable[[], Job[LearningCurve]]:
        training_data, config = self._asked()
        return lambda: drawing_curve(training_data, config)

    def _on_begun(self) -> None:
        self.card.show_curve(LearningCurve(), finished=False)
        bring_into_view(self.card)

    def _on_progress(self, progress: Progress) -> None:
        if isinstance(progress.report, LearningCurve):
            self.card.show_curve(progress.report, finished=False)

    def _on_result(self, curve: LearningCurve) -> None:
        self.card.show_curve(curve, finished=True)
        bring_into_view(self.card)

    def _on_error(self, sentence: str) -> None:
        if self.running:
            self.card.hide()
        self.problem.emit(sentence)
