"""The command line, from a dataset folder to a comparison, and everything refused."""

from __future__ import annotations

import atexit
import csv
import errno
import io
import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr

from napari_topiary.annotations import Points
from napari_topiary.checkpoint import load_checkpoint
from napari_topiary.cli import demo, main, window
from napari_topiary.cli.dispatch import build_parser
from napari_topiary.cli.driving import ProgressBar, Runner
from napari_topiary.cli.ending import ENDING
from napari_topiary.cli.parsing import predict_config
from napari_topiary.config import DetectConfig, PredictConfig, PruneConfig, TrainConfig
from napari_topiary.io.dataset import Dataset, Sample, sample_folder
from napari_topiary.io.dataset_writing import write_dataset
from napari_topiary.io.images import write_image
from napari_topiary.types import Progress, Stop, Task

TASK = Task("detect", ("background", "virion"), {"virion": 12.0})
OTHER_TASK = Task("detect", ("background", "rota", "virion"), {"virion": 12.0})
SMALL = "--base 4 --levels 1 --patch 48 --batch 4 --working-factor 1".split()
INFO_KEYS = {
    "network", "parameters", "parameters_nonzero", "sparsity", "macs_per_pixel",
    "file_bytes", "classes", "pixel_size_nm", "layers",
}  # fmt: skip
PIXEL_KEYS = {
    "dice", "iou", "accuracy", "sensitivity", "specificity", "precision",
    "cross_entropy",
}  # fmt: skip
ALWAYS = {"n_images", "seconds", "device"}


def make_dataset(folder, virions, n=3, task=TASK, split=None):
    samples = {}
    for seed in range(n):
        drawn = virions(seed, size=72, count=5)
        points = Points(drawn.centres, ("virion",) * len(drawn.centres))
        samples[f"m{seed}"] = Sample(drawn.image, (points,), 2.0, f"m{seed}")
    if split is None:
        split = {"train": ("m0", "m1"), "val": ("m2",)}
    write_dataset(folder, Dataset("made up", task, samples, split))
    return folder


def call(*arguments):
    return main([str(a) for a in arguments])


def result_of(tmp_path, *arguments):
    """Run a verb and return what it wrote for programs."""
    file = tmp_path / "result.json"
    status = call(*arguments, "--json", file)
    result = json.loads(file.read_text(encoding="utf-8"))
    # Networks that have learned for a second may not survive what is done to them.
    assert status == (1 if result["problems"] else 0)
    return result


@pytest.fixture(scope="module")
def made(tmp_path_factory, virions):
    """A dataset, a checkpoint trained on it, and one pruned from that."""
    home = tmp_path_factory.mktemp("made")
    data = make_dataset(home / "data", virions)
    make_dataset(home / "others", virions, n=2, task=OTHER_TASK, split={})
    trained, pruned = home / "trained.safetensors", home / "pruned.safetensors"
    status = call("train", data, "--epochs", 30, *SMALL, "--out", trained)
    assert status == 0
    assert call("prune", trained, "--remove", 0.5, "--out", pruned) == 0
    return home


def test_train_reports_what_it_made(tmp_path, made):
    out = tmp_path / "new" / "folder" / "net.safetensors"
    arguments = ("train", made / "data", "--network", "unet", "--preset", "tiny")
    result = result_of(tmp_path, *arguments, "--epochs", 2, *SMALL, "--out", out)
    checkpoint = load_checkpoint(out)
    assert result["checkpoint"] == str(out)
    assert result["parameters"] == checkpoint.parameters
    assert result["file_bytes"] == out.stat().st_size
    assert result["sizes"]["base"] == 4
    assert result["working_pixel_size_nm"] == 2.0
    assert (result["n_images"], result["n_validation"]) == (2, 1)
    assert checkpoint.name == "net"
    assert checkpoint.provenance["seed"] == 0


def test_an_image_kept_aside_that_judges_nothing_is_not_counted(tmp_path, virions):
    data = make_dataset(tmp_path / "data", virions)
    about = json.loads((data / "dataset.json").read_text())
    (aside,) = about["split"]["val"]
    table = data / "points" / f"{aside}.csv"
    table.write_text(table.read_text().splitlines()[0] + "\n")
    out = tmp_path / "net.safetensors"
    result = result_of(tmp_path, "train", data, "--epochs", 1, *SMALL, "--out", out)
    assert (result["n_images"], result["n_validation"]) == (2, 0)
    assert f"{aside}: kept aside to judge on" in str(result["notes"])


