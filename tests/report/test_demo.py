"""The demo without a window: what it leaves behind, and that it can be stopped."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from napari_topiary.annotations import Points
from napari_topiary.checkpoint import Checkpoint, load_checkpoint
from napari_topiary.cli import main
from napari_topiary.errors import NotWritten
from napari_topiary.io.dataset import Dataset, Sample, sample_dataset
from napari_topiary.report import demo as demo_module
from napari_topiary.report.demo import DemoConfig, demo_report
from napari_topiary.training.trainer import Trainer
from napari_topiary.types import Progress, Stop, run

pytest.importorskip("matplotlib")

FAST = DemoConfig(minutes=0.02, shares=(0.5,))


def corner(sample: Sample, side: int = 240) -> Sample:
    """The same with fewer pixels, which are soon learned from and compared."""
    (marks,) = sample.annotations
    inside = (marks.coordinates < side).all(axis=1)
    classes = tuple(np.array(marks.classes)[inside])
    kept = Points(marks.coordinates[inside], classes)
    return replace(sample, image=sample.image[:, :side, :side], annotations=(kept,))


@pytest.fixture(autouse=True)
def _small_sample(monkeypatch):
    def read(name: str) -> Dataset:
        whole = sample_dataset(name)
        samples = {name: corner(sample) for name, sample in whole.samples.items()}
        return replace(whole, samples=samples)

    monkeypatch.setattr(demo_module, "sample_dataset", read)


def test_the_story_leaves_pictures_checkpoints_and_a_text(tmp_path, capsys):
    out, report = tmp_path / "demo", tmp_path / "result.json"
    arguments = ["demo", "--headless", "--minutes", "0.02", "--out", str(out)]
    assert main([*arguments, "--json", str(report)]) == 0
    story = json.loads((out / "story.json").read_text(encoding="utf-8"))
    assert json.loads(report.read_text(encoding="utf-8")) == story | {"notes": []}
    assert story["problems"] == []
    assert story["complete"] is True
    names = [name.split("_")[0] for name in story["pictures"]]
    assert names == ["1", "2", "3", "4", "4"]
    for name in story["pictures"]:
        with Image.open(out / name) as picture:
            assert min(picture.size) > 200
    trained, pruned = (
        load_checkpoint(out / f"{name}.safetensors") for name in ("trained", "pruned")
    )
    assert trained.sparsity == 0
    assert pruned.sparsity >= 0.8
    assert pruned.provenance["parent"] is not None
    assert story["comparison"]["checkpoints"][1]["name"] == "pruned"
    page = (out / "README.md").read_text(encoding="utf-8")
    assert all(f"({name})" in page for name in story["pictures"])
    assert "kept" in story["text"]
    assert story["text"] in capsys.readouterr().out


def test_on_a_full_disk_its_network_is_kept_elsewhere(
    trained, tmp_path, monkeypatch, capsys
):
    home, save = tmp_path / "home", Checkpoint.save
    home.mkdir()

    def full(self, path, **how):
        if path.parent != home:
            raise NotWritten(f"{path} could not be written.")
        save(self, path, **how)

    def learned(*_, **__):
        yield Progress(0, 0)
        return load_checkpoint(trained / "net.safetensors")

    monkeypatch.setattr("napari_topiary.report.demo.fit", learned)
    monkeypatch.setattr(Checkpoint, "save", full)
    monkeypatch.setattr("napari_topiary.cli.keeping._folders", lambda: [home])
    assert main(["demo", "--headless", "--out", str(tmp_path / "demo")]) == 2
    kept = home / "trained.safetensors"
    assert f"The network is in {kept}: move it soon." in capsys.readouterr().err
    assert load_checkpoint(kept).parameters


@pytest.mark.parametrize("last", ["1/4", "2/4", "3/4"])
def test_a_stopped_story_keeps_what_it_has(tmp_path, last):
    reached = False

    def watch(progress: Progress) -> None:
        nonlocal reached
        reached = reached or progress.message.startswith(last)

    story = run(demo_report(tmp_path, FAST), watch, lambda: reached)
    assert story["complete"] is False
    assert (tmp_path / "trained.safetensors").is_file()
    assert (tmp_path / "pruned.safetensors").is_file() == (last == "3/4")
    assert "stopped" in (tmp_path / "README.md").read_text(encoding="utf-8")
    assert all((tmp_path / name).is_file() for name in story["pictures"])


def test_stop_may_come_first(tmp_path):
    better = tmp_path / "trained.safetensors"
    better.write_bytes(b"of an earlier run")
    job = demo_report(tmp_path, FAST)
    next(job)
    with pytest.raises(StopIteration) as end:
        for _ in range(10_000):
            job.send(Stop)
    assert end.value.value["complete"] is False
    assert better.read_bytes() == b"of an earlier run"
    assert load_checkpoint(tmp_path / "trained-unfinished.safetensors")


def test_a_story_that_ran_out_of_memory_is_not_whole(tmp_path, monkeypatch, capsys):
    learn, times = Trainer._learn, iter(range(10_000))

    def failing(*given):
        if next(times) > 3:
            raise MemoryError
        return learn(*given)

    monkeypatch.setattr(Trainer, "_learn", failing)
    words = ["demo", "--headless", "--minutes", "0.02", "--out", str(tmp_path)]
    assert main(words) == 1
    assert "memory" in capsys.readouterr().err
    story = json.loads((tmp_path / "story.json").read_text(encoding="utf-8"))
    assert "memory" in story["problems"][0]
    assert (tmp_path / "trained.safetensors").is_file()
