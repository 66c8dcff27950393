"""What is wrong with the grey levels of an image, as a sentence."""

from __future__ import annotations

import numpy as np

from napari_topiary.io.image_area import BLANK
from napari_topiary.types import Image


def kind_problem(image: Image) -> str | None:
    """Return why something is not one image of grey levels or colours, as a sentence.

    Parameters
    ----------
    image
        `(c, y, x)`.
    """
    if image.ndim != 3:
        return (
            f"The image has the shape {image.shape}; one 2-D image is needed: open a "
            "stack slice-wise."
        )
    if image.size == 0:
        return "The image is empty: it has no pixels."
    if image.dtype.kind not in "buif":
        return (
            f"The image holds {image.dtype} values, which are not grey levels: save it "
            "as 8, 16 or 32 bit."
        )
    return None


def image_problem(image: Image) -> str | None:
    """Return what makes an image useless, as a sentence.

    Any number type will do; what counts is that the pixels say something. Pixels that
    are not numbers are left out, like a margin, as long as there are others.

    Parameters
    ----------
    image
        `(c, y, x)`.

    Returns
    -------
    str or None
        One sentence, None if all is well.
    """
    sentence = kind_problem(image)
    if sentence is not None:
        return sentence
    values = image[np.isfinite(image)] if image.dtype.kind == "f" else image
    if values.size == 0:
        return (
            "Every pixel is not a number (NaN or infinite): there is nothing to see in "
            "the image; check the export."
        )
    low, high = values.min(), values.max()
    if low == high:
        return (
            f"The image is constant (every pixel is {low:g}): there is nothing to see "
            "in it; check the export."
        )
    for end, words in ((high, "brightest"), (low, "darkest")):
        share = float(np.mean(values == end))
        if share > BLANK:
            return (
                f"{100 * share:.1f} % of the pixels have the {words} value ({end:g}): "
                "the image is saturated; export it with another contrast range."
            )
    return None