def test_marks_in_a_corner_are_noticed(tmp_path, virions):
    drawn = virions(0, size=96, count=8)
    points = Points(drawn.centres / 4, ("virion",) * 8)
    one = Sample(drawn.image, (points,), 2.0, "m0")
    folder = tmp_path / "data"
    write_dataset(folder, Dataset("corner", TASK, {"m0": one}, {"train": ("m0",)}))
    train = ("train", folder, "--epochs", 1, *SMALL, "--out", tmp_path / "net")
    note, few = result_of(tmp_path, *train)["notes"]
    assert note.startswith("m0: All marks lie in one part") and "--around-marks" in note
    assert few.startswith("Only 8 things are marked")
    found = result_of(tmp_path, *train, "--around-marks", "--overwrite")
    assert any("only what is around them is known" in note for note in found["notes"])


def test_the_same_seed_trains_the_same_network(tmp_path, made):
    files = [tmp_path / f"{name}.safetensors" for name in ("a", "b", "c")]
    for file, seed in zip(files, (5, 5, 6), strict=True):
        arguments = ("train", made / "data", "--epochs", 2, *SMALL, "--seed", seed)
        assert call(*arguments, "--device", "cpu", "--out", file) == 0
    a, b, c = (load_checkpoint(f).state["output.weight"].numpy() for f in files)
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)


def test_training_goes_on_from_a_checkpoint(tmp_path, made):
    out, start = tmp_path / "more.safetensors", made / "pruned.safetensors"
    arguments = ("train", made / "data", "--start", start, "--epochs", 1)
    assert call(*arguments, "--out", out) == 0
    before, after = load_checkpoint(start), load_checkpoint(out)
    assert after.parameters == before.parameters
    assert after.widths == before.widths
    assert after.provenance["parent"] == before.hash


def test_info_has_the_promised_keys(tmp_path, made, capsys):
    path = made / "pruned.safetensors"
    result = result_of(tmp_path, "info", path)
    assert result.keys() >= INFO_KEYS
    assert result["file_bytes"] == path.stat().st_size
    assert result["classes"] == ["background", "virion"]
    assert result["pixel_size_nm"] == 2.0
    assert 0.5 <= result["sparsity"] < 0.7
    assert result["parameters"] == sum(x["parameters"] for x in result["layers"])
    whole = sum(layer["unpruned_parameters"] for layer in result["layers"])
    assert result["unpruned_parameters"] == whole
    assert result["sparsity"] == 1 - result["parameters_nonzero"] / whole
    assert result["pruning"][0]["kind"] == "filters"
    text = capsys.readouterr().out
    assert "virion" in text
    assert "output" in text


@pytest.mark.parametrize("kind", ["weights", "filters"])
@pytest.mark.parametrize("scope", ["layer", "global"])
def test_prune_removes_the_share_that_was_asked_for(tmp_path, made, kind, scope):
    out, trained = tmp_path / "p.safetensors", made / "trained.safetensors"
    before = trained.read_bytes()
    criterion = {"weights": "magnitude", "filters": "l1"}[kind]
    arguments = ("prune", trained, "--kind", kind, "--scope", scope, "--remove", 0.6)
    result = result_of(tmp_path, *arguments, "--criterion", criterion, "--out", out)
    assert trained.read_bytes() == before
    assert 0.6 <= result["sparsity"] < 0.75
    assert result["gradual"] is False
    fewer = result["parameters"] < result["unpruned_parameters"]
    assert fewer == (kind == "filters")
    assert out.stat().st_size < trained.stat().st_size


def test_prune_with_images_chooses_thresholds_anew(tmp_path, made):
    out, trained = tmp_path / "p.safetensors", made / "trained.safetensors"
    arguments = ("prune", trained, "--remove", 0.3, "--data", made / "data")
    result = result_of(tmp_path, *arguments, "--out", out)
    assert result["metrics"]["quality_name"] == "F1"
    assert 0 < result["thresholds"]["virion"] < 1
    assert result["finetune_minutes"] == 0


def test_prune_by_loss_tries_filters_on_the_images(tmp_path, made):
    out, trained = tmp_path / "p.safetensors", made / "trained.safetensors"
    arguments = ("prune", trained, "--criterion", "loss", "--scope", "layer")
    search = ("--data", made / "data", "--batches", 1, "--at-once", 0.5)
    result = result_of(
        tmp_path, *arguments, *search, "--remove", 0.5, "--seed", 3, "--out", out
    )
    assert result["criterion"] == "loss"
    checkpoint = load_checkpoint(out)
    assert checkpoint.sparsity >= 0.5
    assert checkpoint.pruning[-1]["criterion"] == "loss"
    assert result["metrics"]["quality_name"] == "F1"


