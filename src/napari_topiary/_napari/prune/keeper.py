"""Keeps pruned networks as versions of the project."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Signal

from napari_topiary._napari.jobs.latest import Latest
from napari_topiary._napari.learning.checkpoint_files import named
from napari_topiary._napari.prune.jobs import Ready, keeping
from napari_topiary.checkpoint import Checkpoint
from napari_topiary.evaluation.hold_out_validator import HoldOut

if TYPE_CHECKING:
    from napari_topiary.session import Session


class Keeper(QObject):
    """Adds versions to the session, and says which one is used.

    Signals
    -------
    kept(str)
        A version was added; a sentence.
    problem(str)
        It could not be.
    """

    kept = Signal(str)
    problem = Signal(str)

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session
        self.acting = False
        self._lane = Latest()
        self.close = self._lane.close

    @property
    def busy(self) -> bool:
        """Whether a version is being made."""
        return self._lane.busy

    def keep(self, ready: Ready, share: float, name: str, hold_out: HoldOut) -> None:
        """Make a version of one position, judge it, and add it.

        Parameters
        ----------
        ready, share
            The position.
        name
            To keep it under.
        hold_out
            What to judge on.
        """
        name = self.session.unique_checkpoint_name(name)
        self._lane.ask(
            lambda: keeping(ready.plan, share, name, hold_out),
            title="Keeping the pruned network",
            on_result=self._on_made,
            on_error=self.problem.emit,
        )

    def _on_made(self, checkpoint: Checkpoint) -> None:
        self._add(checkpoint.name, checkpoint)
        problems = checkpoint.provenance.get("problems", ())
        self.kept.emit(" ".join((f"Kept as “{checkpoint.name}”.", *problems)))

    def keep_tuned(self, checkpoint: Checkpoint, name: str) -> Checkpoint:
        """Add what fine-tuning made; returns it with its name.

        Parameters
        ----------
        checkpoint
            The fine-tuned network.
        name
            Of the version it was made of.
        """
        name = self.session.unique_checkpoint_name(f"{name}, tuned")
        made = named(checkpoint, name)
        self._add(name, made)
        return made

    def use(self, name: str) -> None:
        """Let Predict and Compare use a version from now on.

        Parameters
        ----------
        name
            Of the version.
        """
        self.acting = True
        try:
            self.session.activate(name)
        finally:
            self.acting = False

    def _add(self, name: str, checkpoint: Checkpoint) -> None:
        self.acting = True  # the page goes on pruning what it prunes
        try:
            self.session.add_checkpoint(name, checkpoint)
        finally:
            self.acting = False
