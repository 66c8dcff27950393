"""What every verb's arguments have in common."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import NoReturn

from napari_topiary.errors import TopiaryError

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


def common_options() -> argparse.ArgumentParser:
    """Return the options that every verb takes."""
    parser = argparse.ArgumentParser(add_help=False)
    group = parser.add_argument_group("common options")
    group.add_argument(
        "--json",
        metavar="FILE",
        type=Path,
        help="write the result to a file that programs can read",
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


def check_checkpoint_target(path: Path) -> None:
    """Refuse, before any work, a place where no checkpoint can be written."""
    if path.suffix.lower() in OTHER_FORMATS:
        raise TopiaryError(
            f"A checkpoint is not a {path.suffix} file: let --out end in .safetensors."
        )
    check_file_target(path)


def check_file_target(path: Path) -> None:
    """Refuse, before any work, a place where no file can be written."""
    if path.is_dir():
        raise TopiaryError(f"{path} is a folder: give the name of a file.")
    check_folder_target(path.absolute().parent)


def check_folder_target(folder: Path) -> None:
    """Refuse, before any work, a folder that is not there and cannot be made."""
    there = folder.absolute()
    while not there.exists():
        there = there.parent
    if not there.is_dir():
        raise TopiaryError(f"{there} is a file, so nothing can be written below it.")
    if not os.access(there, os.W_OK):
        raise TopiaryError(f"{there} cannot be written to: choose another folder.")


def check_distinct(path: Path, checkpoint: Path) -> None:
    """Refuse to write over the checkpoint that is read."""
    if path.exists() and checkpoint.exists() and path.samefile(checkpoint):
        raise TopiaryError(
            "The original checkpoint is never written over: give --out another name."
        )
