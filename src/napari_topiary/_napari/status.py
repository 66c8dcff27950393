"""The status line: what runs, how far it is, how long it will take, and Stop."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import (
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QWidget,
)

from napari_topiary._napari.jobs.runner import JobRunner
from napari_topiary._napari.widgets import look
from napari_topiary.types import Progress

_STEPS = 1000


def duration(seconds: float) -> str:
    """Put a duration into words ("12 s", "3 min").

    `seconds`: its length; anything below one second counts as one.
    """
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"


class ElidedLabel(QLabel):
    """One line of text that ends in "…" where there is no room; all of it on hover."""

    def __init__(self) -> None:
        super().__init__()
        self._words = ""
        self.setMinimumWidth(30)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)

    @property
    def words(self) -> str:
        """The whole text."""
        return self._words

    def write(self, words: str) -> None:
        """Show a text, as much of it as there is room for."""
        self._words = words
        self.setToolTip(words)
        self._elide()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Show as much as fits now."""
        super().resizeEvent(event)
        self._elide()

    def _elide(self) -> None:
        metrics, end = self.fontMetrics(), Qt.TextElideMode.ElideRight
        self.setText(metrics.elidedText(self._words, end, self.width() - 4))


class StatusLine(QWidget):
    """One line that follows a `JobRunner`."""

    def __init__(self, runner: JobRunner) -> None:
        super().__init__()
        self.runner = runner
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.bar.setFixedHeight(12)
        self.bar.setFixedWidth(64)
        self.eta = QLabel("")
        self.eta.setToolTip("About how long it will still take.")
        self.text = ElidedLabel()
        look.set_role(self.text, "hint")
        self.stop_button = QPushButton("Stop")
        self.stop_button.setToolTip("End what runs now, and keep what it has so far.")
        self.stop_button.clicked.connect(self._on_stop)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(4, 0, 2, 0)
        layout.setSpacing(8)
        layout.addWidget(self.bar)
        layout.addWidget(self.eta)
        layout.addWidget(self.text, 1)
        layout.addWidget(self.stop_button)
        self.setFixedHeight(max(30, self.sizeHint().height()))
        runner.started.connect(self._on_started)
        runner.progressed.connect(self._on_progress)
        runner.finished.connect(self._on_finished)
        self._on_finished()
        if runner.running:
            self._on_started(runner.title)

    def _on_started(self, title: str) -> None:
        self.bar.setRange(0, 0)
        self.text.write(f"{title}…")
        self.stop_button.setEnabled(True)
        self.stop_button.setText("Stop")
        self.bar.show()
        self.stop_button.show()

    def _on_progress(self, progress: Progress) -> None:
        if progress.total > 0:
            self.bar.setRange(0, _STEPS)
            self.bar.setValue(round(progress.fraction * _STEPS))
        known = progress.eta_s is not None
        self.eta.setText(f"{duration(progress.eta_s or 0)} left" if known else "")
        self.eta.setVisible(known)
        words = progress.message or f"{self.runner.title}…"
        if known:  # the bar, the time and Stop say that it runs: room for figures
            words = words.removeprefix(f"{self.runner.title}, ")
        self.text.write(words[:1].upper() + words[1:])

    def _on_finished(self) -> None:
        self.bar.hide()
        self.eta.hide()
        self.stop_button.hide()
        self.text.write("")  # napari's own line says "Ready"

    def _on_stop(self) -> None:
        self.stop_button.setEnabled(False)
        self.stop_button.setText("Stopping…")
        self.runner.stop()
