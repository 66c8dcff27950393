"""An archive for bioimage.io: what its words say is true of what is in it."""

from __future__ import annotations

import hashlib
import io
import json
import warnings
import zipfile

import numpy as np
import pytest
import torch
import yaml

from napari_topiary.cli import main
from napari_topiary.errors import TopiaryError
from napari_topiary.export import bioimageio as module
from napari_topiary.export import export_network
from napari_topiary.io.own_files import written_by_topiary
from napari_topiary.normalisation import Normalisation
from napari_topiary.types import run

FIXED = {"per_image": False, "mean": 100.0, "std": 20.0, "low": 40.0, "high": 160.0}


@pytest.fixture(autouse=True)
def only_torchscript(monkeypatch):
    """ONNX has tests of its own."""
    monkeypatch.setattr(module, "find_spec", lambda name: None)


def archive_of(path):
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        parts = {name: archive.read(name) for name in archive.namelist()}
    return yaml.safe_load(parts.pop("rdf.yaml")), parts


def files_in(record):
    """Every file that is named, with its digest."""
    found = record if isinstance(record, list) else []
    if isinstance(record, dict):
        if "source" in record:
            yield record["source"], record["sha256"]
        found = list(record.values())
    for one in found:
        yield from files_in(one)


def normalised(image, steps):
    """What a program that reads the archive does."""
    for step in steps:
        kwargs = step["kwargs"]
        if step["id"] == "clip":
            image = np.clip(image, kwargs["min"], kwargs["max"])
        elif step["id"] == "scale_linear":
            image = image * kwargs["gain"] + kwargs["offset"]
        elif step["id"] == "scale_range":
            ends = kwargs["min_percentile"], kwargs["max_percentile"]
            low, high = np.percentile(image, ends)
            image = (image - low) / (high - low)
        else:
            assert step["id"] == "zero_mean_unit_variance"
            image = (image - image.mean()) / image.std()
    return image.astype(np.float32)


def answer_of(weights, image):
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # not the newest way to keep a network
        return torch.jit.load(io.BytesIO(weights))(torch.from_numpy(image)).numpy()


@pytest.mark.parametrize(
    ("network", "how", "steps"),
    [
        ("unet", {}, ["zero_mean_unit_variance"]),
        ("unet", FIXED, ["scale_range", "clip", "scale_linear"]),
        ("unet", {"kind": "zscore", **FIXED}, ["scale_linear"]),
        ("unet", {"kind": "percentile"}, ["scale_range"]),
        ("nuclei", {"kind": "none"}, []),
        ("dcnn", {}, ["zero_mean_unit_variance"]),
    ],
)
def test_the_weights_answer_to_the_test_image_as_torch_does(
    small, tmp_path, network, how, steps
):
    checkpoint = small(network, normalisation=Normalisation(**how))
    made = run(export_network(checkpoint, tmp_path / "a.zip", "bioimageio"))
    assert made.largest_difference < 1e-5
    assert written_by_topiary(tmp_path / "a.zip")
    record, parts = archive_of(tmp_path / "a.zip")
    named = dict(files_in(record))
    assert named.keys() == parts.keys()
    for name, digest in named.items():
        assert hashlib.sha256(parts[name]).hexdigest() == digest
    image = np.load(io.BytesIO(parts["test_input.npy"]))
    wanted = np.load(io.BytesIO(parts["test_output.npy"]))
    assert [one["id"] for one in record["inputs"][0]["preprocessing"]] == steps
    seen = normalised(image, record["inputs"][0]["preprocessing"])
    answer = answer_of(parts["weights.pt"], seen)
    assert np.allclose(answer, wanted, atol=1e-3 if network == "nuclei" else 1e-4)
    channels = record["outputs"][0]["axes"][1]["channel_names"]
    assert channels == made.model.maps
    assert len(wanted[0]) == len(channels)


def test_the_words_are_those_of_the_checkpoint(small, tmp_path):
    checkpoint = small(masked=True, in_channels=3)
    said = {"author": "A. Person", "licence": "CC-BY-4.0"}
    run(export_network(checkpoint, tmp_path / "a.zip", "bioimageio", **said))
    record, parts = archive_of(tmp_path / "a.zip")
    assert record["type"] == "model"
    assert record["format_version"].startswith("0.5.")
    assert record["name"] == "my _-net"
    assert record["authors"] == [{"name": "A. Person"}]
    assert record["license"] == "CC-BY-4.0"
    axes = record["inputs"][0]["axes"]
    assert axes[1]["channel_names"] == ["red", "green", "blue"]
    assert axes[2]["scale"] == 0.003
    assert axes[2]["size"]["step"] == 4
    assert axes[2]["size"]["min"] > 2 * record["outputs"][0]["axes"][2]["halo"]
    own = record["config"]["napari_topiary"]
    assert own["thresholds"] == {"virion": 0.4, "common": 0.5}
    assert own["hash"] == checkpoint.hash
    text = parts["README.md"].decode()
    assert "## Validation" in text
    assert "3 nm per pixel" in text
    assert parts["cover.png"].startswith(b"\x89PNG")


def test_neither_time_nor_place_is_in_the_archive(small, tmp_path):
    first, again = (
        run(export_network(small(), tmp_path / name, "bioimageio"))
        for name in ("a.zip", "b.zip")
    )
    _, parts = archive_of(tmp_path / "a.zip")
    _, same = archive_of(tmp_path / "b.zip")
    weights = parts.pop("weights.pt"), same.pop("weights.pt")
    assert parts == same  # torch numbers what it traces in one process
    assert len(first.content) - len(again.content) == len(weights[0]) - len(weights[1])
    with zipfile.ZipFile(io.BytesIO(weights[0])) as traced:
        for name in traced.namelist():
            assert traced.getinfo(name).date_time == (1980, 1, 1, 0, 0, 0)
            assert b"site-packages" not in traced.read(name)
            assert b"napari_topiary/" not in traced.read(name)


def test_what_is_no_name_of_a_licence_is_refused(small, tmp_path):
    path = tmp_path / "a.zip"
    with pytest.raises(TopiaryError, match="CC-BY"):
        run(export_network(small(), path, "bioimageio", licence="ask me first"))
    assert not list(tmp_path.iterdir())


def test_the_command_says_what_was_checked(small, tmp_path, capsys):
    net, out, report = (tmp_path / f"net.{e}" for e in ("safetensors", "zip", "json"))
    small().save(net)
    call = ["export", net, "--format", "bioimageio", "--out", out, "--json", report]
    assert main([str(word) for word in call]) == 0
    said = json.loads(report.read_text(encoding="utf-8"))
    assert [one["by"] for one in said["checks"]] == ["torchscript"]
    assert said["largest_difference"] < 1e-5
    assert any("pip install onnx" in note for note in said["notes"])
    assert any("before scaling" in note for note in said["notes"])
    record, _ = archive_of(out)
    assert list(record["weights"]) == ["torchscript"]
    assert record["authors"] == [{"name": "unknown"}]
    assert "license" not in record


def test_images_that_share_a_range_are_prepared_as_here(small, tmp_path, rng):
    how = Normalisation(**FIXED)
    image = rng.normal(300, 40, (1, 1, 96, 96))  # under another light
    run(export_network(small(normalisation=how), tmp_path / "a.zip", "bioimageio"))
    record, _ = archive_of(tmp_path / "a.zip")
    seen = normalised(image, record["inputs"][0]["preprocessing"])
    np.testing.assert_allclose(seen[0], how.apply(image[0]), atol=1e-3)
