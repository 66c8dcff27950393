"""What there is to learn from, with images of which only parts are read."""

import numpy as np
import pytest
import tifffile

from napari_topiary.annotations import Points, Regions
from napari_topiary.io.large_images import open_lazily
from napari_topiary.jobs.training import TrainingData, checking
from napari_topiary.session import ImageEntry, Session
from napari_topiary.types import Task, run

AREA = Regions(([(20, 20), (20, 60), (60, 60), (60, 20)],), ("rectangle",))


@pytest.fixture
def slides(tmp_path, rng, monkeypatch):
    """A project with two slides: one is marked, of the other nothing is known."""
    monkeypatch.setattr("napari_topiary.io.large_images.LARGE", 1000)
    monkeypatch.setattr("napari_topiary.io.large_images.WHOLE_PIXELS", 1000)
    monkeypatch.setattr("napari_topiary.io.excerpts.MARGIN", 8)
    session = Session()
    session.set_task(Task("detect", ("background", "disc"), radius_px={"disc": 3.0}))
    for name in ("marked", "bare"):
        image = rng.integers(0, 255, (200, 150), dtype=np.uint8)
        tifffile.imwrite(tmp_path / f"{name}.tif", image, tile=(64, 64))
        large = open_lazily(tmp_path / f"{name}.tif")
        session.add_image(ImageEntry(name, large, None, large.path))
    drawn = (Points([(30, 30), (50, 40)], ("disc", "disc")), AREA)
    session.set_annotations("marked", drawn)
    return session


def test_only_what_is_marked_is_read(slides):
    training_data = TrainingData.of(slides)
    assert training_data.in_channels == 1
    (sample,) = training_data.read().samples
    assert sample.image.shape == (1, 57, 57)
    assert sample.whole == (200, 150)
    assert run(checking(training_data)).problem == ""


def test_a_slide_is_not_gone_through_for_look_alikes_alone(slides):
    training_data = TrainingData.of(slides)
    assert len(training_data.unannotated) == 1
    assert not training_data.read().unannotated
    slides.images["bare"].image.thinned()
    (bare,) = training_data.read().unannotated
    assert bare.excerpt is not None


def test_marks_all_over_a_slide_are_a_sentence_before_training(slides, monkeypatch):
    monkeypatch.setattr("napari_topiary.io.excerpts.MOST_PIXELS", 1000)
    found = run(checking(TrainingData.of(slides)))
    assert found.problem.startswith("marked: What is marked spreads over more")
