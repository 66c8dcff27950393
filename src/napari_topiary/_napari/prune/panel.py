"""All widgets of the Prune page, and its slider with marks and dots above it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QPointF, QRectF, QSignalBlocker, QSize, Qt, Signal
from qtpy.QtGui import QFont, QFontMetricsF, QPainter
from qtpy.QtWidgets import (
    QCheckBox,
    QDoubleSpinBox,
    QHBoxLayout,
    QLabel,
    QSizePolicy,
    QSlider,
    QStyle,
    QStyleOptionSlider,
    QVBoxLayout,
    QWidget,
)

from napari_topiary import words
from napari_topiary._napari.prune.card import PruneCard
from napari_topiary._napari.prune.form import PruneForm, SearchRow
from napari_topiary._napari.prune.keeping import KEEP, TUNE, KeepRow, TuningRow
from napari_topiary._napari.prune.tabs import PruneTabs
from napari_topiary._napari.prune.view import PruningPreview, Ready
from napari_topiary._napari.training_run import STOP
from napari_topiary._napari.widgets import look
from napari_topiary._napari.widgets.look import filled
from napari_topiary._napari.widgets.page import button, row
from napari_topiary.config import COMPRESSION_MARKS, share_to_ratio
from napari_topiary.jobs.pruning import PositionQuality, Speeds
from napari_topiary.pruning import PlanStatistics
from napari_topiary.types import Task

if TYPE_CHECKING:
    from napari_topiary._napari.jobs.runner import JobRunner
    from napari_topiary.checkpoint import Checkpoint
    from napari_topiary.config import PruneConfig
    from napari_topiary.io.dataset import Sample
    from napari_topiary.session import Session

MOST = 0.99
"""Largest share that can be asked for."""
STEPS = 1000
SNAP = 0.012
"""The slider holds at a mark that is nearer than this share of its length."""
PERCENTS = (0.0, 0.5, 0.75, 0.9, 0.95, 0.99)
TIP = (
    "How much of the network goes: the share of all its weights, not of its filters.\n"
    "CR (compression ratio) 5 means that five times fewer weights remain.\n"
    "Even steps along the slider are even steps in size. Arrow keys move it finely."
)

_GAP = 3
"""Pixels between two numbers."""
_SPACING = 8
ADVICE = (
    "So much is usually lost at first: <b>Fine-tune</b> brings most of it back, at the "
    "same size."
)
WORTH_TUNING = 0.02
"""A loss of quality that fine-tuning can be expected to win back."""
SEARCHED_FOR = 0.75
"""Share that searches assume to be removed from the layers below."""


def place_of(share: float) -> float:
    """Where a share sits on the slider, 0..1."""
    return math.log(share_to_ratio(min(share, MOST))) / math.log(share_to_ratio(MOST))


def share_at(place: float) -> float:
    """The share that a place on the slider means; a mark holds what is near it."""
    for ratio in COMPRESSION_MARKS:
        mark = 1.0 - 1.0 / ratio
        if abs(place_of(mark) - place) < SNAP:
            return mark
    return min(MOST, max(0.0, 1.0 - share_to_ratio(MOST) ** -place))


class CompressionSlider(QWidget):
    """Slider, exact number and compression ratio of the share to remove."""

    changed = Signal(float)  #: The user moved it; the new share, 0..0.99

    def __init__(self) -> None:
        super().__init__()
        self._share = 0.0
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setRange(0, STEPS)
        self.slider.setPageStep(STEPS // 20)
        self.slider.setToolTip(TIP)
        self.slider.setAccessibleName("Share of the weights removed")
        self.number = QDoubleSpinBox()
        self.number.setRange(0.0, 100 * MOST)
        self.number.setDecimals(1)
        self.number.setSuffix(" %")
        self.number.setToolTip(TIP)
        self.number.setKeyboardTracking(False)
        self.number.setFixedWidth(72)
        self.number.setButtonSymbols(QDoubleSpinBox.ButtonSymbols.NoButtons)
        self.ratio = QLabel()
        self.ratio.setToolTip(TIP)
        self.ratio.setProperty("role", "title")
        top = filled(
            QHBoxLayout(),
            QLabel("Remove"),
            self.number,
            QLabel("of weights"),
            1,
            self.ratio,
            spacing=None,
        )
        layout = filled(QVBoxLayout(self), top, spacing=1)
        percents = [(share, f"{share:.0%}") for share in PERCENTS]
        marks = [(1 - 1 / ratio, f"{ratio}") for ratio in COMPRESSION_MARKS]
        self.percents = _Marks(self.slider, percents, "", above=True)
        self.marks = _Marks(self.slider, marks, "CR", above=False)
        for widget in (self.percents, self.slider, self.marks):
            layout.addWidget(widget)
        self.percents.clicked.connect(self._ask)
        self.marks.clicked.connect(self._ask)
        self.slider.valueChanged.connect(self._on_slider)
        self.number.valueChanged.connect(self._on_number)
        self.set_share(0.0)

    @property
    def share(self) -> float:
        """Share of the weights to remove, 0..0.99."""
        return self._share

    def set_share(self, share: float) -> None:
        """Move to a share without saying that the user did."""
        self._share = min(MOST, max(0.0, share))
        with QSignalBlocker(self.slider), QSignalBlocker(self.number):
            self.slider.setValue(round(STEPS * place_of(self._share)))
            self.number.setValue(100 * self._share)
        self.ratio.setText(f"CR {words.ratio(share_to_ratio(self._share))}")

    def _ask(self, share: float) -> None:
        if share != self._share:
            self.set_share(share)
            self.changed.emit(self._share)

    def _on_slider(self, value: int) -> None:
        share = share_at(value / STEPS)
        if share == self._share:
            return
        self._share = share
        with QSignalBlocker(self.number):
            self.number.setValue(100 * share)
        self.ratio.setText(f"CR {words.ratio(share_to_ratio(share))}")
        self.changed.emit(share)

    def _on_number(self, value: float) -> None:
        # The field shows one decimal: 93.8 there is the mark at 93.75.
        marks = [1.0 - 1.0 / ratio for ratio in COMPRESSION_MARKS]
        near = [m for m in marks if abs(100 * m - value) <= 0.0501]
        self._ask(near[0] if near else value / 100)


class _Marks(QWidget):
    """A line of small numbers beside a slider; a click on one goes there."""

    clicked = Signal(float)

    def __init__(
        self,
        slider: QSlider,
        marks: list[tuple[float, str]],
        title: str,
        *,
        above: bool,
    ) -> None:
        super().__init__()
        self._slider, self._marks = slider, marks
        self._title, self._above = title, above
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setToolTip("Click a number to go there.")

    def _small(self) -> QFont:
        font = QFont(self.font())
        font.setPointSizeF(max(6.5, 0.85 * font.pointSizeF()))
        return font

    def sizeHint(self) -> QSize:
        """One line of small text and its ticks."""
        return QSize(200, round(QFontMetricsF(self._small()).height()) + 4)

    def x_of(self, share: float) -> float:
        """Where a share is, in pixels of this widget."""
        option = QStyleOptionSlider()
        self._slider.initStyleOption(option)
        handle = self._slider.style().subControlRect(
            QStyle.ComplexControl.CC_Slider,
            option,
            QStyle.SubControl.SC_SliderHandle,
            self._slider,
        )
        width = handle.width()
        return width / 2 + place_of(share) * (self._slider.width() - width)

    def paintEvent(self, _event: Any) -> None:
        """Draw ticks and numbers in the theme's text colour."""
        painter = QPainter(self)
        font = self._small()
        painter.setFont(font)
        painter.setPen(self.palette().windowText().color())
        painter.setOpacity(0.8)
        line = QFontMetricsF(font).height()
        top = 0.0 if self._above else 4.0
        tick = (self.height() - 3.0, self.height()) if self._above else (0.0, 3.0)
        if self._title:
            box = QRectF(0, top, 40, line)
            painter.drawText(box, Qt.AlignmentFlag.AlignLeft, self._title)
        end = -_GAP
        for share, text in self._marks:
            x = self.x_of(share)
            painter.drawLine(QPointF(x, tick[0]), QPointF(x, tick[1]))
            wide = QFontMetricsF(font).horizontalAdvance(text)
            left = min(max(x - wide / 2, 0.0), self.width() - wide)
            if left < end + _GAP:  # a narrow page has no room for every number
                continue
            end = left + wide
            painter.drawText(
                QRectF(left, top, wide + 1, line), Qt.AlignmentFlag.AlignLeft, text
            )
        painter.end()

    def mousePressEvent(self, event: Any) -> None:
        """Go to the nearest number."""
        x = event.position().x()
        self.clicked.emit(min(self._marks, key=lambda m: abs(self.x_of(m[0]) - x))[0])


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
        layout = filled(
            QVBoxLayout(self),
            self.form,
            self.search,
            self.slider,
            row(self.show_switch, 1, self.back_button),
            spacing=_SPACING,
        )
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

    def show_state(
        self, *, ready: bool, tuning: bool, busy: bool, tuned: bool = False
    ) -> None:
        """Enable what can be done now."""
        self.search.show_state(ready=ready)
        self.form.setEnabled(not tuning)
        for widget in (self.slider, self.back_button):
            widget.setEnabled(not tuning and (ready or not self.search.wanted))
        # What is shown once it is fine-tuned is kept already, under its own name.
        self.keep_row.setEnabled(ready and not tuning and not tuned)
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
            self.card.show_quality(report.before, report.after, report.held_out)
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
