"""Training and fine-tuning: samples -> checkpoint."""

from napari_topiary.data.working_grid import propose_working_factor
from napari_topiary.evaluation.quality import Quality
from napari_topiary.evaluation.validate import validate, validation_data
from napari_topiary.networks.pruning_schedule import (
    FixedShape,
    PrunedShape,
    PruningSchedule,
)
from napari_topiary.training.loop import fit
from napari_topiary.training.record import Preview, PreviewRequest, TrainReport

__all__ = [
    "FixedShape",
    "Preview",
    "PreviewRequest",
    "PrunedShape",
    "PruningSchedule",
    "Quality",
    "TrainReport",
    "fit",
    "propose_working_factor",
    "validate",
    "validation_data",
]
