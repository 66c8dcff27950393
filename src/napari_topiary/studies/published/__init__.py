"""Published tables, as data: `sample_size`, `sample_size_networks`, `membrane`."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any


@cache
def published(name: str) -> tuple[dict[str, Any], ...]:
    """Return the rows of a published table; numbers as numbers, empty fields None.

    Parameters
    ----------
    name
        Of a file here, without its ending.

    Examples
    --------
    >>> published("membrane")[0]["parameters"]
    236977
    """
    path = Path(__file__).with_name(f"{name}.csv")
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return tuple({key: _value(text) for key, text in row.items()} for row in rows)


def matching(rows: Iterable[Mapping[str, Any]], **wanted: Any) -> list[dict[str, Any]]:
    """Rows whose columns have these values; numbers may differ by rounding."""
    return [
        dict(row)
        for row in rows
        if all(_same(row.get(name), value) for name, value in wanted.items())
    ]


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, float) and isinstance(b, int | float):
        return math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-9)
    return bool(a == b)


def _value(text: str) -> int | float | str | None:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text or None
