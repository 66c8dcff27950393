"""Patches around single pixels: the right pixel, every class, nested selections."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_topiary.data.centre_sampling import (
    CentreSampler,
    Surroundings,
    centre_pixels,
)
from napari_topiary.data.sampling import Field
from napari_topiary.errors import TopiaryError


def field(
    height: int, width: int, *, seed: int = 0, channels: int = 1, teacher: bool = False
) -> Field:
    """An image whose pixels are all different, with three classes, some unknown."""
    rng = np.random.default_rng(seed)
    image = rng.permutation(channels * height * width).astype(np.float32) + 1e4 * seed
    target = rng.choice([-1, 0, 0, 0, 1, 2], size=(height, width)).astype(np.int16)
    weight = rng.random((height, width)).astype(np.float32)
    known = rng.random((3, height, width)).astype(np.float16) if teacher else None
    return Field(image.reshape(channels, height, width), target, weight, known)


@given(
    n=st.integers(0, 80),
    more=st.integers(0, 80),
    balance=st.sampled_from(["natural", "classes"]),
)
def test_larger_selections_contain_the_smaller(n: int, more: int, balance: str) -> None:
    target = field(11, 13).target
    first = centre_pixels(target, n, seed=3, balance=balance)
    longer = centre_pixels(target, n + more, seed=3, balance=balance)
    np.testing.assert_array_equal(longer[: len(first)], first)
    assert len(np.unique(longer)) == len(longer) == min(n + more, (target >= 0).sum())
    assert (target.ravel()[longer] >= 0).all()


def test_balanced_selections_have_as_many_of_each_class() -> None:
    target = field(30, 30).target
    rarest = min(np.bincount(target[target >= 0]))
    chosen = centre_pixels(target, 3 * rarest, balance="classes")
    np.testing.assert_array_equal(np.bincount(target.ravel()[chosen]), 3 * [rarest])
    every = centre_pixels(target, balance="classes")
    np.testing.assert_array_equal(np.sort(every), np.flatnonzero(target >= 0))


def test_other_seeds_choose_other_pixels() -> None:
    target = field(30, 30).target
    assert set(centre_pixels(target, 20, seed=0)) != set(
        centre_pixels(target, 20, seed=1)
    )


@pytest.mark.parametrize("patch", [5, 8, 55])
def test_patches_are_those_of_the_mirrored_image(patch: int) -> None:
    fields = [field(9, 14, channels=2), field(20, 4, seed=1, channels=2)]
    around = Surroundings(fields, patch)
    pixels = np.array([0, 13, 125, 126, 126 + 79, 60])
    places = [(0, 0, 0), (0, 0, 13), (0, 8, 13), (1, 0, 0), (1, 19, 3), (0, 4, 4)]
    half = patch // 2
    for patches, (index, y, x) in zip(around.around(pixels), places, strict=True):
        image = fields[index].image
        grow = ((0, 0), (half, patch - 1 - half), (half, patch - 1 - half))
        grown = np.pad(image, grow, mode="reflect")
        np.testing.assert_array_equal(patches, grown[:, y : y + patch, x : x + patch])
        np.testing.assert_array_equal(patches[:, half, half], image[:, y, x])


@pytest.mark.parametrize("patch", [7, 8])
@pytest.mark.parametrize("turn", [False, True])
def test_the_target_is_that_of_the_centre(patch: int, turn: bool) -> None:
    """However a patch is turned, the pixel at half its side is the one that counts."""
    fields = [field(9, 14, teacher=True), field(6, 30, seed=1, teacher=True)]
    truth = {
        float(value): (int(cls), float(weight), tuple(float(t) for t in said))
        for f in fields
        for value, cls, weight, said in zip(
            f.image.ravel(),
            f.target.ravel(),
            f.weight.ravel(),
            f.teacher.reshape(3, -1).T,
            strict=True,
        )
    }
    sampler = CentreSampler(fields, patch=patch, seed=0, turn=turn)
    batch = sampler.draw(200)
    assert batch.image.shape == (200, 1, patch, patch)
    assert batch.target.shape == batch.weight.shape == (200, 1, 1)
    assert batch.teacher is not None
    assert batch.teacher.shape == (200, 3, 1, 1)
    for i, image in enumerate(batch.image[:, 0]):
        cls, weight, said = truth[float(image[patch // 2, patch // 2])]
        assert cls == batch.target[i, 0, 0] >= 0
        assert weight == pytest.approx(float(batch.weight[i, 0, 0]))
        assert said == pytest.approx(batch.teacher[i, :, 0, 0].tolist())


def test_turning_shows_all_eight_ways() -> None:
    image = np.arange(25, dtype=np.float32).reshape(1, 5, 5)
    target = np.full((5, 5), -1, dtype=np.int16)
    target[2, 2] = 1
    one = Field(image, target, np.ones((5, 5), np.float32))
    drawn = CentreSampler([one], patch=5, seed=0, turn=True).draw(64).image
    assert len({tuple(p.ravel().tolist()) for p in drawn}) == 8
    still = CentreSampler([one], patch=5, seed=0).draw(64).image
    assert (still == still[0]).all()


def test_balance() -> None:
    rare = np.zeros((40, 40), np.int16)
    rare[3, 3:7] = 1
    one = Field(np.zeros((1, 40, 40), np.float32), rare, np.ones((40, 40), np.float32))
    shares = {
        balance: float(
            CentreSampler([one], patch=3, seed=0, balance=balance)
            .draw(2000)
            .target.float()
            .mean()
        )
        for balance in ("classes", "natural")
    }
    assert shares["classes"] == pytest.approx(0.5, abs=0.05)
    assert shares["natural"] == pytest.approx(4 / 1600, abs=0.005)


def test_only_the_selection_is_drawn() -> None:
    fields = [field(20, 20), field(20, 20, seed=1)]
    sampler = CentreSampler(fields, patch=3, seed=5, balance="natural", pixels=12)
    assert sampler.known_pixels == 12
    centres = sampler.draw(500).image[:, 0, 1, 1]
    target = np.concatenate([f.target.ravel() for f in fields])
    values = np.concatenate([f.image.ravel() for f in fields])
    chosen = values[centre_pixels(target, 12, seed=5)]
    assert set(centres.tolist()) == set(chosen.tolist())


def test_same_seed_same_patches() -> None:
    first, second = (CentreSampler([field(20, 20)], patch=9, seed=4) for _ in range(2))
    assert (first.draw(9).image == second.draw(9).image).all()


def test_nothing_known_is_a_sentence() -> None:
    one = field(5, 5)
    one.target[:] = -1
    with pytest.raises(TopiaryError, match="no pixel is annotated"):
        CentreSampler([one], patch=3, seed=0)
