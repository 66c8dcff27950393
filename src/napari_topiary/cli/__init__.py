"""The command line: every verb without a window.

Nothing is imported here but what hears Ctrl-C: the rest takes a second, and a person
may press it in the first.
"""

from __future__ import annotations

import atexit
import io
import signal
import sys
from collections.abc import Iterator, Sequence
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


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv
        Arguments without the program's name; None = those of the process.

    Returns
    -------
    int
        The exit status.
    """
    with _terminating_as_interrupting() as heard:
        try:
            from napari_topiary.cli.dispatch import main as dispatch

            return dispatch(argv)
        except BaseException as error:
            # Libraries that are just being imported turn it into errors of their own.
            if not heard and not isinstance(error, KeyboardInterrupt):
                raise
            sys.stderr.write("Interrupted.\n")
            return INTERRUPTED


@contextmanager
def _terminating_as_interrupting() -> Iterator[list[int]]:
    """Let all signals do the same; yields those that were heard."""
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


__all__ = ["Interrupted", "main"]
