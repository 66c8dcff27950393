"""PNG, JPEG and BMP."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import imageio.v3 as iio
import numpy as np

from napari_topiary.io.formats.base import RawImage, image_formats


@image_formats.register("pictures")
class Pictures:
    """Ordinary pictures; they do not know their pixel size."""

    suffixes: ClassVar[tuple[str, ...]] = (".png", ".jpg", ".jpeg", ".bmp")

    @staticmethod
    def read(path: Path) -> RawImage:
        """Read a picture."""
        # Named, because otherwise a damaged file is offered to every plugin in turn.
        array = np.asarray(iio.imread(path, plugin="pillow"))
        return RawImage(array, "yx" if array.ndim == 2 else "yxs")
