"""The one exception that is meant for the person at the screen."""

from __future__ import annotations

import logging
import re

logger = logging.getLogger(__name__)

IN_THE_LOG = "the log has the details"
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


_OUT_OF_MEMORY = (
    "out of memory",
    "outofmemory",
    "can't allocate memory",
    "not enough memory",
    "unable to allocate",
    "cublas_status_alloc_failed",
    "cudnn_status_alloc_failed",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that less at a time could work.

    Parameters
    ----------
    error
        What was raised; torch's CPU allocator raises a plain `RuntimeError`.
    """
    if isinstance(error, MemoryError):
        return True
    if not isinstance(error, RuntimeError):
        return False
    words = f"{type(error).__name__} {error}".lower()
    return any(phrase in words for phrase in _OUT_OF_MEMORY)


def sentence_for(error: Exception, doing: str, *, details: str = IN_THE_LOG) -> str:
    """One sentence for the user about an error; unexpected ones are logged in full.

    Parameters
    ----------
    error
        What was raised, by whatever library.
    doing
        What was being done, as in a job's title.
    details
        Where there is more about an error that nobody has foreseen.
    """
    if isinstance(error, TopiaryError):
        return str(error)
    if is_out_of_memory(error):
        return (
            f"{doing} did not work: the memory is not enough. Close other programs, or "
            "use less at a time: smaller images, smaller patches or a smaller network."
        )
    logger.error("%s failed", doing, exc_info=error)
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return f"{doing} did not work: {where}{error.strerror}."
    first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return f"{doing} did not work: {first_line.rstrip('.')} ({details})."


def place_of(error: Exception) -> str:
    """Kind of an error and where it was raised, for whoever is told about it."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    kind = type(error).__name__
    if trace is None:
        return kind
    file = trace.tb_frame.f_code.co_filename.replace("\\", "/").rpartition("/")[2]
    return f"{kind} in {file}, line {trace.tb_lineno}"


def not_validated(error: Exception) -> str:
    """Say that a network is kept though nobody could find out how good it is."""
    said = sentence_for(error, "Validating it")
    return f"{said} The network is kept; how good it is can be asked with evaluate."
