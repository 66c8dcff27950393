"""The state of one project: images, what was drawn on them, and the checkpoints."""

from napari_topiary.session.contents import ImageEntry
from napari_topiary.session.recovery import (
    Recovery,
    forget_recovery,
    recoverable_projects,
    user_folder,
)
from napari_topiary.session.session import Session

__all__ = [
    "ImageEntry",
    "Recovery",
    "Session",
    "forget_recovery",
    "recoverable_projects",
    "user_folder",
]
