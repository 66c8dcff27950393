"""What of the annotated images is held out.

What is held out is written into the checkpoint, image by image with the area, and so is
what was learned from: a later training or validation keeps to both, whatever its seed
and however many images there are by then.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from napari_topiary.config import TrainConfig
from napari_topiary.data.annotated_area import AnnotatedArea, Box
from napari_topiary.data.learned import Learned
from napari_topiary.errors import TopiaryError
from napari_topiary.io.gate import NOTHING_MARKED
from napari_topiary.io.stacks import are_slices, stack_of
from napari_topiary.types import Task
from napari_topiary.words import listed, plural

ENOUGH = 10
"""Fewer things than that tell neither which weights are better nor which threshold."""
FEWEST = ENOUGH
"""Of fewer things in all, none is held back: they are needed to learn from, and a
figure on half of them would say nothing."""
TWICE = 40
"""With so many things held back, some choose weights and thresholds, others
validate."""
UNKNOWN = (
    "The network was trained with an earlier version, which did not write down what it "
    "learned from: nothing here is judged on, for it may know these images. To have a "
    "figure, put images that it has never seen into the part 'val'."
)

_LEARNED = (
    ": not judged on, for the network learns, or has learned, from the same image "
    "(perhaps under another name, or from a part of it)."
)
_ALL_SEEN = (
    "The network has learned from all that is annotated here, so none of it can say "
    "how good it is: put images that it has never seen into the part 'val'."
)
_NONE_MARKED_ASIDE = (
    ": kept aside to judge on, but nothing is marked there (where all is finished), so "
    "some of what is learned from is held back instead, if there is enough of it."
)
_EMPTY_ASIDE = (
    ": kept aside to judge on, but nothing is marked there (where all is finished), so "
    "it does not count."
)
_NOTHING_SHOWN = (
    "Nothing of what is marked can be learned from: it lies outside the finished "
    "areas, at the very border, or where the image shows nothing. Mark some that can "
    "be seen, or finish the area around it."
)
_JUDGED = (
    ": not learned from, for the same image under another name, or one that it is a "
    "part of or that is a part of it, is kept to judge on."
)
_SAME = (
    ": the same image under several names, each of which is learned from. If that was "
    "not meant, take all but one out."
)

FEW_PIXELS = 400_000
"""Areas of so many pixels may be looked at again and again without a delay."""


@dataclass(frozen=True, kw_only=True)
class Division:
    """What is learned from and what is held out; the latter in words too."""

    learned: Sequence[AnnotatedArea]
    held: Sequence[AnnotatedArea]
    words: str
    notes: tuple[str, ...] = ()


def divide(
    pool: Sequence[AnnotatedArea],
    given: Sequence[AnnotatedArea],
    history: Mapping[str, Any],
    config: TrainConfig,
    *,
    learning: bool,
) -> Division:
    """Hold out what was given for it, what was held out before, or a share.

    `pool` may be learned from, `given` is only judged on.

    Raises
    ------
    TopiaryError
        With a sentence if nothing is left of what is marked to learn from.
    """
    learned, held, words = pool, list[AnnotatedArea](), ""
    unmarked = bool(given) and not any(one.things for one in given)
    if given and not (unmarked and learning):
        taken = Learned.of(history, [one.sample for one in pool] if learning else ())
        held = [one for one in given if one.sample not in taken]
        notes = _named([one for one in given if one.sample in taken], _LEARNED)
        notes += _named([one for one in held if not _validates(one)], _EMPTY_ASIDE)
        words = plural(sum(map(_validates, held)), "image")
    elif history and "learned" not in history:
        notes = (UNKNOWN,)
    else:
        learned, held, notes = _of_pool(pool, history, config, learning=learning)
        notes = _named(given, _NONE_MARKED_ASIDE) + notes
        words = in_words(held)
    if learning and not any((one.field.target > 0).any() for one in learned):
        raise TopiaryError(_NOTHING_SHOWN)
    held = [one for one in held if _validates(one)]
    if learning and not held and (unmarked or not notes):
        notes += (_nothing_held_back(pool),)
    notes += (note,) if held and (note := Learned.of(history).note) else ()
    if not (learning or held or notes):
        notes = (NOTHING_MARKED if unmarked else _ALL_SEEN,)
    if learning:
        notes += _named(_repeated(learned), _SAME)
    return Division(learned=learned, held=held, words=words, notes=notes)


def _of_pool(
    pool: Sequence[AnnotatedArea],
    history: Mapping[str, Any],
    config: TrainConfig,
    *,
    learning: bool,
) -> tuple[list[AnnotatedArea], list[AnnotatedArea], tuple[str, ...]]:
    """Hold out what was held out before or a share, where nothing was given for it."""
    if not learning and history.get("learned"):
        seen = Learned.of(history)
        learned, held = hold_out(pool, 0.0, config.seed, history)
        held = held or [one for one in pool if one.sample not in seen]
        return [one for one in learned if one.sample in seen and one.things], held, ()
    learned, held = hold_out(pool, config.validation_share, config.seed, history)
    if learning and not any(one.things for one in learned):
        learned, held = learned + held, []
    used = {one.sample.name for one in (*learned, *held)}
    notes = _named([one for one in pool if one.sample.name not in used], _JUDGED)
    return learned, held, notes


def _validates(area: AnnotatedArea) -> bool:
    """Whether there is anything to find, and anything known, on an area."""
    return bool(area.things) and bool((area.field.target >= 0).any())


def _repeated(areas: Sequence[AnnotatedArea]) -> list[AnnotatedArea]:
    """The marked images that are there more than once."""
    marked = [one for one in areas if one.things]
    times = Counter(one.pixels for one in marked)
    return [one for one in marked if times[one.pixels] > 1]


def _named(areas: Sequence[AnnotatedArea], words: str) -> tuple[str, ...]:
    return (listed([one.sample.name for one in areas]) + words,) if areas else ()


def hold_out(
    pool: Sequence[AnnotatedArea], share: float, seed: int, before: Mapping[str, Any]
) -> tuple[list[AnnotatedArea], list[AnnotatedArea]]:
    """Choose what is learned from and what is held back.

    Parameters
    ----------
    pool
        All annotated images.
    share
        Of the images, or of what is marked on the only one, that is held back.
    seed
        Which images are taken.
    before
        What the checkpoint that is gone on with says of its own images (`held_out`,
        `learned`); empty = there is none. What was held back stays held back, and what
        was learned from is never validated on.

    Returns
    -------
    tuple
        What to learn from, and what to validate on; the latter may be empty. An image
        that is there more than once is in one of them only.
    """
    boxes = {one["pixels"]: one["box"] for one in before.get("held_out", ())}
    old = Learned.of(before)
    learned: list[AnnotatedArea] = []
    held: list[AnnotatedArea] = []
    for one in pool:
        box = boxes.get(one.pixels)
        if box is not None:
            rest, part = one.divided((box[0], box[1], box[2], box[3]))
            learned.append(rest)
            held.append(part)
        else:
            (held if one.pixels in boxes else learned).append(one)
    if held:
        return _apart_from(learned, held), held
    marked = [one for one in pool if one.sample not in old and one.things]
    fresh = list({one.pixels: one for one in reversed(marked)}.values())[::-1]
    if sum(one.things for one in fresh) < FEWEST:
        return list(pool), []
    if len(fresh) < 2 and not any(one.sample in old for one in pool):
        return _part_of(pool, fresh, share)
    order = _in_random_order(fresh, seed)
    wanted = max(1, round(share * len(pool)))
    limit = len(fresh) // 2
    most = max(min(wanted, limit), 0)
    while most < limit and sum(one.things for one in order[:most]) < ENOUGH:
        most += 1
    held = order[:most]
    away = {one.pixels for one in held}
    return _apart_from([one for one in pool if one.pixels not in away], held), held


def _in_random_order(areas: Sequence[AnnotatedArea], seed: int) -> list[AnnotatedArea]:
    """Images as chance has it; slices of a stack one after the other, from one end.

    A slice among those that are learned from shows nearly the same as they do.
    """
    stacks: dict[str, list[AnnotatedArea]] = {}
    for one in areas:
        stacks.setdefault(stack_of(one.sample.name), []).append(one)
    each, order = list[list[AnnotatedArea]](), list[AnnotatedArea]()
    for alike in stacks.values():
        whole = are_slices({one.sample.name: one.sample.image for one in alike})
        each += [alike] if whole else [[one] for one in alike]
    chance = np.random.default_rng(seed)
    for index in chance.permutation(len(each)):
        last_first = bool(chance.integers(2))
        order += sorted(each[index], key=lambda o: o.sample.name, reverse=last_first)
    return order


def _apart_from(
    pool: Sequence[AnnotatedArea], held: Sequence[AnnotatedArea]
) -> list[AnnotatedArea]:
    """What may be learned from: nothing that shows half of an image held back."""
    shows = np.zeros(len(pool), dtype=bool)
    for one in held:
        if one.box is None:
            shows |= one.sample.shown_by([other.sample.sketch for other in pool])
    return [one for one, away in zip(pool, shows, strict=True) if not away]


def _nothing_held_back(pool: Sequence[AnnotatedArea]) -> str:
    """Say why nothing was held back, and what to do about it."""
    n = sum(one.things for one in pool)
    if n < FEWEST:
        many = "1 thing is" if n == 1 else f"{n} things are"
        return (
            f"Only {many} marked where all is finished: learned from, and nothing is "
            f"kept back to judge on. Mark {FEWEST} or more, or keep an image aside "
            "(the part 'val')."
        )
    return (
        "What is marked lies too close together to keep some of it back to judge on: "
        "keep another image aside (the part 'val')."
    )


def _part_of(
    pool: Sequence[AnnotatedArea], marked: Sequence[AnnotatedArea], share: float
) -> tuple[list[AnnotatedArea], list[AnnotatedArea]]:
    """Hold out one end of the only image on which anything is marked."""
    learned = list(pool)
    whole = marked[0]
    share = min(0.5, max(share, ENOUGH / whole.things))
    best: tuple[AnnotatedArea, AnnotatedArea] | None = None
    height, width = whole.sample.whole
    longer = int(width >= height)
    for axis in (longer, 1 - longer):
        for last in (True, False):
            rest, part = whole.divided(_end(whole, share, axis, last=last))
            if not rest.things or not (rest.field.target == 0).any():
                continue
            if best is None or min(part.things, ENOUGH) > min(best[1].things, ENOUGH):
                best = rest, part
    if best is None or not best[1].things:
        return learned, []
    alone = [one for one in pool if one is whole or one.pixels != whole.pixels]
    return [best[0] if one is whole else one for one in alone], [best[1]]


def _end(whole: AnnotatedArea, share: float, axis: int, *, last: bool) -> Box:
    """The end of an image with a share of all that is marked on it."""
    original, marked = whole.sample.whole, whole.marked_along(axis)
    along = (marked if last else marked[::-1]).cumsum()
    cut = int(np.searchsorted(along, (1 - share) * along[-1]))
    side = original[axis]
    cut = round(cut * side / len(marked))
    ends = [[0, original[0]], [0, original[1]]]
    ends[axis] = [cut, side] if last else [0, side - cut]
    (top, bottom), (left, right) = ends
    return top, bottom, left, right


def roles(
    parts: Division, task: Task, *, given: bool
) -> tuple[tuple[AnnotatedArea, ...], ...]:
    """Areas to choose by, to measure the figure on, and of what is learned from.

    The last ones choose thresholds where there is too little beside them. (Thresholds
    chosen and scored in turns on two halves of so little gave figures as far from the
    truth, and on other images were worse by up to 0.03.)
    """
    choosing, measured = _for_choosing_and_figure(parts.held)
    only = choosing == measured and not too_few(choosing)
    if only or (task.kind == "detect" and (too_few(choosing) or not given)):
        return tuple(choosing), tuple(measured), few_areas(parts.learned)
    return tuple(choosing), tuple(measured), ()


def too_few(held: Sequence[AnnotatedArea]) -> bool:
    """Whether there is too little on areas to choose anything by."""
    return sum(one.things for one in held) < ENOUGH


def few_areas(areas: Sequence[AnnotatedArea]) -> tuple[AnnotatedArea, ...]:
    """As many areas as hold `FEW_PIXELS` together."""
    pixels = np.cumsum([area.field.target.size for area in areas])
    return tuple(areas[: int(np.searchsorted(pixels, FEW_PIXELS, side="right"))])


def _for_choosing_and_figure(
    held: Sequence[AnnotatedArea],
) -> tuple[list[AnnotatedArea], list[AnnotatedArea]]:
    """Choose weights and thresholds on some, give the figure on others.

    Where there is not enough for two, both are done on all of it.
    """
    ordered = sorted(held, key=lambda one: (-one.things, one.pixels))
    if sum(one.things for one in ordered) < TWICE:
        return list(held), list(held)
    if len(ordered) > 1:
        # The largest and every other one: both sides have about as much.
        choosing, measured = ordered[1::2], ordered[::2]
    else:
        longer = int(np.argmax(ordered[0].field.target.shape))
        choosing, measured = _halves(ordered[0], longer)
    if min(sum(one.things for one in part) for part in (choosing, measured)) < ENOUGH:
        return list(held), list(held)
    return choosing, measured


def _halves(
    area: AnnotatedArea, axis: int
) -> tuple[list[AnnotatedArea], list[AnnotatedArea]]:
    """Two parts of one area, with as much marked on each."""
    half = _end(area, 0.5, axis, last=True)
    if area.box is not None:
        own = area.box
        half = (
            max(half[0], own[0]),
            min(half[1], own[1]),
            max(half[2], own[2]),
            min(half[3], own[3]),
        )
    rest, part = area.divided(half)
    return [rest], [part]


def barred(
    area: AnnotatedArea, held: Sequence[AnnotatedArea], gap: float
) -> NDArray[np.bool_]:
    """What is held out of an image `(y, x)`, and as far around as it could be told by.

    Parameters
    ----------
    area
        Of the image.
    held
        What must not be learned from, of this image and of others.
    gap
        In working pixels.
    """
    away = np.zeros(area.field.target.shape, dtype=bool)
    for other in held:
        if other.field.image is area.field.image:
            away |= other.field.target >= 0
    if not away.any():
        return away
    return np.asarray(distance_transform_edt(~away) <= gap)


def in_words(held: Sequence[AnnotatedArea]) -> str:
    """Say what a figure is measured on, as it follows the word "on"."""
    if not held:
        return ""
    n = len({one.sample.name for one in held})
    if any(one.box is None for one in held):
        return plural(n, "image")
    return "a part of the image" if n == 1 else f"parts of {n} images"
