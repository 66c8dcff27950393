"""The README's tables of formats are those of the registers."""

from pathlib import Path

import pytest

from napari_topiary.io.annotation_formats import annotation_formats
from napari_topiary.io.formats import image_formats

README = Path(__file__).parents[2] / "README.md"
LABELS = (
    "label images",
    "PNG, TIFF ..., palettes by their numbers; `--number-pieces` makes each piece of a "
    "mask an object, `--invert-masks` takes 0 for the objects",
    "classes, objects",
    "always (`STEM_labels`, smallest whole number type)",
)
TABLE = (
    "`csv`: area, diameter, length, mean intensity, class, score of each thing, in px "
    "and nm"
)


def image_table():
    """Return the families of images, as Markdown."""
    rows = [("images", "endings of their names")]
    for name in image_formats:
        family = image_formats[name]
        endings = " ".join(f"`{ending}`" for ending in family.suffixes)
        rows.append((family.title, endings))
    return _markdown(rows)


def annotation_table():
    """Return the formats of annotations, as Markdown."""
    rows = [("annotations", "read", "taken from them", "`predict --export`"), LABELS]
    for name in annotation_formats:
        one = annotation_formats[name]
        ending = getattr(one, "ending", "")
        written = f"`{name}` (`STEM{ending}`)" if ending else ""
        written = TABLE if name == "csv" else written
        rows.append((one.title, one.details, one.marks, written))
    return _markdown(rows)


def _markdown(rows):
    head, *rest = (f"| {' | '.join(row)} |" for row in rows)
    return "\n".join((head, f"|{' --- |' * len(rows[0])}", *rest))


@pytest.mark.parametrize("table", [annotation_table, image_table])
def test_the_readme_shows_what_is_registered(table):
    """Where it does not, copy it from the message."""
    assert table() in README.read_text(encoding="utf-8"), f"\n{table()}"
    assert len(table().splitlines()) > 6
