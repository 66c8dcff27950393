"""A file is either the old one or the new one."""

import re

import pytest

from napari_topiary.errors import NotWritten
from napari_topiary.io.atomic import writing
from napari_topiary.io.folder_changes import changing


def test_the_new_file_appears_at_the_end(tmp_path):
    path = tmp_path / "deep" / "a.ome.tif"
    with writing(path) as beside:
        assert beside.name.endswith("a.ome.tif")
        beside.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert [p.name for p in path.parent.iterdir()] == ["a.ome.tif"]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    (tmp_path / "a.txt").write_text("old")

    def write():
        with writing(tmp_path / "a.txt") as beside:
            beside.write_text("half of the n")
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        write()
    assert (tmp_path / "a.txt").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_folders_are_replaced_whole(tmp_path):
    for content in ("first", "second"):
        with writing(tmp_path / "a.zarr") as beside:
            beside.mkdir()
            (beside / content).write_text(content)
    assert [p.name for p in (tmp_path / "a.zarr").iterdir()] == ["second"]
    assert len(list(tmp_path.iterdir())) == 1

    def write():
        with writing(tmp_path / "a.zarr") as beside:
            beside.mkdir()
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        write()
    assert [p.name for p in (tmp_path / "a.zarr").iterdir()] == ["second"]
    assert len(list(tmp_path.iterdir())) == 1


def test_a_full_disk_is_said_of_the_file_that_was_to_be(tmp_path):
    """In a folder that changes as a whole, the file is in a hidden one until then."""
    said = f"^{re.escape(str(tmp_path / 'images' / 'a.tif'))} could not be written"
    with (
        pytest.raises(NotWritten, match=rf"{said} \(the disk took only a part of it\)"),
        changing(tmp_path) as change,
        writing(change.new("images/a.tif")),
    ):
        raise OSError("372000 requested and 306864 written")
    assert not list(tmp_path.iterdir())
