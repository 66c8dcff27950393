"""The command line: every verb without a window.

Nothing is imported here but what hears Ctrl-C: the rest takes a second, and a person
may press it in the first.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from napari_topiary.cli.ending import INTERRUPTED, hearing


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
    with hearing() as heard:
        try:
            from napari_topiary.cli.dispatch import main as dispatch

            return dispatch(argv)
        except BaseException as error:
            # Libraries that are just being imported turn it into errors of their own.
            if not heard and not isinstance(error, KeyboardInterrupt):
                raise
            sys.stderr.write("Interrupted.\n")
            return INTERRUPTED
