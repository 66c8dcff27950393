"""Somebody else's images and annotations -> a reviewed table -> a dataset folder."""

from napari_topiary.io.importing.meaning import ImportConfig
from napari_topiary.io.importing.review import (
    ImportReview,
    Reviewed,
    import_reviewed,
    review_folder,
)

__all__ = [
    "ImportConfig",
    "ImportReview",
    "Reviewed",
    "import_reviewed",
    "review_folder",
]
