"""Whether a network is within reach of these images and this computer; no Qt."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch

from napari_topiary._napari.train.network_figures import Figures
from napari_topiary._napari.widgets import words
from napari_topiary.inference.devices import pick_device

PATCH_SIDE, USUAL_BATCH = 128, 8
"""Of the patches that networks learn from unless something else is asked for."""
COPIES = 3
"""Of every layer's result: the result, what ReLU makes of it, and its gradient."""
BYTES_A_VALUE = 4
BYTES_A_WEIGHT = 16
"""Weight, gradient, and the two averages that Adam keeps."""
MOST_OF_MEMORY = 0.7
LONG_MS = 60_000.0
"""For a megapixel of the image: more is worth a warning."""


@dataclass(frozen=True)
class Circumstances:
    """What a network is to be used on.

    Parameters
    ----------
    smallest_side
        Shortest side of any image, in image pixels; 0 = not known.
    factor
        Image pixels per pixel that the network reads, to one side.
    batch
        Patches a step.
    """

    smallest_side: int
    factor: float
    batch: int


def warning(known: Figures, around: Circumstances) -> str:
    """Why a network is out of reach, in one sentence; empty if it is not.

    Parameters
    ----------
    known
        What it costs.
    around
        What it is to be used on.
    """
    return (
        _too_large_for(known, around)
        or _too_much_memory(known, around)
        or _too_slow(known, around)
    )


def training_bytes(known: Figures, batch: int) -> float:
    """About how much memory a training needs.

    Parameters
    ----------
    known
        What the network costs.
    batch
        Patches a step.
    """
    pixels = 1 if known.patch else PATCH_SIDE**2
    results = known.values * pixels * batch * COPIES * BYTES_A_VALUE
    return results + BYTES_A_WEIGHT * known.weights


def memory_bytes() -> float | None:
    """Memory of where training computes; None where nobody knows."""
    device = pick_device("auto")
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[1])
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):  # not on every system
        return None


def _too_large_for(known: Figures, around: Circumstances) -> str:
    side = int(around.smallest_side / around.factor)
    if not around.smallest_side or side >= (known.patch or known.stride):
        return ""
    have = f"the smallest image has only {side} to a side at this pixel size"
    if known.patch:
        return (
            f"This network looks at {known.patch} × {known.patch} pixels around each "
            f"pixel, and {have}: choose a finer pixel size or another network."
        )
    return (
        f"This network joins {known.stride} × {known.stride} pixels into one at its "
        f"coarsest level, and {have}: take fewer levels or a finer pixel size."
    )


def _too_much_memory(known: Figures, around: Circumstances) -> str:
    needed, there = training_bytes(known, around.batch), memory_bytes()
    if there is None or needed < MOST_OF_MEMORY * there:
        return ""
    return (
        f"Learning would need about {words.file_size(needed)} of memory, and there are "
        f"{words.file_size(there)}: take fewer maps, or fewer patches a step."
    )


def _too_slow(known: Figures, around: Circumstances) -> str:
    if known.ms_per_megapixel is None:
        return ""
    needed = known.ms_per_megapixel / around.factor**2
    if needed < LONG_MS:
        return ""
    return (
        f"One megapixel of your image would take about {words.milliseconds(needed)} "
        "here: take a smaller network, or look at small areas only."
    )
