"""How a network is usually trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from napari_topiary.config import PruneKind, TrainConfig
from napari_topiary.errors import TopiaryError
from napari_topiary.networks.base import NetworkKind, networks


def recipe_config(network: str, given: Mapping[str, Any]) -> TrainConfig:
    """Fill a training form: with what is given, else by recipe, else with defaults.

    Parameters
    ----------
    network
        Of a registered network.
    given
        Fields of `TrainConfig` that somebody has chosen.

    Raises
    ------
    TopiaryError
        With a sentence for an unknown network.

    Examples
    --------
    >>> config = recipe_config("membrane_cnn", {"batch": 32})
    >>> config.preset, config.optimizer, config.learning_rate, config.batch
    ('N', 'sgd', 0.01, 32)
    """
    kind = _kind(network)
    own: dict[str, Any] = {"preset": kind.default_preset, **kind.recipe}
    return TrainConfig(**{**own, **given, "network": network})


def tuning_config(
    network: str, removed: PruneKind, given: Mapping[str, Any]
) -> TrainConfig:
    """Fill the form that a pruned network is fine-tuned by.

    Parameters
    ----------
    network
        Of a registered network.
    removed
        What was pruned. Without whole filters a network goes on from where it was;
        with most of its single weights gone it has to learn much anew.
    given
        Fields of `TrainConfig` that somebody has chosen.

    Raises
    ------
    TopiaryError
        With a sentence for an unknown network.
    """
    return recipe_config(network, {**_kind(network).tuning.get(removed, {}), **given})


def _kind(network: str) -> NetworkKind:
    try:
        return networks[network]
    except ValueError as error:
        raise TopiaryError(str(error)) from None
