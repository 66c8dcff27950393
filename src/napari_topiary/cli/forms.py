"""Forms of `config` on the command line: a field is an option, by the same rules."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Sequence
from dataclasses import MISSING, Field, fields
from types import NoneType
from typing import Any, Literal, Protocol, get_args, get_origin, get_type_hints

from napari_topiary.config import DetectConfig, Option, PredictConfig, row_of

PREDICTING = ("tile", "backend", "invert")
READING = ("threshold", "spacing", "min_size_px")
TOUCHING = ("seed_smoothing_px", "seed_spacing_px", "seed_height", "fill_holes")
"""Fields of `DetectConfig`, as the help groups them."""


class _Options(Protocol):
    """A parser, or a group of its options."""

    def add_argument(self, *names: str, **how: Any) -> argparse.Action:
        """Add an option."""


def add_fields(
    parser: _Options,
    form: type,
    names: Sequence[str],
    *,
    required: Collection[str] = (),
    by_network: bool = False,
) -> None:
    """Add fields of a form as options; what is not said is left to the form.

    Parameters
    ----------
    parser
        Or a group of its options.
    form
        A dataclass of `config`.
    names
        Of its fields.
    required
        Those that have to be said.
    by_network
        Whether a network may have defaults of its own.
    """
    hints = get_type_hints(form, include_extras=True)
    rows = {row.name: row for row in fields(form)}
    for name in names:
        kinds, look = row_of(hints[name])
        option = look.get("option", Option())
        kind = next(each for each in kinds if each is not NoneType)
        default = _default(rows[name])
        how: dict[str, Any] = {"dest": name, "default": None}
        words = option.words or _in_a_line(str(look["tooltip"]))
        flag = "--" + name.replace("_", "-")
        if kind is bool:
            how |= {"action": "store_false" if default else "store_true"}
            flag = "--no-" + flag[2:] if default else flag
        else:
            choices = get_args(kind) if get_origin(kind) is Literal else None
            how |= {"type": str if choices else kind, "choices": choices}
            how |= {"metavar": option.metavar or None, "required": name in required}
            says_itself = "default" in words
            if default is not None and name not in required and not says_itself:
                shown = f"{default:g}" if isinstance(default, float) else default
                words += f" (default: {shown}{', or by network' * by_network})"
        parser.add_argument(option.name or flag, help=words.replace("%", "%%"), **how)


def add_predicting(parser: argparse.ArgumentParser) -> None:
    """Add what the verbs that predict have in common; `predict_config` reads it."""
    add_fields(parser, PredictConfig, PREDICTING)
    add_fields(parser, DetectConfig, READING)
    touching = parser.add_argument_group(
        "touching objects, of networks with a distance branch"
    )
    add_fields(touching, DetectConfig, TOUCHING)


def predict_config(options: argparse.Namespace) -> PredictConfig:
    """Return how images are predicted, and how answers are read."""
    detect = DetectConfig(**given(options, DetectConfig))
    return PredictConfig(**{**given(options, PredictConfig), "detect": detect})


def given(options: argparse.Namespace, form: type) -> dict[str, Any]:
    """Fields of a form that have been said on the command line.

    Parameters
    ----------
    options
        With what `add_fields` has added.
    form
        The same form.
    """
    return {
        row.name: value
        for row in fields(form)
        if (value := getattr(options, row.name, None)) is not None
    }


def _default(row: Field[Any]) -> Any:
    return None if row.default is MISSING else row.default


def _in_a_line(tooltip: str) -> str:
    """A tooltip as help says it: no capital, no full stop, and what empty means."""
    words = tooltip.rstrip(".").replace(". Empty: ", "; if not given: ")
    return words[:1].lower() + words[1:]
