"""What is found depends on the place, not on what else stands in the picture."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import nn

from napari_topiary.annotations import Labels, TargetConfig
from napari_topiary.checkpoint import Checkpoint
from napari_topiary.inference.network_input import REGIONS
from napari_topiary.inference.predict import predict
from napari_topiary.io.dataset import Sample
from napari_topiary.networks import build_network
from napari_topiary.networks.base import Network
from napari_topiary.normalisation import Normalisation
from napari_topiary.normalisation.illumination import parts_of
from napari_topiary.normalisation.normalisation import normalisation_for
from napari_topiary.normalisation.regions import regions_of
from napari_topiary.types import Task, run

SIDE = 224
Y, X = np.mgrid[:SIDE, :SIDE]
LEFT, MIDDLE = X < SIDE // 2, SIDE // 2
RIM = 10
TASK = Task("segment", ("background", "spot"))
SIZES = {"base": 2, "multiplier": 1.0, "levels": 1}


class Spots(Network):
    """Says "spot" where it is brighter than usual."""

    stride, halo, output_layers = 1, 1, ("none",)

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(4.0))

    def forward(self, image):
        grey = image.mean(dim=1, keepdim=True)
        smooth = nn.functional.avg_pool2d(grey, 3, 1, 1, count_include_pad=False)
        return torch.cat([self.weight * (0.6 - smooth), smooth * 0], dim=1)


def micrograph(rng):
    spots = gaussian_filter(rng.normal(0, 1, (SIDE, SIDE)), 3)
    return 100 + 60 * (spots > spots.std()) + rng.normal(0, 8, (SIDE, SIDE))


def disc(y, x, radius):
    return np.hypot(Y - y, X - x) < radius


def mosaic(image, rng, tiles, gain, offset):
    """Tiles of other brightness; the first is as it was."""
    made, side = image.copy(), SIDE // tiles
    for tile in range(1, tiles**2):
        top, left = (at * side for at in divmod(tile, tiles))
        place = np.s_[top : top + side, left : left + side]
        made[place] = made[place] * (1 + gain * rng.uniform(-1, 1))
        made[place] += offset * rng.uniform(-1, 1)
    return made


def contrast(image, gain):
    return np.where(LEFT, image, 110 + (image - 110) * gain)


def corner(n):
    return (X < SIDE // n - RIM) & (Y < SIDE // n - RIM)


OUT = ((X - MIDDLE) ** 2 + (Y - MIDDLE) ** 2) / (2 * MIDDLE**2)
LARGE, SMALL = disc(150, 160, 55), disc(160, 165, 24)
QUARTER = (X > MIDDLE) & (Y > MIDDLE)
OUT_OF_QUARTER = (X < MIDDLE - RIM) | (Y < MIDDLE - RIM)
DIAGONAL, CURVE = X + Y >= SIDE, X >= MIDDLE + 30 * np.sin(Y / 30)
APERTURE, HOLES = disc(MIDDLE, MIDDLE, 95), np.hypot(Y % 112 - 56, X % 112 - 56) < 34
STRIPE = abs(Y - MIDDLE) < 30
# What is done to the image, and where nothing is.
ELSE = {
    "half in the dark": (lambda i, r: np.where(LEFT, i, i * 0.1), LEFT),
    "half five times as bright": (lambda i, r: np.where(LEFT, i, i * 5), LEFT),
    "a step of four deviations": (lambda i, r: np.where(LEFT, i, i + 120), LEFT),
    "a step of thirty down": (lambda i, r: np.where(LEFT, i, i - 900), LEFT),
    "half with four times the contrast": (lambda i, r: contrast(i, 4), LEFT),
    "half with a quarter of the contrast": (lambda i, r: contrast(i, 0.25), LEFT),
    "growing gain": (lambda i, r: i * (1 + 3 * X / SIDE), X >= 0),
    "less gain outwards": (lambda i, r: i * (1 - 0.8 * OUT), X >= 0),
    "a gradient": (lambda i, r: i + 300 * X / SIDE, X >= 0),
    "half of it the negative": (lambda i, r: np.where(LEFT, i, 255 - i), LEFT),
    "half of it noise": (lambda i, r: np.where(LEFT, i, r.normal(3, 1, i.shape)), LEFT),
    "one bright object": (lambda i, r: np.where(SMALL, i * 10, i), X < 130),
    "a large bright object": (lambda i, r: np.where(LARGE, i * 30, i), X < 90),
    "one dark object": (lambda i, r: np.where(SMALL, i - 3000, i), X < 130),
    "a saturated corner": (lambda i, r: np.where(QUARTER, 255, i), OUT_OF_QUARTER),
    "a corner at 65,535": (lambda i, r: np.where(QUARTER, 65535, i), OUT_OF_QUARTER),
    "a dark stripe": (lambda i, r: np.where(STRIPE, i * 0.05, i), abs(Y - MIDDLE) > 40),
    "a black stripe": (lambda i, r: np.where(STRIPE, 0, i), abs(Y - MIDDLE) > 40),
    "four tiles, offsets": (lambda i, r: mosaic(i, r, 2, 0, 100), corner(2)),
    "four tiles, gains": (lambda i, r: mosaic(i, r, 2, 0.6, 0), corner(2)),
    "sixteen tiles, gains": (lambda i, r: mosaic(i, r, 4, 0.6, 0), corner(4)),
    "a step along a diagonal": (lambda i, r: np.where(DIAGONAL, i + 120, i), X >= 0),
    "a step along a curve": (lambda i, r: np.where(CURVE, i + 120, i), X >= 0),
    "five times as bright along a curve": (
        lambda i, r: np.where(CURVE, i * 5, i),
        X >= 0,
    ),
    "a brighter surround": (lambda i, r: np.where(APERTURE, i, i + 300), X >= 0),
    "a darker surround": (lambda i, r: np.where(APERTURE, i, i * 0.05), X >= 0),
    "a bright surround of noise": (
        lambda i, r: np.where(APERTURE, i, r.normal(500, 8, i.shape)),
        APERTURE,
    ),
    "a dark bar of noise round it": (
        lambda i, r: np.where(APERTURE, i, r.normal(9, 3, i.shape)),
        APERTURE,
    ),
    "bright holes in a film": (lambda i, r: np.where(HOLES, i + 150, i), X >= 0),
    "holes of more contrast": (lambda i, r: np.where(HOLES, i * 3, i), X >= 0),
    "holes and a dark bar": (
        lambda i, r: np.where(HOLES, i + 200, i) * np.where(APERTURE, 1, 0.1),
        X >= 0,
    ),
}


def found(image, channels=1):
    network = build_network("unet", SIZES, channels, 2)
    made = Checkpoint(
        network="unet",
        sizes=SIZES,
        in_channels=channels,
        task=TASK,
        state=network.state_dict(),
    )
    return run(predict(image, made, network=Spots()))


def same(one, other, where):
    """Dice of two answers in a place."""
    first, second = (answer.labels[where] > 0 for answer in (one, other))
    return 2 * (first & second).sum() / max(1, first.sum() + second.sum())


@pytest.mark.parametrize("name", ELSE)
def test_the_same_content_has_the_same_answer_whatever_stands_beside_it(name):
    change, where = ELSE[name]
    rng = np.random.default_rng(0)
    image = micrograph(rng)
    alone, together = found(image), found(change(image, rng).astype(np.float32))
    assert 0.05 < alone.labels[where].mean() < 0.4
    assert same(alone, together, where) > 0.93
    moved = np.abs(alone.probability - together.probability)[1][where]
    assert moved.mean() < 0.03


def dense(share, rng):
    """Spots whose number is a share `(y, x)` of those that there may be."""
    seeds = (rng.random((SIDE, SIDE)) < 0.004 * share).astype(float)
    spots = 60 * (gaussian_filter(seeds, 3) > 0.008)
    return (100 + spots + rng.normal(0, 8, (SIDE, SIDE))).astype(np.float32)


CONTENT = {
    "more of it to one side": lambda r: dense(X / SIDE, r),
    "all of it in one half": lambda r: dense(np.where(LEFT, 0, 1), r),
    "sharp at one side only": lambda r: np.where(
        LEFT, gaussian_filter(i := dense(Y * 0 + 1, r), 2), i
    ),
}


@pytest.mark.parametrize("name", CONTENT)
def test_what_is_content_is_not_evened_out(name):
    image = CONTENT[name](np.random.default_rng(0))
    (part,) = parts_of(image, np.ones((SIDE, SIDE), bool))
    assert part.slope is None
    assert part.gain is None


def nuclei(rng):
    """Round bodies with texture on a ground of noise."""
    texture = 8 * gaussian_filter(rng.normal(0, 1, (SIDE, SIDE)), 2) / 0.14
    inside = np.hypot(Y % 75 - 37, X % 75 - 37) < 25
    return np.where(inside, 120 + texture, 20) + rng.normal(0, 2, (SIDE, SIDE))


WHOLE = {
    "spots": micrograph,
    "spots on a slope": lambda r: micrograph(r) + 300 * X / SIDE,
    "spots in darker corners": lambda r: micrograph(r) * (1 - 0.8 * OUT),
    "nuclei": nuclei,
    "a bright thing": lambda r: np.where(LARGE, 200, 10) + r.normal(0, 1, X.shape),
}


@pytest.mark.parametrize("name", WHOLE)
def test_what_is_content_is_not_divided(name):
    image = WHOLE[name](np.random.default_rng(0)).astype(np.float32)
    assert regions_of(image, np.ones((SIDE, SIDE), bool)) == []


def test_of_a_large_image_parts_look_as_in_the_whole():
    rng = np.random.default_rng(0)
    image = np.where(HOLES, (i := micrograph(rng)) + 300, i)[None].astype(np.float32)
    image = image.repeat(3, axis=1).repeat(3, axis=2)
    thin, area = image[:, ::3, ::3], np.ones((SIDE, SIDE), bool)
    shape = image.shape[1:]
    fitted = Normalisation().fitted(thin, area, shape=shape, step=3)
    assert len(fitted.regions) == 2
    whole = fitted.apply(image, np.ones(shape, bool))
    part = fitted.apply(
        image[:, 100:300, 301:500], np.ones((200, 199), bool), corner=(100, 301)
    )
    np.testing.assert_array_equal(part, whole[:, 100:300, 301:500])
    own = Normalisation().apply(i[None])[0]
    assert np.abs(whole[0, ::3, ::3] - own).mean() < 0.1


def test_a_person_is_told_that_areas_were_measured_by_themselves():
    rng = np.random.default_rng(0)
    image = micrograph(rng)
    assert REGIONS not in found(image).notes
    assert REGIONS in found(np.where(CURVE, image * 5, image)).notes


def test_areas_that_are_marked_are_content():
    rng = np.random.default_rng(0)
    holes = np.where(HOLES, (i := micrograph(rng)) + 300, i)[None].astype(np.float32)
    spots = i > 140
    for marked, divided in ((HOLES, False), (spots, True)):
        one = Sample(holes, (Labels(marked.astype(np.int32)),), None, "a")
        assert normalisation_for([one], TASK, TargetConfig()).regions is divided


@pytest.mark.parametrize("channel", range(3))
@pytest.mark.parametrize("stain", [0.1, 6.0])
def test_a_stain_that_is_too_strong_in_one_half_leaves_the_other(channel, stain):
    rng = np.random.default_rng(0)
    colours = np.stack([micrograph(rng) * share for share in (1, 0.7, 1.2)])
    stained = colours.copy()
    stained[channel, :, MIDDLE:] *= stain
    alone, together = found(colours, 3), found(stained, 3)
    assert same(alone, together, LEFT) > 0.93


def test_one_bright_thing_on_a_plain_ground_is_what_the_image_is_about():
    rng = np.random.default_rng(0)
    image = np.where(SMALL, 200.0, 10.0) + rng.normal(0, 1, (SIDE, SIDE))
    answer = found(image.astype(np.float32)).labels > 0
    assert answer[SMALL].mean() > 0.95
    assert answer[~disc(160, 165, 28)].mean() < 0.001
