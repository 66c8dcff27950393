"""The words of a checkpoint file: one JSON text beside the tensors."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeVar, get_args

import numpy as np

from napari_topiary.errors import TopiaryError
from napari_topiary.normalisation.normalisation import Kind, Normalisation
from napari_topiary.types import Task, TaskKind

FORMAT = 1
"""Version of the file; a reader refuses newer ones."""
WIDEST = 1 << 20
"""No layer of a network is wider; wider is a damaged or hostile file."""

SMALLEST = 1e-12
"""No length or factor is smaller, and none larger than one divided by it."""

T = TypeVar("T")


def encode(fields: Mapping[str, Any]) -> str:
    """Write the fields of a checkpoint as JSON; the same content is the same text.

    Parameters
    ----------
    fields
        All but its tensors. Numbers in them that are not finite become null.
    """
    record = {
        **fields,
        "format": FORMAT,
        "task": vars(fields["task"]),
        "normalisation": dataclasses.asdict(fields["normalisation"]),
    }
    return json.dumps(_plain(record), sort_keys=True, allow_nan=False)


def decode(text: str) -> dict[str, Any]:
    """Read the fields of a checkpoint, all but its tensors.

    Parameters
    ----------
    text
        What `encode` wrote, or anything else.

    Raises
    ------
    TopiaryError
        With a sentence about the first thing that is wrong.
    """
    try:
        record = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise TopiaryError("its description is damaged (not valid JSON).") from None
    if not isinstance(record, dict) or "format" not in record:
        raise TopiaryError("its description is damaged (no format version).")
    version = record["format"]
    if type(version) is not int or version != FORMAT:
        raise TopiaryError(
            f"it has format {version!r:.20} and this version of napari-topiary reads "
            f"format {FORMAT}: update napari-topiary, or save the network again."
        )
    readers: dict[str, Callable[[Any], Any]] = {
        "network": _string,
        "sizes": _mapping,
        "in_channels": _positive_int,
        "task": _task,
        "widths": _widths,
        "normalisation": _normalisation,
        "pixel_size_nm": lambda value: None if value is None else _positive(value),
        "working_factor": _positive,
        "unpruned_parameters": _count,
        "pruning": lambda value: tuple(_mapping(entry) for entry in _list(value)),
        "thresholds": lambda value: _values(value, _share),
        "metrics": _mapping,
        "annotations_summary": _mapping,
        "provenance": _mapping,
    }
    fields = {}
    for name, read in readers.items():
        try:
            fields[name] = read(record[name])
        except (KeyError, TypeError, ValueError, OverflowError):
            words = name.replace("_", " ")
            raise TopiaryError(f"its {words} is missing or makes no sense.") from None
    return fields


def _plain(value: Any) -> Any:
    """Reduce to what JSON knows."""
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if value is None or isinstance(value, str | int):
        return value
    raise TypeError(f"A checkpoint cannot hold a {type(value).__name__}: {value!r}.")


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a number.")


def _require(met: bool, value: Any) -> Any:
    # Values go through unchanged (3 stays 3), so that the hash is that of the file.
    if not met:
        raise ValueError
    return value


def _string(value: Any) -> str:
    read: str = _require(isinstance(value, str) and 0 < len(value) <= 1000, value)
    return read


def _mapping(value: Any) -> dict[str, Any]:
    read: dict[str, Any] = _require(isinstance(value, dict), value)
    return read


def _list(value: Any) -> list[Any]:
    read: list[Any] = _require(isinstance(value, list), value)
    return read


def _number(value: Any) -> float:
    real = type(value) in (int, float)
    read: float = _require(real and math.isfinite(value), value)
    return read


def _positive(value: Any) -> float:
    read: float = _require(SMALLEST <= _number(value) <= 1 / SMALLEST, value)
    return read


def _share(value: Any) -> float:
    read: float = _require(0 <= _number(value) <= 1, value)
    return read


def _count(value: Any) -> int:
    read: int = _require(type(value) is int and value >= 0, value)
    return read


def _positive_int(value: Any) -> int:
    read: int = _require(1 <= _count(value) <= WIDEST, value)
    return read


def _values(value: Any, read: Callable[[Any], T]) -> dict[str, T]:
    return {_string(key): read(item) for key, item in _mapping(value).items()}


def _widths(value: Any) -> dict[str, tuple[int, int]]:
    def pair(item: Any) -> tuple[int, int]:
        out, into = _list(item)
        return _positive_int(out), _positive_int(into)

    return _values(value, pair)


def _task(value: Any) -> Task:
    record = _mapping(value)
    classes = tuple(_string(name) for name in _list(record["classes"]))
    return Task(
        kind=_require(record["kind"] in get_args(TaskKind), record["kind"]),
        classes=_require(len(classes) == len(set(classes)) > 0, classes),
        radius_nm=_values(record["radius_nm"], _positive),
        radius_px=_values(record["radius_px"], _positive),
    )


def _normalisation(value: Any) -> Normalisation:
    record = _mapping(value)
    known = record["kind"] in get_args(Kind)
    divided = record.get("regions", False)  # earlier versions never did
    return Normalisation(
        kind=_require(known, record["kind"]),
        per_image=_require(type(record["per_image"]) is bool, record["per_image"]),
        mean=_number(record["mean"]),
        std=_number(record["std"]),
        low=_number(record["low"]),
        high=_number(record["high"]),
        pixels=_number(record.get("pixels", 0.0)),  # younger than the format
        regions=_require(type(divided) is bool, divided),
    )
