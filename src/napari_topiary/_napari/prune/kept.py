"""The versions of a network that are kept in a project; no Qt in here."""

from __future__ import annotations

from collections.abc import Mapping

from napari_topiary.checkpoint import Checkpoint
from napari_topiary.errors import TopiaryError
from napari_topiary.inference.suitability import working_factor_for


def comparable(
    checkpoint: Checkpoint | None, known: Mapping[str, Checkpoint]
) -> dict[str, Checkpoint]:
    """Those that answer the same question about the same kind of image, by name.

    Parameters
    ----------
    checkpoint
        With what; None leaves nothing.
    known
        All of the project.
    """
    if checkpoint is None:
        return {}
    return {
        name: each
        for name, each in known.items()
        if each.task.classes == checkpoint.task.classes
        and each.in_channels == checkpoint.in_channels
    }


def origin_of(checkpoint: Checkpoint, known: Mapping[str, Checkpoint]) -> str | None:
    """Name of the unpruned network that a checkpoint comes from, if it is kept.

    Parameters
    ----------
    checkpoint
        Pruned or not.
    known
        All of the project.
    """
    for name, each in comparable(checkpoint, known).items():
        if (
            not each.pruning
            and each.unpruned_parameters == checkpoint.unpruned_parameters
            and dict(each.sizes) == dict(checkpoint.sizes)
        ):
            return name
    return None


def shrink_factor(checkpoint: Checkpoint, scale: float | None) -> float:
    """Image pixels per pixel that a network reads, to one side.

    Parameters
    ----------
    checkpoint
        Knows the pixel size that it was trained on.
    scale
        nm per pixel of the images, None if unknown.
    """
    try:
        return working_factor_for(checkpoint, scale)[0]
    except TopiaryError:
        return checkpoint.working_factor
