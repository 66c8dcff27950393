"""Whatever writes from Python and from the window: nobody's file is replaced."""

from __future__ import annotations

import os
import sys

import numpy as np
import pytest
import tifffile

from napari_topiary.annotations import Labels, Points
from napari_topiary.checkpoint import Checkpoint, load_checkpoint
from napari_topiary.config import DetectConfig, TrainConfig
from napari_topiary.errors import TopiaryError
from napari_topiary.inference.results import write_prediction, write_stack_prediction
from napari_topiary.io.dataset import Dataset, Sample
from napari_topiary.io.dataset_writing import write_dataset
from napari_topiary.jobs.exporting import Found, already_there
from napari_topiary.networks import build_network
from napari_topiary.postprocessing import Numbering
from napari_topiary.session import Session
from napari_topiary.studies import run_study
from napari_topiary.training import fit
from napari_topiary.types import Detections, Prediction, Task, run

TASK = Task("detect", ("background", "virion"), {"virion": 8.0})
SIZES = {"base": 2, "multiplier": 1.0, "levels": 1}
WORDS = b"index,axis-0,axis-1\n0,1,2\n"


@pytest.fixture(scope="module")
def net():
    network = build_network("unet", SIZES, 1, 2)
    return Checkpoint(
        network="unet",
        sizes=SIZES,
        in_channels=1,
        task=TASK,
        state=network.state_dict(),
    )


@pytest.fixture
def drawn(rng):
    image = rng.integers(0, 255, (1, 40, 40)).astype(np.uint8)
    points = Points(np.array([[9.0, 9.0], [30.0, 28.0]]), ("virion",) * 2)
    return Dataset("mine", TASK, {"a": Sample(image, (points,), 2.0, "a")}, {})


def predicted():
    return Prediction(
        probability=np.full((2, 8, 8), 0.5, np.float32),
        shape=(8, 8),
        task=TASK,
        scale=2.0,
        labels=np.zeros((8, 8), np.uint8),
        detections=Detections.empty(),
    )


def saved(path, net, drawn, **more):
    net.save(path, **more)


def trained(path, net, drawn):
    config = TrainConfig(sizes=SIZES, minutes=None, epochs=1, patch=32, batch=2)
    samples = list(drawn.samples.values())
    run(fit(samples, config, task=TASK, checkpoint_path=path))


def result(path, net, drawn, **more):
    form = path.suffix.removeprefix(".").replace("csv", "tif")
    write_prediction(path.parent, "a", prediction=predicted(), format=form, **more)


def stack(path, net, drawn, **more):
    write_stack_prediction(
        path.parent,
        "a",
        predictions=[predicted()] * 2,
        count=2,
        numbering=Numbering(linked=False),
        **more,
    )


def exported(path, net, drawn):
    found = Found(
        prediction=predicted(), checkpoint=net, network="n", config=DetectConfig()
    )
    already_there(path.parent, {"a": found})


def studied(path, net, drawn):
    run(run_study("sample-size", drawn, out=path.parent))


WRITERS = {
    "checkpoint": (saved, "net.safetensors"),
    "training": (trained, "net.safetensors"),
    "labels": (result, "a_labels.tif"),
    "probability": (result, "a_probability.tif"),
    "zarr": (result, "a_labels.zarr"),
    "table": (result, "a_detections.csv"),
    "lines": (result, "a_lines.csv"),
    "stack": (stack, "a_probability.tif"),
    "export": (exported, "a_labels.tif"),
    "summary": (exported, "summary.csv"),
    "study": (studied, "table.md"),
    "study's numbers": (studied, "study.json"),
}


def files_in(home):
    return {p: p.read_bytes() for p in sorted(home.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("name", WRITERS)
def test_a_persons_file_stays(tmp_path, net, drawn, name):
    write, file = WRITERS[name]
    path = tmp_path / file
    path.write_bytes(WORDS)
    before = files_in(tmp_path)
    with pytest.raises(TopiaryError, match=r"replaced?: (choose|give)|by Topiary") as e:
        write(path, net, drawn)
    assert path.name in str(e.value)
    assert files_in(tmp_path) == before


@pytest.mark.parametrize("name", ["checkpoint", "table", "stack"])
def test_unless_it_is_said_and_own_results_are_replaced(tmp_path, net, drawn, name):
    write, file = WRITERS[name]
    path = tmp_path / file
    path.write_bytes(WORDS)
    write(path, net, drawn, overwrite=True)
    written = path.read_bytes()
    assert written != WORDS
    write(path, net, drawn)
    assert path.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="pipes and links are of Unix")
@pytest.mark.parametrize("name", ["checkpoint", "training", "labels", "study"])
def test_nor_what_is_no_file(tmp_path, net, drawn, name):
    write, file = WRITERS[name]
    for kind in ("folder", "pipe", "link"):
        path = tmp_path / kind / file
        path.parent.mkdir()
        if kind == "folder" and name != "study":
            path.mkdir()
        elif kind == "link":
            path.symlink_to(tmp_path / "nowhere")
        else:
            os.mkfifo(path)
        with pytest.raises(TopiaryError, match=r"folder|pipe|link"):
            write(path, net, drawn)
        assert os.path.lexists(path)
        assert not (tmp_path / "nowhere").exists()


@pytest.fixture
def theirs(tmp_path):
    """A folder in which somebody has drawn on an image of the same name."""
    for kind, ending in (("images", "tif"), ("labels", "tif"), ("points", "csv")):
        (tmp_path / kind).mkdir()
        place = tmp_path / kind / f"a.{ending}"
        if ending == "tif":
            tifffile.imwrite(place, np.eye(40, k=len(kind), dtype=np.uint8))
        else:
            place.write_bytes(WORDS)
    return tmp_path


def test_a_data_set_keeps_what_it_would_replace(theirs, drawn):
    before = {p.relative_to(theirs): c for p, c in files_in(theirs).items()}
    write_dataset(theirs, drawn)
    write_dataset(theirs, drawn)  # nothing differs: nothing is kept again
    there = set(files_in(theirs).values())
    assert set(before.values()) <= there
    assert (theirs / "kept" / "points" / "a.csv").read_bytes() == WORDS
    assert len(list((theirs / "kept").rglob("*.csv"))) == 1


def test_a_project_keeps_what_it_would_replace(theirs, drawn, net):
    (theirs / "checkpoints").mkdir()
    (theirs / "checkpoints" / "net.safetensors").write_bytes(b"no network")
    before = set(files_in(theirs).values())
    session = Session()
    session.load_dataset(drawn)
    session.add_checkpoint("net", net)
    session.save(theirs)
    assert before <= set(files_in(theirs).values())
    again = Session.open(theirs)
    assert load_checkpoint(theirs / "checkpoints" / "net-2.safetensors")
    assert len(again.annotations["a"][0]) == 2


def test_labels_that_a_data_set_brings_keep_others(theirs, drawn, rng):
    task = Task("segment", ("background", "virion"))
    labels = Labels((rng.random((40, 40)) > 0.5).astype(np.uint8), ("virion",))
    sample = drawn.samples["a"]
    new = Sample(sample.image, (labels,), 2.0, "a")
    before = set(files_in(theirs).values())
    write_dataset(theirs, Dataset("mine", task, {"a": new}, {}))
    assert before <= set(files_in(theirs).values())
