"""Import folder…: the table first, then a project of what was taken over."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

pytest.importorskip("qtpy")

from napari_topiary._napari.data.importing import in_the_dialog
from napari_topiary._napari.data.page import DataPage
from napari_topiary.io.importing.meaning import ImportConfig


def test_a_folder_is_reviewed_before_it_becomes_the_project(
    make_napari_viewer_proxy, until, tmp_path, rng
):
    folder = tmp_path / "theirs"
    folder.mkdir()
    for name in ("a", "b"):
        tifffile.imwrite(
            folder / f"{name}.tif", (rng.random((40, 50)) * 200).astype("u1")
        )
    (folder / "a.box").write_text("10\t20\t8\t8\n")
    (folder / "b.box").write_text("4\t6\t8\t8\n")
    (folder / "b.csv").write_text("y,x\n3,4\n")
    viewer = make_napari_viewer_proxy()
    page = DataPage(viewer)
    page.importing.review(folder, ImportConfig())
    until(lambda: page.importing.dialog is not None)
    dialog = page.importing.dialog
    shown = [dialog.table.item(row, 3).text() for row in range(dialog.table.rowCount())]
    assert shown == ["high", "ambiguous", "ambiguous"]
    assert not page.session.images
    dialog.radius.setText("6")
    dialog.radius_unit.setCurrentText("px")
    dialog.only.setText("*.box")
    until(lambda: not page.runner.running)
    dialog.again_button.click()
    until(lambda: page.importing.dialog is not dialog)
    dialog = page.importing.dialog
    assert dialog.table.rowCount() == 2 and dialog.radius.text() == "6"
    until(lambda: not page.runner.running)
    dialog.take_button.click()
    until(lambda: list(page.session.images) == ["a", "b"])
    (points,) = page.session.annotations["a"]
    assert np.array_equal(points.coordinates, [[24, 14]])
    assert page.session.task.radius_px == {"particle": 6.0}
    assert (tmp_path / "theirs-topiary" / "dataset.json").is_file()


@pytest.mark.parametrize(
    ("sentence", "shown"),
    [
        (
            "taken for objects: give --task segment if touching ones are to be one.",
            "taken for objects: choose “classes of pixels” under To find if touching "
            "ones are to be one.",
        ),
        ("One class. Give --number-pieces to", "One class. Tick “Number separate "),
        ("or the radius (--radius", "or the radius (Radius"),
    ],
)
def test_what_is_said_names_the_fields_of_the_dialog(sentence, shown):
    assert in_the_dialog(sentence).startswith(shown)
    assert "--" not in in_the_dialog(sentence)
