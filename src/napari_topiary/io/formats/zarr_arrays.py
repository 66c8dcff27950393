"""Zarr arrays and OME-Zarr images (the full-resolution level)."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from napari_topiary.errors import TopiaryError
from napari_topiary.io.formats.base import (
    SMALL,
    RawImage,
    check_size,
    image_formats,
    number_type_problem,
    square_pixels,
)
from napari_topiary.io.memory import in_words
from napari_topiary.io.pixel_size import nm_per_unit, pixel_size_doubt
from napari_topiary.io.plain_files import check_plain_file

IMMENSE, MANY, FEWEST = 200_000_000_000, 2_000_000, 1000
"""An array of so many bytes or pieces needs one piece in so many; of others all that
are blank may be left out, as zarr does."""
WEIGHED = 10_000
"""So many files of an array are asked for their size: there may be a million."""
SLACK, PLACE = 1 << 20, 20
"""Bytes that a file may have too many; those that say where a piece in a shard is."""
DEEPEST = 3
"""Images of a plate are in wells, which are in rows."""
UNCALIBRATED = ("pixel", "pixels", "px")
"""Units of those who know none."""
FEW = 6
"""Images that are listed where several are in a folder."""


@image_formats.register("zarr")
class Zarr:
    """A zarr array, an OME-Zarr image, or a group with a single one of these."""

    title: ClassVar[str] = "zarr arrays, OME-Zarr 0.4 and 0.5, bioformats2raw"
    suffixes: ClassVar[tuple[str, ...]] = (".zarr",)
    folders: ClassVar[bool] = True

    @staticmethod
    def read(path: Path) -> RawImage:
        """Read an array."""
        array, axes, scale, notes = _found(path)
        _check_pieces(path, array, immense=SMALL)
        check_size(path, array.shape, array.dtype.itemsize)
        _check_count(path, array)
        return RawImage(np.asarray(_guarded(path, array)[...]), axes, scale, notes)

    @staticmethod
    def open(path: Path) -> RawImage | None:
        """Open an array without reading it."""
        array, axes, scale, notes = _found(path)
        _check_pieces(path, array)
        smaller = tuple(_guarded(path, one) for one in _smaller(path, array))
        return RawImage(_guarded(path, array), axes, scale, notes, smaller=smaller)

    @staticmethod
    def layout(path: Path) -> tuple[tuple[int, ...], str]:
        """Return the shape and the axes of the array."""
        array, axes, _, _ = _found(path)
        return tuple(array.shape), axes


def _guarded(path: Path, array: Any) -> Any:
    from napari_topiary.io.zarr_unpacking import within_bounds

    return within_bounds(array, path.name)


Found = tuple[Any, str, float | None, tuple[str, ...]]
"""An array, its axes, nm per pixel and notes."""


def _found(path: Path) -> Found:
    # zarr takes a while to load, and most people never need it.
    import zarr

    if not path.is_dir():
        raise TopiaryError(
            f"{path.name} is not a folder: a zarr image is a folder, unpack or copy it "
            "whole."
        )
    _stored(path)  # no pipes
    # How common a way of packing is helps nobody who has such a file.
    warnings.filterwarnings("ignore", message="Numcodecs codecs are not in the Zarr")
    node = zarr.open(str(path), mode="r")
    if isinstance(node, zarr.Array):
        return _level_of(path, node) or _plain(node)
    return _in_group(path, node)


def _in_group(path: Path, node: Any) -> Found:
    attributes = _attributes(node)
    if attributes.get("multiscales"):
        return _ome(path, node, attributes["multiscales"][0])
    if "bioformats2raw.layout" in attributes:
        return _in_group(path, node[_only_series(path, node)])
    arrays = dict(node.arrays())
    if len(arrays) == 1:
        return _plain(next(iter(arrays.values())))
    images = [name for name, group in node.groups() if _is_image(group)]
    if not arrays and len(images) == 1:
        return _in_group(path, node[images[0]])
    names, what = (images, "images") if images else (list(arrays), "arrays")
    if not names and (deeper := list(_deeper(node))):
        names, what = deeper, "images of a plate, or labels without their image"
    raise TopiaryError(
        f"{path.name} holds {len(names)} {what}: point to the one "
        f"to open ({_listed(path, sorted(names)) or 'there is none'})."
    )


def _deeper(node: Any, depth: int = 0) -> Iterator[str]:
    """Paths of images inside: those of a plate's wells, and labels without an image."""
    for name, group in node.groups():
        if _is_image(group):
            yield name
        elif depth < DEEPEST:
            yield from (f"{name}/{inner}" for inner in _deeper(group, depth + 1))


