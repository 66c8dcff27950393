"""Undo and redo for what is drawn: napari has none for points and shapes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

DEEPEST = 200

Direction = Literal["undo", "redo"]


@dataclass(frozen=True)
class State:
    """What was drawn on an image."""

    drawn: tuple[Any, ...]
    painted: bool = False

    @classmethod
    def of(cls, annotations: Iterable[Any], *, painted: bool = False) -> State:
        """Return what of the annotations of an image is undone here."""
        kept = [o for o in annotations if o and (painted or not _is_painted(o))]
        return cls(tuple(sorted(kept, key=lambda one: one.kind)), painted)

    def over(self, annotations: Iterable[Any]) -> tuple[Any, ...]:
        """Return all annotations of the image in this state, in place of others."""
        if self.painted:
            return self.drawn
        return (*self.drawn, *filter(_is_painted, annotations))


@dataclass
class History:
    """Earlier and later states of the annotations of one image."""

    past: list[State] = field(default_factory=list)
    future: list[State] = field(default_factory=list)


class Histories:
    """The history of every image of a project."""

    def __init__(self) -> None:
        self._of: dict[str, History] = {}

    def change(self, changed: Callable[[Any], Any]) -> None:
        """Change all states, so that they go on fitting what they are steps of.

        Parameters
        ----------
        changed
            An annotation -> what it is from now on.
        """
        for history in self._of.values():
            for states in (history.past, history.future):
                states[:] = [
                    State.of(map(changed, one.drawn), painted=one.painted)
                    for one in states
                ]

    def clear(self) -> None:
        """Forget everything."""
        self._of.clear()

    def note(
        self,
        image: str,
        before: Iterable[Any],
        after: Iterable[Any],
        *,
        replaced: bool = False,
    ) -> None:
        """Remember that something was drawn; what was undone before is forgotten."""
        before, after = tuple(before), tuple(after)
        painted = replaced and _labels(before) is not _labels(after)
        first = State.of(before, painted=painted)
        if first == State.of(after, painted=painted):
            return
        history = self._history(image)
        history.past.append(first)
        del history.past[:-DEEPEST]
        history.future.clear()

    def can(self, direction: Direction, image: str) -> bool:
        """Whether there is a step in a direction."""
        history = self._history(image)
        return bool(history.past if direction == "undo" else history.future)

    def step(self, direction: Direction, image: str, now: Iterable[Any]) -> State:
        """Take a step and return the state there; only where there is one."""
        history = self._history(image)
        source, target = history.past, history.future
        if direction == "redo":
            source, target = target, source
        state = source.pop()
        target.append(State.of(now, painted=state.painted))
        return state

    def _history(self, image: str) -> History:
        return self._of.setdefault(image, History())


def _labels(annotations: Iterable[Any]) -> Any | None:
    return next(filter(_is_painted, annotations), None)


def _is_painted(annotation: Any) -> bool:
    """Whether napari itself undoes what is drawn of it."""
    return bool(annotation.layer_type == "labels")
