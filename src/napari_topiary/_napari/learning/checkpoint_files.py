"""Networks that come from files: one to start from, one that was left behind."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Signal

from napari_topiary._napari.jobs.runner import in_background
from napari_topiary._napari.widgets.offer import Offer
from napari_topiary.checkpoint import Checkpoint, load_checkpoint
from napari_topiary.jobs.training import (
    forget_training,
    recover_training,
    unfinished_training,
)

if TYPE_CHECKING:
    from napari_topiary.session import Session


class CheckpointFiles(QObject):
    """Reads checkpoints into a session, in the background.

    Signals
    -------
    opened(str)
        A file was read; the name that it is kept under.
    recovered(str)
        What was left of a training that was cut off; the name that it is kept under.
    problem(str)
        A file could not be read.
    """

    opened = Signal(str)
    recovered = Signal(str)
    problem = Signal(str)

    def __init__(self, session: Session, offer: Offer) -> None:
        super().__init__()
        self.session, self.offer = session, offer

    def open(self, path: Path) -> None:
        """Read a file."""
        self._reading = in_background(
            lambda: (path.stem, load_checkpoint(path)),
            title="Reading the checkpoint",
            on_result=self._on_opened,
            on_error=self.problem.emit,
        )

    def offer_unfinished(self) -> None:
        """Ask what to do with a training that was cut off, if there is one."""
        file = unfinished_training()
        if file is None:
            return
        self.offer.show_choice(
            "A training was cut off before it ended. The best network that it had is "
            "still there.",
            {
                "Take it over": lambda: self._recover(file),
                "Delete it": lambda: forget_training(file),
            },
            problem=False,
        )

    def _recover(self, file: Path) -> None:
        self._reading = in_background(
            lambda: recover_training(file),
            title="Reading the network of the training that was cut off",
            on_result=self._on_recovered,
            on_error=self.problem.emit,
        )

    def _on_opened(self, found: tuple[str, Checkpoint]) -> None:
        stem, checkpoint = found
        name = self.session.unique_checkpoint_name(checkpoint.name or stem)
        self.session.add_checkpoint(name, checkpoint, activate=False)
        self.opened.emit(name)

    def _on_recovered(self, checkpoint: Checkpoint) -> None:
        name = self.session.unique_checkpoint_name("recovered")
        self.session.add_checkpoint(name, named(checkpoint, name))
        self.recovered.emit(name)


def named(checkpoint: Checkpoint, name: str) -> Checkpoint:
    """Return a checkpoint that knows what it is called."""
    return checkpoint.replaced(provenance={**checkpoint.provenance, "name": name})