def _only_series(path: Path, root: Any) -> str:
    """The one series of what bioformats2raw has written: its folders 0, 1, 2..."""
    listed = _attributes(root["OME"]).get("series") if "OME" in root else None
    names = [str(name) for name in listed or ()]
    names = [name for name in names if name in root and _is_image(root[name])]
    if not names:
        found = (name for name, group in root.groups() if _is_image(group))
        names = sorted(found, key=lambda name: (len(name), name))
    if len(names) != 1:
        raise TopiaryError(
            f"{path.name} holds {len(names)} images (series): give the one to open "
            f"({_listed(path, sorted(names)) or 'there is none'})."
        )
    return names[0]


def _listed(path: Path, names: list[str]) -> str:
    few = [f"{path.name}/{name}" for name in names[:FEW]]
    return ", ".join(few) + (", ..." if len(names) > FEW else "")


def _attributes(node: Any) -> Mapping[str, Any]:
    attributes: Mapping[str, Any] = dict(node.attrs)
    own = attributes.get("ome", attributes)
    return own if isinstance(own, Mapping) else {}


def _is_image(group: Any) -> bool:
    return bool(_attributes(group).get("multiscales"))


def _level_of(path: Path, array: Any) -> Found | None:
    """What the image says about an array that is one of its resolutions."""
    import zarr

    try:
        group = zarr.open_group(str(path.parent), mode="r")
        image = _attributes(group)["multiscales"][0]
        levels = [level["path"] for level in image["datasets"]]
        own = image["datasets"][levels.index(path.name)]
    except (KeyError, IndexError, TypeError, ValueError, OSError):
        return None
    return _ome(path, group, {**image, "datasets": [own]})


def _smaller(path: Path, array: Any) -> tuple[Any, ...]:
    """Lower resolutions of an array of an OME-Zarr image, the largest first."""
    import zarr

    try:
        home = Path(str(array.store.root)) / Path(array.path).parent
        group = zarr.open_group(str(home), mode="r")
        levels = _attributes(group)["multiscales"][0]["datasets"]
        others = {level["path"]: group[level["path"]] for level in levels}
        del others[Path(array.path).name]  # if it is not there, they are of another one
        less = [one for one in others.values() if one.size < array.size]
        return tuple(sorted(less, key=lambda one: one.size, reverse=True))
    except (KeyError, IndexError, TypeError, ValueError, OSError):
        return ()


def _plain(array: Any) -> Found:
    names = getattr(array.metadata, "dimension_names", None)
    if names and all(isinstance(name, str) and len(name) == 1 for name in names):
        axes = "".join(names).lower()
    elif array.ndim == 3 and array.shape[-1] in (3, 4):
        axes = "yxs"
    elif array.ndim == 3 and array.shape[0] <= 4:
        axes = "cyx"
    else:
        axes = "tzcyx"[-array.ndim :] if array.ndim < 3 else "q" * (array.ndim - 2)
        axes = axes if array.ndim < 3 else axes + "yx"
    return array, axes, None, ()


def _ome(path: Path, group: Any, image: Mapping[str, Any]) -> Found:
    level = _largest(path, group, image["datasets"])
    array = group[level["path"]]
    entries = image.get("axes") or ["tczyx"[i] for i in range(5 - array.ndim, 5)]
    names = [e["name"] if isinstance(e, Mapping) else str(e) for e in entries]
    units = [e.get("unit") if isinstance(e, Mapping) else None for e in entries]
    factors = _scales(level, len(names)) * _scales(image, len(names))
    sizes: dict[str, float | None] = {}
    for name, unit, factor in zip(names, units, factors, strict=True):
        nm = nm_per_unit(unit)
        sizes[name] = None if nm is None else float(factor) * nm
    scale, notes = square_pixels(sizes.get("y"), sizes.get("x"))
    has_scale = any(
        one.get("type") == "scale"
        for about in (level, image)
        for one in about.get("coordinateTransformations") or ()
    )
    if not has_scale:
        # A unit without a scale: 1 of them for each pixel would be made up.
        scale, notes = None, ()
    elif doubt := _doubt(names, units, factors):
        scale, notes = None, (f"{path.name} has {doubt}: the pixel size is unknown.",)
    notes += pixel_size_doubt(path.name, scale)
    axes = "".join(name[0].lower() for name in names)
    return array, axes, scale, notes


