"""What resembles a little that is painted: right, apart from what is held out, and off
where it is not needed or not to be told."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage as ndi

from napari_topiary.annotations import Labels, Regions
from napari_topiary.config import TrainConfig
from napari_topiary.data.annotated_area import WorkingGrid
from napari_topiary.data.prepared import prepare
from napari_topiary.io.dataset import Sample
from napari_topiary.training import fit
from napari_topiary.types import Task, run

TASK = Task("segment", ("background", "vesicle"))
CORNER = 72
FULL = 160


def picture(seed: int, *, gain: float = 1.0, offset: float = 0.0, told: bool = True):
    """Dark discs on a bright, noisy ground, and where they are."""
    random = np.random.default_rng(seed)
    there = np.zeros((FULL, FULL), dtype=bool)
    for y, x in random.uniform(6, FULL - 6, (45, 2)):
        grid = np.mgrid[:FULL, :FULL]
        there |= np.hypot(grid[0] - y, grid[1] - x) < random.uniform(4, 7)
    ground = ndi.gaussian_filter(random.normal(size=there.shape), 1.0)
    image = 120 - (45 * ndi.gaussian_filter(there * 1.0, 1.0) if told else 0)
    return ((image + 25 * ground) * gain + offset).astype(np.float32), there


def painted(image, there, *, side=CORNER, name="painted") -> Sample:
    """Painted in one corner, which is finished."""
    labels = np.where(np.indices(there.shape).max(axis=0) < side, there, False)
    square = np.array([[0.0, 0.0], [side - 1.0, side - 1.0]])
    known = (Labels(labels.astype(np.uint8)), Regions((square,), ("rectangle",)))
    return Sample(image[None], known, None, name)


def bare(image, name="bare") -> Sample:
    return Sample(image[None], (), None, name)


def data_of(samples, *, on=True, task=TASK):
    config = TrainConfig(working_factor=1.0, self_teaching=on)
    return prepare(samples, (), config, task=task)


@pytest.mark.parametrize(
    ("gain", "offset"), [(1.0, 0.0), (1.0, 8.0), (40.0, 9000.0), (0.5, -300.0)]
)
def test_what_resembles_it_is_labelled_however_it_was_taken(gain, offset):
    """In the rest of the image and in another, brighter or of another bit depth."""
    first, other = picture(0), picture(1, gain=gain, offset=offset)
    made = data_of([painted(*first), bare(other[0])])
    assert made.summary["labelled_pixels"] > 0.5 * FULL**2
    assert any("labelled itself" in note for note in made.notes)
    for field, (_, there) in zip(made.train, (first, other), strict=True):
        known = (field.target >= 0) & (field.weight > 0)
        assert known.mean() > 0.5
        found, truth = field.target[known] > 0, there[known]
        assert 2 * np.sum(found & truth) / (found.sum() + truth.sum()) > 0.9


def test_margins_stay_unknown():
    first, image = picture(0), picture(1)[0]
    image[:, 100:] = 0
    made = data_of([painted(*first), bare(image)])
    assert (made.train[1].target[:, 104:] < 0).all()
    assert (made.train[1].target[:, :96] >= 0).mean() > 0.5


def test_what_is_held_out_is_not_learned():
    made = data_of([painted(*picture(0)), bare(picture(1)[0])])
    assert made.held
    field = made.train[0]
    for area in made.held_back:
        assert (field.target[area.field.target >= 0] < 0).all()


def test_what_was_painted_stays_as_it_was():
    samples = [painted(*picture(0)), bare(picture(1)[0])]
    without, taught = (data_of(samples, on=on).train[0] for on in (False, True))
    known = without.target >= 0
    np.testing.assert_array_equal(taught.target[known], without.target[known])
    np.testing.assert_array_equal(taught.weight[known], without.weight[known])


def learned_names(made) -> list[str]:
    return [entry["image"] for entry in made.summary["learned"]]


def test_an_image_that_was_labelled_counts_as_learned_from():
    samples = [painted(*picture(0)), bare(picture(1)[0])]
    assert learned_names(data_of(samples)) == ["painted", "bare"]
    assert learned_names(data_of(samples, on=False)) == ["painted"]


@pytest.mark.parametrize(
    "samples",
    [
        pytest.param(lambda: [painted(*picture(0), side=FULL)], id="all painted"),
        pytest.param(
            lambda: [painted(*picture(0), side=FULL), bare(picture(1)[0])],
            id="one image painted, another not",
        ),
        pytest.param(lambda: [painted(*picture(0), side=14)], id="hardly any"),
        pytest.param(
            lambda: [painted(*picture(0, told=False)), bare(picture(1)[0])],
            id="nothing to be told",
        ),
    ],
)
def test_off_where_it_does_not_help(samples):
    made = data_of(samples())
    assert "labelled_pixels" not in made.summary
    assert len(made.train) == 1


def test_images_are_not_read_where_it_is_off(monkeypatch):
    """A hundred large images beside painted ones cost nothing."""
    seen = []
    grid = WorkingGrid.area
    monkeypatch.setattr(
        WorkingGrid, "area", lambda self, s: seen.append(s.name) or grid(self, s)
    )
    data_of([painted(*picture(0), side=FULL), bare(picture(1)[0])])
    assert seen == ["painted"]
    data_of([painted(*picture(0)), bare(picture(1)[0])])
    assert seen == ["painted", "painted", "bare"]


def test_off_for_objects():
    """Nobody knows where a labelled object would end, and how deep its pixels lie."""
    image, there = picture(0)
    numbered = ndi.label(there)[0]
    sample = painted(image, numbered)
    made = data_of([sample], task=Task("instances", ("background", "vesicle")))
    assert "labelled_pixels" not in made.summary


def test_a_network_learns_from_it():
    config = TrainConfig(preset="tiny", epochs=1, minutes=None, patch=32)
    checkpoint = run(fit([painted(*picture(0))], config, task=TASK))
    assert checkpoint.annotations_summary["labelled_pixels"] > 0.3 * FULL**2
