"""What every verb's arguments have in common."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from napari_topiary.errors import TopiaryError

if TYPE_CHECKING:
    from napari_topiary.io.targets import OutputFile

DONE, PARTLY, REFUSED = 0, 1, 2
"""Exit statuses."""
AddVerb = Callable[..., argparse.ArgumentParser]
"""Makes the parser of a verb, whose name and options for all verbs are in it."""
OTHER_FORMATS = frozenset(
    ".pt .pth .onnx .h5 .hdf5 .keras .pkl .zip .json .csv .txt .png .jpg .jpeg .bmp "
    ".tif .tiff .zarr .mrc".split()
)
"""Endings that promise something else than a checkpoint."""


class Parser(argparse.ArgumentParser):
    """Refuses arguments by raising a sentence instead of ending the process."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong with the arguments."""
        message = message[:1].upper() + message[1:].rstrip(".")
        raise TopiaryError(f"{message}: see {self.prog} --help.")


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
    from napari_topiary.io.targets import OutputFile

    if path.suffix.lower() in OTHER_FORMATS:
        raise TopiaryError(
            f"A checkpoint is not a {path.suffix} file: let --out end in .safetensors."
        )
    return OutputFile(path)


def program_version() -> str:
    """Return the version that is installed; empty in a bare checkout."""
    try:
        return version("napari-topiary")
    except PackageNotFoundError:
        return ""
