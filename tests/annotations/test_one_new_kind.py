"""A new kind of annotation is one file: found by itself, stored, checked, learned."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from napari_topiary.annotations import annotation_kinds, build_target, rescaled
from napari_topiary.config import TrainConfig
from napari_topiary.errors import TopiaryError
from napari_topiary.io.dataset import Dataset, Sample, read_dataset
from napari_topiary.io.dataset_writing import write_dataset
from napari_topiary.registry import find_members
from napari_topiary.session import ImageEntry, Session
from napari_topiary.training import fit
from napari_topiary.types import Task, run

FILE = '''
"""Upright boxes around things."""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np

from napari_topiary.annotations.base import TableAnnotation, annotation_kinds
from napari_topiary.annotations.columns import unknown_class_problem

COLUMNS = ("top", "left", "bottom", "right")


@annotation_kinds.register("boxes")
@dataclass(frozen=True)
class Boxes(TableAnnotation):
    """Each `(top, left, bottom, right)` in pixels, with a class."""

    corners: tuple[tuple[float, ...], ...]
    classes: tuple[str, ...]

    kind: ClassVar[str] = "boxes"
    storage: ClassVar[Literal["table", "image"]] = "table"

    def __len__(self):
        return len(self.corners)

    def draw(self, canvas):
        painted = np.zeros(canvas.shape, dtype=np.int16)
        for (top, left, bottom, right), name in zip(self.corners, self.classes):
            box = np.s_[round(top) : round(bottom), round(left) : round(right)]
            painted[box] = canvas.task.classes.index(name)
        canvas.fill(painted)

    def problem(self, shape, *, task, scale, radii):
        return unknown_class_problem(self.classes, task, "boxes")

    def counts(self):
        return {("box", "boxes"): len(self)}

    def places(self):
        return tuple(np.reshape(box, (2, 2)) for box in self.corners)

    def placed(self, places):
        return replace(self, corners=tuple(tuple(np.ravel(one)) for one in places))

    def usable(self, shape, *, task, scale):
        return self, ()

    def rescaled(self, factor_yx):
        pairs = factor_yx * 2
        corners = (tuple(a * f for a, f in zip(box, pairs)) for box in self.corners)
        return replace(self, corners=tuple(corners))

    def marked_classes(self, task):
        return {0} | {task.classes.index(name) for name in self.classes}

    def renamed(self, named):
        return replace(self, classes=tuple(named.get(c, c) for c in self.classes))

    def without_class(self, name, index):
        kept = [p for p in zip(self.corners, self.classes) if p[1] != name]
        corners, classes = tuple(zip(*kept)) or ((), ())
        return replace(self, corners=corners, classes=classes)

    def to_layer_data(self, name, task, scale):
        boxes = [np.array([box[:2], box[2:]]) for box in self.corners]
        features = {"class": list(self.classes)}
        return boxes, {"name": name, "features": features}, "shapes"

    @classmethod
    def from_layer_data(cls, data, meta):
        corners = tuple(tuple(np.ravel(box).tolist()) for box in data)
        return cls(corners, tuple(meta["features"]["class"]))

    def to_table(self):
        rows = list(zip(*self.corners)) or [()] * 4
        return {**dict(zip(COLUMNS, map(list, rows))), "class": list(self.classes)}

    @classmethod
    def from_table(cls, table):
        columns = [[float(one) for one in table[name]] for name in COLUMNS]
        return cls(tuple(zip(*columns)), tuple(table["class"]))
'''
room = import_module("napari_topiary.annotations")
TASK = Task("segment", ("background", "cell"))


@pytest.fixture
def boxes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> type:
    """A kind that was put into the folder as a file, and found."""
    folder = tmp_path / "kinds"
    folder.mkdir()
    (folder / "boxes.py").write_text(FILE, encoding="utf-8")
    monkeypatch.setattr(room, "__path__", [*room.__path__, str(folder)])
    monkeypatch.setattr(annotation_kinds, "_things", dict(annotation_kinds._things))
    find_members(room.__name__, room.__path__)
    del sys.modules[f"{room.__name__}.boxes"]
    return annotation_kinds["boxes"]


@pytest.fixture
def sample(boxes: type) -> Sample:
    image = np.random.default_rng(0).normal(100, 5, (1, 48, 64)).astype(np.float32)
    image[:, 8:24, 8:24] += 60
    image[:, 28:40, 40:56] += 60
    drawn = boxes(((8.0, 8.0, 24.0, 24.0), (28.0, 40.0, 40.0, 56.0)), ("cell", "cell"))
    return Sample(image, (drawn,), None, "m")


def test_it_is_stored_and_read_in_a_folder_of_its_name(sample, tmp_path):
    dataset = Dataset("boxed", TASK, {"m": sample})
    write_dataset(tmp_path / "set", dataset)
    assert (tmp_path / "set" / "boxes" / "m.csv").is_file()
    (again,) = read_dataset(tmp_path / "set").samples.values()
    assert again.annotations == sample.annotations


def test_it_is_checked_and_learned(sample):
    (drawn,) = sample.annotations
    target = build_target((rescaled(drawn, 0.5),), (24, 32), task=TASK).classes
    assert (target[4:12, 4:12] == 1).all() and (target > 0).sum() == 64 + 48
    config = TrainConfig(preset="tiny", epochs=4, minutes=None, patch=32, batch=2)
    made = run(fit([sample], config, task=TASK, validation=[sample]))
    assert made.provenance["complete"] and made.annotations_summary["images"] == 2
    with pytest.raises(TopiaryError, match="cell"):
        run(fit([sample], config, task=Task("segment", ("background", "nucleus"))))


def test_a_project_keeps_it(sample, tmp_path):
    session = Session()
    session.set_task(TASK)
    session.add_image(ImageEntry("m", sample.image, None))
    session.set_annotations("m", sample.annotations)
    session.rename_class("cell", "nucleus")
    (kept,) = session.annotations["m"]
    assert kept.classes == ("nucleus", "nucleus")
    session.save(tmp_path / "project")
    again = Session.open(tmp_path / "project")
    assert again.annotations["m"] == (kept,)
    again.remove_class("nucleus")
    assert not again.annotations.get("m")
