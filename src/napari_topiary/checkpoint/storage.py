"""The checkpoint file itself: safetensors with one JSON text as metadata."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import safetensors
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file

from napari_topiary.errors import TopiaryError
from napari_topiary.io.memory import check_fits
from napari_topiary.io.own_files import CHECKPOINT
from napari_topiary.io.plain_files import check_plain_file

Array = NDArray[Any]
Sizes = dict[str, tuple[str, tuple[int, ...]]]
"""Stored name -> (safetensors type, shape)."""
KEY = "napari_topiary"
"""The one entry of the file's metadata."""
_WIDTHS = {"I64": 8, "F32": 4, "U8": 1}
"""Bytes of each type, in the order of the file: strictest alignment first."""


def pack(
    state: Mapping[str, torch.Tensor], masks: Mapping[str, torch.Tensor]
) -> dict[str, Array]:
    """Tensors and masks -> what is stored.

    Parameters
    ----------
    state
        Name -> tensor.
    masks
        Name -> bool, True = kept; other values of that tensor are not stored.
    """
    arrays: dict[str, Array] = {}
    for name, tensor in state.items():
        wide = torch.float32 if tensor.dtype.is_floating_point else torch.int64
        values = tensor.detach().to("cpu", wide).contiguous().numpy()
        mask = masks.get(name)
        if mask is None:
            arrays[name] = values
            continue
        kept = mask.cpu().contiguous().numpy()
        if _form(tensor, mask) == "zeros":
            arrays[f"{name}//zeros"] = np.where(kept, values, values.dtype.type(0))
        else:
            arrays[f"{name}//mask"] = np.packbits(kept.ravel())
            arrays[f"{name}//kept"] = values[kept]
    return arrays


def packed_sizes(
    state: Mapping[str, torch.Tensor], masks: Mapping[str, torch.Tensor]
) -> Sizes:
    """Types and shapes of what `pack` would return, without packing.

    Parameters
    ----------
    state, masks
        As for `pack`.
    """
    sizes: Sizes = {}
    for name, tensor in state.items():
        kind = "F32" if tensor.dtype.is_floating_point else "I64"
        shape, mask = tuple(tensor.shape), masks.get(name)
        if mask is None:
            sizes[name] = kind, shape
        elif _form(tensor, mask) == "zeros":
            sizes[f"{name}//zeros"] = kind, shape
        else:
            sizes[f"{name}//mask"] = "U8", (-(-mask.numel() // 8),)
            sizes[f"{name}//kept"] = kind, (int(mask.sum()),)
    return sizes


def _form(tensor: torch.Tensor, mask: torch.Tensor) -> Literal["zeros", "packed"]:
    kept, total = int(mask.sum()), mask.numel()
    if -(-total // 8) + 4 * kept < 4 * total:
        return "packed"
    # A kept weight that happens to be zero could not be told from a masked one.
    distinct = int(torch.count_nonzero(tensor.detach()[mask])) == kept
    return "zeros" if distinct else "packed"


def unpack(
    sizes: Sizes, read: Callable[[str], Array], wanted: Mapping[str, torch.Tensor]
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """What is stored -> state and masks, checked before anything is read.

    Raises
    ------
    TopiaryError
        If a tensor is missing, not part of the network, or of another shape or type.
    """
    forms = _check(sizes, wanted)
    check_fits(
        sum(9 * tensor.numel() for tensor in wanted.values()),
        "the network",
        "close other programs, or use a smaller network",
    )
    state, masks = {}, {}
    for name, form in forms.items():
        shape = tuple(wanted[name].shape)
        if form == "packed":
            total = int(np.prod(shape, dtype=np.int64))
            bits = np.unpackbits(read(f"{name}//mask"), count=total)
            kept = bits.astype(bool).reshape(shape)
            values = read(f"{name}//kept")
            if len(values) != int(kept.sum()):
                raise TopiaryError(f"the mask of {name} does not fit its weights.")
            array = np.zeros(shape, dtype=values.dtype)
            array[kept] = values
        else:
            array = read(name if form == "dense" else f"{name}//zeros")
            kept = array != 0
        if not np.isfinite(array).all():
            raise TopiaryError(f"the weights of {name} are not all numbers.")
        state[name] = torch.from_numpy(array)
        if form != "dense":
            masks[name] = torch.from_numpy(kept)
    return state, masks


def _check(sizes: Sizes, wanted: Mapping[str, torch.Tensor]) -> dict[str, str]:
    """Find how each tensor is stored; refuse what does not fit."""
    left = dict(sizes)
    forms = {}
    for name, tensor in wanted.items():
        kind = "F32" if tensor.dtype.is_floating_point else "I64"
        shape = tuple(tensor.shape)
        mask, kept = left.pop(f"{name}//mask", None), left.pop(f"{name}//kept", None)
        dense, zeros = left.pop(name, None), left.pop(f"{name}//zeros", None)
        found = [f for f in (dense, zeros, mask) if f is not None]
        if len(found) != 1 or (mask is None) != (kept is None):
            raise TopiaryError(f"the weights of {name} are missing or there twice.")
        if mask is not None and kept is not None:
            fits = mask == ("U8", (-(-tensor.numel() // 8),))
            fits = fits and kept[0] == kind and len(kept[1]) == 1
        else:
            fits = found[0] == (kind, shape)
        if not fits:
            raise TopiaryError(
                f"the weights of {name} have another shape than the network "
                f"({found[0][1]} instead of {shape})."
            )
        forms[name] = "packed" if mask else "zeros" if zeros else "dense"
    if left:
        raise TopiaryError(f"{min(left)} is not part of the network.")
    return forms


@dataclass(frozen=True)
class Stored:
    """An open file: its words, and its tensors on request."""

    text: str
    sizes: Sizes  #: Type and shape of every stored tensor
    handle: Any

    def read(self, name: str) -> Array:
        """Read one tensor."""
        array: Array = self.handle.get_tensor(name)
        return array


def file_size(sizes: Sizes, text: str) -> int:
    """Bytes of the file that holds these tensors and this text."""
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
        raise TopiaryError(f"it cannot be read ({_reason(error)}).") from error
    except safetensors.SafetensorError as error:
        if path.suffix.lower() != CHECKPOINT:
            raise TopiaryError(
                f"it is not a checkpoint of napari-topiary: give a {CHECKPOINT} file "
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
