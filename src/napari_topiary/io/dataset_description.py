"""`dataset.json`: what a dataset is about, and how its images are split."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_args

from napari_topiary.errors import TopiaryError
from napari_topiary.io.pairing import ELSEWHERE, images_elsewhere, safe_name
from napari_topiary.io.pixel_size import pixel_size_problem
from napari_topiary.io.plain_files import DESCRIPTION as DESCRIPTION
from napari_topiary.io.plain_files import read_json
from napari_topiary.types import BACKGROUND, Task, TaskKind

Split = dict[str, tuple[str, ...]]
"""Names of the images in each part."""

NOTHING_ASIDE = (
    "No image of the part 'val' is annotated: it is judged on some of the others, as "
    "far as it has not learned from them."
)
KNOWN = ("train", "val", "test")
HELD_OUT = ("val", "test")
_PARTS = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validate": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
"""What people call a part, or a folder of it -> its name."""
_SET = re.compile(r"[ _-]*(set|split|data|images)$")
_KEYS = (
    "name", "task", "classes", "pixel_size_nm", "pixel_sizes_nm", "radius_nm",
    "radius_px", "split", ELSEWHERE,
)  # fmt: skip


def _parsed_split(content: object) -> Split:
    """Read the split of a `dataset.json`; "Validation" is understood as "val"."""
    if not content:
        return {}
    if not isinstance(content, dict) or not all(
        isinstance(names, list) and all(isinstance(name, str) for name in names)
        for names in content.values()
    ):
        raise TopiaryError(
            '"split" must give a list of image names for each part, for instance '
            '{"train": ["a", "b"], "val": ["c"]}.'
        )
    split: Split = {}
    for given, names in content.items():
        part = known_part(given) or given
        if part in split:
            raise TopiaryError(
                f"the part {part!r} is there twice in the split, in two spellings: "
                "join them."
            )
        split[part] = tuple(names)
    return split


def known_part(given: str) -> str:
    """Return ``"val"`` for "Validation set" and the like; empty if it is none known."""
    return _PARTS.get(_SET.sub("", given.strip().lower()), "")


def resolved_split(
    split: Mapping[str, Iterable[str]],
    images: Iterable[str],
    stacks: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> Split:
    """Return the split with names as the images have them: `a` for `a.tif` or `A`.

    The name of a stack means those of its slices that are not named themselves.

    Parameters
    ----------
    split
        As it was written; names of no image stay as they are.
    images
        Names of the images.
    stacks
        Names of the slices of each stack.
    """
    known = (*images, *stacks)
    folded = {name.casefold(): name for name in known}

    def resolved(name: str) -> str:
        if name in known:
            return name
        for guess in (name, Path(name).stem, Path(Path(name).stem).stem):
            for spelling in (guess.casefold(), safe_name(guess).casefold()):
                if spelling in folded:
                    return folded[spelling]
        return name

    found = {part: [resolved(name) for name in names] for part, names in split.items()}
    single = {name for names in found.values() for name in names}

    def slices(name: str) -> Iterable[str]:
        return [one for one in stacks[name] if one not in single]

    return {
        part: tuple(
            dict.fromkeys(
                one
                for name in names
                for one in (slices(name) if name in stacks else (name,))
            )
        )
        for part, names in found.items()
    }


def split_problem(split: Mapping[str, Iterable[str]], images: Iterable[str]) -> str:
    """Return what is wrong with a split, as a sentence; empty if nothing is."""
    known = set(images)
    for part, names in split.items():
        unknown = [name for name in names if name not in known]
        if unknown:
            return (
                f"the split {part!r} names {_first(unknown)}, but there is no such "
                "image in the folder images: add it, or remove the name from the split."
            )
    return leak_problem(split)


def leak_problem(split: Mapping[str, Iterable[str]]) -> str:
    """Return which images are learned from and judged on; empty if none are."""
    for index, part in enumerate(KNOWN):
        for other in KNOWN[index + 1 :]:
            both = sorted(set(split.get(part, ())) & set(split.get(other, ())))
            if both:
                return (
                    f"{_first(both)} {'is' if len(both) == 1 else 'are'} in the part "
                    f"{part!r} and in {other!r} of the split: an image that is learned "
                    "from must not be judged on; leave each in one of them."
                )
    return ""


def parts_of(split: Mapping[str, tuple[str, ...]], images: Iterable[str]) -> Split:
    """Return the split with what it does not name in the part `train`.

    Parameters
    ----------
    split
        Resolved; empty = all images are to learn from.
    images
        Names of the images.
    """
    used = {name for names in split.values() for name in names}
    rest = tuple(name for name in images if name not in used)
    if not rest:
        return dict(split)
    if "train" not in split:
        return {"train": rest, **split}
    return {**split, "train": (*split["train"], *rest)}


def may_be_seen(
    split: Mapping[str, tuple[str, ...]], images: Iterable[str]
) -> tuple[str, ...]:
    """Return the names of the images that no part holds back."""
    held = {name for part in HELD_OUT for name in split.get(part, ())}
    return tuple(name for name in images if name not in held)


def _first(names: list[str]) -> str:
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"{names[0]!r}{more}"


SAME_SCALE = 0.02
_KINDS: tuple[str, ...] = get_args(TaskKind)


@dataclass(frozen=True, kw_only=True)
class Description:
    """The content of `dataset.json`."""

    name: str
    task: Task  #: Kind of answer, classes and radii
    #: Names of the samples in each part; empty = all are for training
    split: dict[str, tuple[str, ...]]
    scale: float | None  #: nm per pixel of all images, None if unknown or not the same
    #: nm per pixel of single images, where they differ
    scales: dict[str, float] = field(default_factory=dict)
    #: Images that do not lie in the folder, as they are too large to be copied: name ->
    #: path, from the folder on or absolute
    elsewhere: dict[str, str] = field(default_factory=dict)

    def scale_of(
        self, name: str, own: float | None, *, stack: str | None = None
    ) -> tuple[float | None, tuple[str, ...]]:
        """Return nm per pixel of an image, and a sentence if its file disagrees.

        Parameters
        ----------
        name
            Of the image.
        own
            What its file says, None if nothing.
        stack
            The stack that it is a slice of.
        """
        given = self.scales.get(name, self.scales.get(stack or name, self.scale))
        if given is None or own is None:
            return own if given is None else given, ()
        if abs(own / given - 1) <= SAME_SCALE:
            return given, ()
        return given, (
            f"The file says {own:,.4g} nm per pixel, {DESCRIPTION} {given:,.4g} nm: "
            "the latter counts.",
        )

    def updated(self, path: Path) -> dict[str, Any]:
        """Return the file's new content, with the keys of others that are in it."""
        try:
            content = read_json(path)
        except TopiaryError:
            content = {}
        content = _spelled(content) if isinstance(content, dict) else {}
        for key in ("radius_nm", "radius_px", "pixel_sizes_nm", "split", ELSEWHERE):
            content.pop(key, None)
        content |= {
            "name": self.name,
            "task": self.task.kind,
            "pixel_size_nm": self.scale,
            "classes": list(self.task.classes),
        }
        if self.task.radius_nm:
            content["radius_nm"] = dict(self.task.radius_nm)
        if self.task.radius_px:
            content["radius_px"] = dict(self.task.radius_px)
        if self.split:
            content["split"] = {part: list(s) for part, s in self.split.items()}
        if self.scales:
            content["pixel_sizes_nm"] = dict(self.scales)
        if self.elsewhere:
            content[ELSEWHERE] = dict(self.elsewhere)
        return content


