"""How results came about, beside them."""

import hashlib
import json
import os
import time

import pytest

from napari_topiary.io import run_crate
from napari_topiary.io.own_files import written_by_topiary
from napari_topiary.io.run_crate import CRATE, Run, write_crate, written_since


def a_run(inputs, outputs, **changes):
    now = time.time()
    words = "napari-topiary predict net 'an image.tif'"
    return Run(
        command=words,
        version="1.2",
        inputs=inputs,
        outputs=outputs,
        begun=now - 5,
        ended=now,
        **changes,
    )


@pytest.fixture
def home(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "an image.tif").write_bytes(b"pixels")
    (tmp_path / "out" / "labels é.tif").write_bytes(b"numbers")
    (tmp_path / "out" / "maps.zarr").mkdir()
    return tmp_path


def entities(folder):
    crate = json.loads((folder / CRATE).read_text(encoding="utf-8"))
    return {one["@id"]: one for one in crate["@graph"]}


def test_a_run_says_what_was_read_and_written(home):
    out = home / "out"
    outputs = written_since([out], time.time() - 60)
    assert {path.name for path in outputs} == {"labels é.tif", "maps.zarr"}
    write_crate(out, a_run([home / "an image.tif"], outputs))
    found = entities(out)
    action = found["#run-1"]
    (image,) = [found[one["@id"]] for one in action["object"]]
    assert image["@id"].startswith("file://")
    assert image["sha256"] == hashlib.sha256(b"pixels").hexdigest()
    assert {one["@id"] for one in action["result"]} == {
        "labels%20%C3%A9.tif",
        "maps.zarr/",
    }
    assert found[action["instrument"]["@id"]]["softwareVersion"] == "1.2"
    assert action["description"].endswith("'an image.tif'")
    assert found[CRATE]["about"] == {"@id": "./"}
    assert found["./"]["mentions"] == [{"@id": "#run-1"}]
    # Everything that is named is described.
    for one in (*action["object"], *action["result"], *found["./"]["hasPart"]):
        assert one["@id"] in found


def test_runs_into_one_folder_are_all_kept(home):
    out = home / "out"
    for complete in (True, False):
        write_crate(out, a_run([], [out / "labels é.tif"], complete=complete))
    found = entities(out)
    assert "Completed" in found["#run-1"]["actionStatus"]["@id"]
    assert "Failed" in found["#run-2"]["actionStatus"]["@id"]
    assert len(found["./"]["mentions"]) == 2
    assert written_by_topiary(out / CRATE)


def test_a_crate_of_another_program_stays(home):
    crate = home / "out" / CRATE
    crate.write_text('{"@graph": []}')
    assert write_crate(home / "out", a_run([], [])) is None
    assert crate.read_text() == '{"@graph": []}'


def test_large_files_are_not_hashed(home, monkeypatch):
    monkeypatch.setattr(run_crate, "LARGEST_HASHED", 8)
    out = home / "out"
    write_crate(out, a_run([home / "an image.tif"], [out / "labels é.tif"]))
    labels = entities(out)["labels%20%C3%A9.tif"]
    assert "sha256" not in labels
    assert "not hashed" in labels["description"]


def test_every_file_of_a_folder_that_was_read_is_hashed(home):
    """A data set: an image and its labels have one name."""
    data, out = home / "data", home / "out"
    for kind in ("images", "labels"):
        (data / kind).mkdir(parents=True)
        (data / kind / "a.tif").write_bytes(kind.encode())
    write_crate(out, a_run([data], [out / "labels é.tif"]))
    found = entities(out)
    (folder,) = [found[one["@id"]] for one in found["#run-1"]["object"]]
    parts = [found[one["@id"]] for one in folder["hasPart"]]
    assert [one["sha256"] for one in parts] == [
        hashlib.sha256(kind).hexdigest() for kind in (b"images", b"labels")
    ]
    assert len(folder["sha256"]) == 64
    assert [one["@id"] for one in found["./"]["hasPart"]] == ["labels%20%C3%A9.tif"]
    # What lies beside the crate keeps the hash of the run that made it.
    (out / "table.csv").write_text("by hand")
    write_crate(out, a_run([out], [out / "labels é.tif"]))
    assert "table.csv" not in entities(out)


def test_what_cannot_be_read_to_its_end_is_not_waited_for(home, monkeypatch):
    folder = home / "images"
    folder.mkdir()
    os.mkfifo(folder / "pipe.tif")
    (folder / "a.tif").write_bytes(b"pixels")

    def refused(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(run_crate, "_hash", refused)
    write_crate(home / "out", a_run([folder, folder / "pipe.tif"], []))
    files = [one for one in entities(home / "out").values() if one["@type"] == "File"]
    assert [one["name"] for one in files] == ["a.tif"]
    assert files[0]["description"] == "not hashed: Permission denied"


def test_names_of_bytes_that_are_no_letters(home):
    name = os.fsdecode(b"Gr\xf6sse.tif")
    (home / name).write_bytes(b"x")
    (home / "out" / name).write_bytes(b"y")
    write_crate(home / "out", a_run([home / name], [home / "out" / name]))
    found = entities(home / "out")
    assert {found["Gr%F6sse.tif"]["name"]} == {name}
