"""The live line under the network: what it costs, and whether it is out of reach."""

from __future__ import annotations

from dataclasses import dataclass

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_topiary._napari.jobs.latest import Latest
from napari_topiary._napari.train.network_figures import Blueprint, Figures, figures
from napari_topiary._napari.train.reach import Circumstances, warning
from napari_topiary._napari.widgets import look, words
from napari_topiary.types import Progress

TIP = (
    "Weights: the numbers it learns. MACs: multiplications for each pixel that it "
    "reads.\nThe time is measured on this computer, for a million pixels of your image "
    "at the pixel size chosen below."
)
_LINES = 2


@dataclass(frozen=True)
class _Asked:
    blueprint: Blueprint
    around: Circumstances


class NetworkCost(QWidget):
    """Counted at once, measured in the background.

    The line is as high before anything is known; the form around places `warning`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.lane = Latest()
        self._known: dict[Blueprint, Figures] = {}
        self._asked: _Asked | None = None
        self.line = look.paragraph("", role="hint")
        self.line.setToolTip(TIP)
        self.line.setAlignment(Qt.AlignmentFlag.AlignTop)
        self.line.setMinimumHeight(_LINES * self.line.fontMetrics().lineSpacing())
        self.warning = look.paragraph("", role="problem")
        self.warning.hide()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.line)

    def show_figures(
        self, blueprint: Blueprint, around: Circumstances, *, measure: bool
    ) -> None:
        """Say what a network costs; what is not known is found out in the background.

        Parameters
        ----------
        blueprint
            Of which network.
        around
            What it is to be used on.
        measure
            Whether the speed may be measured now.
        """
        self._asked = _Asked(blueprint, around)
        known = self._known.get(blueprint)
        self._write(known, waiting=measure)
        if known is None or (known.ms_per_megapixel is None and measure):
            self.lane.ask(
                lambda: figures(blueprint, measure=measure),
                title="Measuring the network",
                on_progress=self._on_counted,
                on_result=self._on_figures,
                on_error=self._on_error,
            )

    def _on_counted(self, progress: Progress) -> None:
        if isinstance(progress.report, Figures):
            self._write(progress.report, waiting=True)

    def _on_figures(self, found: Figures) -> None:
        if self._asked is not None:
            self._known[self._asked.blueprint] = found
        self._write(found, waiting=False)

    def _on_error(self, sentence: str) -> None:
        look.set_role(self.line, "problem")
        self.line.setText(sentence)

    def _write(self, known: Figures | None, *, waiting: bool) -> None:
        look.set_role(self.line, "hint")
        if known is None or self._asked is None:
            self.line.setText("Counting…")
            return
        around = self._asked.around
        text = f"{words.count(known.weights)} weights · "
        text += f"{words.file_size(known.file_bytes)} · "
        text += f"{words.count(known.macs_per_pixel)} MACs per pixel"
        if known.ms_per_megapixel is not None:
            speed = words.milliseconds(known.ms_per_megapixel / around.factor**2)
            text += f" · ≈{words.THIN}{speed} per megapixel"
        elif waiting:
            text += " · measuring the speed…"
        self.line.setText(text)
        sentence = warning(known, around)
        self.warning.setText(sentence)
        self.warning.setVisible(bool(sentence))
