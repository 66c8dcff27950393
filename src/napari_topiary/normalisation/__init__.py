"""How bright an image is, and how it is brought to what a network has learned from."""

from napari_topiary.normalisation.contrast import Contrast
from napari_topiary.normalisation.normalisation import Normalisation

__all__ = ["Contrast", "Normalisation"]
