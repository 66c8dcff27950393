"""What an earlier run has left of an image beside the results of this one.

An overlay of another network, or labels in another format, would be taken for what is
in the new tables. What Topiary wrote and nobody has changed is removed; of the rest it
is said that it is not of this run.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from napari_topiary.inference.result_exports import export_endings, export_kinds
from napari_topiary.io.own_files import written_by_topiary
from napari_topiary.io.pairing import safe_name
from napari_topiary.io.run_crate import is_as_written
from napari_topiary.types import Task
from napari_topiary.words import listed

LABELS = ("_labels.tif", "_labels.zarr")
RESULTS = (
    *("_probability.tif", "_probability.zarr", "_detections.csv", "_lines.csv"),
    *LABELS,
)
"""How names of results go on after the image's, beside what is exported."""


def remove_leftovers(
    folder: Path, stem: str, *, written: Iterable[Path], task: Task
) -> str:
    """Remove what an earlier run wrote of an image; say what there is besides.

    Parameters
    ----------
    folder
        Of the results.
    stem
        What their names start with.
    written
        What this run has written of the image.
    task
        Of the network: files may be of one class.
    """
    new, stay = {path.name for path in written}, list[str]()
    for path in _of_image(folder, stem, task):
        if path.name in new:
            continue
        own = is_as_written(path)
        if own is None:
            own = written_by_topiary(path)
        if own and path.is_dir():
            shutil.rmtree(path)
        elif own:
            path.unlink()
        else:
            stay.append(path.name)
    if not stay:
        return ""
    return (
        f"{listed(sorted(stay))} in {folder} {'is' if len(stay) == 1 else 'are'} not "
        "of this run and may show something else: not written by Topiary, or changed "
        "since."
    )


def _of_image(folder: Path, stem: str, task: Task) -> Iterator[Path]:
    """Files of the names that results of an image, or of its slices, have."""
    classes = [f"_{safe_name(name)}" for name in task.classes[1:]]
    endings = [*RESULTS]
    for ending in export_endings(export_kinds()):
        endings += (
            [f"{one}{ending[2:]}" for one in classes]
            if ending[:2] == "_*"
            else [ending]
        )
    known = re.compile(rf"(_z\d+)?({'|'.join(map(re.escape, endings))})")
    for name in sorted(os.listdir(folder)):
        match = known.fullmatch(name[len(stem) :]) if name.startswith(stem) else None
        if match is None:
            continue
        # Slices and classes have no labels of their own: else it is another image.
        others = [match[1]] if match[1] else []
        others += [one for one in classes if match[2].startswith(one)]
        if not any(
            (folder / f"{stem}{other}{end}").exists()
            for other in others
            for end in LABELS
        ):
            yield folder / name
