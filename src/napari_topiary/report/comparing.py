"""Networks on the same images, as a report to be read and sent: table and pictures."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from napari_topiary import words
from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import Device, PredictConfig
from napari_topiary.errors import NotWritten
from napari_topiary.evaluation import (
    ComparedImage,
    ComparisonTable,
    compare_checkpoints,
    known_to_each,
)
from napari_topiary.io.dataset import Sample
from napari_topiary.io.output_files import COMPARISON, COMPARISON_PAGE
from napari_topiary.io.own_files import WRITER
from napari_topiary.io.pairing import safe_name
from napari_topiary.io.run_crate import Run, write_crate
from napari_topiary.io.tables import write_table
from napari_topiary.registry import program_version
from napari_topiary.report.pictures import Report, save_comparison, write_report
from napari_topiary.session.project import CHECKPOINTS
from napari_topiary.types import Job, Progress, relay

OBJECTS = ("pq", "aji")
"""Columns of tasks with objects."""


def reporting(
    job: Job[ComparisonTable],
    folder: Path,
    *,
    about: str,
    notes: Callable[[], Iterable[str]] = tuple,
) -> Job[dict[str, Any]]:
    """Compare, and write a picture of each image, the table, and the report.

    Parameters
    ----------
    job
        Compares, with maps (`compare_checkpoints`).
    folder
        Made if it is not there.
    about
        Which images these are, such as "of the part 'val'".
    notes
        Says at the end what the reader should know.

    Yields
    ------
    Progress
        As the job does.

    Returns
    -------
    dict
        As `ComparisonTable.to_dict`, with the pictures; ready for JSON. Nothing is
        written where it was stopped before the first image was compared.
    """
    pictures: list[dict[str, Any]] = []
    heard: dict[str, None] = {}

    def drawn(progress: Progress) -> Progress:
        if isinstance(progress.report, ComparedImage):
            pictures.extend(_draw(progress.report, folder))
            heard.update(dict.fromkeys(progress.report.problems()))
        elif isinstance(progress.report, str):
            heard[progress.report] = None
        return progress

    found = yield from relay(job, told=drawn)
    result = found.to_dict() | {"pictures": pictures}
    if not result["n_images"]:
        return result  # stopped before the first
    write_table(folder / COMPARISON, _columns(result["checkpoints"]))
    said = tuple(dict.fromkeys((*notes(), *heard)))
    write_report(
        folder / COMPARISON_PAGE, _report(result, heading_of(result, about), said)
    )
    return result


def project_report(
    checkpoints: Mapping[str, Checkpoint],
    samples: Sequence[Sample],
    folder: Path,
    *,
    about: str,
    device: Device = "auto",
    project: Path | None = None,
) -> Job[Path | None]:
    """Compare networks of a project, and write the report, and how it came about.

    Parameters
    ----------
    checkpoints
        By name; the first one is what the others are held against.
    samples
        Annotated images; of large ones what is marked is read.
    folder, about
        As for `reporting`.
    device
        Where to compute.
    project
        Folder of the project, whose networks are in its files; None = not saved yet.

    Returns
    -------
    Path or None
        The report; None where it was stopped before the first image was compared.
    """
    yield Progress(0, 0, "Reading what is marked")
    begun = time.time()
    task = next(iter(checkpoints.values())).task
    read = [one.read_marked(task) for one in samples]
    notes = known_to_each(checkpoints, read)
    job = compare_checkpoints(checkpoints, read, config=PredictConfig(device=device))
    result = yield from reporting(job, folder, about=about, notes=lambda: notes)
    if not result["n_images"]:
        return None
    files = [Path(f"{name}.safetensors") for name in checkpoints]
    if project is not None:
        files = [project / CHECKPOINTS / file for file in files]
    words = ["compare", *map(str, files), "--data", str(project or "PROJECT")]
    run = Run(
        command=shlex.join([WRITER, *words, "--out", str(folder)]),
        version=program_version(),
        inputs=[*files, *(one.path for one in samples if one.path is not None)],
        outputs=[
            *(folder / name for name in (COMPARISON, COMPARISON_PAGE)),
            *(Path(one["picture"]) for one in result["pictures"]),
        ],
        begun=begun,
        ended=time.time(),
    )
    with suppress(NotWritten):  # a full disk: the report itself is what matters
        write_crate(folder, run)
    return folder / COMPARISON_PAGE


def _draw(one: ComparedImage, folder: Path) -> list[dict[str, Any]]:
    """Draw an image as each network sees it, against the first."""
    (_, first), *others = one.predictions.items()
    done = []
    for name, other in others:
        path = folder / f"{safe_name(f'{one.sample.name}_{name}')}.png"
        entry = save_comparison(path, one.sample, (first, other))
        done.append({"image": one.sample.name, "checkpoint": name, **entry})
    return done


def _quality(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures of the table that depend on the task."""
    own, common = row.get("own", {}), row.get("at_common_threshold", {})
    if "pq" in own:
        # How well objects are told apart; the best Dice of their pixels says nothing
        # about that.
        figures = {f"{name.upper()} (own threshold)": own[name] for name in OBJECTS}
        return figures | {f"{name.upper()} (at 0.5)": common[name] for name in OBJECTS}
    main = "f1" if "f1" in own else "dice"
    return {
        f"{main} (own threshold)": own.get(main),
        f"{main} (at 0.5)": common.get(main),
        "quality at best": row.get("own_best", {}).get("quality"),
    }


