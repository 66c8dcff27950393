"""From arguments to a verb, and from whatever happens to an exit status.

0 done · 1 done in part, the result says what not · 2 bad arguments or input, one
sentence on stderr · 130 interrupted, what there was is kept.
"""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from importlib import import_module

from napari_topiary.cli.ending import Nobody
from napari_topiary.cli.parsing import DONE, REFUSED, Parser, common_options
from napari_topiary.errors import TopiaryError, place_of, sentence_for
from napari_topiary.registry import program_version

VERBS = {
    "demo": "the whole story on the sample data",
    "import": "pair images and annotations of any folder, and make a data set of them",
    "train": "train a network on a dataset folder, or fine-tune one",
    "prune": "remove weights or filters, and fine-tune what remains",
    "predict": "run a checkpoint over images",
    "evaluate": "measure a checkpoint against annotated images",
    "compare": "hold checkpoints against the first of them, and against the truth",
    "info": "parameters, MACs, sparsity, file size, layers, provenance",
    "export": "write a network for other programs (ONNX, bioimage.io)",
    "study": "redo a published experiment on a dataset",
}
"""What there is to say, and what for. Only the verb that is said gets loaded."""
MODULES = {"import": "importing"}
"""Verbs whose module cannot have their name."""
ABOUT = (
    "Train, prune and compare small networks for microscopy images. Without a command "
    "the workbench opens in napari."
)


def build_parser(verb: str | None = None) -> Parser:
    """Return the parser of the command line.

    Parameters
    ----------
    verb
        The one whose arguments are understood; others are only named.
    """
    parser = Parser(prog="napari-topiary", description=ABOUT, allow_abbrev=False)
    parser.add_argument(
        "--version", action="version", version=f"napari-topiary {program_version()}"
    )
    verbs = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, about in VERBS.items():
        if name == verb:
            options = [common_options()]
            make = partial(
                verbs.add_parser, name, parents=options, allow_abbrev=False, help=about
            )
            import_module(f"napari_topiary.cli.{MODULES.get(name, name)}").add(make)
        else:
            verbs.add_parser(name, help=about)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb with the arguments `argv` of `cli.main`; returns the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started this
            setattr(sys, name, Nobody())
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # old terminals know few letters
    # What is logged is for windows and scripts that ask for it: here are sentences.
    logging.getLogger("napari_topiary").addHandler(logging.NullHandler())
    verb = next((word for word in arguments if word in VERBS), None)
    try:
        if not arguments:
            from napari_topiary.cli.window import open_window

            return open_window(None)
        options = build_parser(verb).parse_args(arguments)
        from napari_topiary.cli.driving import perform

        return perform(arguments, options)
    except SystemExit as end:  # --help and --version
        return int(end.code or DONE)
    except TopiaryError as error:
        return _end(str(error), REFUSED)
    except PermissionError as error:
        return _end(
            f"{error.filename or 'Something'} cannot be read or written, for lack of "
            "rights: allow it, or copy it to another place.",
            REFUSED,
        )
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _end(f"{where}{error.strerror or error}.", REFUSED)
    except Exception as error:  # of whatever library: a sentence, never a traceback
        doing = "The command" if verb is None else verb
        return _end(sentence_for(error, doing, details=place_of(error)), REFUSED)


def _end(sentence: str, status: int) -> int:
    with suppress(OSError):  # nobody reads it
        sys.stderr.write(" ".join(sentence.split()) + "\n")
    return status
