"""Which images a folder stands for, and what is said of the rest of it."""

import os
from pathlib import Path

import numpy as np
import pytest

from napari_topiary.errors import TopiaryError
from napari_topiary.io.annotation_formats.base import marks
from napari_topiary.io.image_files import image_files, passed_over, result_stem
from napari_topiary.io.images import read_image, write_image
from napari_topiary.io.importing.pairs import pair_folder
from napari_topiary.io.pairing import image_name

GREY = np.arange(12 * 9, dtype=np.uint8).reshape(12, 9)


def test_what_is_no_image_of_a_folder_is_named(tmp_path):
    write_image(tmp_path / "in" / "a.tif", GREY)
    assert passed_over([tmp_path / "in", tmp_path / "in" / "a.tif"]) == []
    for name in ("n.npy", "notes.txt", "Thumbs.db"):
        (tmp_path / "in" / name).write_bytes(b"x")
    (tmp_path / "in" / "empty").mkdir()
    (sentence,) = passed_over([tmp_path / "in"])
    assert sentence.startswith("in: n.npy and 1 more left out, no image that can be")
    assert "n.npy is a file of arrays of some program" in sentence
    write_image(tmp_path / "in" / "day 2" / "b.tif", GREY)
    first, second = passed_over([tmp_path / "in"])
    assert (second, first[:36]) == (sentence, "in: images in its folder day 2 are l")
    assert [path.name for path in image_files([tmp_path / "in"])] == ["a.tif"]


def test_a_folder_whose_images_lie_deeper_says_where(tmp_path):
    write_image(tmp_path / "in" / "day 2" / "b.tif", GREY)
    with pytest.raises(TopiaryError, match=r"no image .* Its folder day 2 does: give"):
        image_files([tmp_path / "in"])


def test_what_one_has_no_right_to_is_left_out_and_named(tmp_path, monkeypatch):
    write_image(tmp_path / "in" / "a.tif", GREY)
    write_image(tmp_path / "in" / "closed" / "b.tif", GREY)
    write_image(tmp_path / "in" / "c.tif", GREY)
    (tmp_path / "in" / "c.csv").write_text("y,x\n1,2\n")
    closed = ("closed", "c.tif", "c.csv")
    monkeypatch.setattr(os, "access", lambda path, way: Path(path).name not in closed)
    (sentence, _) = passed_over([tmp_path / "in"])
    assert sentence.startswith("in: its folder closed cannot be looked into, for lack")
    with pytest.raises(TopiaryError, match=r"c\.tif cannot be read, for lack"):
        read_image(tmp_path / "in" / "c.tif")
    _, unused = pair_folder(tmp_path / "in")
    assert {one.path.name: one.reason.partition(",")[0] for one in unused} == {
        "closed": "cannot be looked into",
        "c.csv": "cannot be read",
        "a.tif": "no annotation",
        "c.tif": "no annotation",
    }


@pytest.mark.parametrize(
    ("name", "stem"),
    [("x.ome.tif", "x"), ("x.OME.TIFF", "x"), ("x.ome.zarr", "x"), ("x.mrc.gz", "x"),
     ("x.st.bz2", "x"), ("x.1.tif", "x.1"), ("x.y", "x"), (".ome.tif", ".ome")],
)  # fmt: skip
def test_results_are_called_as_the_image_is_in_a_project(name, stem):
    assert result_stem(Path(name)) == image_name(Path(name)) == stem.lstrip(".")


def test_a_table_that_names_an_ome_tiff_means_the_image_of_that_name():
    named = {file: marks(image=file).image_stem for file in ("d/x.ome.tif", "x.mrc")}
    assert set(named.values()) == {"x"}


def test_names_with_stars_are_spelled_out(tmp_path):
    for name in ("a.tif", "b.tif", "[c].tif"):
        write_image(tmp_path / name, GREY)
    found = image_files([tmp_path / "[ab].tif", tmp_path / "[c].tif"])
    assert [path.name for path in found] == ["a.tif", "b.tif", "[c].tif"]
    with pytest.raises(TopiaryError, match="There is no image"):
        image_files([tmp_path / "*.png"])


def test_a_folder_of_another_program_says_what_helps(tmp_path):
    (tmp_path / "a.nd2").write_bytes(b"x")
    with pytest.raises(TopiaryError, match=r"no image .* a\.nd2 is .* as OME-T"):
        image_files([tmp_path])
