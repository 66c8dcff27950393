"""From the annotation of a field to what its widget needs."""

from __future__ import annotations

import math
import types
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Union, get_args, get_origin


def step_for(value: float | None, options: Mapping[str, Any]) -> float:
    """Step of a field: the power of ten of its value, fine enough for its range."""
    if not value:
        value = (options.get("max", 1.0) - options.get("min", 0.0)) / 20
    return float(10 ** math.floor(math.log10(abs(value)) - 1e-9))


def decimals_of(*numbers: object) -> int:
    """Decimals that show all of these numbers exactly (at most 8)."""
    exponents = [
        -int(Decimal(repr(one)).normalize().as_tuple().exponent)
        for one in numbers
        if isinstance(one, float) and math.isfinite(one)
    ]
    return min(8, max([0, *exponents]))


def split_annotation(hint: Any, options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Separate a type from the options that its annotation carries."""
    if get_origin(hint) is not Annotated:
        return hint, options
    kind, *extras = get_args(hint)
    merged: dict[str, Any] = {}
    for extra in extras:
        if isinstance(extra, Mapping):
            merged |= extra
    return kind, merged | options


def is_optional(kind: Any) -> bool:
    """Whether None is among the values of a type."""
    return get_origin(kind) in (Union, types.UnionType) and type(None) in get_args(kind)


def without_none(kind: Any) -> Any:
    """Return an optional type without its None."""
    rest = [one for one in get_args(kind) if one is not type(None)]
    return rest[0] if len(rest) == 1 else Union[tuple(rest)]  # noqa: UP007
