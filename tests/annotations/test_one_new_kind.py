"""A new kind of annotation is one file: found by itself, stored, checked, learned."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

import numpy as np
import pytest

from napari_topiary.annotations import annotation_kinds, build_target, rescaled
from napari_topiary.config import TrainConfig
from napari_topiary.errors import TopiaryError
from napari_topiary.io.dataset import Dataset, Sample, read_dataset
from napari_topiary.io.dataset_writing import write_dataset
from napari_topiary.session import ImageEntry, Session
from napari_topiary.training import fit
from napari_topiary.types import Task, run

room = import_module("napari_topiary.annotations")
TASK = Task("segment", ("background", "cell"))


@pytest.fixture
def boxes(new_file: Callable[..., None]) -> type:
    """A kind that was put into the folder as a file, and found."""
    new_file(room, annotation_kinds, "boxes")
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
