"""The README's tables of formats are those of the registers."""

from pathlib import Path

import pytest

from napari_topiary.io.format_tables import annotation_table, image_table

README = Path(__file__).parents[2] / "README.md"


@pytest.mark.parametrize("table", [annotation_table, image_table])
def test_the_readme_shows_what_is_registered(table):
    """Print them anew with `python -m napari_topiary.io.format_tables`."""
    assert table() in README.read_text(encoding="utf-8")
    assert len(table().splitlines()) > 6
