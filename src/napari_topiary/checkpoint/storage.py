"""The checkpoint file itself: safetensors with one JSON text as metadata."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
from safetensors.numpy import save_file

from napari_topiary.checkpoint.packing import Array, Sizes
from napari_topiary.errors import TopiaryError
from napari_topiary.io.plain_files import check_plain_file

KEY = "napari_topiary"
"""The one entry of the file's metadata."""
_WIDTHS = {"I64": 8, "F32": 4, "U8": 1}
"""Bytes of each type, in the order of the file: strictest alignment first."""


@dataclass(frozen=True)
class Stored:
    """An open file: its words, and its tensors on request.

    Parameters
    ----------
    text
        The JSON description.
    sizes
        Type and shape of every stored tensor.
    handle
        The open safetensors file.
    """

    text: str
    sizes: Sizes
    handle: Any

    def read(self, name: str) -> Array:
        """Read one tensor."""
        array: Array = self.handle.get_tensor(name)
        return array


def file_size(sizes: Sizes, text: str) -> int:
    """Bytes of the file that holds these tensors and this text.

    Parameters
    ----------
    sizes
        Of everything stored.
    text
        The JSON description.
    """
    header: dict[str, object] = {"__metadata__": {KEY: text}}
    offset = 0
    for name in sorted(sizes, key=lambda n: (-_WIDTHS[sizes[n][0]], n)):
        kind, shape = sizes[name]
        end = offset + _WIDTHS[kind] * int(np.prod(shape, dtype=np.int64))
        header[name] = {
            "dtype": kind,
            "shape": list(shape),
            "data_offsets": [offset, end],
        }
        offset = end
    words = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    return 8 + -(-len(words) // 8) * 8 + offset


def write(path: Path, arrays: Mapping[str, Array], text: str) -> None:
    """Write the file.

    Parameters
    ----------
    path
        Where.
    arrays
        From `pack`.
    text
        The JSON description.
    """
    path.touch()
    usual = path.stat().st_mode
    try:
        save_file(dict(arrays), path, metadata={KEY: text})
    except safetensors.SafetensorError as error:
        raise OSError(_reason(error)) from error
    path.chmod(usual)  # it makes files that only their owner can read


def _reason(error: Exception) -> str:
    """What the system said, out of the library's words."""
    number = re.search(r"os error (\d+)", str(error))
    return str(error) if number is None else os.strerror(int(number[1]))


@contextmanager
def opened(path: Path) -> Iterator[Stored]:
    """Open a file and read its description; the tensors stay on disk.

    Parameters
    ----------
    path
        Any file.

    Raises
    ------
    TopiaryError
        If it is not a checkpoint.
    """
    if not path.exists():
        raise TopiaryError("there is no such file.")
    check_plain_file(path, "checkpoint")
    try:
        handle: Any = safetensors.safe_open(path, framework="np")
    except OSError as error:
        raise TopiaryError(f"it cannot be read ({error.strerror}).") from error
    except safetensors.SafetensorError as error:
        if path.suffix.lower() != ".safetensors":
            raise TopiaryError(
                "it is not a checkpoint of napari-topiary: give a .safetensors file "
                "that was saved here; networks of other programs cannot be read."
            ) from error
        raise TopiaryError(
            "it is damaged, incomplete or not a checkpoint of napari-topiary: copy it "
            "again, or give another one."
        ) from error
    with handle:
        text = (handle.metadata() or {}).get(KEY)
        if text is None:
            raise TopiaryError(
                "it holds tensors, but was not written by napari-topiary: networks of "
                "other programs cannot be read."
            )
        slices = {name: handle.get_slice(name) for name in handle.keys()}
        sizes: Sizes = {
            name: (str(part.get_dtype()), tuple(part.get_shape()))
            for name, part in slices.items()
        }
        yield Stored(text, sizes, handle)
