"""What every verb's arguments have in common."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import MISSING, Field, fields
from pathlib import Path
from types import NoneType
from typing import (
    TYPE_CHECKING,
    Any,
    Literal,
    NoReturn,
    Protocol,
    get_args,
    get_origin,
    get_type_hints,
)

from napari_topiary.config import DetectConfig, PredictConfig
from napari_topiary.errors import TopiaryError
from napari_topiary.forms import Option, row_of

if TYPE_CHECKING:
    from napari_topiary.io.output_files import OutputFile

DONE, PARTLY, REFUSED = 0, 1, 2
"""Exit statuses."""
_NO_NUMBER = re.compile(r"(Argument \S+): invalid (int|float) value: '(.*)'")
AddVerb = Callable[..., argparse.ArgumentParser]
"""Makes the parser of a verb, whose name and options for all verbs are in it."""
OTHER_FORMATS = frozenset(
    ".pt .pth .onnx .h5 .hdf5 .keras .pkl .zip .json .csv .txt .png .jpg .jpeg .bmp "
    ".tif .tiff .zarr .mrc".split()
)
"""Endings that promise something else than a checkpoint."""
PREDICTING = ("tile", "backend", "invert")
READING = ("threshold", "spacing", "min_size_px", "largest_hole_px")
TOUCHING = ("seed_smoothing_px", "seed_spacing_px", "seed_height", "fill_holes")
"""Fields of `DetectConfig`, as the help groups them."""


class Parser(argparse.ArgumentParser):
    """Refuses arguments by raising a sentence instead of ending the process."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong with the arguments."""
        message = message[:1].upper() + message[1:].rstrip(".")
        number = _NO_NUMBER.fullmatch(message)
        if number:
            said, kind, text = number.groups()
            meant = _number_meant(text) if kind == "float" else None
            whole = "whole number" if kind == "int" else "number"
            advice = f"write {meant:g}" if meant else f"see {self.prog} --help"
            raise TopiaryError(f"{said}: invalid {whole} {text!r}: {advice}.")
        raise TopiaryError(f"{message}: see {self.prog} --help.")


def _number_meant(text: str) -> float | None:
    """0,8 and 80% are 0.8; None if it is something else, or a thousand."""
    written = re.sub(r"^(0|\d+(?!,\d{3}$)),", r"\1.", text.strip())
    try:
        value = float(written.removesuffix("%"))
    except ValueError:
        return None
    return value / 100 if written.endswith("%") else value


def common_options() -> Parser:
    """Return the options that every verb takes."""
    parser = Parser(add_help=False)
    group = parser.add_argument_group("common options")
    group.add_argument(
        "--json",
        metavar="FILE",
        type=Path,
        help="write the result to a file that programs can read",
    )
    group.add_argument(
        "--overwrite",
        action="store_true",
        help="replace files that are there already, those too that Topiary did not "
        "write; what the command reads is never replaced, except --start by --out",
    )
    group.add_argument(
        "--device",
        default="auto",
        help="where to compute: auto, cpu, cuda or mps (default: auto)",
    )
    group.add_argument(
        "--seed",
        type=int,
        default=0,
        help="start of all random numbers, for repeats (default: 0)",
    )
    return parser


def checkpoint_target(path: Path) -> OutputFile:
    """Return where a checkpoint is to be written, or refuse its name."""
    from napari_topiary.io.output_files import OutputFile
    from napari_topiary.io.own_files import CHECKPOINT

    if path.suffix.lower() in OTHER_FORMATS:
        raise TopiaryError(
            f"A checkpoint is not a {path.suffix} file: let --out end in {CHECKPOINT}."
        )
    return OutputFile(path, kind=CHECKPOINT)


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
