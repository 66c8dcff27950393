"""What is told of images before they are learned from or validated on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from napari_topiary.annotations import Labels
from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import PruneConfig, TrainConfig
from napari_topiary.data.prepared import prepare
from napari_topiary.errors import TopiaryError
from napari_topiary.io.dataset import Sample
from napari_topiary.networks import build_network
from napari_topiary.normalisation import Contrast, Normalisation
from napari_topiary.pruning import make_plan
from napari_topiary.types import Task

TASK = Task("segment", ("background", "line"))
SIZES = {"base": 2, "multiplier": 1.0, "levels": 1}


def dark_lines(seed, *, negative=False):
    noise = np.random.default_rng(seed).normal(size=(96, 96))
    ridge = np.abs(gaussian_filter(noise, 5))
    there = ridge < np.quantile(ridge, 0.12)
    grey = 180 - 110 * gaussian_filter(there.astype(float), 0.8) + 6 * noise
    image = grey.clip(0, 255)[None].astype(np.uint8)
    return Sample(
        255 - image if negative else image,
        (Labels(there.astype(np.uint8)),),
        name=f"{'negative' if negative else 'image'} {seed}",
    )


@pytest.mark.parametrize("negatives", [0, 1])
def test_the_one_image_of_opposite_contrast_is_named(negatives):
    samples = [dark_lines(n, negative=n < negatives) for n in range(6)]
    found = prepare(samples, (), TrainConfig(network="unet"), task=TASK).notes
    told = [note for note in found if "opposite" in note]
    assert len(told) == negatives
    if negatives:
        assert told[0].startswith("negative 0: the contrast is the opposite of that")
        # Images of two folders may have the same name.
        alike = [replace(one, name="image") for one in samples]
        found = prepare(alike, (), TrainConfig(network="unet"), task=TASK).notes
        assert any(note.startswith("image: the contrast is") for note in found)
        # Of two images nobody knows which is the odd one.
        pair = prepare(samples[:2], (), TrainConfig(network="unet"), task=TASK)
        assert not any("opposite" in note for note in pair.notes)


@pytest.fixture
def start():
    """A network that has learned dark lines."""
    normal = Normalisation()
    seen = [dark_lines(n) for n in (7, 8, 9)]
    contrast = Contrast.of(
        (normal.apply(one.image), one.annotations[0].labels) for one in seen
    )
    torch.manual_seed(0)
    network = build_network("unet", SIZES, 1, 2)
    return Checkpoint(
        network="unet",
        sizes=SIZES,
        in_channels=1,
        task=TASK,
        state=network.state_dict(),
        normalisation=normal,
        unpruned_parameters=sum(p.numel() for p in network.parameters()),
        annotations_summary={"contrast": contrast.to_record()},
    )


def test_a_network_knows_which_image_is_the_opposite(start):
    pair = [dark_lines(0), dark_lines(1, negative=True)]
    prepared = prepare((), pair, TrainConfig(), task=TASK, start=start, learning=False)
    (told,) = (note for note in prepared.notes if "opposite" in note)
    assert told.startswith("negative 1: the contrast is the opposite of what the net")
    assert "invert it" in told


@pytest.mark.parametrize("negative", [False, True])
def test_filters_are_not_tried_on_negatives_without_a_word(start, negative):
    images = [dark_lines(n, negative=negative) for n in (0, 1)]
    config = PruneConfig(criterion="loss", remove=0.3, batches=1, at_once=0.5)
    note = make_plan(start, config, samples=images).statistics(0.3).note
    assert ("The contrast of these images is the opposite" in note) is negative


def test_marks_tell_the_contrast_where_too_few_images_are_compared():
    learned, negative = [dark_lines(n) for n in (0, 2)], dark_lines(1, negative=True)
    (told,) = (
        note
        for note in prepare(learned, [negative], TrainConfig(), task=TASK).notes
        if "opposite" in note
    )
    assert told.startswith("negative 1: the contrast is the opposite of that of the")
    both = [dark_lines(n, negative=n % 2 == 0) for n in range(4)]
    mixed = prepare(both, (), TrainConfig(), task=TASK).notes
    assert not any("opposite" in note for note in mixed)


def test_grey_images_are_refused_for_a_network_of_colour_images():
    start = Checkpoint(network="unet", sizes=SIZES, in_channels=3, task=TASK, state={})
    with pytest.raises(TopiaryError, match="trained on colour images and these are gr"):
        prepare(
            (), [dark_lines(0)], TrainConfig(), task=TASK, start=start, learning=False
        )


def squares(*sides):
    """Labels of squares of these sides, and the image that shows them."""
    labels = np.zeros((64, 32 * len(sides)), np.uint16)
    for number, side in enumerate(sides):
        labels[4 : 4 + side, 32 * number + 4 : 32 * number + 4 + side] = number + 1
    image = np.where(labels > 0, 60, 200)[None].astype(np.uint8)
    return Sample(image, (Labels(labels, instances=True),), name=f"squares of {sides}")


def test_what_is_smaller_than_objects_that_are_learned_is_remembered():
    task = Task("instances", ("background", "cell"))
    # Of forty one is a speck: two in a hundred are no measure of what is an object.
    sides = [2, 8, 9, *range(10, 28)] + [20] * 19
    learned = [squares(*sides[:20]), squares(*sides[20:])]
    prepared = prepare(learned, [squares(12, 3)], TrainConfig(), task=task)
    assert prepared.summary["smallest_object"] == 8 * 8 / 2
    coarse = TrainConfig(working_pixel_size_nm=8)
    nm = [replace(one, scale=4.0) for one in (*learned, squares(12, 3))]
    prepared = prepare(nm[:2], nm[2:], coarse, task=task)
    assert prepared.factor == 2
    assert prepared.summary["smallest_object"] == pytest.approx(4 * 4 / 2, rel=0.3)


def test_of_classes_no_smallest_object_is_remembered():
    prepared = prepare([dark_lines(1), dark_lines(2)], [], TrainConfig(), task=TASK)
    assert "smallest_object" not in prepared.summary
