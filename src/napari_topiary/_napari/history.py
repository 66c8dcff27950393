"""Undo and redo for what is drawn: napari has none for points and shapes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

DEEPEST = 200

State = tuple[Any, ...]
"""The annotations of one image, without painted labels (those napari undoes itself)."""


@dataclass
class History:
    """Earlier and later states of the annotations of one image.

    Parameters
    ----------
    past, future
        Latest last.
    """

    past: list[State] = field(default_factory=list)
    future: list[State] = field(default_factory=list)

    def note(self, before: State, after: State) -> None:
        """Remember that something was drawn; what was undone before is forgotten.

        Parameters
        ----------
        before, after
            State before and after; equal ones are no step.
        """
        if before == after:
            return
        self.past.append(before)
        del self.past[:-DEEPEST]
        self.future.clear()

    def undo(self, now: State) -> State:
        """Return the state before `now`, which can then be redone."""
        self.future.append(now)
        return self.past.pop()

    def redo(self, now: State) -> State:
        """Return the state that was undone last."""
        self.past.append(now)
        return self.future.pop()