def _columns(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    plain = (str, int, float)
    flat = [
        {key: value for key, value in row.items() if isinstance(value, plain)}
        | {key.replace(" ", "_"): value for key, value in _quality(row).items()}
        for row in rows
    ]
    names = dict.fromkeys(key for row in flat for key in row)
    return {name: [row.get(name) for row in flat] for name in names}


def _report(result: dict[str, Any], heading: str, notes: Sequence[str]) -> Report:
    """Everything as a report, the first network as what was before."""
    first, *others = (str(row["name"]) for row in result["checkpoints"])
    pictures = list[tuple[Path, str]]()
    for one in result["pictures"]:
        counts = "".join(f"{one[s]} {s}, " for s in _statuses(result["checkpoints"]))
        caption = (
            f"{one['image']}: {one['checkpoint']} against {first}: {counts}agreement "
            f"{one['agreement']:.3f}, other labels on {one['disagreement_share']:.1%}."
        )
        pictures.append((Path(one["picture"]), caption))
    return Report(
        title=f"{', '.join(others)} against {first}",
        heading=heading,
        table=rows_of(result),
        pictures=pictures,
        notes=notes,
    )


def heading_of(result: Mapping[str, Any], about: str) -> str:
    """Return how many images a result is about, and which these are."""
    return f"{words.plural(result['n_images'], 'image')} {about}"


def rows_of(result: Mapping[str, Any]) -> list[list[str]]:
    """Return the networks as rows of text, the first one the names of the columns.

    Parameters
    ----------
    result
        As `reporting` returns it.
    """
    rows: list[list[str]] = []
    statuses = _statuses(result["checkpoints"])
    for row in result["checkpoints"]:
        quality = _quality(row)
        right = (words.right_in_words(row.get("own", {})) or "-",)
        if not rows:
            rows.append(
                ["", "weights", "CR", "file", "ms/Mpx", *quality,
                 *(["found"] if statuses else []), "agreement", *statuses]
            )  # fmt: skip
        rows.append(
            [
                row["name"],
                f"{row['parameters_nonzero']:,}",
                f"{row['compression_ratio']:.3g}",
                words.file_size(row["file_bytes"]),
                _number(row.get("ms_per_megapixel"), ".1f"),
                *(_number(value, ".4f") for value in quality.values()),
                *(right if statuses else ()),
                _number(row.get("agreement"), ".3f"),
                *(_number(row.get(s), "d") for s in statuses),
            ]
        )
    return rows


def _statuses(rows: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """What may happen to things from one network to the next; of areas nothing."""
    things = ("f1", "pq")
    told = any(name in row.get("own", {}) for row in rows for name in things)
    return ("kept", "lost", "gained") if told else ()


def _number(value: Any, form: str) -> str:
    return format(value, form) if isinstance(value, int | float) else "-"
