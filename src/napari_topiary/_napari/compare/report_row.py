"""Save report…: what two networks found on all annotated images, as a page to send."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QVBoxLayout, QWidget

from napari_topiary import words
from napari_topiary._napari.jobs.runner import JobRunner
from napari_topiary._napari.state import preferences
from napari_topiary._napari.widgets.look import filled
from napari_topiary._napari.widgets.page import Offer, button, row
from napari_topiary.checkpoint import Checkpoint
from napari_topiary.errors import TopiaryError
from napari_topiary.io.dataset import Sample
from napari_topiary.io.dataset_description import parts_of
from napari_topiary.io.output_files import comparison_targets
from napari_topiary.jobs.exporting import to_be_replaced
from napari_topiary.report.comparing import project_report
from napari_topiary.session import Session

NOTHING_MARKED = (
    "A report says how good networks are: mark something on an image first."
)


class ReportRow(QWidget):
    """A button that writes a report of two networks into a folder."""

    said = Signal(str, bool)

    def __init__(
        self,
        session: Session,
        runner: JobRunner,
        networks: Callable[[], Mapping[str, Checkpoint]],
    ) -> None:
        super().__init__()
        self._session, self._runner, self._networks = session, runner, networks
        self.button = button(
            "Save report…",
            "Run both networks over the annotated images, those that are held back\n"
            "where there are any, and write one page with figures and pictures of\n"
            "before and after (report.html), to be read and sent as it is.",
            self.ask,
        )
        self.offer = Offer()
        filled(QVBoxLayout(self), self.offer, row(self.button, 1), spacing=None)

    def ask(self) -> None:
        """Let the user choose a folder."""
        folder = QFileDialog.getExistingDirectory(self, "Folder for the report")
        if folder:
            self.write_to(Path(folder))

    def write_to(self, folder: Path, *, replace: bool = False) -> None:
        """Write the report into a folder."""
        networks, device = dict(self._networks()), preferences().device
        (samples, about), project = self._samples(), self._session.folder
        if not samples:
            self.said.emit(NOTHING_MARKED, True)
            return
        try:
            targets = comparison_targets(folder, list(networks)[1:])
            there = to_be_replaced(target.path for target in targets)
        except TopiaryError as reason:
            self.said.emit(str(reason), True)
            return
        if there and not replace:
            self.offer.show_choice(
                f"{words.plural(len(there), 'file')} of an earlier report, such as "
                f"{there[0].name}, would be replaced.",
                {
                    "Cancel": lambda: None,
                    "Replace": lambda: self.write_to(folder, replace=True),
                },
            )
            return
        begun = self._runner.start(
            lambda: project_report(
                networks,
                samples,
                folder,
                about=about,
                device=device,
                project=project,
            ),
            title="Writing the report",
            on_result=self._on_written,
            on_error=lambda sentence: self.said.emit(sentence, True),
        )
        text = "Writing the report…" if begun else self._runner.busy_sentence
        self.said.emit(text, not begun)

    def _samples(self) -> tuple[tuple[Sample, ...], str]:
        """What is judged on, and which images these are in words."""
        session = self._session
        parts = parts_of(session.split, session.images)
        for part in ("test", "val"):
            held = session.samples(parts.get(part, ()))
            if held:
                return held, "that are held back"
        return session.samples(session.images), "of the project"

    def _on_written(self, report: Path | None) -> None:
        stopped = "Stopped before an image was compared: nothing is written."
        self.said.emit(stopped if report is None else f"Written: {report}", False)
