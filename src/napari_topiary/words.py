"""Numbers and names as a person reads them: "121 k", "6 ms", "80 %", "a, b, ..."."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

NONE = "–"
"""Stands where nothing is known yet."""
THIN = "\N{NO-BREAK SPACE}"
"""Between a number and its unit, which must not be torn apart."""
_FEW = 5


def count(number: float) -> str:
    """Three digits and a unit: 121 k, 1.94 M, 31.0 M."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= 0.9995 * size:
            return f"{_three(number / size)}{THIN}{unit}"
    return f"{number:.0f}"


def file_size(number: float) -> str:
    """Bytes in kB or MB (decimal, as file managers count)."""
    if number < 1e5:
        return f"{number / 1e3:.1f}{THIN}kB"
    if number < 1e9:
        return f"{_three(number / 1e6)}{THIN}MB"
    return f"{_three(number / 1e9)}{THIN}GB"


def milliseconds(number: float) -> str:
    """A time: 0.6 ms, 6 ms, 1.2 s, 8.4 min."""
    if number >= 90_000:
        return f"{_three(number / 6e4)}{THIN}min"
    if number >= 1000:
        return f"{_three(number / 1e3)}{THIN}s"
    return f"{number:.0f}{THIN}ms" if number >= 9.95 else f"{number:.1f}{THIN}ms"


def percent(share: float) -> str:
    """A share in per cent; one decimal near the ends, where it matters.

    Parameters
    ----------
    share
        0..1.
    """
    value = 100 * share
    plain = abs(value - round(value)) < 0.05 or 20 <= value < 90
    return f"{value:.0f}{THIN}%" if plain else f"{value:.1f}{THIN}%"


def ratio(number: float) -> str:
    """A compression ratio: 1, 3.9, 16, 21."""
    return f"{number:.1f}".removesuffix(".0") if number < 9.95 else f"{number:.0f}"


def quality(number: float, digits: int = 2) -> str:
    """A figure between 0 and 1.

    Parameters
    ----------
    number
        0..1.
    digits
        After the point.
    """
    return f"{number:.{digits}f}"


def thresholds(limits: Iterable[float]) -> str:
    """Say the thresholds of all classes: 0.40, or 0.17–0.44 where they differ."""
    said = sorted({f"{one:.2f}" for one in limits} or {"0.50"})
    return said[0] if len(said) == 1 else f"{said[0]}–{said[-1]}"


def figure(metrics: Mapping[str, Any], digits: int = 2) -> str:
    """How good a network is, with what that rests on: "F1 1.00: 3 of 3 found, 0 wrong".

    Parameters
    ----------
    metrics
        Of a checkpoint; empty words where nobody has validated it.
    digits
        Of the figure, after the point.
    """
    value = metrics.get("quality")
    if value is None:
        return ""
    text = f"{metrics.get('quality_name', 'quality')} {quality(float(value), digits)}"
    if "n_right" in metrics:
        text += f": {found(metrics['n_right'], metrics['n_objects'])}"
        text += f", {metrics['n_wrong']} wrong"
    return text


def found(number: int, there: int) -> str:
    """How many of those that are there were found."""
    return f"{number} of {there} found"


def right_in_words(report: Mapping[str, Any]) -> str:
    """What of that which is marked was found, and how sure the figure is.

    Parameters
    ----------
    report
        Of `evaluate`; empty words where areas or lines were compared.
    """
    if "n_right" not in report:
        return ""
    there = found(report["n_right"], report["n_true"])
    what = "objects" if "pq" in report else "particles"
    about = {"n_objects": report["n_true"], "counted": what}
    certain = certainty({**about, "interval": report.get("interval")})
    return f"{there}, {report['n_wrong']} wrong{certain}"


def certainty(metrics: Mapping[str, Any]) -> str:
    """Say on how much a figure rests, how sure it is, and whether it was chosen by.

    Parameters
    ----------
    metrics
        Of a checkpoint, or the like; empty words where it has no interval.
    """
    if not metrics.get("interval"):
        return ""
    n, (low, high) = metrics["n_objects"], metrics["interval"]
    what = str(metrics["counted"])
    if n == 1:
        what = what.removesuffix("es" if what == "patches" else "s")
    text = f" ({n} {what}: {low:.2g}-{high:.2g}"
    if metrics.get("used_for_choosing"):
        text += "; the weights were chosen by them too"
    return f"{text})"


def plural(number: int, one: str, many: str = "") -> str:
    """A number with its noun: "1 image", "3 images", "10,000 marks"."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def _three(number: float) -> str:
    """Three digits, the trailing zero of small numbers kept out: 0.5, 1.94, 31.0."""
    if number < 1:
        return f"{number:.2f}".rstrip("0").rstrip(".") or "0"
    if number < 9.995:
        return f"{number:.2f}"
    return f"{number:.1f}" if number < 99.95 else f"{number:.0f}"


def listed(names: Sequence[str]) -> str:
    """Return the first few names in words."""
    return ", ".join(names[:_FEW]) + (", ..." if len(names) > _FEW else "")
