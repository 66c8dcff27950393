"""The tensors of a checkpoint file: masked weights are stored without their zeros.

A tensor `x` is stored under one of three names: `x` as it is; `x//mask` (one bit per
weight, packed) with `x//kept` (the remaining values in order); or, where mask and
values would be larger than the tensor, `x//zeros`: as it is, its zeros are masked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from napari_topiary.errors import TopiaryError
from napari_topiary.io.memory import check_fits

Array = NDArray[Any]
Sizes = dict[str, tuple[str, tuple[int, ...]]]
"""Stored name -> (safetensors type, shape)."""


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

    Parameters
    ----------
    sizes
        Types and shapes of what is stored.
    read
        Reads a stored tensor by its name.
    wanted
        Name -> tensor of the shape and type that the network needs.

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
