"""The card of the Prune page: what the position of the slider costs and gains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFrame, QGridLayout, QLabel

from napari_topiary import words
from napari_topiary._napari.prune.view import PruningPreview
from napari_topiary._napari.widgets import look
from napari_topiary.evaluation.quality import Quality
from napari_topiary.jobs.pruning import Speeds
from napari_topiary.pruning import PlanStatistics


@dataclass(frozen=True)
class Row:
    """One line of the card."""

    key: str
    title: str
    tip: str
    above: str = ""  #: What this line and those below it were measured on


class BeforeAfter(QFrame):
    """Title, before, after and the change, row by row."""

    def __init__(self, rows: Sequence[Row]) -> None:
        super().__init__()
        self.setProperty("role", "card")
        grid = self._grid = QGridLayout(self)
        grid.setContentsMargins(4, 6, 4, 6)
        self.setStyleSheet("QLabel { padding: 0px; }")  # four columns, 320 pixels
        grid.setHorizontalSpacing(3)
        grid.setVerticalSpacing(2)
        for column, share in enumerate((3, 2, 2, 2)):
            grid.setColumnStretch(column, share)
        self._cells: dict[str, tuple[QLabel, QLabel, QLabel]] = {}
        self._titles: dict[str, QLabel] = {}
        self._headings: dict[str, QLabel] = {}
        self._after = _cell("after", role="hint")
        grid.addWidget(_cell("before", role="hint"), 0, 1)
        grid.addWidget(self._after, 0, 2)
        line = 0
        for row in rows:
            if row.above:
                line += 1
                heading = self._headings[row.key] = QLabel(row.above)
                look.set_role(heading, "hint")
                grid.addWidget(heading, line, 0, 1, 4)
            line += 1
            title = QLabel(row.title)
            cells = _cell(words.NONE), _cell(words.NONE), _cell("", role="hint")
            for column, cell in enumerate((title, *cells)):
                cell.setToolTip(row.tip)
                grid.addWidget(cell, line, column)
            self._cells[row.key], self._titles[row.key] = cells, title

    def set_row(
        self,
        key: str,
        *,
        before: str | None = None,
        after: str | None = None,
        change: str | None = None,
        role: str = "hint",
    ) -> None:
        """Fill in one row; what is None stays."""
        for cell, text in zip(self._cells[key], (before, after, change), strict=True):
            if text is not None and cell.text() != text:
                cell.setText(text)
        if change is not None:
            look.set_role(self._cells[key][2], role)

    def set_title(self, key: str, title: str) -> None:
        """Rename a row."""
        self._titles[key].setText(title)

    def set_heading(self, key: str, text: str) -> None:
        """Say anew what a row and those below it were measured on."""
        self._headings[key].setText(text)

    def call_after(self, text: str) -> None:
        """Say what the second column is about."""
        self._after.setText(text)

    def show_row(self, key: str, visible: bool) -> None:
        """Show or hide a row."""
        for cell in (self._titles[key], *self._cells[key]):
            cell.setVisible(visible)

    def fade(self, key: str, *, on: bool = True) -> None:
        """Mark what a row says as not up to date (it is being measured)."""
        look.set_role(self._cells[key][1], "hint" if on else "info")

    def text(self, key: str) -> tuple[str, str, str]:
        """What a row says: before, after, change."""
        before, after, change = (cell.text() for cell in self._cells[key])
        return before, after, change


def _cell(text: str, *, role: str = "info") -> QLabel:
    cell = QLabel(text)
    cell.setProperty("role", role)
    cell.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
    return cell


ON_THE_IMAGE = "On the part of the image that you see"
UNSEEN = "On what it has not learned from"
ROWS = (
    Row(
        "weights", "Weights", "Numbers that the network has learned; zeros not counted."
    ),
    Row(
        "file", "File", "Size of the saved checkpoint. Weights at zero are not stored."
    ),
    Row(
        "macs",
        "MACs / px",
        "Multiplications for each pixel that the network reads. Only removing filters "
        "lowers it.",
    ),
    Row(
        "speed",
        "Time / Mpx",
        "Measured on this computer, both networks in turns: the time for one megapixel "
        "(a million pixels)\nof your image, shrunk to the pixel size that the network "
        "reads. Weights that are zero are computed like all others.",
    ),
    Row(
        "memory",
        "Memory",
        "Of all layers' results, for one megapixel (a million pixels) of your image.",
    ),
    Row(
        "agreement",
        "Same pixels",
        "Share of the visible pixels that get the same answer as before pruning, each "
        "network at its own\nbest threshold. Where most is background, even a useless "
        "network scores high: look at the\nimage, and at the quality below.",
        above=ON_THE_IMAGE,
    ),
    Row(
        "same",
        "Found again",
        "Of the particles that the unpruned network finds in the visible area, those "
        "that are still found;\nand how many others the pruned one finds there.",
    ),
    Row(
        "quality",
        "Quality",
        "On annotated areas that it has not learned from, each network at its own best "
        "threshold.",
        above=UNSEEN,
    ),
    Row(
        "found",
        "Found",
        "How many of what is marked on these areas it finds; and how many of its finds "
        "are none.",
    ),
    Row(
        "common",
        "Quality at 0.5",
        "Both networks at a threshold of 0.5. Pruning shifts how sure a network is "
        "before it costs quality:\nwhat falls only here comes back with another "
        "threshold, or with a short fine-tuning.",
    ),
)


FAR = 0.1
"""A figure that is lower by this much at 0.5 needs a word."""


class PruneCard(BeforeAfter):
    """Before and after pruning."""

    def __init__(self) -> None:
        super().__init__(ROWS)
        self.show_row("found", False)
        self.untuned = look.paragraph("", role="hint")
        self.untuned.hide()
        self._grid.addWidget(self.untuned, self._grid.rowCount(), 0, 1, 4)
        self._before: PlanStatistics | None = None
        self._area = 1.0

    def set_network(self, before: PlanStatistics, factor: float) -> None:
        """Show the network as it is before the slider moves."""
        self.forget()
        self._before, self._area = before, factor**2
        self.set_row("weights", before=words.count(before.nonzero))
        self.set_row("file", before=words.file_size(before.file_bytes))
        self.set_row("macs", before=words.count(before.macs_per_pixel))
        self.set_row("memory", before=self._memory(before))
        self.show_statistics(before)

    def show_statistics(self, after: PlanStatistics) -> None:
        """Show what can be counted."""
        before = self._before
        if before is None:
            return
        for key, one, other, text in (
            ("weights", before.nonzero, after.nonzero, words.count),
            ("file", before.file_bytes, after.file_bytes, words.file_size),
            ("macs", before.macs_per_pixel, after.macs_per_pixel, words.count),
        ):
            self.set_row(key, after=text(other), **_divided(one, other))
        change = _divided(before.memory_per_megapixel, after.memory_per_megapixel)
        self.set_row("memory", after=self._memory(after), **change)

    def forget(self) -> None:
        """Show nothing, because there is no plan."""
        self._before = None
        for row in ROWS:
            self.set_row(row.key, before=words.NONE, after=words.NONE, change="")
        self.untuned.hide()

    def wait(self) -> None:
        """Mark what has to be measured again, because the slider was moved."""
        for key in ("speed", "quality", "found", "common"):
            self.fade(key)

    def show_preview(self, preview: PruningPreview, *, particles: bool) -> None:
        """Show what was seen in the visible area."""
        self.set_row(
            "agreement",
            before=words.percent(1.0),
            after=words.percent(preview.agreement),
        )
        self.show_row("same", particles)
        if preview.same is not None:
            same, before, after = preview.same
            extra = after - same
            self.set_row(
                "same",
                before=f"{before}",
                after=f"{same}",
                change=f"{extra} new" if extra else "",
            )

    def show_speeds(self, speeds: Speeds) -> None:
        """Show what was measured."""
        texts = [
            words.milliseconds(value / self._area)
            for value in (speeds.before, speeds.after)
        ]
        change = _divided(speeds.before, speeds.after)
        self.set_row("speed", before=texts[0], after=texts[1], **change)
        self.fade("speed", on=False)

    def show_quality(
        self, before: Quality | None, after: Quality | None, held_out: str = ""
    ) -> None:
        """Show how good both are on the hold-out, which is in words."""
        name = "Quality" if before is None else before.name
        self.set_title("quality", name)
        self.set_title("common", f"{name} at 0.5")
        self.set_heading("quality", f"{UNSEEN}: {held_out}" if held_out else UNSEEN)
        self._show_found(before, after)
        far = [
            q is not None and q.at_common is not None and q.value - q.at_common > FAR
            for q in (before, after)
        ]
        self.untuned.setText(
            f"“{name} at 0.5” reads both at a threshold of 0.5, for which they were "
            f"not tuned: judge by “{name}”, each at its best."
        )
        self.untuned.setVisible(any(far))
        for key, figure in (("quality", "value"), ("common", "at_common")):
            one, other = getattr(before, figure, None), getattr(after, figure, None)
            if one is not None:
                self.set_row(key, before=words.quality(one, 3))
            if one is not None and other is not None:
                self.set_row(
                    key, after=words.quality(other, 3), **_difference(one, other)
                )
                self.fade(key, on=False)

    def _show_found(self, before: Quality | None, after: Quality | None) -> None:
        """Show what the figure rests on, where things are counted."""
        one, other = (None if q is None else q.counts for q in (before, after))
        self.show_row("found", one is not None)
        if one is None:
            return
        self.set_title("found", f"Found of {one[1]}")
        self.set_row("found", before=str(one[0]))
        if other is not None:
            self.set_row("found", after=str(other[0]), change=f"{other[2]} wrong")
            self.fade("found", on=False)

    def _memory(self, statistics: PlanStatistics) -> str:
        return words.file_size(statistics.memory_per_megapixel / self._area)


def _difference(before: float, after: float) -> dict[str, str]:
    """By how much a figure has changed, in words and colour."""
    change = round(round(after, 3) - round(before, 3), 3) or 0.0
    text = f"{change:+.3f}".replace("-", "−") if change else "same"
    role = "good" if change > 0 else "problem" if change < -0.01 else "hint"
    return {"change": text, "role": role}


def _divided(before: float, after: float) -> dict[str, str]:
    """How many times less, in words and colour."""
    factor = before / max(after, 1e-9)
    if factor < 1.05:
        return {"change": "same" if factor > 0.95 else "", "role": "hint"}
    return {"change": f"÷ {words.ratio(factor)}", "role": "good"}
