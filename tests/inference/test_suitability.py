"""A negative and another stain are noticed, and sound images are not taken for them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import nn

from napari_topiary.annotations import Labels
from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import PredictConfig, TrainConfig
from napari_topiary.data.prepared import prepare
from napari_topiary.inference.predict import predict
from napari_topiary.io.dataset import Sample
from napari_topiary.networks import build_network
from napari_topiary.networks.base import Network
from napari_topiary.normalisation import Contrast, Normalisation
from napari_topiary.normalisation.contrast import Colours, Faintness
from napari_topiary.normalisation.sharpness import Sharpness
from napari_topiary.types import Task, run


class AnyEnd(Network):
    """Finds a tenth in every image: what lies at the dark end, or at any that is told.

    Real networks find as much in a negative as in an image, in other places.
    """

    stride, halo, output_layers = 1, 0, ("none",)

    def __init__(self, shares=(0.1, 0.1)) -> None:
        super().__init__()
        self.shares = shares
        self.weight = nn.Parameter(torch.tensor(1.0))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        dark_tail = image.mean() - image.median() < 0
        share = self.shares[0 if dark_tail else 1]
        level = torch.quantile(image, share)
        return torch.cat([image - level, level - image], dim=1) * self.weight


def lines(seed, channels=1, side=192):
    """Dark lines on a bright ground, and where they are."""
    noise = np.random.default_rng(seed).normal(size=(side, side))
    ridge = np.abs(ndimage.gaussian_filter(noise, 5))
    there = ridge < np.quantile(ridge, 0.12)
    grey = 180 - 110 * ndimage.gaussian_filter(there.astype(float), 0.8) + 6 * noise
    return np.repeat(grey.clip(0, 255)[None], channels, axis=0), there


def learned(channels, normalise):
    material = [lines(seed, channels) for seed in range(3)]
    contrast = Contrast.of((normalise.apply(image), there) for image, there in material)
    sizes = {"base": 2, "multiplier": 1.0, "levels": 1}
    return Checkpoint(
        network="unet",
        sizes=sizes,
        in_channels=channels,
        task=Task("segment", ("background", "membrane")),
        state=build_network("unet", sizes, channels, 2).state_dict(),
        normalisation=normalise,
        annotations_summary={"contrast": contrast.to_record()},
    )


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_negative_is_told_and_inverting_heals_it(dtype, channels):
    checkpoint = learned(channels, Normalisation())
    image = lines(7, channels)[0]
    as_it_is, negative = image.astype(dtype), (255 - image).astype(dtype)
    network = AnyEnd()
    network = _on_grey(network)

    def said(pixels, **options):
        return run(
            predict(pixels, checkpoint, PredictConfig(**options), network=network)
        ).notes

    assert said(as_it_is) == ()
    (sentence,) = said(negative)
    assert sentence.startswith("The contrast of this image is the opposite")
    assert "membrane is darker than the background" in sentence
    assert "--invert" in sentence
    assert said(negative, invert=True) == ()
    assert len(said(as_it_is, invert=True)) == 1


@pytest.mark.parametrize("side", [12, 40, 90])
def test_a_small_image_says_little_about_its_contrast(side):
    """Real ones of these sizes are taken for their negatives: one in ten."""
    checkpoint = learned(1, Normalisation())
    negative = 255 - lines(7, side=side)[0]
    assert run(predict(negative, checkpoint, network=AnyEnd())).notes == ()


def test_a_network_that_clearly_finds_what_it_learned_is_believed():
    checkpoint = learned(1, Normalisation())
    negative = 255 - lines(7)[0]
    only_here = AnyEnd(shares=(0.9, 0.12))
    found = run(predict(negative, checkpoint, network=only_here))
    assert found.notes == ()


HAEMATOXYLIN, PINK, BROWN = (70, 50, 160), (230, 170, 210), (120, 75, 40)


def section(seed, body=HAEMATOXYLIN, ground=PINK):
    """A stained section with round nuclei, `(3, y, x)`, and where they are."""
    random = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(random.normal(size=(96, 96)), 4)
    there = smooth > np.quantile(smooth, 0.8)
    colours = np.where(there[None], *(np.reshape(c, (3, 1, 1)) for c in (body, ground)))
    noise = random.normal(0, 8, colours.shape)
    return (colours + noise).clip(0, 255).astype(np.uint8), there.astype(np.uint8)


@pytest.fixture(scope="module")
def stained():
    """What a training on such sections remembers of them, in a checkpoint."""
    task = Task("segment", ("background", "nucleus"))
    samples = []
    for seed in range(4):
        image, there = section(seed)
        samples.append(Sample(image, (Labels(there),), None, f"section {seed}"))
    config = TrainConfig(working_factor=1.0)
    found = prepare(samples, (), config, task=task)
    return replace(
        learned(3, found.normalisation), task=task, annotations_summary=found.summary
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda image: image, None),
        (lambda image: (image * 0.8).astype(np.uint8), None),
        (lambda image: image.astype(np.uint16) * 257, None),
        (lambda image: image[::-1, :40, :40], None),  # too small to tell
        (lambda image: image[::-1], "red and blue seem to be exchanged"),
        (lambda image: image[[1, 0, 2]], "another stain"),
        (lambda image: np.repeat(image[1:2], 3, axis=0), "another stain"),
        (lambda _: section(9, body=BROWN, ground=(225, 220, 215))[0], "another stain"),
    ],
)
def test_other_colours_than_those_learned_are_told(stained, change, words):
    image = change(section(9)[0])
    network = _on_grey(AnyEnd(shares=(0.2, 0.8)))
    notes = run(predict(np.ascontiguousarray(image), stained, network=network)).notes
    told = [note for note in notes if note.startswith("The colours of this image")]
    assert len(told) == (words is not None)
    assert words is None or words in told[0]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda image: image, False),
        (lambda image: 255 - image, False),
        (lambda image: image[:, 20:70, 10:60], False),
        (lambda image: ndimage.gaussian_filter(image, (0, 0.7, 0.7)), False),
        (lambda image: ndimage.gaussian_filter(image, (0, 3, 3)), True),
        (lambda image: ndimage.zoom(image[:, :24, :24], (1, 4, 4), order=1), True),
    ],
)
def test_what_is_much_blurrier_than_all_that_was_learned_is_told(change, told):
    pixel = Normalisation().apply
    record = Sharpness.of(pixel(lines(seed)[0]) for seed in range(3)).to_record()
    about = {"sharpness": record, **learned(1, Normalisation()).annotations_summary}
    checkpoint = replace(learned(1, Normalisation()), annotations_summary=about)
    image = np.ascontiguousarray(change(lines(7)[0]))
    notes = run(predict(image, checkpoint, network=AnyEnd())).notes
    assert [n for n in notes if "times less fine detail" in n] == [*notes][: int(told)]
    assert (Sharpness.from_record(record).problem(pixel(image)) is None) != told


def test_what_is_remembered_of_sharpness_may_be_damaged_or_missing(stained):
    assert Sharpness.from_record(stained.annotations_summary["sharpness"]).images > 2
    whole = {"lowest": [1, 2], "highest": [1, 2], "images": 3}
    assert Sharpness.from_record(whole) is not None
    for record in (None, 3, {}, {**whole, "lowest": [1]}, {**whole, "images": "x"}):
        assert Sharpness.from_record(record) is None
    assert Sharpness.of([np.ones((1, 9, 9), np.float32)]) is None  # too small
    assert Sharpness.of([np.zeros((1, 64, 64), np.float32)]) is None  # nothing there


def test_what_is_remembered_of_colours_may_be_damaged_or_missing():
    for record in (None, 3, {}, {"mean": [0.0] * 4}, {"mean": [0], "spread": [1]}):
        assert Colours.from_record(record) is None
    assert Colours.from_record({"mean": ["a"] * 4, "spread": [0] * 4}) is None
    assert Colours.of([np.zeros((1, 8, 8), np.float32)]) is None
    colours = Colours.of([section(0)[0].astype(np.float32)])
    assert Colours.from_record(colours.to_record()) == colours
    assert colours.problem(np.zeros((1, 8, 8), np.float32)) is None


def _on_grey(network):
    plain = network.forward
    network.forward = lambda image: plain(image.mean(dim=1, keepdim=True))
    return network


def test_dark_areas_fainter_than_all_that_was_learned_from_are_told():
    """Not an image like those, areas a little darker, or a blank margin."""
    random = np.random.default_rng(0)

    def image():
        made = ndimage.gaussian_filter(random.normal(size=(160, 160)), 1.0)
        return (120 + 80 * made).clip(0, 255)

    rows, columns = np.indices((160, 160))
    hole = np.hypot(rows % 80 - 40, columns % 80 - 40) < 28
    shown, margin = image(), image()
    margin[:, 100:] = 0
    how = Normalisation(regions=False)
    faintest = Faintness.of([how.apply(image()[None])])
    network = _on_grey(AnyEnd(shares=(0.2, 0.8)))
    checkpoint = learned(1, how)
    checkpoint = replace(checkpoint, annotations_summary={"faintest": faintest.lowest})
    told = {
        name: run(predict(seen[None], checkpoint, network=network)).notes
        for name, seen in {
            "as it is": shown,
            "dark": np.where(hole, shown / 4, shown),
            "a little": np.where(hole, 0.8 * shown, shown),
            "margin": margin,
        }.items()
    }
    said = [
        n
        for n, notes in told.items()
        if any("darker than the rest" in s for s in notes)
    ]
    assert said == ["dark"]
    assert "train on images that have such areas" in " ".join(told["dark"])


def test_what_is_remembered_of_contrast_may_be_damaged_or_missing():
    for record in (None, "a", [], {}, float("nan")):
        assert Faintness.from_record(record) is None
    assert Faintness.of([np.zeros((1, 8, 8), np.float32)]) is None
    assert Faintness(1.0).problem(np.zeros((1, 8, 8), np.float32)) is None
