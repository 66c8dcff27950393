"""The command line with networks that have a recipe and classify centre pixels."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_topiary.cli import main


@pytest.fixture
def dataset(tmp_path: Path, virions) -> Path:
    """Two tiny painted micrographs."""
    folder = tmp_path / "data"
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    for stem, seed in (("a", 0), ("b", 1)):
        drawn = virions(seed, size=40, count=2)
        tifffile.imwrite(folder / "images" / f"{stem}.tif", drawn.image[0])
        labels = (drawn.labels > 0).astype(np.uint8)
        tifffile.imwrite(folder / "labels" / f"{stem}.tif", labels)
    about = {
        "name": "tiny",
        "task": "segment",
        "pixel_size_nm": None,
        "classes": ["background", "virion"],
        "split": {"train": ["a"], "val": ["b"]},
    }
    (folder / "dataset.json").write_text(json.dumps(about))
    return folder


def call(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


@pytest.mark.parametrize(
    ("network", "preset", "rate"),
    [("membrane_cnn", "N7", 0.01), ("dcnn", "small", 0.001), ("dccn", "small", 0.001)],
)
def test_from_training_to_comparison(
    network: str, preset: str, rate: float, dataset: Path, tmp_path: Path
) -> None:
    made, cut = tmp_path / "made.safetensors", tmp_path / "cut.safetensors"
    short = ("--epochs", 1, "--training-pixels", 64, "--batch", 32, "--device", "cpu")
    asked = ("--network", network, "--preset", preset, "--json", tmp_path / "t.json")
    assert call("train", dataset, "--out", made, *asked, *short) == 0
    trained = json.loads((tmp_path / "t.json").read_text())
    assert trained["steps"] == 2
    assert trained["provenance"]["learning_rate"] == rate
    remove = ("--remove", 0.5, "--data", dataset, "--device", "cpu")
    # After two steps of learning nothing may be left: that is said, and no success.
    assert call("prune", made, "--out", cut, *remove) in (0, 1)
    assert call("info", cut, "--json", tmp_path / "i.json") == 0
    about = json.loads((tmp_path / "i.json").read_text())
    assert about["sparsity"] >= 0.5
    assert about["patch"] in (32, 55)
    assert about["activation_bytes"] > 4 * about["patch"] ** 2
    image = dataset / "images" / "b.tif"
    assert call("predict", cut, image, "--out", tmp_path / "p", "--device", "cpu") == 0
    probability = tifffile.imread(tmp_path / "p" / "b_probability.tif")
    assert probability.shape == (2, 40, 40)
    judged = ("--split", "val", "--device", "cpu", "--json", tmp_path / "e.json")
    assert call("evaluate", made, dataset, *judged) == 0
    assert 0 <= json.loads((tmp_path / "e.json").read_text())["accuracy"] <= 1
    seen = ("--data", dataset, "--device", "cpu", "--out", tmp_path / "c")
    assert call("compare", made, cut, *seen) == 0


def test_a_choice_wins_over_the_recipe(dataset: Path, tmp_path: Path) -> None:
    made = tmp_path / "made.safetensors"
    asked = ("--network", "membrane_cnn", "--preset", "N7", "--epochs", 1)
    chosen = ("--training-pixels", 64, "--learning-rate", 0.002, "--no-augment")
    report = ("--json", tmp_path / "t.json", "--device", "cpu")
    assert call("train", dataset, "--out", made, *asked, *chosen, *report) == 0
    trained = json.loads((tmp_path / "t.json").read_text())
    assert trained["provenance"]["learning_rate"] == 0.002
    assert trained["steps"] == 1  # of 128 patches, as the recipe has it


def test_an_impossible_number_of_pixels_is_a_sentence(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = tmp_path / "made.safetensors"
    asked = ("--network", "dcnn", "--training-pixels", 0)
    assert call("train", dataset, "--out", made, *asked) == 2
    assert "Training pixels 0 is not possible" in capsys.readouterr().err
