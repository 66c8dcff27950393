"""Images of any size, predicted from file to file."""

from napari_topiary.inference.large.running import predict_large
from napari_topiary.inference.large.writing import LargePrediction

__all__ = ["LargePrediction", "predict_large"]
