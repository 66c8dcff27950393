"""What a field of a form says of itself, and sentences about values that cannot be.

`Annotated[...]` carries what a form row shows (limits, label, tooltip), and an `Option`
where the command line says it differently.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

LONGEST = 60
"""Letters of a value that a sentence repeats."""


@dataclass(frozen=True)
class Option:
    """How a field is given on the command line, where its row does not say it."""

    #: Of the option; empty: that of the field, ``--no-...`` for what is on by default
    name: str = ""
    metavar: str = ""  #: What stands for the value in the help
    words: str = ""  #: Help, where the tooltip does not fit


def form_problem(form: Any, *, open_fields: Collection[str] = ()) -> str | None:
    """Return the first thing that is impossible about a form, as a sentence.

    Parameters
    ----------
    form
        A dataclass whose annotations carry limits; forms in it are asked themselves.
    open_fields
        Names whose choices are not in the annotation: a registry or the machine has
        them, and whoever looks there refuses what it does not know.
    """
    hints = get_type_hints(type(form), include_extras=True)
    for row in fields(form):
        kinds, look = row_of(hints[row.name])
        value = getattr(form, row.name)
        if value is None and NoneType in kinds:
            continue
        words = str(look.get("label", row.name.replace("_", " "))).capitalize()
        if hasattr(value, "problem"):
            problem = value.problem()
        elif row.name in open_fields and isinstance(value, str):
            problem = None
        else:
            problem = _value_problem(words, value, kinds, look)
        if problem is not None:
            return str(problem)
    return None


def number_problem(
    words: str,
    value: Any,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    whole: bool = False,
    meaning: str = "",
) -> str | None:
    """Return why a number is impossible, as a sentence.

    Parameters
    ----------
    words
        What the number is, as a sentence begins.
    value
        What was given.
    low, high
        Smallest and largest that is possible.
    whole
        Whether it must have no fraction.
    meaning
        What it stands for, where `words` do not say enough.
    """
    is_number = isinstance(value, Integral if whole else Real)
    if is_number and not isinstance(value, bool) and low <= value <= high:
        return None
    given = f"{value:g}" if isinstance(value, float) else shown(value)
    kind = "a whole number" if whole else "a number"
    span = f" from {low:,.10g} to {high:,.10g}" if math.isfinite(high) else ""
    about = f" ({meaning})" if meaning else ""
    return f"{words} {given} is not possible: give {kind}{span}{about}."


def shown(value: Any) -> str:
    """Return what was given as it can stand in a sentence."""
    text = " ".join(repr(value).split())
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def row_of(hint: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the kinds of value that a field may have, and what its row shows.

    Parameters
    ----------
    hint
        Annotation of the field; its `Option`, if it has one, is shown as `option`.
    """
    look: dict[str, Any] = {}
    if get_origin(hint) is Annotated:
        look, *more = hint.__metadata__
        look = {**look, **({"option": more[0]} if more else {})}
        hint = hint.__origin__
    is_union = get_origin(hint) in (Union, UnionType)
    return (get_args(hint) if is_union else (hint,)), look


def _value_problem(
    words: str, value: Any, kinds: tuple[Any, ...], look: dict[str, Any]
) -> str | None:
    kind = next(kind for kind in kinds if kind is not NoneType)
    if kind in (int, float):
        meaning = str(look.get("tooltip", "")).split(". ")[0].rstrip(".")
        return number_problem(
            words,
            value,
            low=look.get("min", -math.inf),
            # Numbers that are not finite are never meant.
            high=look.get("max", 1e300),
            whole=kind is int,
            meaning=meaning[:1].lower() + meaning[1:],
        )
    if kind is bool and type(value) is not bool:
        return f"{words} is on or off, not {shown(value)}."
    choices = get_args(kind) if get_origin(kind) is Literal else None
    if choices and not (isinstance(value, str) and value in choices):
        return f"{words} {shown(value)} is not known: give {_either(choices)}."
    origin = get_origin(kind)
    home = Mapping if origin is dict else origin or kind
    if isinstance(home, type) and not isinstance(value, home):
        return f"{words} {shown(value)} is not possible here."
    return None


def _either(choices: tuple[str, ...]) -> str:
    *others, last = choices
    return f"{', '.join(others)} or {last}" if others else last
