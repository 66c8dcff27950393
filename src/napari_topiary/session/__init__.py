"""The state of one project: images, what was drawn on them, and the checkpoints."""

from napari_topiary.session.commands import commands_for, parents_of
from napari_topiary.session.contents import ImageEntry
from napari_topiary.session.recovery import (
    OpenMark,
    Recent,
    Recovery,
    forget_recovery,
    recent_projects,
    recoverable_projects,
    remember_project,
    shown_last,
)
from napari_topiary.session.session import UNTITLED, Session
from napari_topiary.session.versions import SavedVersion

__all__ = [
    "UNTITLED",
    "ImageEntry",
    "OpenMark",
    "Recent",
    "Recovery",
    "SavedVersion",
    "Session",
    "commands_for",
    "forget_recovery",
    "parents_of",
    "recent_projects",
    "recoverable_projects",
    "remember_project",
    "shown_last",
]
