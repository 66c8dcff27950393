"""What the names of files and folders say about what belongs together."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from napari_topiary.io.pairing import LABEL_FOLDERS, OF_LABELS, image_name

_UID = re.compile(r"^\d{12,}_")
_SERIES = re.compile(r"(.+?)(\.\w{2,5}){1,2} - .+")
"""QuPath calls an export by the file of the image and the image in it."""
_WORD = re.compile(r"[A-Z]{2,}(?![a-z])|[A-Za-z][a-z]*")
_IMAGES = frozenset("image images img imgs raw imagestr imagests".split())
_SURE = frozenset("gt mask masks label labels groundtruth".split())
"""What tells a folder of label images among other words; "cell segmentation" may be
the name of everything."""


def shortened(name: str, endings: re.Pattern[str]) -> dict[str, str]:
    """Names that may be meant, without what is put behind or before one.

    What is before is the less sure: it may be how the name of the image begins.

    Parameters
    ----------
    name
        Of a file.
    endings
        What may stand before or behind.

    Returns
    -------
    dict
        What was left out, in words, by the name.
    """
    behind, before = endings.search(name, 1), endings.match(name)
    last = behind.start() if behind else len(name)
    first = before.end() if before else 0
    ways = (
        (name[first:last], f"{name[:first]} before and {name[last:]} behind the name"),
        (name[first:], f"{name[:first]} before the name"),
        (name[:last], f"{name[last:]} behind the name"),
    )
    found = reversed(dict(ways).items())
    return {short: why for short, why in found if short not in ("", name)}


def without_number(name: str) -> str:
    """Return a name without the number that cryoSPARC puts before it."""
    return _UID.sub("", name)


def without_series(name: str) -> str:
    """Return `a` for `a.tif - Series 0`; others stay."""
    found = _SERIES.fullmatch(name)
    return found[1] if found else name


def first_channel(path: Path) -> Path:
    """Return `a_0000.png` for `a_0001.png`; what is named otherwise stays."""
    return path.with_name(re.sub(r"_000[1-9](\.\w+)$", r"_0000\1", path.name))


def is_only(name: str, endings: re.Pattern[str]) -> bool:
    """Whether a name says what a file is, but not of which image: `mask`, `RoiSet`."""
    return bool(endings.fullmatch(f"_{name}"))


def images_and_labels(
    pictures: Sequence[Path], root: Path
) -> tuple[list[Path], list[Path]]:
    """Tell images from those that are labels of others by their name or folder."""
    in_folder = [path for path in pictures if _is_of_labels(path, root)]
    in_folder += _alone(path for path in pictures if path not in set(in_folder))
    others = [path for path in pictures if path not in set(in_folder)]
    names = {image_name(path).casefold() for path in others}
    behind = [
        path
        for path in others
        if names
        & {
            f"{base}{more}".casefold()
            for base in shortened(image_name(path), OF_LABELS)
            for more in ("", "_img", "_image", "_raw")
        }
    ]
    return [p for p in others if p not in set(behind)], in_folder + behind


def _alone(pictures: Iterable[Path]) -> Iterator[Path]:
    """`mask.tif` beside the only image of a folder, such as `image.tif`."""
    folders: defaultdict[Path, list[Path]] = defaultdict(list)
    for path in pictures:
        folders[path.parent].append(path)
    for both in folders.values():
        masks = [path for path in both if is_only(image_name(path), OF_LABELS)]
        names = [image_name(path) for path in both if path not in masks]
        if len(masks) == len(names) == 1 and not any(
            image_name(path) in shortened(names[0], OF_LABELS) for path in masks
        ):
            yield masks[0]


def _is_of_labels(path: Path, root: Path) -> bool:
    """Whether an image lies in a folder of labels: `masks`, `GT_01`, `labelsTr`."""
    for folder in reversed(path.relative_to(root).parts[:-1]):
        if folder.lower() in _IMAGES:
            return False
        words = [word.lower() for word in _WORD.findall(folder)]
        ends = {words[0], words[-1]} if words else set()
        of_both = bool(words) and words[0] in ("images", "imgs")
        if folder.lower() in LABEL_FOLDERS or (ends & _SURE and not of_both):
            return True
    return False
