"""The one exception that is meant for the person at the screen."""

from __future__ import annotations


class TopiaryError(ValueError):
    """A sentence for a biologist: what was given, what is possible, what to do.

    The workbench shows it beside the field, the command line prints it on stderr and
    exits with 2; neither shows a traceback.
    """


class NotWritten(TopiaryError, OSError):
    """A file could not be written: the disk is full, or something is in the way."""
