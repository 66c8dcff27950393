"""What kind of answer a registered network gives; no Qt."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch

from napari_topiary.networks import build_network, networks, resolve_sizes


@dataclass(frozen=True)
class Traits:
    """What the forms have to know about a network.

    Parameters
    ----------
    names_centres
        Whether it learns from the middles of patches.
    has_distance
        Whether it says how far each pixel is from the edge of its object.
    """

    names_centres: bool = False
    has_distance: bool = False


@lru_cache(maxsize=32)
def traits_of(network: str) -> Traits:
    """Traits of a network.

    Parameters
    ----------
    network
        Its registered name; one that is not known here has none.
    """
    if network not in networks:
        return Traits()
    preset = list(networks[network].presets)[-1]  # all of a kind are alike in this
    with torch.device("meta"):
        made = build_network(network, resolve_sizes(network, preset), 1, 2)
    return Traits(made.patch is not None, made.regressions > 0)
