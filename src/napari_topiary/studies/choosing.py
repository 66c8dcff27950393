"""Which part of a grid is asked for, and a cell in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from napari_topiary.errors import TopiaryError
from napari_topiary.studies.base import Cell

Only = Mapping[str, Sequence[str]]
"""Name of a setting -> values that are wanted, as text."""
EVERYTHING: Only = {}


def chosen(cells: Sequence[Cell], only: Only) -> tuple[Cell, ...]:
    """Return the part of a grid that is asked for.

    Parameters
    ----------
    cells
        The grid.
    only
        Settings that are not named may have any value.
    """
    kept = tuple(cells)
    for name, wanted in only.items():
        known = list(dict.fromkeys(_text(c[name]) for c in cells if name in c))
        if not known:
            settings = dict.fromkeys(key for cell in cells for key in cell)
            raise TopiaryError(
                f"This study has no setting {name!r}: it has {', '.join(settings)}."
            )
        for value in wanted:
            if _text(_number(value)) not in known:
                raise TopiaryError(
                    f"{name}={value} is not in the grid: it has {', '.join(known)}."
                )
        texts = {_text(_number(value)) for value in wanted}
        kept = tuple(c for c in kept if name in c and _text(c[name]) in texts)
    if not kept:
        raise TopiaryError(
            "No cell of the grid has all of these settings: leave one of them out."
        )
    return kept


def in_words(cell: Cell) -> str:
    """Return the settings of a cell on a line."""
    return ", ".join(f"{name} {_text(value)}" for name, value in cell.items())


def _text(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _number(text: str) -> object:
    """Read a number where it is one, so that 0.50 and 0.5 are the same."""
    try:
        return float(text) if "." in text or "e" in text else int(text)
    except ValueError:
        return text
