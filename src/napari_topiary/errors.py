"""The one exception that is meant for the person at the screen."""

from __future__ import annotations

import re

_ENDLESS = re.compile(r"\S{1000,}")
"""What no name or path is: damaged files and mistaken pasting have such words."""


class TopiaryError(ValueError):
    """A sentence for a biologist: what was given, what is possible, what to do.

    The workbench shows it beside the field, the command line prints it on stderr and
    exits with 2; neither shows a traceback.
    """

    def __init__(self, sentence: str = "") -> None:
        super().__init__(_ENDLESS.sub(lambda word: f"{word[0][:80]}…", sentence))


class NotWritten(TopiaryError, OSError):
    """A file could not be written: the disk is full, or something is in the way."""
