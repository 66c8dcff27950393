"""Images of any size, predicted from file to file."""

from napari_topiary.inference.large.finding import Said
from napari_topiary.inference.large.measuring import measure_all, predict_window
from napari_topiary.inference.large.running import predict_large
from napari_topiary.inference.large.writing import LargePrediction, ResultFiles

__all__ = [
    "LargePrediction",
    "ResultFiles",
    "Said",
    "measure_all",
    "predict_large",
    "predict_window",
]
