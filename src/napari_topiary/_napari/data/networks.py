"""The networks of the project as a list: rename, delete, save as a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.compat import isalive
from qtpy.QtCore import QSignalBlocker, QSize, Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
    QApplication,
    QFileDialog,
    QHBoxLayout,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_topiary import words
from napari_topiary._napari.jobs.runner import JobRunner, in_background
from napari_topiary._napari.widgets import look
from napari_topiary._napari.widgets.look import filled
from napari_topiary._napari.widgets.page import button
from napari_topiary.errors import TopiaryError
from napari_topiary.io.own_files import CHECKPOINT
from napari_topiary.io.pairing import safe_name
from napari_topiary.session import commands_for, parents_of
from napari_topiary.types import Job, Progress

if TYPE_CHECKING:
    from napari_topiary._napari.data.page import DataPage
    from napari_topiary.checkpoint import Checkpoint

_MOST_ROWS = 3
_FILES = f"Topiary checkpoints (*{CHECKPOINT})"


class NetworkList(QWidget):
    """The networks that the project has, and what can be done with the selected one."""

    def __init__(self, page: DataPage) -> None:
        super().__init__()
        self.page = page
        self._parents: dict[str, str] = {}
        self._known: tuple[str, ...] = ()
        self._asked: tuple[tuple[str, int], ...] = ()
        self.rows = QListWidget()
        self.rows.setProperty("role", "list")
        self.rows.setToolTip("The networks of this project, with what they come from.")
        self.rows.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.rows.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.rows.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.rows.currentItemChanged.connect(self._on_selected)
        self.name = QLineEdit()
        self.name.setToolTip("Name of the selected network: type another, then Enter.")
        self.name.editingFinished.connect(self._on_renamed)
        self.file_button = button(
            "Save as file…",
            "Write the selected network to a file of its own, for another project, "
            "the command line or another person; for other programs as ONNX or as a "
            "model of bioimage.io.",
            self.choose_file,
        )
        self.delete_button = button(
            "Delete", "Take the selected network out of the project.", self._on_delete
        )
        self.commands_button = button(
            "Copy as commands",
            "Copy the commands that make the selected network again, to be run in the "
            "folder of the project; session.sh there has those of all networks.",
            self.copy_commands,
        )
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        heading = look.paragraph("Networks", role="title")
        line = filled(
            QHBoxLayout(), (self.name, 1), self.file_button, self.delete_button
        )
        layout.addWidget(heading)
        layout.addWidget(self.rows)
        layout.addLayout(line)
        layout.addWidget(self.commands_button)

    @property
    def selected(self) -> str | None:
        """Name of the selected network."""
        item = self.rows.currentItem()
        return None if item is None else str(item.data(Qt.ItemDataRole.UserRole))

    def refresh(self) -> None:
        """Show what the session has; the selection stays where it can."""
        known = self.page.session.checkpoints
        self.setVisible(bool(known))
        new = [name for name in known if name not in self._known]
        self._known = tuple(known)
        wanted = new[-1] if new else self.selected
        if wanted not in known:
            wanted = self.page.session.active_checkpoint
        height = self.rows.fontMetrics().lineSpacing() * 2 + 10
        with QSignalBlocker(self.rows):
            self.rows.clear()
            for name, checkpoint in known.items():
                item = QListWidgetItem(self._words(name, checkpoint))
                item.setData(Qt.ItemDataRole.UserRole, name)
                item.setToolTip(self._words(name, checkpoint))
                item.setSizeHint(QSize(200, height))
                self.rows.addItem(item)
                if name == wanted:
                    self.rows.setCurrentItem(item)
        shown = min(_MOST_ROWS, max(1, len(known)))
        self.rows.setFixedHeight(shown * height + 4)
        self._on_selected()
        self._find_parents()

    def _words(self, name: str, checkpoint: Checkpoint) -> str:
        weights = words.count(checkpoint.parameters_nonzero)
        told = []
        figure = words.figure(checkpoint.metrics)
        if figure:
            told.append(figure)
        if weights not in name.replace(" k", f"{words.THIN}k"):
            told.append(f"{weights} weights")
        if name in self._parents:
            told.append(f"from {self._parents[name]}")
        elif not told:
            told.append("not judged yet")
        return f"{name}\n{' · '.join(told)}"

    def _find_parents(self) -> None:
        """Look up what comes from what: hashing large networks takes a while."""
        session = self.page.session
        now = tuple((name, id(each)) for name, each in session.checkpoints.items())
        if now == self._asked:
            return
        self._asked = now
        known = dict(session.checkpoints)

        def found(parents: dict[str, str]) -> None:
            if isalive(self) and now == self._asked and parents != self._parents:
                self._parents = parents
                self.refresh()

        in_background(
            lambda: parents_of(known),
            title="Looking where networks come from",
            on_result=found,
        )

    def _on_selected(self, *_: object) -> None:
        name = self.selected
        for widget in (
            self.name,
            self.file_button,
            self.delete_button,
            self.commands_button,
        ):
            widget.setEnabled(name is not None)
        self.name.setText(name or "")
        self.name.setCursorPosition(0)

    def copy_commands(self) -> None:
        """Put the commands that make the selected network again on the clipboard."""
        name, known = self.selected, dict(self.page.session.checkpoints)
        if name is None:
            return

        def found(lines: list[str]) -> None:
            clipboard = QApplication.clipboard()
            if clipboard is not None:
                clipboard.setText("\n".join(lines) + "\n")
            self.page.say(f"Copied: {lines[-1]}")

        in_background(
            lambda: commands_for(name, known, parents_of(known)),
            title="Looking how the network was made",
            on_result=found,
        )

    def _on_renamed(self) -> None:
        old, new = self.selected, self.name.text()
        if old is None or old == new:
            return
        try:
            self.page.session.rename_checkpoint(old, new)
        except TopiaryError as reason:
            self.name.setText(old)
            self.page.refuse(str(reason))
            return
        self._select(" ".join(new.split()))

    def _select(self, name: str) -> None:
        for number in range(self.rows.count()):
            item = self.rows.item(number)
            if item is not None and item.data(Qt.ItemDataRole.UserRole) == name:
                self.rows.setCurrentItem(item)

    def _on_delete(self) -> None:
        name, session = self.selected, self.page.session
        if name is None:
            return

        def delete() -> None:
            if name in session.checkpoints:
                session.remove_checkpoint(name)
                self.page.say(f"{name} is not in the project any more.")

        self.page.offer.show_choice(
            f"Delete the network {name}?",
            {"Keep it": lambda: None, "Delete it": delete},
        )

    def choose_file(self) -> None:
        """Ask where to, and write the selected network there."""
        name = self.selected
        if name is None:
            return
        formats = _formats()
        proposed = Path.home() / f"{safe_name(name)}{CHECKPOINT}"
        path, chosen = QFileDialog.getSaveFileName(
            self, "Save the network as a file", str(proposed), ";;".join(formats)
        )
        if path:  # the dialog has asked about a file that is there
            self.save_file(
                Path(path), ending=formats.get(chosen, CHECKPOINT), replace=True
            )

    def save_file(
        self, path: Path, *, ending: str = CHECKPOINT, replace: bool = False
    ) -> None:
        """Write the selected network to a file; ask first where one is there."""
        name = self.selected
        if name is None:
            return
        wanted = _with_ending(path, ending)
        path, replace = wanted, replace and path == wanted
        if path.exists() and not replace:
            self.page.offer.show_choice(
                f"{path.name} is there already. Replace it?",
                {
                    "Cancel": lambda: None,
                    "Replace": lambda: self.save_file(path, replace=True),
                },
            )
            return
        checkpoint = self.page.session.checkpoints[name].named(name)

        def job() -> Job[tuple[str, ...]]:
            from napari_topiary.export import export_network

            yield Progress(0, 0, "Writing the network")
            if path.suffix == CHECKPOINT:
                checkpoint.save(path, overwrite=True)
                return ()
            kind = next(n for n, end in _endings().items() if end == path.suffix)
            made = yield from export_network(checkpoint, path, kind, overwrite=True)
            return () if made is None else made.notes

        def written(notes: tuple[str, ...]) -> None:
            self.page.say(" ".join([f"{name} is in {path}.", *notes]))

        JobRunner().start(
            job,
            title="Writing the network",
            on_result=written,
            on_error=self.page.refuse,
        )


def _endings() -> dict[str, str]:
    """Format for other programs -> ending of its files."""
    from napari_topiary.export import export_formats  # torch: not at the start

    return {name: export_formats[name].ending for name in export_formats}


def _formats() -> dict[str, str]:
    """What the dialog calls the kinds of files -> their ending."""
    from napari_topiary.export import export_formats

    others = {
        f"{export_formats[name].title} (*{ending})": ending
        for name, ending in sorted(_endings().items(), reverse=True)
    }
    return {_FILES: CHECKPOINT, **others}


def _with_ending(path: Path, ending: str) -> Path:
    """Return a path that says what is in the file: what was typed comes first."""
    if path.suffix == CHECKPOINT:  # proposed before another kind was chosen
        return path.with_suffix(ending)
    known = path.suffix in _formats().values()
    return path if known else path.with_name(path.name + ending)