def _largest(path: Path, group: Any, levels: Sequence[Mapping[str, Any]]) -> Any:
    """The full resolution, which should be listed first, but is not always."""
    there = [level for level in levels if level["path"] in group]
    full = max(there, key=lambda level: group[level["path"]].size, default=None)
    for level in (level for level in levels if level not in there):
        finer = full is None or (_scales(level) < _scales(full)).any()
        if level is levels[0] or finer:
            raise TopiaryError(
                f"{path.name} lacks its full resolution, the folder {level['path']}: "
                "it is incomplete, copy the whole folder again."
            )
    return full


def _doubt(names: list[str], units: list[Any], factors: NDArray[np.float64]) -> str:
    """What an image has instead of a pixel size; empty if it has one, or none."""
    each = zip(names, units, factors, strict=True)
    here = [(name, *rest) for name, *rest in each if name in ("y", "x")]
    for name, unit, factor in here:
        if not (math.isfinite(factor) and factor > 0):
            return f"a scale of {factor:g} along {name}, which no pixel can have"
        if unit and nm_per_unit(unit) is None and unit not in UNCALIBRATED:
            return f"a scale in {unit}, which is not known as a unit of length"
    known = any(nm_per_unit(unit) is not None for _, unit, _ in here)
    scaled = any(factor != 1 for *_, factor in here)
    return "a scale but no unit of length" if scaled and not known else ""


def _scales(about: Mapping[str, Any], n: int = 1) -> NDArray[np.float64]:
    """Multiply the scales of a list of transformations, `(n,)` one for each axis."""
    product = np.ones(n)
    for transform in about.get("coordinateTransformations") or ():
        if transform.get("type") == "scale":
            product = product * np.asarray(transform["scale"], dtype=np.float64)
    return product


def _check_pieces(path: Path, array: Any, *, immense: int = IMMENSE) -> None:
    """Refuse an array that cannot be what it says, by the files that it is in.

    What is read whole fills the memory, blank or not, so less is believed of it.
    """
    if problem := number_type_problem(array.dtype, path.name):
        raise TopiaryError(problem)
    pieces = array.shards or array.chunks
    total = _count(array.shape, pieces)
    home = Path(str(array.store.root)) / array.path
    count, nbytes, largest = _stored(home)
    check_size(path, pieces, array.dtype.itemsize, stored=nbytes)
    most = math.prod(pieces) * array.dtype.itemsize
    if largest > 2 * most + PLACE * _count(pieces, array.chunks) + SLACK:
        raise TopiaryError(
            f"{path.name}: a piece of it is of {in_words(largest)} where "
            f"{in_words(most)} belong: it is damaged, copy the whole folder again."
        )
    if (array.nbytes > immense or total > MANY) and total > FEWEST * count:
        raise TopiaryError(
            f"{path.name} should be in {total:,} pieces and only {count:,} of them are "
            "there: it is incomplete, copy the whole folder again."
        )


def _check_count(path: Path, array: Any) -> None:
    """Refuse to read all of an array that would take without end."""
    count = _count(array.shape, array.chunks)
    if count > MANY:
        raise TopiaryError(
            f"{path.name} is cut into {count:,} pieces, which takes too long to read: "
            "save it with larger pieces (chunks)."
        )


def _count(shape: Sequence[int], pieces: Sequence[int]) -> int:
    return math.prod(-(-n // step) for n, step in zip(shape, pieces, strict=True))


def _stored(folder: Path) -> tuple[int, int, int]:
    """Count files that hold pixels, all their bytes and the most; refuse pipes.

    Of very many only the first are weighed: the others can only make it more.
    """
    count = nbytes = largest = 0
    waiting = [os.fspath(folder)]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                    continue
                if entry.is_symlink() and Path(entry.path).is_dir():
                    continue  # it may lead in a circle
                if not entry.is_file():
                    check_plain_file(Path(entry.path))
                if not entry.name.startswith(".z") and entry.name != "zarr.json":
                    count += 1
                    size = entry.stat().st_size if count <= WEIGHED else 0
                    nbytes, largest = nbytes + size, max(largest, size)
    return count, nbytes, largest
