"""The command line: every verb without a window."""

from napari_topiary.cli.dispatch import main

__all__ = ["main"]
