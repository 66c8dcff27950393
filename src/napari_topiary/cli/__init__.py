"""The command line: every verb without a window."""

from napari_topiary.cli.main import main

__all__ = ["main"]
