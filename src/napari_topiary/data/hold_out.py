"""What of the annotated images is held out.

What is held out is written into the checkpoint, image by image with the area, and so is
what was learned from: a later training or validation keeps to both, whatever its seed
and however many images there are by then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from napari_topiary.data.annotated_area import AnnotatedArea, Box

ENOUGH = 10
"""Fewer things than that tell neither which weights are better nor which threshold."""
FEWEST = ENOUGH
"""Of fewer things in all, none is held back: they are needed to learn from, and a
figure on half of them would say nothing."""
TWICE = 40
"""With so many things held back, some choose weights and thresholds, others judge."""


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
        was learned from is never judged on.

    Returns
    -------
    tuple
        What to learn from, and what to judge on; the latter may be empty. An image
        that is there more than once is in one of them only.
    """
    boxes = {one["pixels"]: one["box"] for one in before.get("held_out", ())}
    learned = {one["pixels"] for one in before.get("learned", ())}
    taught: list[AnnotatedArea] = []
    judged: list[AnnotatedArea] = []
    for one in pool:
        box = boxes.get(one.pixels)
        if box is not None:
            rest, part = one.divided((box[0], box[1], box[2], box[3]))
            taught.append(rest)
            judged.append(part)
        else:
            (judged if one.pixels in boxes else taught).append(one)
    if judged:
        return taught, judged
    marked = [one for one in pool if one.pixels not in learned and one.things]
    fresh = list({one.pixels: one for one in reversed(marked)}.values())[::-1]
    known = [one for one in pool if one.pixels in learned]
    if not known and len(fresh) < 2:
        return _part_of(pool, fresh, share)
    order = [fresh[i] for i in np.random.default_rng(seed).permutation(len(fresh))]
    wanted = max(1, round(share * len(pool)))
    limit = len(fresh) // 2
    most = max(min(wanted, limit), 0)
    while most < limit and sum(one.things for one in order[:most]) < ENOUGH:
        most += 1
    judged = order[:most]
    held = {one.pixels for one in judged}
    return [one for one in pool if one.pixels not in held], judged


def _part_of(
    pool: Sequence[AnnotatedArea], marked: Sequence[AnnotatedArea], share: float
) -> tuple[list[AnnotatedArea], list[AnnotatedArea]]:
    """Hold out one end of the only image on which anything is marked."""
    taught = list(pool)
    if not marked or marked[0].things < FEWEST:
        return taught, []
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
        return taught, []
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


def for_choosing_and_figure(
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
        choosing, judging = ordered[1::2], ordered[::2]
    else:
        longer = int(np.argmax(ordered[0].field.target.shape))
        choosing, judging = _halves(ordered[0], longer)
    if min(sum(one.things for one in part) for part in (choosing, judging)) < ENOUGH:
        return list(held), list(held)
    return choosing, judging


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
