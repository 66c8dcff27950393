"""Running a network over an image, and reading its answer.

The two are separate steps: thresholds, spacing and sizes are moved live, without the
network.
"""

from napari_topiary.prediction.exporting import (
    export_endings,
    export_kinds,
    export_problem,
    write_exports,
    write_summary,
)
from napari_topiary.prediction.measures import (
    objects_table,
    summary_rows,
    summary_table,
)
from napari_topiary.prediction.predict import predict
from napari_topiary.prediction.results import (
    ResultFormat,
    is_written,
    write_prediction,
    write_stack_prediction,
)
from napari_topiary.prediction.suitability import (
    Seen,
    as_channels,
    as_seen,
    channels_problem,
    checked_image,
    working_factor_for,
)

__all__ = [
    "ResultFormat",
    "Seen",
    "as_channels",
    "as_seen",
    "channels_problem",
    "checked_image",
    "export_endings",
    "export_kinds",
    "export_problem",
    "is_written",
    "objects_table",
    "predict",
    "summary_rows",
    "summary_table",
    "working_factor_for",
    "write_exports",
    "write_prediction",
    "write_stack_prediction",
    "write_summary",
]
