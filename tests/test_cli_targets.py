"""Every verb refuses, before any work, to write where something would be lost."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_topiary.cli import main
from napari_topiary.cli.dispatch import VERBS
from napari_topiary.inference import result_exports
from napari_topiary.io.own_files import written_by_topiary
from napari_topiary.io.run_crate import RUNNING, is_edited

WORDS = "{}\n"
CALLS = {
    "train": "train DATA --out OUT.safetensors",
    "prune": "prune CKPT --remove 0.5 --data DATA --out OUT.safetensors",
    "predict": "predict CKPT IMAGE --out OUT",
    "evaluate": "evaluate CKPT DATA",
    "compare": "compare CKPT CKPT2 --data DATA --out OUT",
    "export": "export CKPT --format onnx --out OUT.onnx",
    "info": "info CKPT",
    "study": "study learning_curve --data DATA --out OUT",
    "demo": "demo --headless --out OUT",
    "import": "import DATA --yes --out OUT",
}
WRITTEN = {
    "train": "OUT.safetensors",
    "prune": "OUT.safetensors",
    "predict": "OUT/a_labels.tif",
    "compare": "OUT/comparison.csv",
    "export": "OUT.onnx",
    "study": "OUT/table.md",
    "demo": "OUT/README.md",
    "import": "OUT/dataset.json",
}
VERB_NAMES = list(VERBS)


@pytest.fixture
def home(tmp_path):
    """Inputs by the names that the calls use; none is read before the check."""
    (tmp_path / "DATA" / "images").mkdir(parents=True)
    for name in ("CKPT", "CKPT2", "DATA/dataset.json", "DATA/images/a.json"):
        (tmp_path / name).write_text(WORDS, encoding="utf-8")
    tifffile.imwrite(tmp_path / "a.tif", np.eye(40, dtype=np.uint8))
    return tmp_path


def call(home, words, *more):
    places = {"IMAGE": home / "a.tif"}
    upper = [w for w in words.split() if w.isupper() or w.startswith("OUT")]
    given = [places.get(w, home / w) if w in upper else w for w in words.split()]
    return main([str(a) for a in (*given, *more)])


def snapshot(home):
    return {
        path: path.read_bytes() for path in sorted(home.rglob("*")) if path.is_file()
    }


@pytest.mark.parametrize("verb", VERB_NAMES)
def test_an_input_is_never_replaced_by_the_report(verb, home, capsys):
    inputs = {"CKPT": "CKPT", "DATA": "DATA/images/a.json", "IMAGE": "a.tif"}
    for word, name in inputs.items():
        if word not in CALLS[verb].split():
            continue
        before = snapshot(home)
        for more in ((), ("--overwrite",)):
            assert call(home, CALLS[verb], "--json", home / name, *more) == 2
            assert "never written over" in capsys.readouterr().err
        assert snapshot(home) == before


@pytest.mark.parametrize("verb", VERB_NAMES)
def test_a_persons_file_is_not_replaced(verb, home, capsys):
    mine = home / "mine.json"
    mine.write_text(WORDS, encoding="utf-8")
    before = snapshot(home)
    assert call(home, CALLS[verb], "--json", mine) == 2
    assert "--json another name, or --overwrite" in capsys.readouterr().err
    assert snapshot(home) == before
    if verb in WRITTEN:
        mine = home / WRITTEN[verb]
        mine.parent.mkdir(exist_ok=True)
        mine.write_text(WORDS, encoding="utf-8")
        before = snapshot(home)
        assert call(home, CALLS[verb]) == 2
        said = capsys.readouterr().err
        assert f"{mine} is there already" in said
        assert snapshot(home) == before


def _folder(path, home):
    path.mkdir()


def _protected(path, home):
    path.write_text(WORDS, encoding="utf-8")
    path.chmod(0o444)


def _dangling(path, home):
    path.symlink_to(home / "nowhere")


def _link_to_an_input(path, home):
    path.symlink_to(home / "DATA" / "dataset.json")


def _below_a_file(path, home):
    path.parent.rmdir()
    path.parent.write_text(WORDS, encoding="utf-8")


IN_THE_WAY = {
    "is a folder": _folder,
    "is write-protected": _protected,
    "is a pipe or a device": lambda path, home: os.mkfifo(path),
    "is a link to": _dangling,
    "": _link_to_an_input,  # for some it is an input, for others a person's file
    "is a file, so nothing": _below_a_file,
}


@pytest.mark.skipif(sys.platform == "win32", reason="pipes and links are of Unix")
@pytest.mark.parametrize("verb", VERB_NAMES)
def test_whatever_lies_where_results_go_stays(verb, home, capsys):
    for number, (said, put) in enumerate(IN_THE_WAY.items()):
        places = [(home / f"there{number}" / "mine.json", ("--json",))]
        if verb in WRITTEN:
            folder = home / f"own{number}"
            places.append((folder / Path(WRITTEN[verb]).name, ()))
        for path, option in places:
            path.parent.mkdir()
            put(path, home)
            words = CALLS[verb]
            if not option:
                out = next(w for w in words.split() if w.startswith("OUT"))
                as_folder = "/" in WRITTEN[verb]
                words = words.replace(f"--out {out}", "")
                option = ("--out", path.parent if as_folder else path)
            else:
                option = ("--json", path)
            before, link = snapshot(home), path.is_symlink()
            status = call(home, words, *option)
            told = capsys.readouterr().err
            lost = "never written over" in told or "was not written by" in told
            assert status == 2
            assert said in told if said else lost, (verb, told)
            assert len(told.splitlines()) == 1
            assert snapshot(home) == before
            assert path.is_symlink() == link


@pytest.mark.parametrize("verb", VERB_NAMES)
def test_nothing_is_put_among_the_images_of_a_data_set(verb, home, capsys):
    before = snapshot(home)
    places = [("--json", home / "DATA" / "images" / "new.json")]
    if verb in WRITTEN:
        name = Path(WRITTEN[verb]).name
        out = home / "DATA" / "images"
        places.append(("--out", out if "/" in WRITTEN[verb] else out / name))
    for option in places[: None if verb in ("train", "predict", "prune") else 1]:
        assert call(home, CALLS[verb], *option, "--overwrite") == 2
        assert "choose another folder" in capsys.readouterr().err
        assert snapshot(home) == before


def test_names_that_are_one_on_some_systems_are_refused(home, capsys):
    (home / "more").mkdir()
    other = home / "more" / "A.tif"
    other.write_bytes((home / "a.tif").read_bytes())
    assert call(home, "predict CKPT IMAGE", other, "--out", home / "o") == 2
    said = capsys.readouterr().err
    assert "2 images are called 'a' (a.tif and A.tif)" in said
    out = ("--out", home / "Net.safetensors", "--json", home / "net.safetensors")
    assert call(home, "train DATA", *out) == 2
    assert "--out and --json" in capsys.readouterr().err


def test_no_file_is_called_minus(home, capsys):
    for option in ("--out", "--json"):
        assert call(home, "predict CKPT IMAGE --out o", option, "-") == 2
        assert "instead of -" in capsys.readouterr().err


def test_the_network_and_its_report_are_two_files(home, capsys):
    out = home / "net.safetensors"
    assert call(home, "train DATA", "--out", out, "--json", out) == 2
    assert "--out and --json" in capsys.readouterr().err


REPORTS = {
    "predict": ("a_objects.csv", "a.geojson"),
    "compare": ("m_CKPT2.png", "report"),
    "study": ("table.md", "results.jsonl", "study.json", "accuracy.png"),
    "demo": ("trained.safetensors", "story.json", "README.md"),
    "import": ("dataset.json", "images/a.json", "labels/a.json", "labels/a.tif"),
    "train": ("ro-crate-metadata.json",),
    "prune": ("ro-crate-metadata.json",),
    "export": ("ro-crate-metadata.json",),
}


@pytest.mark.parametrize("verb", WRITTEN)
def test_a_report_has_not_the_name_of_a_result(verb, home, capsys):
    before = snapshot(home)
    for name in REPORTS[verb]:
        folder = home / "OUT" if "/" in WRITTEN[verb] else home
        status = call(home, CALLS[verb], "--json", folder / name, "--overwrite")
        said = capsys.readouterr().err
        assert status == 2, (name, said)
        assert "another name" in said or "different" in said or "another folder" in said
        assert snapshot(home) == before


def test_a_report_takes_the_place_of_no_other_kind_of_result(trained, home, capsys):
    net = home / "best.safetensors"
    net.write_bytes((trained / "net.safetensors").read_bytes())
    before = snapshot(home)
    assert call(home, CALLS["info"], "--json", net) == 2
    assert "another kind of file: give --json another name" in capsys.readouterr().err
    report = home / "report"
    report.write_text('{"software": "napari-topiary"}', encoding="utf-8")
    assert call(home, "train DATA", "--out", report) == 2
    assert "another kind of file: give --out another name" in capsys.readouterr().err
    report.unlink()
    assert snapshot(home) == before


def test_what_a_person_has_changed_in_results_stays(trained, tmp_path, capsys):
    words = ["predict", trained / "net.safetensors", trained / "data/images/m0.tif"]
    words = [*map(str, words), "--out", str(tmp_path)]
    assert main(words) == main(words) == 0
    table = tmp_path / "m0_detections.csv"
    with table.open("a", encoding="utf-8") as file:
        file.write("9,9,virion,1\n")
    before = snapshot(tmp_path)
    assert main(words) == 2
    assert "m0_detections.csv is there already and was chang" in capsys.readouterr().err
    assert snapshot(tmp_path) == before
    assert main([*words, "--overwrite"]) == main(words) == 0


def test_an_overlay_of_an_earlier_run_does_not_lie_beside_new_maps(
    trained, tmp_path, capsys
):
    image = next((trained / "data" / "images").iterdir())
    words = ("predict", trained / "net.safetensors", image, "--out", tmp_path)
    words = [*map(str, words)]
    assert main([*words, "--export", "png,box,geojson"]) == 0
    (box,) = tmp_path.glob("*.box")
    (drawn,) = tmp_path.glob("*.geojson")
    drawn.write_text(drawn.read_text(encoding="utf-8") + " ", encoding="utf-8")
    capsys.readouterr()
    assert main([*words, "--format", "zarr"]) == 0
    assert f"{drawn.name} in {tmp_path} is not of this run" in capsys.readouterr().err
    left = {path.suffix for path in tmp_path.iterdir()}
    assert left == {".zarr", ".csv", ".json", ".geojson"} and not box.exists()


def test_killed_over_older_results_the_same_command_goes_on(
    trained, tmp_path, monkeypatch
):
    """But what a person has corrected since is kept, whichever run it is from."""

    class Killed(BaseException):
        pass

    data, table = trained / "data/images", tmp_path / "m0_detections.csv"
    images = [str(data / f"{name}.tif") for name in ("m0", "m1")]
    words = ["predict", str(trained / "net.safetensors"), *images]
    words += ["--out", str(tmp_path), "--threshold"]
    assert main([*words, "0.9"]) == 0
    older = table.read_bytes()
    write = result_exports.write_summary

    def killed(*_):
        raise Killed

    monkeypatch.setattr(result_exports, "write_summary", killed)
    with pytest.raises(Killed):
        main([*words, "0.1"])
    newer = table.read_bytes()
    assert newer != older
    table.write_bytes(newer + b"9,9,virion,1\n")
    assert main([*words, "0.1"]) == 2
    monkeypatch.setattr(result_exports, "write_summary", write)
    # Killed before it took its place, or after: it is a result.
    for content in (older, newer):
        table.write_bytes(content)
        assert not is_edited(table)
    assert main([*words, "0.1"]) == 0
    assert not (tmp_path / RUNNING).exists()
    table.write_bytes(older)
    assert is_edited(table)


def test_notes_on_results_stay_where_they_may_not_be_changed(trained, tmp_path):
    words = ["predict", trained / "net.safetensors", trained / "data/images/m0.tif"]
    words = [*map(str, words), "--out", str(tmp_path)]
    assert main(words) == 0
    crate = tmp_path / "ro-crate-metadata.json"
    noted = crate.read_bytes()
    crate.chmod(0o444)
    assert main(words) == 0
    assert crate.read_bytes() == noted


def test_what_a_data_set_is_made_of_lies_where_it_will(trained, tmp_path, capsys):
    home, raw = tmp_path / "data", tmp_path / "raw"
    (home / "images").mkdir(parents=True)
    raw.mkdir()
    for name in ("m0", "m1"):
        (raw / f"{name}.tif").write_bytes(
            (trained / "data" / "images" / f"{name}.tif").read_bytes()
        )
    (home / "images" / "m0.tif").symlink_to(raw / "m0.tif")
    about = {"images_elsewhere": {"m1": "../raw/m1.tif"}}
    (home / "dataset.json").write_text(json.dumps(about), encoding="utf-8")
    before = snapshot(tmp_path)
    for name in ("m0", "m1"):
        net, report = trained / "net.safetensors", raw / f"{name}.tif"
        words = ("evaluate", net, home, "--json", report, "--overwrite")
        assert main([*map(str, words)]) == 2
        assert "never written over" in capsys.readouterr().err
    assert snapshot(tmp_path) == before


def test_the_parent_is_replaced_only_if_said_so(home, capsys):
    start = ("--start", home / "CKPT", "--out", home / "CKPT")
    assert call(home, "train DATA", *start) == 2
    assert "starts from" in capsys.readouterr().err
    assert call(home, "train DATA", *start, "--overwrite") == 2
    assert "CKPT cannot be used" in capsys.readouterr().err  # as far as reading it


def test_own_results_are_known_by_what_is_in_them(tmp_path, virions):
    from napari_topiary.inference.results import write_prediction
    from napari_topiary.types import Detections, Prediction, Task

    task = Task("detect", ("background", "virion"))
    maps = np.full((2, 8, 8), 0.5, np.float32)
    labels = np.zeros((8, 8), np.uint8)
    found = Prediction(
        probability=maps,
        shape=(8, 8),
        task=task,
        scale=2.0,
        labels=labels,
        detections=Detections.empty(),
    )
    for form in ("tif", "zarr"):
        home = tmp_path / form
        files = write_prediction(
            home, "a", prediction=found, format=form, filaments=True
        )
        assert len(files) == 4
        assert all(written_by_topiary(file) for file in files.values())
    edited = tifffile.imread(tmp_path / "tif" / "a_labels.tif")
    tifffile.imwrite(tmp_path / "tif" / "a_labels.tif", edited)  # another program
    assert not written_by_topiary(tmp_path / "tif" / "a_labels.tif")