def parse_description(root: Path) -> Description:
    """Read `dataset.json`; keys of others are left alone, misspelled ones refused.

    Raises
    ------
    TopiaryError
        With a sentence for whatever is wrong with it.
    """
    content = _content(root)
    where = f"{root.name}/{DESCRIPTION}"
    kind = content.get("task")
    if kind not in _KINDS:
        given = "no task is given" if kind is None else f"the task is {kind!r}"
        other = (
            "" if "classes" in content
            else ". If it is nnU-Net's, let napari-topiary import take the folder over"
        )  # fmt: skip
        raise TopiaryError(
            f"{where}: {given}, but it must be one of {', '.join(_KINDS)}{other}."
        )
    classes = content.get("classes")
    if not isinstance(classes, list) or not all(
        isinstance(name, str) and name for name in classes
    ):
        raise TopiaryError(
            f'{where}: "classes" must be a list of names, for instance '
            f'["{BACKGROUND}", "virus"].'
        )
    if not classes or classes[0] != BACKGROUND:
        raise TopiaryError(
            f'{where}: the first class must be "{BACKGROUND}", but the classes are '
            f"{', '.join(classes) or 'none'}: put {BACKGROUND} in front."
        )
    if len(set(classes)) != len(classes):
        raise TopiaryError(f"{where}: a class is listed twice: give each one once.")
    return Description(
        name=str(content.get("name") or root.name),
        task=Task(
            kind,
            tuple(classes),
            radius_nm=_radii(content, "radius_nm", classes, where),
            radius_px=_radii(content, "radius_px", classes, where),
        ),
        split=_split(content, where),
        scale=_scale(content, where),
        scales=_numbers(content, "pixel_sizes_nm", "image", where),
        elsewhere=images_elsewhere(root),
    )


