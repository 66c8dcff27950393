"""What the sizes of all networks have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, ClassVar, Self, get_type_hints

from napari_topiary.errors import TopiaryError


class Sizes:
    """Base of frozen dataclasses whose fields are whole numbers or switches.

    The limits of a number are those that its form row shows (`min`, `max` of its
    annotation); `network` is the name for sentences.
    """

    network: ClassVar[str]

    @classmethod
    def from_mapping(cls, sizes: Mapping[str, Any]) -> Self:
        """Check sizes that came from a form, a command line or a file.

        Parameters
        ----------
        sizes
            Field name -> value; absent fields have their defaults.

        Raises
        ------
        TopiaryError
            With a sentence for an unknown name or an impossible value.
        """
        known = [field.name for field in fields(cls)]  # type: ignore[arg-type]
        for name in sizes:
            if name not in known:
                raise TopiaryError(
                    f"A {cls.network} has no size called {name!r}: it has "
                    f"{', '.join(known)}."
                )
        made = cls(**sizes)
        problem = made.problem()
        if problem is not None:
            raise TopiaryError(problem)
        return made

    def problem(self) -> str | None:
        """Return what is impossible about these sizes, as a sentence."""
        for name, hint in get_type_hints(type(self), include_extras=True).items():
            look = getattr(hint, "__metadata__", (None,))[0]
            if look is None:
                continue
            value, words = getattr(self, name), look["label"].lower()
            if hint.__origin__ is bool:
                if type(value) is not bool:
                    return f"{look['label']} is on or off, not {value!r}."
            elif type(value) is not int or not look["min"] <= value <= look["max"]:
                return (
                    f"A {self.network} with {value!r} {words} is not possible: give a "
                    f"whole number from {look['min']} to {look['max']}."
                )
        return None
