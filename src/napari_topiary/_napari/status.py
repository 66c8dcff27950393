"""The status line: what runs, how far it is, how long it will take, and Stop."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QHBoxLayout, QLabel, QProgressBar, QPushButton, QWidget

from napari_topiary._napari.job import JobRunner
from napari_topiary.types import Progress

_STEPS = 1000


def duration(seconds: float) -> str:
    """Put a duration into words ("12 s", "3 min").

    Parameters
    ----------
    seconds
        Its length; anything below one second counts as one.
    """
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"


class StatusLine(QWidget):
    """One line that follows a `JobRunner`; invisible space when nothing runs.

    Parameters
    ----------
    runner
        Whose job is shown and stopped.
    """

    def __init__(self, runner: JobRunner) -> None:
        super().__init__()
        self.runner = runner
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.bar.setFixedHeight(12)
        self.bar.setFixedWidth(90)
        self.text = QLabel("")
        self.text.setMinimumWidth(60)
        self.text.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.stop_button = QPushButton("Stop")
        self.stop_button.setToolTip("End what runs now, and keep what it has so far.")
        self.stop_button.clicked.connect(self._on_stop)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(8)
        layout.addWidget(self.bar)
        layout.addWidget(self.text, 1)
        layout.addWidget(self.stop_button)
        runner.started.connect(self._on_started)
        runner.progressed.connect(self._on_progress)
        runner.finished.connect(self._on_finished)
        self._on_finished()
        if runner.running:
            self._on_started(runner.title)

    def _on_started(self, title: str) -> None:
        self.bar.setRange(0, 0)
        self._write(f"{title}…")
        self.stop_button.setEnabled(True)
        self.stop_button.setText("Stop")
        self.bar.show()
        self.stop_button.show()

    def _on_progress(self, progress: Progress) -> None:
        if progress.total > 0:
            self.bar.setRange(0, _STEPS)
            self.bar.setValue(round(progress.fraction * _STEPS))
        words = progress.message or f"{self.runner.title}…"
        if progress.eta_s is not None:
            words += f" · {duration(progress.eta_s)} left"
        self._write(words)

    def _on_finished(self) -> None:
        self.bar.hide()
        self.stop_button.hide()
        self._write("Ready")

    def _on_stop(self) -> None:
        self.stop_button.setEnabled(False)
        self.stop_button.setText("Stopping…")
        self.runner.stop()

    def _write(self, words: str) -> None:
        self.text.setToolTip(words)
        self.text.setText(words)
