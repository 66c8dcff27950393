"""Images as they come on the command line: stacks, zarr folders, banners."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import tifffile
import zarr

from napari_topiary.cli import main

SMALL = "--base 4 --levels 1 --patch 48 --batch 4 --working-factor 1".split()


def call(*arguments):
    return main([str(a) for a in arguments])


@pytest.fixture(scope="module")
def drawn(virions):
    """Six slices with particles, and where they are."""
    return [virions(seed, size=64, count=4) for seed in range(6)]


@pytest.fixture(scope="module")
def made(tmp_path_factory, drawn):
    """A dataset of one stack with marks on five slices, and a network of it."""
    home = tmp_path_factory.mktemp("stack")
    for folder in ("images", "points"):
        (home / "data" / folder).mkdir(parents=True)
    volume = np.stack([one.image[0] for one in drawn])
    tifffile.imwrite(
        home / "data" / "images" / "vol.tif",
        volume.astype(np.float32),
        imagej=True,
        resolution=(0.5, 0.5),
        metadata={"axes": "ZYX", "unit": "nm"},
    )
    rows = [
        (index, y, x)
        for index, one in enumerate(drawn)
        if index != 2
        for y, x in one.centres
    ]
    with (home / "data" / "points" / "vol.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("axis-0", "axis-1", "axis-2"), *rows])
    about = {
        "name": "vol",
        "task": "detect",
        "classes": ["background", "virion"],
        "radius_nm": {"virion": 12.0},
        "split": {"train": ["vol"], "val": ["vol 4"], "test": ["vol 5"]},
    }
    (home / "data" / "dataset.json").write_text(json.dumps(about))
    report, network = home / "train.json", home / "net.safetensors"
    arguments = (
        "train",
        home / "data",
        "--epochs",
        20,
        *SMALL,
        "--marks-only",
        "--out",
        network,
    )
    assert call(*arguments, "--json", report) == 0
    return home


def result_of(folder, *arguments):
    file = folder / "result.json"
    assert call(*arguments, "--json", file) == 0
    return json.loads(file.read_text(encoding="utf-8"))


def test_train_learns_from_the_slices_with_marks(made):
    result = json.loads((made / "train.json").read_text(encoding="utf-8"))
    assert result["n_images"] == 3
    assert result["n_validation"] == 1


def test_evaluate_judges_slice_by_slice(tmp_path, made, drawn):
    result = result_of(tmp_path, "evaluate", made / "net.safetensors", made / "data")
    assert [one["name"] for one in result["images"]] == ["vol 5"]
    assert result["n_true"] == len(drawn[5].centres)


@pytest.mark.parametrize("form", ["tif", "zarr"])
def test_the_results_of_a_stack_are_stacks(tmp_path, made, drawn, form, capsys):
    image = made / "data" / "images" / "vol.tif"
    arguments = ("predict", made / "net.safetensors", image, "--out", tmp_path)
    result = result_of(
        tmp_path, *arguments, "--format", form, "--link", "--threshold", 0.3
    )
    (entry,) = result["images"]
    assert entry["shape"] == [6, 64, 64]
    assert entry["pixel_size_nm"] == 2.0
    assert entry["complete"] is True
    assert len(entry["slices"]) == 6
    paths = [tmp_path / f"vol_{what}.{form}" for what in ("probability", "labels")]
    if form == "tif":
        probability, labels = (tifffile.imread(path) for path in paths)
        with tifffile.TiffFile(paths[0]) as file:
            assert file.series[0].axes == "ZCYX"
    else:
        probability, labels = (zarr.open_array(path, mode="r")[:] for path in paths)
    assert probability.shape == (6, 2, 64, 64)
    assert labels.shape == (6, 64, 64)
    with (tmp_path / "vol_detections.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [
        "axis-0", "axis-1", "axis-2", "class", "score", "object"
    ]  # fmt: skip
    assert entry["n_detections"]["virion"] == len(rows)
    each = [one["n_detections"]["virion"] for one in entry["slices"]]
    places = np.array([[float(row[f"axis-{n}"]) for n in range(3)] for row in rows])
    assert [int((places[:, 0] == n).sum()) for n in range(6)] == each
    assert entry["n_objects"] == max(int(row["object"]) for row in rows)
    # Each slice is what it would be alone.
    alone = tmp_path / "alone.tif"
    tifffile.imwrite(alone, tifffile.imread(image)[3])
    out = tmp_path / "one"
    arguments = ("predict", made / "net.safetensors", alone, "--pixel-size", 2)
    arguments += ("--threshold", 0.3)
    assert call(*arguments, "--out", out) == 0
    np.testing.assert_array_equal(labels[3], tifffile.imread(out / "alone_labels.tif"))
    again = result_of(
        tmp_path, "predict", made / "net.safetensors", image, "--out", tmp_path,
        "--format", form, "--skip-existing",
    )  # fmt: skip
    assert len(again["skipped"]) == 1


def test_a_blank_slice_is_empty_and_said(tmp_path, made, drawn, capsys):
    volume = np.stack([one.image[0] for one in drawn[:3]]).astype(np.float32)
    volume[1] = 7
    volume[2] = np.nan
    path = tmp_path / "odd.tif"
    tifffile.imwrite(path, volume, photometric="minisblack")
    network = made / "net.safetensors"
    result = result_of(tmp_path, "predict", network, path, "--out", tmp_path)
    (entry,) = result["images"]
    assert "slice 1, 2: There is nothing to see" in capsys.readouterr().err
    blank = ["nothing to see" in " ".join(one["notes"]) for one in entry["slices"]]
    assert blank == [False, True, True]
    assert not tifffile.imread(tmp_path / "odd_labels.tif")[1:].any()


def test_images_in_zarr_folders_can_be_given(tmp_path, made, drawn, capsys):
    for name in ("x", "y"):
        group = zarr.open_group(tmp_path / f"{name}.zarr" / "0", mode="w")
        group.create_array("0", data=drawn[0].image[0].astype(np.float32))
        axes = [{"name": n, "unit": "nanometer"} for n in "yx"]
        scale = {"type": "scale", "scale": [2.0, 2.0]}
        level = {"path": "0", "coordinateTransformations": [scale]}
        group.attrs["ome"] = {"multiscales": [{"axes": axes, "datasets": [level]}]}
    images = [tmp_path / f"{name}.zarr" / "0" for name in ("x", "y")]
    network, out = made / "net.safetensors", tmp_path / "out"
    result = result_of(tmp_path, "predict", network, *images, "--out", out)
    assert result["n_images"] == 2
    assert {entry["pixel_size_nm"] for entry in result["images"]} == {2.0}
    assert "x.zarr/0: " in capsys.readouterr().out
    assert (out / "x_0_labels.tif").is_file()
    assert (out / "y_0_labels.tif").is_file()


def test_an_information_banner_is_said_and_can_be_cut_off(tmp_path, made, drawn):
    image = drawn[0].image[0].astype(np.float32)
    banner = np.zeros((20, 64), np.float32)
    banner[5:10, 8:50:4] = image.max()
    path = tmp_path / "sem.tif"
    tifffile.imwrite(path, np.concatenate([image, banner]))
    arguments = ("predict", made / "net.safetensors", path, "--out", tmp_path)
    (entry,) = result_of(tmp_path, *arguments)["images"]
    assert "--cut-banner" in " ".join(entry["notes"])
    assert entry["shape"] == [84, 64]
    assert not tifffile.imread(tmp_path / "sem_labels.tif")[64:].any()
    (entry,) = result_of(tmp_path, *arguments, "--cut-banner")["images"]
    assert "rows 0 to 64 are left" in " ".join(entry["notes"])
    assert tifffile.imread(tmp_path / "sem_labels.tif").shape == (64, 64)


@pytest.mark.parametrize("kind", ["zarr", "tiled", "plain", "strips"])
def test_large_images_are_predicted_in_parts(tmp_path, made, drawn, monkeypatch, kind):
    micrograph = drawn[0].image[0].astype(np.float32)
    image, whole = tmp_path / "big.tif", tmp_path / "whole.tif"
    tifffile.imwrite(whole, micrograph)
    if kind == "zarr":
        image = tmp_path / "big.zarr"
        zarr.create_array(image, data=micrograph, chunks=(20, 30))
    elif kind == "tiled":
        tifffile.imwrite(image, micrograph, tile=(16, 16), compression="zlib")
    elif kind == "strips":
        tifffile.imwrite(image, micrograph, rowsperstrip=10, compression="zlib")
    else:
        tifffile.imwrite(image, micrograph, byteorder=">")
    network, out = made / "net.safetensors", tmp_path / "out"
    size = ("--pixel-size", 2)
    assert call("predict", network, whole, "--out", out, *size) == 0
    monkeypatch.setattr("napari_topiary.io.large_images.LARGE", 1000)
    report = tmp_path / "report.json"
    large = ("predict", network, image, "--out", out, "--export", "star", *size)
    assert call(*large, "--json", report) == 0

    told = json.loads(report.read_text())
    entry = told["images"][0]
    assert " object at " not in str(told["notes"])
    assert set(entry["files"]) == {"probability", "labels", "detections", "star"}
    assert (out / "big_detections.csv").read_text() == (
        out / "whole_detections.csv"
    ).read_text()
    labels = np.asarray(zarr.open_array(out / "big_labels.zarr" / "0"))
    assert (labels == tifffile.imread(out / "whole_labels.tif")).all()
    with (out / "summary.csv").open() as file:
        counts = {row["image"]: row["count"] for row in csv.DictReader(file)}
    assert counts[image.name] == counts["whole.tif"] != "0"
    crate = json.loads((out / "ro-crate-metadata.json").read_text(encoding="utf-8"))
    runs = [one for one in crate["@graph"] if one["@type"] == "CreateAction"]
    assert len(runs) == 2
    assert {"@id": "big_labels.zarr/"} in runs[-1]["result"]
    assert call(*large, "--skip-existing", "--json", report) == 0
    assert json.loads(report.read_text())["skipped"] == [str(image)]
    if kind == "tiled":
        assert call(*large, "--format", "tif") == 0
        found = tifffile.imread(out / "big_labels.tif")
        assert (found == labels).all()
        maps = tifffile.imread(out / "big_probability.tif")
        wanted = tifffile.imread(out / "whole_probability.tif")
        np.testing.assert_allclose(maps, wanted, atol=1e-3)
        assert not (out / "big_labels.zarr").exists()
