"""Which images of a dataset are learned from, chosen by, and held back to the end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from napari_topiary.errors import TopiaryError
from napari_topiary.io.pairing import safe_name

Split = dict[str, tuple[str, ...]]
"""Names of the images in each part."""

_FEW = 5
NOTHING_ASIDE = (
    "No image of the part 'val' is annotated: it is judged on some of the others, as "
    "far as it has not learned from them."
)
KNOWN = ("train", "val", "test")
HELD_OUT = ("val", "test")
_SPELLINGS = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validate": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test",
}  # fmt: skip


def parsed_split(content: object) -> Split:
    """Read the split of a `dataset.json`; "Validation" is understood as "val".

    Parameters
    ----------
    content
        Lists of names by part; None = there is no split.

    Raises
    ------
    TopiaryError
        With a sentence that goes on after the name of the file.
    """
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
        part = str(_SPELLINGS.get(given.strip().lower(), given))
        if part in split:
            raise TopiaryError(
                f"the part {part!r} is there twice in the split, in two spellings: "
                "join them."
            )
        split[part] = tuple(names)
    return split


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


def listed(names: Sequence[str]) -> str:
    """Return the first few names in words."""
    return ", ".join(names[:_FEW]) + (", ..." if len(names) > _FEW else "")


def _first(names: list[str]) -> str:
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"{names[0]!r}{more}"
