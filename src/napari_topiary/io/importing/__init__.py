"""Somebody else's images and annotations -> a reviewed table -> a dataset folder."""

from napari_topiary.io.importing.meaning import ImportConfig
from napari_topiary.io.importing.review import (
    Review,
    Reviewed,
    import_reviewed,
    review_folder,
)

__all__ = ["ImportConfig", "Review", "Reviewed", "import_reviewed", "review_folder"]
