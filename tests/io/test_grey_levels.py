"""Which images say nothing, and in which words."""

import numpy as np
import pytest

from napari_topiary.io.image_area import image_problem

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    "dtype",
    ["uint8", "int16", "uint16", "int32", "int64", "float32", "float64", "bool"],
)
def test_any_number_type_will_do(dtype):
    image = RNG.integers(0, 120, (1, 40, 50))
    image = image > 60 if dtype == "bool" else image.astype(dtype)
    assert image_problem(image) is None


def with_pixels(value, share=1.0, dtype=np.float32):
    image = RNG.uniform(1, 99, (1, 50, 50)).astype(dtype)
    image.ravel()[: round(share * image.size)] = value
    return image


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (with_pixels(np.nan), "Every pixel is not a number"),
        (with_pixels(7), "constant (every pixel is 7)"),
        (with_pixels(255, 0.995, np.uint8), "99.5 % of the pixels have the brightest"),
        (with_pixels(0, 0.995, np.uint8), "99.5 % of the pixels have the darkest"),
        (np.zeros((1, 0, 5)), "it has no pixels"),
        (np.zeros((4, 5)), "open a stack slice-wise"),
        (np.zeros((7, 3, 4, 5)), "open a stack slice-wise"),
        (np.zeros((1, 4, 5), complex), "not grey levels"),
    ],
)
def test_useless_images_are_named_in_a_sentence(image, words):
    sentence = image_problem(image)
    assert words in sentence
    assert sentence.endswith(".")


def test_a_little_saturation_is_no_problem():
    assert image_problem(with_pixels(255, 0.9, np.uint8)) is None


def test_a_few_pixels_without_a_number_are_no_problem():
    assert image_problem(with_pixels(np.nan, 0.3)) is None
    assert image_problem(with_pixels(np.inf, 0.0004)) is None
