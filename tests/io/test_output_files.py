"""What may be written where: nobody's file is replaced."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_topiary.errors import NotWritten, TopiaryError
from napari_topiary.io.atomic import writing
from napari_topiary.io.large_images import is_large
from napari_topiary.io.output_files import (
    Files,
    OutputFile,
    check_targets,
    free_name,
    study_targets,
    targets_in,
)
from napari_topiary.io.own_files import write_page, written_by_topiary


def refused(path: Path, match: str, **files: object) -> None:
    with pytest.raises(TopiaryError, match=match):
        check_targets(Files((OutputFile(path),), **files))


def test_a_new_file_is_welcome(tmp_path):
    check_targets(Files((OutputFile(tmp_path / "new" / "a.tif"),)))


@pytest.mark.parametrize("suffix", [".tif", ".json", ".csv", ".png", ".safetensors"])
def test_a_persons_file_needs_overwrite(tmp_path, suffix):
    path = tmp_path / f"mine{suffix}"
    if suffix == ".tif":
        tifffile.imwrite(path, np.eye(9, dtype=np.uint8))
    elif suffix == ".png":
        Image.new("L", (9, 9)).save(path)
    else:
        path.write_text("index,axis-0,axis-1\n0,1,2\n", encoding="utf-8")
    assert not written_by_topiary(path)
    refused(path, "not written by Topiary")
    check_targets(Files((OutputFile(path),)), overwrite=True)


def test_what_is_read_is_never_replaced(tmp_path):
    path, home = tmp_path / "a.json", tmp_path / "data"
    home.mkdir()
    path.write_text('{"software": "napari-topiary"}', encoding="utf-8")
    refused(path, "never written over", reads=(path,))
    with pytest.raises(TopiaryError, match="never written over"):
        check_targets(Files((OutputFile(path),), reads=(path,)), overwrite=True)
    (home / "dataset.json").write_text("{}", encoding="utf-8")
    refused(home / "dataset.json", "never written over", reads=(home,))


def test_a_parent_is_replaced_only_if_said_so(tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"")
    refused(path, "starts from", parents=(path,))
    files = Files((OutputFile(path),), parents=(path,))
    check_targets(files, overwrite=True)


def test_two_targets_are_two_files(tmp_path):
    path = tmp_path / "a.safetensors"
    twice = Files((OutputFile(path), OutputFile(tmp_path / "." / path.name, "--json")))
    with pytest.raises(TopiaryError, match="--out and --json"):
        check_targets(twice)


def test_what_is_no_file_is_refused(tmp_path):
    pipe, folder = tmp_path / "pipe", tmp_path / "net.safetensors"
    os.mkfifo(pipe)
    folder.mkdir()
    refused(pipe, "pipe or a device")
    refused(folder, "is a folder")
    dangling = tmp_path / "dangling"
    dangling.symlink_to(tmp_path / "nowhere")
    refused(dangling, "link to")


def test_a_protected_file_is_refused(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"software": "napari-topiary"}', encoding="utf-8")
    path.chmod(0o444)
    refused(path, "write-protected")


def test_a_link_is_followed_and_stays(tmp_path):
    path, link = tmp_path / "real.txt", tmp_path / "link.txt"
    path.write_text("old", encoding="utf-8")
    path.chmod(0o640)
    link.symlink_to(path)
    with writing(link) as beside:
        beside.write_text("new", encoding="utf-8")
    assert link.is_symlink()
    assert path.read_text(encoding="utf-8") == "new"
    assert path.stat().st_mode & 0o777 == 0o640
    assert len(list(tmp_path.iterdir())) == 2


def test_what_the_system_refuses_is_a_sentence(tmp_path):
    def write():
        with writing(tmp_path / "a.txt"):
            raise OSError(28, "No space left on device")

    with pytest.raises(NotWritten, match=r"a\.txt could not be written \(No space"):
        write()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_its_mark_is_ours(tmp_path):
    (tmp_path / "table.md").write_text("mine", encoding="utf-8")
    patterns = ("*.md", "*.json")
    assert [t.path.name for t in targets_in(tmp_path, patterns)] == ["table.md"]
    mark = tmp_path / "study.json"
    mark.write_text(json.dumps({"software": "napari-topiary"}), encoding="utf-8")
    found = targets_in(tmp_path, patterns, marks=("study.json",))
    assert [t.path for t in found] == [mark]
    check_targets(Files(found))


def test_a_free_name_is_nobodys(tmp_path):
    path = tmp_path / "a.txt"
    assert free_name(path) == path
    path.touch()
    (tmp_path / "a-2.txt").touch()
    assert free_name(path) == tmp_path / "a-3.txt"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
@pytest.mark.parametrize("name", ["a.tif", "a.mrc", "a.json", "a.safetensors", "a.png"])
def test_nobody_waits_for_a_pipe(tmp_path, name):
    os.mkfifo(tmp_path / name)
    assert not written_by_topiary(tmp_path / name)
    assert not is_large(tmp_path / name)


def test_a_page_is_ours_until_somebody_edits_it(tmp_path):
    page = tmp_path / "table.md"
    write_page(page, ["# é\n", "<!-- a -->", "text\n"])
    assert page.read_text(encoding="utf-8").startswith("# é\n<!-- a -->text\n<!-- ")
    assert written_by_topiary(page)
    page.write_text(page.read_text(encoding="utf-8") + "mine\n", encoding="utf-8")
    assert not written_by_topiary(page)
    mark = tmp_path / "study.json"
    mark.write_text(json.dumps({"software": "napari-topiary"}), encoding="utf-8")
    found = study_targets(tmp_path)
    assert page in [target.path for target in found]
    with pytest.raises(TopiaryError, match=r"table\.md is there already"):
        check_targets(Files(found))
