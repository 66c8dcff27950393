"""The story without a window: what it leaves behind, and that it can be stopped."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from napari_topiary.annotations import Centerlines, Labels, Points, Regions
from napari_topiary.checkpoint import load_checkpoint
from napari_topiary.cli import main
from napari_topiary.io.dataset import Sample
from napari_topiary.story import StoryConfig, tell
from napari_topiary.story.charts import Axes, Line, save_chart
from napari_topiary.story.pictures import MARK, SIDE, panel, probability_panel
from napari_topiary.story.rows import annotated_panel, save_comparison
from napari_topiary.types import Detections, Prediction, Progress, Stop, Task, run

TASK = Task("detect", ("background", "virion", "rod"), {}, {"virion": 6.0, "rod": 3})
FAST = StoryConfig(minutes=0.05, shares=(0.5,))


def test_the_story_leaves_pictures_checkpoints_and_a_text(tmp_path, capsys):
    out, report = tmp_path / "demo", tmp_path / "result.json"
    arguments = ["demo", "--headless", "--minutes", "0.05", "--out", str(out)]
    assert main([*arguments, "--json", str(report)]) == 0
    story = json.loads((out / "story.json").read_text(encoding="utf-8"))
    told = {"notes": [], "problems": []}
    assert json.loads(report.read_text(encoding="utf-8")) == story | told
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


@pytest.mark.parametrize("last", ["1/4", "2/4", "3/4"])
def test_a_stopped_story_keeps_what_it_has(tmp_path, last):
    reached = False

    def watch(progress: Progress) -> None:
        nonlocal reached
        reached = reached or progress.message.startswith(last)

    story = run(tell(tmp_path, FAST), watch, lambda: reached)
    assert story["complete"] is False
    assert (tmp_path / "trained.safetensors").is_file()
    assert (tmp_path / "pruned.safetensors").is_file() == (last == "3/4")
    assert "stopped" in (tmp_path / "README.md").read_text(encoding="utf-8")
    assert all((tmp_path / name).is_file() for name in story["pictures"])


def test_stop_may_come_first(tmp_path):
    job = tell(tmp_path, FAST)
    next(job)
    with pytest.raises(StopIteration) as end:
        for _ in range(10_000):
            job.send(Stop)
    assert end.value.value["complete"] is False


# ------------------------------------------------------------------- pictures
def colour_at(shown, y, x):
    place = (round((x + 0.5) * shown.zoom), round((y + 0.5) * shown.zoom))
    return shown.picture.getpixel(place)


def hex_of(rgb):
    return "#{:02x}{:02x}{:02x}".format(*rgb)


def test_a_panel_stretches_brightness_and_takes_any_type():
    ramp = np.linspace(1000, 3000, 64 * 40).reshape(1, 64, 40).astype(np.uint16)
    shown = panel(ramp, "ramp")
    assert max(shown.picture.size) == SIDE
    assert colour_at(shown, 1, 1)[0] < 10
    assert colour_at(shown, 62, 38)[0] > 245
    for odd in (np.zeros((1, 8, 8)), np.full((1, 8, 8), np.nan), ramp[:, :1, :1]):
        assert panel(odd, "odd").picture.size


def test_marks_are_drawn_where_the_annotations_are():
    polygon = np.array([[2.0, 2], [2, 50], [50, 50], [50, 2]])
    sample = Sample(
        np.random.default_rng(0).integers(0, 255, (1, 60, 60), np.uint8),
        (
            Points(np.array([[30.0, 20.0]]), ("virion",)),
            Centerlines((np.array([[10.0, 40], [40, 40]]),), ("rod",)),
            Regions((polygon,), ("polygon",)),
        ),
    )
    shown = annotated_panel(sample, TASK, "marked")
    assert hex_of(colour_at(shown, 30, 26)) == MARK  # right end of the circle
    assert hex_of(colour_at(shown, 25, 40)) == MARK  # on the centerline
    assert hex_of(colour_at(shown, 30, 50)) == "#ffffff"  # edge of the region


def test_labels_are_tinted_and_the_rest_is_not():
    labels = np.zeros((40, 40), np.uint8)
    labels[10:30, 10:30] = 1
    sample = Sample(np.eye(40)[None], (Labels(labels),))
    shown = annotated_panel(sample, TASK, "labels")
    inside, outside = colour_at(shown, 20, 12), colour_at(shown, 5, 30)
    assert len(set(outside)) == 1
    assert len(set(inside)) > 1


def prediction(place, probability):
    found = Detections(np.array([place]), np.array([1]), np.array([0.9]))
    grid = np.full((3, 30, 30), 0.0, np.float32)
    grid[0], grid[1] = 1 - probability, probability
    labels = np.zeros((60, 60), np.uint8)
    return Prediction(grid, (60, 60), TASK, None, labels, found, checkpoint="net")


def test_a_comparison_row_counts_what_changed(tmp_path):
    sample = Sample(np.eye(60)[None], (), name="eye")
    pair = prediction((20.0, 20.0), 0.2), prediction((40.0, 45.0), 0.9)
    entry = save_comparison(tmp_path / "row.png", sample, pair)
    assert (entry["kept"], entry["lost"], entry["gained"]) == (0, 1, 1)
    with Image.open(tmp_path / "row.png") as picture:
        assert picture.width > 5 * SIDE
    bright = probability_panel(pair[1].probability, "b").picture.getpixel((9, 9))
    dark = probability_panel(pair[0].probability, "a").picture.getpixel((9, 9))
    assert sum(bright) > sum(dark)


def test_a_chart_draws_its_lines_and_survives_having_none(tmp_path):
    lines = [Line("loss", [(0, 0.9), (10, 0.1)], "#d06000", marks=True)]
    save_chart(tmp_path / "a.png", lines, Axes("Training", "seconds"))
    save_chart(tmp_path / "b.png", [Line("none", [], "#d06000")], Axes("?", "s"))
    with Image.open(tmp_path / "a.png") as a, Image.open(tmp_path / "b.png") as b:
        inked = [(np.array(p) == (0xD0, 0x60, 0)).all(axis=2).sum() for p in (a, b)]
    assert inked[0] > 300
    assert inked[1] == 0
