"""The one door from the command line to the window."""

from __future__ import annotations

from importlib import import_module


def open_window(sample: str | None) -> int:
    """Open napari with the workbench, and return when it is closed.

    Parameters
    ----------
    sample
        Name of a sample dataset to show; None = nothing yet.
    """
    # By name: arrows only point down, and no verb is built on the window.
    window = import_module("napari_topiary._napari.launch")
    status: int = window.launch(sample)
    return status
