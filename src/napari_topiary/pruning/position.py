"""What one position of a plan is, as values."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Form:
    """What a checkpoint must record of a network's shape.

    Parameters
    ----------
    widths
        Layer name -> (outputs, inputs) where they differ from what the sizes say.
    masks
        Parameter name -> bool tensor, True = kept; only where something is removed.
    """

    widths: dict[str, tuple[int, int]]
    masks: dict[str, torch.Tensor]


@dataclass(frozen=True)
class LayerKept:
    """What one layer keeps, for a bar.

    Parameters
    ----------
    name
        The layer.
    kept, total
        Output maps (filter pruning) or weights (weight pruning).
    """

    name: str
    kept: int
    total: int


@dataclass(frozen=True)
class PlanStatistics:
    """What a position of the slider means.

    Parameters
    ----------
    asked
        Share of the unpruned network's weights that was asked to go.
    share
        Share that goes: the first position that removes at least `asked`, or the last
        one there is.
    ratio
        Compression ratio: weights before / weights remaining.
    parameters, nonzero
        Parameters in the network's tensors, and those that are not masked.
    unpruned_parameters
        Of the original.
    macs_per_pixel
        Multiply-accumulates per pixel that the network reads.
    memory_per_megapixel
        Bytes of all layers' outputs for one million pixels, in float32: what is held
        in training, and a measure of the traffic in prediction.
    file_bytes
        Size of the checkpoint's file.
    layers
        What each layer keeps, in the order the network runs.
    note
        A sentence where the position is not what was asked; mostly empty.
    """

    asked: float
    share: float
    ratio: float
    parameters: int
    nonzero: int
    unpruned_parameters: int
    macs_per_pixel: float
    memory_per_megapixel: float
    file_bytes: int
    layers: tuple[LayerKept, ...]
    note: str = ""
