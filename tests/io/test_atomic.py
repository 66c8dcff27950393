"""A file is either the old one or the new one."""

import pytest

from napari_topiary.io.atomic import writing


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
