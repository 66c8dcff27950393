"""One mask file for each object: which belong to one image, and what they paint.

Such are the sets of BBBC and of the Data Science Bowl: `masks/cell_001.png`,
`masks/cell_002.png` ... for `cell.png`, or a folder `masks` beside the only image.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from scipy import ndimage as ndi

from napari_topiary.annotations.label_images import EIGHT
from napari_topiary.errors import TopiaryError
from napari_topiary.io.images import count_slices, read_labels
from napari_topiary.io.pairing import image_name
from napari_topiary.types import LabelImage

_NUMBERED = re.compile(
    r"(.+?)[ _.-]+(?:(?:obj|object|mask|cell|nucleus|instance|label|roi)s?[ _.-]*)?"
    r"\(?\d+\)?",
    re.I,
)
_HAS_NUMBER = re.compile(r"\d")


def one_for_each_object(
    labels: Sequence[Path], images: Sequence[Path], paired: Iterable[Path]
) -> dict[Path, tuple[Path, ...]]:
    """Find masks of which each shows one object.

    Parameters
    ----------
    labels
        Label images of a folder.
    images
        Its images.
    paired
        Those of the labels that belong to an image by their name.

    Returns
    -------
    dict
        Masks by the image that they belong to.
    """
    taken = set(paired)
    found = _by_name([path for path in labels if path not in taken], images)
    used = {path for masks in found.values() for path in masks}
    found |= _by_folder(labels, images, taken | used)
    return {p: masks for p, masks in found.items() if count_slices(p) == 1}


def _by_name(
    labels: Iterable[Path], images: Iterable[Path]
) -> dict[Path, tuple[Path, ...]]:
    """Several that are called as the image, with a number behind."""
    owners: defaultdict[str, list[Path]] = defaultdict(list)
    for path in images:
        owners[image_name(path).casefold()].append(path)
    found: defaultdict[Path, list[Path]] = defaultdict(list)
    for path in labels:
        numbered = _NUMBERED.fullmatch(image_name(path))
        own = owners.get(numbered[1].casefold(), ()) if numbered else ()
        if len(own) == 1:
            found[own[0]].append(path)
    return {image: tuple(masks) for image, masks in found.items() if len(masks) > 1}


def _by_folder(
    labels: Iterable[Path], images: Sequence[Path], taken: set[Path]
) -> dict[Path, tuple[Path, ...]]:
    """All of a folder beside the only image, in whatever way they are numbered."""
    folders: defaultdict[Path, list[Path]] = defaultdict(list)
    for path in labels:
        folders[path.parent].append(path)
    beside: defaultdict[Path, list[Path]] = defaultdict(list)
    for image in images:
        for place in (image.parent, image.parent.parent):
            beside[place].append(image)
    found = {}
    for folder, masks in folders.items():
        own = beside.get(folder.parent, [])
        numbered = all(_HAS_NUMBER.search(path.stem) for path in masks)
        if len(own) == 1 and numbered and taken.isdisjoint(masks):
            found[own[0]] = tuple(masks)
    return found


def painted_together(masks: Sequence[Path]) -> LabelImage:
    """Return the label image of masks of one object each, numbered in their order.

    Raises
    ------
    TopiaryError
        With a sentence if they are something else.
    """
    whole: LabelImage | None = None
    several = 0
    for number, path in enumerate(masks, start=1):
        mask = read_labels(path)
        whole = np.zeros(mask.shape, np.int32) if whole is None else whole
        if mask.shape != whole.shape:
            raise TopiaryError(
                f"{path.name} has another size than {masks[0].name}, but both are for "
                "one image: leave out what is not of it."
            )
        if ((mask != 0) & (mask != mask.max())).any():
            raise TopiaryError(
                f"{path.name} holds more than one number, but is one of "
                f"{len(masks)} masks of the image: join them to one label image, "
                "or leave out the others."
            )
        several += int(ndi.label(mask != 0, structure=EIGHT)[1]) > 2
        whole[mask != 0] = number
    if whole is None:
        raise TopiaryError("There is no mask.")
    if several * 2 > len(masks):
        raise TopiaryError(
            f"{masks[0].name} and {len(masks) - 1} more are masks of many pieces each, "
            "not of one object: join them to one label image with a number for each "
            "class."
        )
    return whole