def _content(root: Path) -> dict[str, Any]:
    if not root.is_dir():
        raise TopiaryError(
            f"There is no dataset folder {root}: give a folder that holds "
            f"{DESCRIPTION}."
        )
    path = root / DESCRIPTION
    if not path.is_file():
        raise TopiaryError(
            f"{root} is not a dataset: it has no {DESCRIPTION}. Give the folder that "
            f"holds it, or make one ('napari-topiary import {root.name} --out NEW', or "
            "save the images as a project)."
        )
    content, where = read_json(path), f"{root.name}/{DESCRIPTION}"
    if not isinstance(content, dict):
        said = 'must hold one object with "name", "task" and "classes".'
        raise TopiaryError(f"{where} {said}")
    content = _spelled(content)
    missing = [key for key in _KEYS if key not in content]
    for key in [key for key in content if key not in _KEYS]:
        meant = get_close_matches(key.strip().lower(), missing, n=2, cutoff=0.8)
        if meant:
            wanted = " or ".join(f'"{one}"' for one in meant)
            raise TopiaryError(f'{where}: "{key}" is not known: write {wanted}.')
    return content


def _spelled(content: Mapping[str, Any]) -> dict[str, Any]:
    """The content with known keys in the usual spelling: `Task`, `splits`."""
    usual = {**{key: key for key in _KEYS}, "splits": "split"}
    # The last of two wins: what is not empty, and spelled as usual.
    rows = sorted(content.items(), key=lambda row: (bool(row[1]), row[0] in _KEYS))
    return {usual.get(key.strip().lower(), key): value for key, value in rows}


def _scale(content: Mapping[str, Any], where: str) -> float | None:
    scale = content.get("pixel_size_nm")
    if scale is None:
        return None
    if not is_positive(scale):
        raise TopiaryError(
            f'{where}: "pixel_size_nm" is {scale!r}, but it must be a number above 0, '
            "or null where it is unknown."
        )
    problem = pixel_size_problem(scale)
    if problem:
        raise TopiaryError(f"{where}: {problem}")
    return float(scale)


def radius_names_problem(names: Iterable[str], classes: Sequence[str]) -> str | None:
    """Return a sentence if a radius is given to a class that is not there."""
    unknown = sorted(set(names) - set(classes))
    if not unknown:
        return None
    return (
        f"There is no class {unknown[0]!r} to give a radius to: the classes are "
        f"{', '.join(classes)}."
    )


def _radii(
    content: Mapping[str, Any], key: str, classes: list[str], where: str
) -> dict[str, float]:
    radii = _numbers(content, key, "class", where)
    unknown = sorted(set(radii) - set(classes))
    if unknown:
        raise TopiaryError(
            f'{where}: "{key}" names {unknown[0]!r}, but the classes are '
            f"{', '.join(classes)}: correct the name."
        )
    return radii


def _numbers(
    content: Mapping[str, Any], key: str, what: str, where: str
) -> dict[str, float]:
    numbers = content.get(key) or {}
    if not isinstance(numbers, dict) or not all(map(is_positive, numbers.values())):
        raise TopiaryError(
            f'{where}: "{key}" must give a number above 0 for each {what}, for '
            f'instance {{"name of the {what}": 40}}.'
        )
    return {name: float(number) for name, number in numbers.items()}


def _split(content: Mapping[str, Any], where: str) -> Split:
    try:
        return _parsed_split(content.get("split"))
    except TopiaryError as error:
        raise TopiaryError(f"{where}: {error}") from error


def is_positive(value: object) -> bool:
    """Whether a value out of JSON is a number above 0 that can be calculated with."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    # Compared before it is converted: JSON knows whole numbers of any length.
    return number and 0 < value <= sys.float_info.max  # type: ignore[operator]
