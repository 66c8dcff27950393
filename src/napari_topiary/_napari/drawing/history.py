"""Undo and redo for what is drawn: napari has none for points and shapes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

DEEPEST = 200

State = tuple[Any, ...]
"""The annotations of one image, without painted labels (those napari undoes itself)."""
Direction = Literal["undo", "redo"]


def undoable(annotations: Iterable[Any]) -> State:
    """Return what of the annotations of an image is undone here."""
    kept = [one for one in annotations if one.kind != "labels" and len(one)]
    return tuple(sorted(kept, key=lambda one: one.kind))


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


class Histories:
    """The history of every image of a project."""

    def __init__(self) -> None:
        self._of: dict[str, History] = {}

    def clear(self) -> None:
        """Forget everything."""
        self._of.clear()

    def note(self, image: str, before: Iterable[Any], after: Iterable[Any]) -> None:
        """Remember that something was drawn; what was undone before is forgotten.

        Parameters
        ----------
        image
            Name of the image.
        before, after
            All annotations before and after; equal ones are no step.
        """
        first, then = undoable(before), undoable(after)
        if first == then:
            return
        history = self._history(image)
        history.past.append(first)
        del history.past[:-DEEPEST]
        history.future.clear()

    def can(self, direction: Direction, image: str) -> bool:
        """Whether there is a step in a direction.

        Parameters
        ----------
        direction
            "undo" or "redo".
        image
            Name of the image.
        """
        history = self._history(image)
        return bool(history.past if direction == "undo" else history.future)

    def step(self, direction: Direction, image: str, now: Iterable[Any]) -> State:
        """Take a step and return the state there; only where there is one.

        Parameters
        ----------
        direction
            "undo" or "redo".
        image
            Name of the image.
        now
            All annotations as they are.
        """
        history = self._history(image)
        source, target = history.past, history.future
        if direction == "redo":
            source, target = target, source
        target.append(undoable(now))
        return source.pop()

    def _history(self, image: str) -> History:
        return self._of.setdefault(image, History())
