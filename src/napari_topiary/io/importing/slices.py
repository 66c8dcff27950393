"""Stacks among somebody else's files: each slice that something is drawn on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from napari_topiary.errors import TopiaryError
from napari_topiary.io.images import (
    LoadedImage,
    count_slices,
    read_image,
    read_label_slices,
    read_labels,
    read_slices,
)
from napari_topiary.io.importing.drawn import checked_mask
from napari_topiary.io.importing.meaning import ImportConfig
from napari_topiary.io.importing.pairs import Pair
from napari_topiary.io.importing.pieces import painted_together
from napari_topiary.io.stacks import Slice
from napari_topiary.types import LabelImage
from napari_topiary.words import listed

_NO_SLICE = (
    "{} is a stack of {} slices, and a table of places does not say which slice each "
    "is on: save the slices as images of their own, each with its table."
)
_BEYOND = (
    "it marks slice {2}, but {0} has {1} slices, which count from 0: are these of "
    "another stack?"
)
_ONE_IMAGE = (
    "it marks several slices of a stack, but {} is one image: save each slice, and "
    "what is marked on it, as files of their own."
)
_OTHER_COUNT = (
    "there are {} label images for the {} slices of the stack: save one for each "
    "slice, empty where nothing is painted."
)


class PairFiles:
    """Reads images and label images of pairs; of a stack all slices stay at hand."""

    def __init__(self) -> None:
        self._images: tuple[Path, tuple[LoadedImage, ...]] | None = None
        self._labels: tuple[Path, tuple[LabelImage, ...]] | None = None

    def image(self, pair: Pair) -> LoadedImage:
        """Return the image of a pair."""
        if pair.slice is None:
            return read_image(pair.image)
        if self._images is None or self._images[0] != pair.image:
            self._images = pair.image, tuple(read_slices(pair.image))
        return self._images[1][pair.slice.index]

    def labels(self, pair: Pair, config: ImportConfig) -> LabelImage:
        """Return the label image of a pair."""
        file = pair.annotation
        if pair.pieces:
            labels = painted_together(pair.pieces)
        elif pair.slice is None:
            labels = read_labels(file)
        else:
            labels = self.label_slices(file)[pair.slice.index]
        return checked_mask(labels, config, file=file.name)

    def label_slices(self, file: Path) -> tuple[LabelImage, ...]:
        """Return a stack of label images."""
        if self._labels is None or self._labels[0] != file:
            self._labels = file, read_label_slices(file)
        return self._labels[1]


def slices_of(
    pair: Pair, name: str, files: PairFiles, *, alone: bool
) -> tuple[list[Pair], str]:
    """Return a pair for each slice of a stack that is painted, or the one of a table.

    Parameters
    ----------
    pair
        That is used; one of a single image stays as it is.
    name
        What the image is called in the data set.
    files
        Reads the masks.
    alone
        Whether the table says nothing of other slices of the image.

    Returns
    -------
    tuple
        The pairs, and a sentence about slices that are left out; mostly empty.

    Raises
    ------
    TopiaryError
        With a sentence if the annotations are not those of such a stack.
    """
    image, count = pair.image, count_slices(pair.image)
    at = pair.marks.slice if pair.marks else None
    if count == 1:
        if at is not None and not alone:
            raise TopiaryError(_ONE_IMAGE.format(image.name))
        return [pair], ""
    if pair.marks is not None:
        if at is None or at >= count:
            why = _NO_SLICE if at is None else _BEYOND
            raise TopiaryError(why.format(image.name, count, at))
        return [replace(pair, slice=Slice(name, image, at, count))], ""
    labels = files.label_slices(pair.annotation)
    if len(labels) != count:
        raise TopiaryError(_OTHER_COUNT.format(len(labels), count))
    painted = [index for index in range(count) if labels[index].any()]
    left = [str(index) for index in range(count) if index not in painted]
    note = f"Not painted, and so left out: slice {listed(left)} of {image.name}."
    return [
        replace(pair, slice=Slice(name, image, index, count))
        for index in painted or range(count)
    ], note if painted and left else ""
