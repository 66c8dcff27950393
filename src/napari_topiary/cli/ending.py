"""What ends the command line before its time: signals, and a screen that is closed.

Loads at once: a person may press Ctrl-C while all the rest is being imported.
"""

from __future__ import annotations

import atexit
import io
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTED = 130
HANG_UP = getattr(signal, "SIGHUP", None)
ENDING = (signal.SIGINT, signal.SIGTERM, *([HANG_UP] if HANG_UP else []))
"""Ctrl-C, a request of the system to end, and a terminal that was closed."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, heard by the command line.

    Where Python's own breaks off code that is made on the way (a dataclass being
    imported), the process ends by the signal afterwards, caught or not.
    """


class Nobody(io.TextIOBase):
    """Where words go when the screen is closed."""

    def write(self, text: str) -> int:
        """Take a text and forget it."""
        return len(text)


@contextmanager
def hearing() -> Iterator[list[int]]:
    """Raise `Interrupted` at any of them; yields those that were heard."""
    heard: list[int] = []

    def hear(number: int, frame: FrameType | None) -> None:
        heard.append(number)
        raise Interrupted

    before = {}
    atexit.unregister(_deafen)
    atexit.register(_deafen)
    try:
        for number in ENDING:
            # Where it is ignored (a job in the background of a shell) it stays so.
            usual = (signal.default_int_handler, signal.SIG_DFL)
            if signal.getsignal(number) in usual:
                before[number] = signal.signal(number, hear)
    except ValueError:  # not in the main thread: somebody else listens
        pass
    try:
        yield heard
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _deafen() -> None:
    """Let nobody who presses Ctrl-C while Python takes itself apart undo the status."""
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)
