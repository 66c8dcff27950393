"""What is wrong with the grey levels of an image, as a sentence."""

from __future__ import annotations

import numpy as np

from napari_topiary.types import Image

_TOO_MUCH = 0.99
"""Share of pixels at one end of the range from which nothing can be learned."""


def image_problem(image: Image) -> str | None:
    """Return what makes an image useless, as a sentence.

    Any number type will do; what counts is that the pixels say something.

    Parameters
    ----------
    image
        `(c, y, x)`.

    Returns
    -------
    str or None
        One sentence, None if all is well.
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
    if image.dtype.kind == "f":
        bad = int((~np.isfinite(image)).sum())
        if bad:
            return (
                f"{bad} of {image.size} pixels are not numbers (NaN or infinite): crop "
                "or fill them in the program that the image comes from."
            )
    low, high = image.min(), image.max()
    if low == high:
        return (
            f"The image is constant (every pixel is {low:g}): there is nothing to see "
            "in it; check the export."
        )
    for end, words in ((high, "brightest"), (low, "darkest")):
        share = float(np.mean(image == end))
        if share > _TOO_MUCH:
            return (
                f"{100 * share:.1f} % of the pixels have the {words} value ({end:g}): "
                "the image is saturated; export it with another contrast range."
            )
    return None
