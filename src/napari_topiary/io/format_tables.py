"""What is read and written, as the tables of the README, from the registers."""

from __future__ import annotations

from collections.abc import Sequence

from napari_topiary.io.annotation_formats import annotation_formats
from napari_topiary.io.formats import image_formats

_LABELS = (
    "label images",
    "PNG, TIFF ..., palettes by their numbers; `--number-pieces` makes each piece of a "
    "mask an object, `--invert-masks` takes 0 for the objects",
    "classes, objects",
    "always (`STEM_labels`, smallest whole number type)",
)
_TABLE = (
    "`csv`: area, diameter, length, mean intensity, class, score of each thing, in px "
    "and nm"
)


def image_table() -> str:
    """Return the families of images, as Markdown."""
    rows = [("images", "endings of their names")]
    for name in image_formats:
        family = image_formats[name]
        endings = " ".join(f"`{ending}`" for ending in family.suffixes)
        rows.append((family.title, endings))
    return _markdown(rows)


def annotation_table() -> str:
    """Return the formats of annotations, as Markdown."""
    rows = [("annotations", "read", "taken from them", "`predict --export`"), _LABELS]
    for name in annotation_formats:
        one = annotation_formats[name]
        ending = getattr(one, "ending", "")
        written = f"`{name}` (`STEM{ending}`)" if ending else ""
        written = _TABLE if name == "csv" else written
        rows.append((one.title, one.details, one.marks, written))
    return _markdown(rows)


def _markdown(rows: Sequence[tuple[str, ...]]) -> str:
    head, *rest = (f"| {' | '.join(row)} |" for row in rows)
    return "\n".join((head, f"|{' --- |' * len(rows[0])}", *rest))


if __name__ == "__main__":
    import sys

    sys.stdout.write(f"{image_table()}\n\n{annotation_table()}\n")
