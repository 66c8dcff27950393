"""Networks in the words of somebody who has an image to understand."""

from __future__ import annotations

from napari_topiary.networks import networks
from napari_topiary.types import TaskKind

NETWORKS = {
    "unet": (
        "U-Net: for nearly everything",
        "Answers for every pixel at once, and sees far around each of them. Fast, also "
        "on\nlarge images: start with this one.",
    ),
    "nuclei": (
        "Two-branch: parts what touches",
        "One branch says where objects are, the other how far each pixel is from the "
        "edge of\nits object; together they part nuclei and cells that touch.",
    ),
    "membrane_cnn": (
        "By patch: membranes in SEM",
        "Looks at 32 × 32 pixels around each pixel and says what the middle one is. "
        "Made for\nmembranes in electron microscopy; slower than a U-Net, and it sees "
        "less far.",
    ),
    "dcnn": (
        "By patch: cells in H&E",
        "Looks at 55 × 55 pixels around each pixel and says what the middle one is. "
        "Made for\ncells in H&E stains (published as DCNN).",
    ),
    "dccn": (
        "By patch, deep: cells in H&E",
        "As the one before, with many densely connected layers (published as DCCN). It "
        "cannot be\ncomputed for a whole image at once: very slow without a graphics "
        "card.",
    ),
}
"""Name -> what it is called and what it is good for; the best known first."""


def title_of(name: str) -> str:
    """What a network is called in the form.

    Parameters
    ----------
    name
        It is registered under.
    """
    return NETWORKS.get(name, (name, ""))[0]


def tip_of(name: str) -> str:
    """What a network is good for.

    Parameters
    ----------
    name
        It is registered under.
    """
    return NETWORKS.get(name, ("", "A network of another plugin."))[1]


def suited(task_kind: TaskKind) -> list[str]:
    """Names of the networks that can answer a kind of task, the best known first.

    Parameters
    ----------
    task_kind
        Of the project.
    """
    known = [name for name in networks if task_kind in networks[name].tasks]
    order = list(NETWORKS)
    return sorted(known, key=lambda n: order.index(n) if n in order else len(order))
