"""`compare`: several checkpoints on the same annotated images."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_topiary.cli.datasets import check_suits, evaluation_samples
from napari_topiary.cli.describing import right_in_words, table
from napari_topiary.cli.driving import Runner
from napari_topiary.cli.evaluate import add_validating, validating_config
from napari_topiary.cli.parsing import AddVerb
from napari_topiary.errors import TopiaryError
from napari_topiary.io.dataset import read_dataset
from napari_topiary.io.pairing import safe_name, unused_name
from napari_topiary.io.tables import write_table
from napari_topiary.io.targets import Files, OutputFile, targets_in
from napari_topiary.jobs import words
from napari_topiary.report.pictures import Report, write_report

if TYPE_CHECKING:
    from napari_topiary.checkpoint import Checkpoint

TABLE, REPORT = "comparison.csv", "report.html"
"""Files beside the pictures."""
OBJECTS = ("pq", "aji")
"""Columns of tasks with objects."""


def add(verb: AddVerb) -> None:
    """Add the verb to the command line."""
    parser = verb(
        description="Run checkpoints over the same annotated images: a table of size, "
        "speed and quality, each at its own best threshold and all at 0.5, and how "
        "much each kept, lost and gained against the first. With --out also pictures, "
        "and report.html with all of it, to be read and sent as it is."
    )
    parser.add_argument("checkpoints", metavar="CKPT", type=Path, nargs="+")
    parser.add_argument("--data", metavar="DATASET", type=Path, required=True)
    parser.add_argument("--out", metavar="DIR", type=Path, help="for pictures and CSV")
    add_validating(parser)
    parser.set_defaults(run=run, files=files)


def files(options: argparse.Namespace) -> Files:
    """What is read, and the pictures and the table that may be there already."""
    reads = (*options.checkpoints, options.data)
    if options.out is None:
        return Files(reads=reads)
    others = options.checkpoints[1:]
    results = tuple(OutputFile(options.out / name) for name in (TABLE, REPORT))
    patterns = [f"*{escape(safe_name(path.stem))}*.png" for path in others]
    return Files(
        (*results, *targets_in(options.out, patterns)), reads, folder=options.out
    )


def run(options: argparse.Namespace, runner: Runner) -> dict[str, Any]:
    """Compare and report."""
    config = validating_config(options)
    if len(options.checkpoints) < 2:
        raise TopiaryError("Give at least two checkpoints to compare.")

    from napari_topiary.evaluation import compare_checkpoints, known_to_each
    from napari_topiary.inference.devices import pick_device

    pick_device(options.device)
    checkpoints = _loaded(options.checkpoints)
    dataset = read_dataset(options.data)
    for name, checkpoint in checkpoints.items():
        try:
            check_suits(dataset, checkpoint)
        except TopiaryError as error:
            raise TopiaryError(f"{name}: {error}") from error
    split, samples = evaluation_samples(dataset, options.split, runner)
    for sentence in known_to_each(checkpoints, samples):
        runner.note(sentence)
    pictures: list[dict[str, Any]] = []
    found = runner(
        compare_checkpoints(
            checkpoints,
            samples,
            config=config,
            tolerance_nm=options.tolerance,
            maps=options.out is not None,
        ),
        _heeding(options.out, pictures),
    )
    result = found.to_dict() | {"split": split, "dataset": str(options.data)}
    if options.out is not None:
        result["pictures"] = pictures
        write_table(options.out / TABLE, _columns(result["checkpoints"]))
        write_report(options.out / REPORT, _report(result, tuple(runner.notes)))
    runner.say(f"{_heading(result)}\n{table(_rows(result))}")
    return result


def _loaded(paths: list[Path]) -> dict[str, Checkpoint]:
    """Checkpoints by the stem of their files, made unlike one another."""
    from napari_topiary.checkpoint import load_checkpoint

    loaded: dict[str, Checkpoint] = {}
    for path in paths:
        name = unused_name(path.stem, loaded.__contains__, joint=" ")
        loaded[name] = load_checkpoint(path).named(name)
    return loaded


def _heeding(
    folder: Path | None, done: list[dict[str, Any]]
) -> Callable[[object], None]:
    """Return what draws each image as soon as it was compared."""
    from napari_topiary.evaluation import ComparedImage
    from napari_topiary.report.pictures import save_comparison

    def heed(report: object) -> None:
        if not isinstance(report, ComparedImage) or folder is None:
            return
        (_, first), *others = report.predictions.items()
        for name, other in others:
            stem = safe_name(f"{report.sample.name}_{name}")
            path = folder / f"{stem}.png"
            entry = save_comparison(path, report.sample, (first, other))
            done.append({"image": report.sample.name, "checkpoint": name, **entry})

    return heed


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


def _report(result: dict[str, Any], notes: Sequence[str]) -> Report:
    """Everything as a report, the first network as what was before."""
    first, pictures = result["checkpoints"][0]["name"], list[tuple[Path, str]]()
    for one in result["pictures"]:
        counts = "".join(f"{one[s]} {s}, " for s in _statuses(result["checkpoints"]))
        caption = (
            f"{one['image']}: {one['checkpoint']} against {first}: {counts}agreement "
            f"{one['agreement']:.3f}, other labels on {one['disagreement_share']:.1%}."
        )
        pictures.append((Path(one["picture"]), caption))
    return Report(
        title=f"{first} compared",
        heading=_heading(result),
        table=_rows(result),
        pictures=pictures,
        notes=notes,
    )


def _heading(result: dict[str, Any]) -> str:
    return (
        f"{words.plural(result['n_images'], 'image')} of the part {result['split']!r}"
    )


def _rows(result: dict[str, Any]) -> list[list[str]]:
    rows: list[list[str]] = []
    statuses = _statuses(result["checkpoints"])
    for row in result["checkpoints"]:
        quality = _quality(row)
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
                *([right_in_words(row.get("own", {})) or "-"] if statuses else []),
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
