"""`dataset.json`: what a dataset is about."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from napari_topiary.errors import TopiaryError
from napari_topiary.io.pairing import ELSEWHERE, images_elsewhere
from napari_topiary.io.pixel_size import pixel_size_problem
from napari_topiary.io.plain_files import DESCRIPTION as DESCRIPTION
from napari_topiary.io.plain_files import read_json
from napari_topiary.io.split import Split, parsed_split
from napari_topiary.types import BACKGROUND, Task, TaskKind

SAME_SCALE = 0.02
_KINDS: tuple[str, ...] = get_args(TaskKind)


@dataclass(frozen=True, kw_only=True)
class Description:
    """The content of `dataset.json`.

    Parameters
    ----------
    name
        Name of the dataset.
    task
        Kind of answer, classes and radii.
    split
        Names of the samples in each part; empty = all are for training.
    scale
        nm per pixel of all images, None if unknown or not the same.
    scales
        nm per pixel of single images, where they differ.
    elsewhere
        Images that do not lie in the folder, as they are too large to be copied: name
        -> path, from the folder on or absolute.
    """

    name: str
    task: Task
    split: dict[str, tuple[str, ...]]
    scale: float | None
    scales: dict[str, float] = field(default_factory=dict)
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
        content = content if isinstance(content, dict) else {}
        for key in ("radius_nm", "radius_px", "split", "pixel_sizes_nm", ELSEWHERE):
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
    """Read `dataset.json`; keys that are not known are left alone.

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
        raise TopiaryError(
            f"{where}: {given}, but it must be one of {', '.join(_KINDS)}."
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
    content = read_json(path)
    if not isinstance(content, dict):
        raise TopiaryError(
            f'{root.name}/{DESCRIPTION} must hold one object with "name", "task" and '
            '"classes".'
        )
    return content


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
        return parsed_split(content.get("split"))
    except TopiaryError as error:
        raise TopiaryError(f"{where}: {error}") from error


def is_positive(value: object) -> bool:
    """Whether a value out of JSON is a number above 0 that can be calculated with."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    # Compared before it is converted: JSON knows whole numbers of any length.
    return number and 0 < value <= sys.float_info.max  # type: ignore[operator]