@pytest.mark.parametrize(
    ("remove", "how", "gradual"),
    [
        (0.5, (), False),
        (0.8, (), True),
        (0.8, ("--one-shot",), False),
        (0.8, ("--halving",), True),
    ],
)
def test_prune_fine_tunes_gradually_above_cr_4(tmp_path, made, remove, how, gradual):
    out, trained = tmp_path / "p.safetensors", made / "trained.safetensors"
    arguments = ("prune", trained, "--kind", "weights", "--remove", remove, *how)
    tuning = ("--data", made / "data", "--finetune-minutes", 0.02)
    result = result_of(tmp_path, *arguments, *tuning, "--out", out)
    assert result["gradual"] is gradual
    checkpoint = load_checkpoint(out)
    assert checkpoint.sparsity == pytest.approx(remove, abs=0.01)
    zeros = sum(int((t == 0).sum()) for t in checkpoint.state.values())
    masked = checkpoint.parameters - checkpoint.parameters_nonzero
    assert zeros >= masked > 0
    assert checkpoint.provenance["parent"] == load_checkpoint(trained).hash


@pytest.mark.parametrize("form", ["tif", "zarr"])
def test_predict_writes_maps_and_tables(tmp_path, made, virions, form):
    image = made / "data" / "images" / "m2.tif"
    arguments = ("predict", made / "trained.safetensors", image, "--out", tmp_path)
    result = result_of(tmp_path, *arguments, "--format", form, "--tile", 32)
    files = [tmp_path / f"m2_{what}.{form}" for what in ("probability", "labels")]
    if form == "tif":
        probability, labels = (tifffile.imread(file) for file in files)
        with tifffile.TiffFile(files[0]) as tif:
            (across, per), unit = (tif.pages[0].tags[t].value for t in (282, 296))
        assert 1e7 * per / across == pytest.approx(2.0)
        assert unit == 3  # centimetres
    else:
        stored = zarr.open_array(files[0], mode="r")
        assert stored.attrs["classes"] == ["background", "virion"]
        assert stored.attrs["pixel_size_nm"] == 2.0
        probability, labels = stored[:], zarr.open_array(files[1], mode="r")[:]
    assert probability.shape == (2, 72, 72)
    assert probability.dtype == {"tif": np.float32, "zarr": np.float16}[form]
    assert np.allclose(probability.astype(float).sum(axis=0), 1, atol=2e-3)
    assert labels.shape == (72, 72)
    assert set(np.unique(labels)) <= {0, 1}
    with (tmp_path / "m2_detections.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert rows
    assert list(rows[0]) == ["axis-0", "axis-1", "class", "score"]
    (entry,) = result["images"]
    assert entry["complete"] is True
    assert entry["n_detections"] == {"virion": len(rows)}
    found = np.array([[float(r["axis-0"]), float(r["axis-1"])] for r in rows])
    truth = virions(2, size=72, count=5).centres
    nearest = np.linalg.norm(found[:, None] - truth[None], axis=2).min(axis=0)
    assert (nearest < 6).sum() >= 4


def test_predict_writes_for_other_programs(tmp_path, made):
    image, out = made / "data" / "images" / "m2.tif", tmp_path / "out"
    arguments = ("predict", made / "trained.safetensors", image, "--out", out)
    result = result_of(tmp_path, *arguments, "--export", "star,box,cbox,geojson,csv")
    (entry,) = result["images"]
    count = entry["n_detections"]["virion"]
    names = {"m2.star", "m2.box", "m2.cbox", "m2.geojson", "m2_objects.csv"}
    assert names < {Path(file).name for file in entry["files"].values()}
    assert len((out / "m2.box").read_text(encoding="utf-8").splitlines()) == count
    with Path(result["summary"]).open(newline="", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert (row["image"], row["class"], row["count"]) == (
        "m2.tif",
        "virion",
        str(count),
    )
    assert float(row["density_per_um2"]) == pytest.approx(count / 0.144**2, rel=1e-5)
    # Its own files are replaced without asking, those of others are not.
    assert call(*arguments, "--export", "star,box") == 0
    (out / "m2.star").write_text("data_\n", encoding="utf-8")
    assert call(*arguments, "--export", "star,box") == 2
    assert call(*arguments, "--export", "docx") == 2


def test_predict_takes_folders_and_converts(tmp_path, made, virions):
    images = tmp_path / "images"
    write_image(images / "grey.tif", virions(5, size=40, count=2).image)
    colour = np.random.default_rng(0).integers(0, 255, (3, 40, 50), np.uint8)
    write_image(images / "colour.png", colour)
    (images / "notes.txt").write_text("not an image", encoding="utf-8")
    checkpoint, out = made / "trained.safetensors", tmp_path / "out"
    report = tmp_path / "odd.json"
    arguments = ("predict", checkpoint, images, "--out", out)
    assert call(*arguments, "--json", report) == 1
    found = json.loads(report.read_text(encoding="utf-8"))
    assert [Path(e["image"]).name for e in found["images"]] == ["grey.tif"]
    (failed,) = found["failed"]
    assert failed["image"].endswith("colour.png") and "--convert" in failed["reason"]
    shutil.rmtree(out)
    result = result_of(
        tmp_path, "predict", checkpoint, images, "--out", out, "--convert"
    )
    assert [os.path.basename(e["image"]) for e in result["images"]] == [
        "colour.png",
        "grey.tif",
    ]
    assert tifffile.imread(out / "colour_probability.tif").shape == (2, 40, 50)


def test_one_bad_image_stops_nothing(tmp_path, made, virions, capsys):
    images, out, report = tmp_path / "images", tmp_path / "out", tmp_path / "r.json"
    good = virions(5, size=40, count=2).image
    for name in ("a", "d"):
        write_image(images / f"{name}.tif", good)
    torn = (images / "a.tif").read_bytes()
    (images / "b.tif").write_bytes(torn[: len(torn) * 6 // 10])
    (images / "c.tif").write_bytes(b"")
    write_image(images / "white.tif", np.full((3, 40, 40), 255, np.uint8))
    arguments = ("predict", made / "trained.safetensors", images, "--out", out)
    assert call(*arguments, "--json", report) == 1
    errors = capsys.readouterr().err
    found = json.loads(report.read_text(encoding="utf-8"))
    names = [Path(entry["image"]).stem for entry in found["images"]]
    assert names == ["a", "d", "white"]
    assert "nothing to see" in found["images"][2]["notes"][0]
    assert not tifffile.imread(out / "white_labels.tif").any()
    for name, failed in zip(("b.tif", "c.tif"), found["failed"], strict=True):
        assert failed["image"].endswith(name) and failed["reason"].endswith(".")
        assert f"{name}: left out" in errors

    (out / "d_labels.tif").unlink()
    assert call(*arguments, "--skip-existing", "--json", report) == 1
    found = json.loads(report.read_text(encoding="utf-8"))
    assert [Path(entry["image"]).stem for entry in found["images"]] == ["d"]
    assert [Path(name).stem for name in found["skipped"]] == ["a", "white"]


def test_filaments_are_written_as_lines(tmp_path):
    data, out = sample_folder() / "virus_phil", tmp_path / "net.safetensors"
    small = "--base 4 --levels 1 --working-factor 4 --epochs 1".split()
    assert call("train", data, *small, "--out", out) == 0
    image = data / "images" / "ebola.png"
    arguments = ("predict", out, image, "--out", tmp_path, "--pixel-size", 2)
    result = result_of(tmp_path, *arguments, "--threshold", 0.34)
    (entry,) = result["images"]
    assert entry["n_lines"].keys() == {"adenovirus", "influenza", "ebola"}
    n_lines = sum(entry["n_lines"].values())
    with (tmp_path / "ebola_lines.csv").open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        vertices = list(reader)
    assert reader.fieldnames[:5] == [
        "index", "shape-type", "vertex-index", "axis-0", "axis-1"
    ]  # fmt: skip
    assert len({row["index"] for row in vertices}) == n_lines
    with (tmp_path / "ebola_detections.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row.get("length_nm")]
    assert len(rows) == n_lines
    for row in vertices:
        assert row["shape-type"] == "path"
        assert float(row["length_nm"]) == pytest.approx(2 * float(row["length_px"]))


def test_evaluate_has_the_promised_keys(tmp_path, made, capsys):
    arguments = ("evaluate", made / "trained.safetensors", made / "data")
    result = result_of(tmp_path, *arguments)
    assert result.keys() >= PIXEL_KEYS | ALWAYS | {"recall", "f1", "tolerance_nm"}
    assert result["split"] == "val"
    errors = capsys.readouterr().err
    assert "no part 'test': 'val' is used" in errors
    assert "This image was held back in training" in errors
    assert result["n_images"] == 1
    assert result["tolerance_nm"] == 6.0
    assert result["per_class"]["virion"]["f1"] == result["f1"]
    assert result["f1"] > 0.5
    strict = result_of(tmp_path, *arguments, "--tolerance", 0.01, "--split", "all")
    assert strict["n_images"] == 3
    assert any("2 of the 3 images judged on were learned" in n for n in strict["notes"])
    assert strict["f1"] < result["f1"]


def test_compare_writes_a_table_and_pictures(tmp_path, made, capsys):
    checkpoints = [made / f"{name}.safetensors" for name in ("trained", "pruned")]
    out = tmp_path / "out"
    arguments = ("compare", *checkpoints, "--data", made / "data", "--out", out)
    result = result_of(tmp_path, *arguments)
    assert result.keys() >= ALWAYS | {"checkpoints", "split", "pictures"}
    assert any(n.startswith("This image was held back in") for n in result["notes"])
    first, second = result["checkpoints"]
    assert [first["name"], second["name"]] == ["trained", "pruned"]
    assert first["agreement"] == 1
    assert second["parameters"] < first["parameters"]
    assert {"kept", "lost", "gained", "own", "own_best"} <= second.keys()
    (picture,) = result["pictures"]
    assert picture["picture"] == str(out / "m2_pruned.png")
    assert (out / "m2_pruned.png").read_bytes().startswith(b"\x89PNG")
    with (out / "comparison.csv").open(newline="", encoding="utf-8") as file:
        assert [row["name"] for row in csv.DictReader(file)] == ["trained", "pruned"]
    report = (out / "report.html").read_text(encoding="utf-8")
    assert report.count("data:image/png;base64,") == 1
    assert f"agreement {picture['agreement']:.3f}" in report
    assert f"{second['parameters_nonzero']:,}" in report
    said = capsys.readouterr().out
    assert "kept" in said
    own = second["own"]
    there = f"{own['n_right']} of {own['n_true']} found, {own['n_wrong']} wrong"
    assert there in said and len(own["interval"]) == 2


# ------------------------------------------------------------------ bad input
def corrupted(made):
    path = made / "corrupted.safetensors"
    path.write_bytes((made / "trained.safetensors").read_bytes()[:-900])
    return path


def text_file(made):
    path = made / "notes.safetensors"
    path.write_text("this is no checkpoint", encoding="utf-8")
    return path


def other_classes(made):
    return made / "others"


def unannotated(made):
    folder = made / "bare"
    sample = Sample(np.eye(40, dtype=np.uint8)[None], (), 2.0, "bare")
    write_dataset(folder, Dataset("bare", TASK, {"bare": sample}))
    return folder


def colour_image(made):
    path = made / "colour.png"
    write_image(path, np.random.default_rng(0).integers(0, 9, (3, 40, 40), np.uint8))
    return path


def damaged_image(made):
    path = made / "damaged.tif"
    path.write_bytes(b"II*\x00\x08")
    return path


def image(made):
    return made / "data" / "images" / "m0.tif"


TRAIN = ("train", "DATA", "--out", "OUT")
PRUNE = ("prune", "CKPT", "--out", "OUT")
REFUSED = [
    (("nonsense",), "nonsense"),
    (("train",), "DATASET"),
    ((*TRAIN, "--minutes", "soon"), "--minutes"),
    ((*TRAIN, "--minutes", 0), "Minutes 0 is not possible"),
    ((*TRAIN, "--minutes", 1, "--epochs", 2), "--minutes"),
    ((*TRAIN, "--epochs", 0), "whole number from 1 to 1,000,000"),
    ((*TRAIN, "--epochs", 1, "--preset", "huge"), "preset"),
    ((*TRAIN, "--epochs", 1, "--network", "transformer"), "transformer"),
    ((*TRAIN, "--epochs", 1, "--base", 0), "0"),
    ((*TRAIN, "--epochs", 1, "--size", "base"), "NAME=VALUE"),
    ((*TRAIN, "--epochs", 1, "--size", "colour=3"), "colour"),
    ((*TRAIN, "--epochs", 1, "--device", "quantum"), "quantum"),
    ((*TRAIN, "--epochs", 1, "--start", "missing.safetensors"), "missing"),
    ((*TRAIN, "--epochs", 1, "--start", "CKPT", "--base", 8), "fine-tuned"),
    ((*TRAIN, "--epochs", 1, "--start", "CKPT", "--preset", "2m"), "leave --preset"),
    ((*TRAIN, "--epochs", 1, "--working-factor", 100), "smaller than one: give"),
    ((*TRAIN, "--epochs", 1, "--unknown"), "--unknown"),
    (("train", "missing", "--out", "OUT"), "no dataset folder"),
    (("train", unannotated, "--out", "OUT"), "no annotated image"),
    (("train", other_classes, "--start", "CKPT", "--out", "OUT"), "classes"),
    (("train", "DATA", "--out", "net.onnx"), ".onnx"),
    (("train", "DATA", "--out", "DATA"), "is a folder"),
    (("train", "DATA", "--out", image, "--epochs", 1), ".tif"),
    ((*PRUNE, "--remove", 1.5), "1.5"),
    ((*PRUNE, "--remove", -0.1), "-0.1"),
    ((*PRUNE, "--remove", "most"), "--remove"),
    ((*PRUNE, "--remove", "0,8"), "'0,8': write 0.8."),
    ((*PRUNE, "--remove", "12,5%"), "'12,5%': write 0.125."),
    ((*PRUNE, "--remove", "1,000"), "number '1,000': see"),
    (PRUNE, "--remove"),
    ((*PRUNE, "--remove", 0.5, "--kind", "layers"), "--kind"),
    ((*PRUNE, "--remove", 0.5, "--criterion", "luck"), "criterion"),
    ((*PRUNE, "--remove", 0.5, "--kind", "weights", "--criterion", "l1"), "magnitude"),
    ((*PRUNE, "--remove", 0.5, "--criterion", "loss"), "--data"),
    ((*PRUNE, "--remove", 0.5, "--kind", "weights", "--criterion", "loss"), "use"),
    ((*PRUNE, "--remove", 0.5, "--at-once", 0.9), "from 0 to 0.5"),
    ((*PRUNE, "--remove", 0.5, "--batches", 0), "Batches 0 is not possible"),
    ((*PRUNE, "--remove", 0.5, "--finetune-minutes", 1), "--data"),
    ((*PRUNE, "--remove", 0.5, "--gradual"), "--finetune-minutes"),
    ((*PRUNE, "--remove", 0.5, "--data", other_classes), "classes"),
    ((*PRUNE, "--remove", 0.5, "--data", "missing"), "no dataset folder"),
    (("prune", "missing.safetensors", "--remove", 0.5, "--out", "OUT"), "missing"),
    (("prune", text_file, "--remove", 0.5, "--out", "OUT"), "notes.safetensors"),
    (("prune", corrupted, "--remove", 0.5, "--out", "OUT"), "corrupted.safetensors"),
    (("prune", "CKPT", "--remove", 0.5, "--out", "CKPT"), "never written over"),
    (("predict", "CKPT", "missing.tif", "--out", "OUT"), "missing.tif"),
    (("predict", "CKPT", image, "--out", image), "is a file"),
    (("predict", "CKPT", image, "--out", "OUT", "--tile", 3), "Tile 3 is not possible"),
    (("predict", "CKPT", image, "--out", "OUT", "--backend", "abacus"), "choose auto"),
    (("predict", "CKPT", image, "--out", "OUT", "--format", "jpg"), "--format"),
    (("predict", "CKPT", image, "--out", "OUT", "--threshold", 7), "7"),
    (("predict", "CKPT", image, "--out", "OUT", "--pixel-size", 0), "pixel size"),
    (("predict", "CKPT", image, "--out", "OUT", "--pixel-size", 900), "coarse"),
    (("predict", "CKPT", colour_image, "--out", "OUT"), "colour.png"),
    (("predict", "CKPT", colour_image, "--out", "OUT"), "--convert"),
    (("predict", "CKPT", damaged_image, "--out", "OUT"), "damaged.tif"),
    (("predict", "CKPT", text_file, "--out", "OUT"), "notes.safetensors"),
    (("predict", text_file, image, "--out", "OUT"), "notes.safetensors"),
    (("predict", "CKPT", "EMPTY", "--out", "OUT"), "no image"),
    (("evaluate", "CKPT", "missing"), "no dataset folder"),
    (("evaluate", "CKPT", "DATA", "--split", "exam"), "exam"),
    (("evaluate", "CKPT", other_classes), "classes"),
    (("evaluate", "CKPT", unannotated), "annotated"),
    (("evaluate", "CKPT", "DATA", "--tolerance", -2), "tolerance"),
    (("evaluate", corrupted, "DATA"), "corrupted.safetensors"),
    (("compare", "CKPT", "--data", "DATA"), "two checkpoints"),
    (("compare", "CKPT", text_file, "--data", "DATA"), "notes.safetensors"),
    (("compare", "CKPT", "CKPT", "--data", other_classes), "classes"),
    (("compare", "CKPT", "CKPT"), "--data"),
    (("export", "CKPT", "--format", "keras", "--out", "OUT"), "keras"),
    (("export", "CKPT", "--format", "onnx", "--out", "OUT"), "end in .onnx"),
    (("export", text_file, "--format", "bioimageio", "--out", "x.zip"), "notes"),
    (("info", "missing.safetensors"), "missing.safetensors"),
    (("info", text_file), "notes.safetensors"),
    (("info", corrupted), "corrupted.safetensors"),
    (("info", "DATA"), "data"),
    (("info", "CKPT", "--json", "DATA"), "is a folder"),
    (("demo", "--headless", "--minutes", 0, "--out", "OUT"), "Minutes 0 is"),
]


def _named(value: object) -> str:
    """The same name in every process: without the addresses of functions."""
    parts = value if isinstance(value, tuple) else (value,)
    return " ".join(str(getattr(part, "__name__", part)) for part in parts)[:60]


@pytest.mark.parametrize(("arguments", "words"), REFUSED, ids=_named)
def test_bad_input_is_one_sentence_and_nothing_is_written(
    made, tmp_path, capsys, monkeypatch, arguments, words
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    places = {
        "DATA": made / "data",
        "CKPT": made / "trained.safetensors",
        "OUT": tmp_path / "out" / "x",
        "EMPTY": tmp_path / "empty",
    }
    given = [a(made) if callable(a) else places.get(a, a) for a in arguments]
    before = snapshot(made)
    capsys.readouterr()
    status = call(*given)
    monkeypatch.undo()
    said = capsys.readouterr()
    assert status == 2
    assert said.out == ""
    lines = said.err.splitlines()
    assert len(lines) == 1, said.err
    assert words in lines[0]
    assert lines[0].endswith((".", "?"))
    assert "Traceback" not in said.err
    assert sorted(tmp_path.rglob("*")) == [tmp_path / "empty"]
    assert snapshot(made) == before


def snapshot(folder):
    return {
        path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()
    }


def test_a_fresh_process_says_no_more_than_the_sentence(tmp_path):
    none = tmp_path / "none.safetensors"
    done = subprocess.run(
        [sys.executable, "-m", "napari_topiary", "info", str(none)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1


def test_without_a_screen_the_window_is_refused_in_a_sentence(monkeypatch, capsys):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    assert main([]) == 2
    assert "--headless" in capsys.readouterr().err


def test_a_reader_that_went_away_is_no_error(tmp_path, made):
    file = tmp_path / "info.json"
    arguments = ["info", str(made / "trained.safetensors"), "--json", str(file)]
    process = subprocess.Popen(
        [sys.executable, "-m", "napari_topiary", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() == 0
    assert file.is_file()


def test_help_and_version_are_no_errors(capsys):
    for arguments in (["--help"], ["--version"], ["train", "--help"]):
        assert main(arguments) == 0
    text = capsys.readouterr().out
    assert "napari-topiary" in text
    assert "--minutes" in text


def test_help_is_there_at_once():
    """Asking for help loads neither torch nor Qt."""
    code = (
        "import sys; from napari_topiary.cli import main; main(['--help']); "
        "sys.exit(sum(m in sys.modules for m in ('torch', 'napari', 'qtpy')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=False
    )
    assert done.returncode == 0


def test_a_small_image_does_not_wait_for_what_it_does_not_need():
    """What `predict` loads before it has seen an image: no trees, plots or window."""
    code = (
        "import sys; import napari_topiary.cli.predict, napari_topiary.checkpoint; "
        "print([m for m in ('scipy.spatial', 'scipy.sparse', 'zarr', 'matplotlib', "
        "'napari', 'qtpy') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, text=True
    )
    assert done.stdout.strip() == "[]"


# --------------------------------------------------------------- interruption
@pytest.fixture
def interrupt_at(monkeypatch):
    """`interrupt_at(n)` presses Ctrl-C at the n-th progress (and the m-th)."""

    def arrange(*steps):
        count = 0

        def show(self, progress):
            nonlocal count
            count += 1
            if count in steps:
                signal.raise_signal(signal.SIGINT)

        monkeypatch.setattr(ProgressBar, "show", show)

    return arrange


def test_an_interrupted_training_keeps_its_best(tmp_path, made, interrupt_at, capsys):
    # A job started in the background of a shell begins with Ctrl-C ignored.
    before = signal.getsignal(signal.SIGINT)
    interrupt_at(5)
    out, report = tmp_path / "net.safetensors", tmp_path / "r.json"
    arguments = ("train", made / "data", "--minutes", 5, *SMALL, "--out", out)
    assert call(*arguments, "--json", report) == 130
    assert load_checkpoint(out).provenance["steps"] < 20
    assert json.loads(report.read_text(encoding="utf-8"))["interrupted"] is True
    assert "Stopping" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGINT) is before


def test_when_all_is_done_no_signal_changes_the_status(monkeypatch):
    """Python puts its own handlers back while it ends: killed, where all was done."""
    last, ignored = [], {}
    monkeypatch.setattr(atexit, "register", last.append)
    assert main(["no-such-verb"]) == 2
    monkeypatch.setattr(signal, "signal", ignored.__setitem__)
    last.pop()()
    assert ignored == dict.fromkeys(ENDING, signal.SIG_IGN)


def test_interrupted_twice_gives_up_at_once(tmp_path, made, interrupt_at, capsys):
    interrupt_at(2, 3)
    out = tmp_path / "net.safetensors"
    arguments = ("train", made / "data", "--minutes", 5, *SMALL, "--out", out)
    assert call(*arguments) == 130
    assert list(tmp_path.iterdir()) == []
    assert "Interrupted" in capsys.readouterr().err


def test_an_interrupted_prediction_writes_what_is_done(tmp_path, made, interrupt_at):
    interrupt_at(2)
    images = made / "data" / "images"
    report = tmp_path / "r.json"
    arguments = ("predict", made / "trained.safetensors", images, "--out", tmp_path)
    assert call(*arguments, "--tile", 32, "--json", report) == 130
    (entry,) = json.loads(report.read_text(encoding="utf-8"))["images"]
    assert entry["complete"] is False
    probability = tifffile.imread(tmp_path / "m0_probability.tif")
    done = probability.sum(axis=0) > 0.5
    assert 0 < done.mean() < 1


def test_pruning_interrupted_while_fine_tuning_ends_at_its_share(
    tmp_path, made, interrupt_at
):
    interrupt_at(4)
    out = tmp_path / "p.safetensors"
    arguments = ("prune", made / "trained.safetensors", "--remove", 0.85)
    tuning = ("--data", made / "data", "--finetune-minutes", 5, "--out", out)
    assert call(*arguments, *tuning) == 130
    assert load_checkpoint(out).sparsity >= 0.85


# --------------------------------------------------------------- the terminal
class Terminal:
    def __init__(self, tty, encoding="utf-8"):
        self.text, self.encoding, self._tty = "", encoding, tty

    def isatty(self):
        return self._tty

    def write(self, text):
        self.text += text

    def flush(self):
        pass


def counting():
    message = None
    for step in range(4):
        if message is Stop:
            return "stopped"
        message = yield Progress(step, 4, "Counting", eta_s=75.0)
    return "done"


def test_the_bar_shows_progress_and_time_left_on_a_terminal():
    screen = Terminal(tty=True)
    assert Runner(ProgressBar(screen))(counting()) == "done"
    assert "Counting" in screen.text
    assert "1:15 left" in screen.text
    assert "░" in screen.text


class Gone(io.StringIO):
    """A terminal that was closed while something runs in it."""

    def isatty(self):
        return True

    def write(self, text):
        raise OSError(errno.EIO, "Input/output error")


@pytest.mark.parametrize("stream", [Gone(), None])
def test_nobody_has_to_read_what_is_said(made, monkeypatch, tmp_path, stream):
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stderr", stream)
    report = tmp_path / "r.json"
    assert call("info", made / "pruned.safetensors", "--json", report) == 0
    assert json.loads(report.read_text(encoding="utf-8"))["network"] == "unet"
    assert call("info", "missing.safetensors") == 2
    bar = ProgressBar(Gone())
    bar.show(Progress(1, 2, "on the way"))
    bar.note("A sentence.")


def test_the_bar_is_plain_where_letters_are_few_and_silent_in_a_pipe():
    old, pipe = Terminal(tty=True, encoding="cp1252"), Terminal(tty=False)
    for screen in (old, pipe):
        Runner(ProgressBar(screen))(counting())
    old.text.encode("ascii")
    assert "." * 20 in old.text
    assert pipe.text == ""


def test_without_a_command_the_window_opens(monkeypatch):
    opened = []
    for module in (demo, window):
        monkeypatch.setattr(module, "open_window", lambda s: opened.append(s) or 0)
    assert main([]) == 0
    assert main(["demo"]) == 0
    assert opened == [None, "apoferritin"]


@pytest.mark.parametrize(
    ("verb", "needed", "form", "elsewhere"),
    [
        ("train", ["d", "--out", "x"], TrainConfig, {"sizes"}),
        ("prune", ["c", "--out", "x", "--remove", "0.5"], PruneConfig, set()),
        ("predict", ["c", "i", "--out", "x"], PredictConfig, {"detect"}),
        ("predict", ["c", "i", "--out", "x"], DetectConfig, set()),
        ("evaluate", ["c", "d"], DetectConfig, set()),
        ("compare", ["c", "c", "--data", "d"], DetectConfig, set()),
    ],
)
def test_every_field_of_a_form_is_an_option(verb, needed, form, elsewhere):
    options = build_parser(verb).parse_args([verb, *needed])
    names = {row.name for row in fields(form)} - elsewhere
    assert names <= set(vars(options))
    # What is not said is left to the form.
    said = {"remove", "seed", "device"}
    assert all(getattr(options, name) is None for name in names - said)


def test_options_say_what_their_fields_say():
    words = ["predict", "c", "i", "--out", "x", "--keep-holes", "--min-size", "7"]
    config = predict_config(build_parser("predict").parse_args(words))
    assert config == PredictConfig(detect=DetectConfig(fill_holes=False, min_size_px=7))
