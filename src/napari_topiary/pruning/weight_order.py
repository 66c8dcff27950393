"""In which order single weights go: one ranking, or the same share of every layer."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from napari_topiary.config import Scope

GONE = -1
"""Place of a weight that was removed before the plan began."""


def weight_places(
    scores: Mapping[str, torch.Tensor],
    masks: Mapping[str, torch.Tensor],
    scope: Scope,
) -> tuple[torch.Tensor, int]:
    """Give every weight its place in the order of removal.

    Parameters
    ----------
    scores
        Parameter name -> score of each weight; the lowest go first, ties by position.
    masks
        Parameter name -> bool, False = gone already.
    scope
        `layer`: every parameter has lost the same share of its weights at every point
        of the order (a parameter that has lost more already waits for the others).

    Returns
    -------
    places
        `(n,)` int32 over all parameters in the order of `scores`, flattened: `GONE`,
        or 0, 1, 2...; the highest of every parameter stays for ever and comes last.
    count
        How many weights can go.
    """
    keys: list[NDArray[np.floating]] = []
    positions: list[NDArray[np.int64]] = []
    offset = gone = 0
    for name, values in scores.items():
        flat = values.flatten().float()
        lost = ~masks[name].flatten() if name in masks else torch.zeros_like(flat) > 0
        flat = flat.masked_fill(lost, -torch.inf)
        n_lost = int(lost.sum())
        order = torch.argsort(flat, stable=True).numpy()
        if scope == "layer":
            key = np.arange(1, len(order) + 1) / len(order)
        else:
            key = flat.numpy()[order].astype(np.float64)
        key[-1] = np.inf
        key[:n_lost] = -np.inf
        keys.append(key)
        positions.append(order + offset)
        offset, gone = offset + len(order), gone + n_lost
    # Ascending runs laid end to end: a stable sort only has to merge them.
    merged = np.argsort(np.concatenate(keys), kind="stable")
    places = np.empty(offset, dtype=np.int32)
    places[np.concatenate(positions)[merged]] = np.arange(offset) - gone
    np.maximum(places, GONE, out=places)
    stay = sum(bool(key[-1] == np.inf) for key in keys)
    return torch.from_numpy(places), offset - gone - stay
