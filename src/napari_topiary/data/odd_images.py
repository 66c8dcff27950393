"""Images that differ from the others, or from those that a network has learned."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from napari_topiary.checkpoint import Checkpoint
from napari_topiary.data.annotated_area import AnnotatedArea
from napari_topiary.normalisation import Contrast
from napari_topiary.normalisation.contrast import (
    Colours,
    Faintness,
    odd_ones,
    says_enough,
    usual_look,
)
from napari_topiary.normalisation.sharpness import Sharpness
from napari_topiary.types import Task
from napari_topiary.words import listed


def contrast_of(areas: Iterable[AnnotatedArea]) -> Contrast | None:
    """How what is marked in some images differs from the rest; None = nothing is."""
    each = tuple(areas)
    pairs = ((one.field.image, one.field.target) for one in each)
    return Contrast.of(pairs, [one.asymmetry for one in each])


def opposite_notes(
    areas: Sequence[AnnotatedArea], task: Task, start: Checkpoint | None
) -> tuple[str, ...]:
    """Name images of the opposite contrast: of what was learned, or of the others.

    Parameters
    ----------
    areas
        Of the images that are used together; an image may be there as several.
    task
        Its classes are named.
    start
        The network that has learned already; None = it begins with these.
    """
    about = {} if start is None else start.annotations_summary
    before = Contrast.from_record(about.get("contrast"))
    # Names may be there twice, and an image as several areas.
    images = list({one.pixels: one for one in areas}.values())
    if before and len(images) > 1 and (here := contrast_of(areas)):
        if here.opposite_of(before):
            return (
                f"The contrast of these images {before.in_words(task.classes[1:])}: "
                "invert them, or train a network from scratch.",
            )
    odd = _opposites(images, task, before)
    if not odd:
        return ()
    opposite = (
        before.in_words(task.classes[1:])
        if before
        else "is the opposite of that of the other images"
    )
    them = "it" if len(odd) == 1 else "them"
    names = listed([images[i].sample.name for i in odd])
    return (
        f"{names}: the contrast {opposite}, so little or "
        f"nothing is found there: invert {them} (in Fiji: Edit > Invert), or leave "
        f"{them} out.",
    )


def _opposites(
    areas: Sequence[AnnotatedArea], task: Task, before: Contrast | None
) -> list[int]:
    """Which have the opposite contrast: what is marked tells, else the histogram."""
    asymmetries = [one.asymmetry for one in areas]
    if before:
        odd = {i for i, own in enumerate(asymmetries) if before.is_negative(own)}
    else:
        odd = set(odd_ones(asymmetries))
    odd = {index for index in odd if says_enough(areas[index].field.image) == 1}
    if len(task.classes) > 2 and len(areas) > 1:
        return sorted(odd)  # one class may be bright and another dark
    looks = [0 if (own := contrast_of([one])) is None else own.look for one in areas]
    usual = before.look if before else usual_look(looks)
    for index, look in enumerate(looks):
        if look * usual:
            (odd.add if look != usual else odd.discard)(index)
    return sorted(odd)


def unlike_notes(areas: Sequence[AnnotatedArea], start: Checkpoint) -> tuple[str, ...]:
    """Name images to judge on that differ but for their contrast from what it knows."""
    about = start.annotations_summary
    knows = (
        Colours.from_record(about.get("colours")),
        Faintness.from_record(about.get("faintest")),
        Sharpness.from_record(about.get("sharpness")),
    )
    found = [
        f"{one.sample.name}: {problem}"
        for one in areas
        for learned in knows
        if learned and (problem := learned.problem(one.field.image))
    ]
    return tuple(dict.fromkeys(found))
