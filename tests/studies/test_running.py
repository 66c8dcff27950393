"""A study through its grid: what is kept, what is skipped, what is refused."""

from __future__ import annotations

import csv
import json
import signal

import pytest

from napari_topiary.cli import main
from napari_topiary.errors import NotWritten, TopiaryError
from napari_topiary.io.dataset_writing import write_dataset
from napari_topiary.studies import Budget, run_study, running, studies
from napari_topiary.studies.base import (
    CellResult,
    Column,
    Source,
    Study,
    Table,
    chosen,
    grouped,
)
from napari_topiary.studies.running import RESULTS, Records
from napari_topiary.studies.unet_size import pareto
from napari_topiary.types import Progress, Stop, run

pytest.importorskip("matplotlib")

CALLS: list[tuple[int, int]] = []
FAST = Budget(epochs=1)


class Counting(Study):
    """Squares its setting, and counts how often it is asked to."""

    title = "Squares"
    source = Source("Nobody, Squares, 1900", "none")
    tasks = ("segment",)
    axes = {"a": "any number"}  # noqa: RUF012

    def grid(self, *, quick):
        return tuple({"a": a, "b": 0.5} for a in range(2 if quick else 4))

    def run_cell(self, cell, context):
        CALLS.append((cell["a"], context.seed))
        yield Progress(1, 2, "halfway")
        if cell["a"] == 3:
            raise TopiaryError("Three is too many.")
        return {"square": cell["a"] ** 2 + context.seed}

    def tables(self, results, task):
        rows = tuple((g.cell["a"], g.mean("square")) for g in grouped(results))
        columns = (Column("a"), Column("square", ".1f"))
        return (Table(name="table", title="Squares", columns=columns, rows=rows),)

    def draw(self, results, task, folder):
        return ()


@pytest.fixture(autouse=True)
def counting(monkeypatch):
    CALLS.clear()
    monkeypatch.setitem(studies._things, "counting", Counting)


def rows_of(folder):
    with (folder / "table.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_every_cell_is_done_once_and_a_second_run_skips_it(tiny, tmp_path):
    data, quick = tiny("segment"), Budget(epochs=1, quick=True, seeds=2)
    about = run(run_study("counting", data, out=tmp_path, budget=quick))
    assert CALLS == [(0, 0), (1, 0), (0, 1), (1, 1)]
    assert (about["cells"], about["done"], about["skipped"]) == (4, 4, 0)
    assert about["complete"]
    assert [row["square"] for row in rows_of(tmp_path)] == ["0.5", "1.5"]
    assert "| 1 | 1.5 |" in (tmp_path / "table.md").read_text(encoding="utf-8")
    saved = json.loads((tmp_path / "study.json").read_text(encoding="utf-8"))
    assert saved.pop("software") == "napari-topiary"
    assert saved == json.loads(json.dumps(about))
    again = run(run_study("counting", data, out=tmp_path, budget=quick))
    assert len(CALLS) == 4
    assert (again["done"], again["skipped"]) == (4, 4)


class AtOnce:
    """Workers that do everything when they are asked, the last task first."""

    words = "on 2 workers"

    def __init__(self, shared, **where):
        self.shared, self.where, self.closed = shared, where, False
        AtOnce.made = self

    def spread(self, function, next_task):
        tasks = list(iter(next_task, None))
        yield None
        for key, arguments in reversed(tasks):
            yield key, function(self.shared, *arguments)

    def close(self):
        self.closed = True


def test_cells_are_spread_over_workers(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(running, "Workers", AtOnce)
    data, seen = tiny("segment"), []
    job = run_study("counting", data, out=tmp_path, budget=FAST, workers=2)
    about = run(job, seen.append)
    assert CALLS == [(3, 0), (2, 0), (1, 0), (0, 0)]
    assert AtOnce.made.where == {"scheduler": "", "processes": 2}
    assert AtOnce.made.closed
    assert (about["cells"], about["done"]) == (4, 3)
    assert about["failures"] == ["a 3, b 0.5: Three is too many."]
    assert [row["square"] for row in rows_of(tmp_path)] == ["0.0", "1.0", "4.0"]
    assert "2 of 4 done, on 2 workers" in [progress.message for progress in seen]
    stopped = tmp_path / "stopped"
    job = run_study("counting", data, out=stopped, budget=FAST, workers=2)
    about = run(job, should_stop=lambda: len(CALLS) > 5)
    assert (about["done"], about["complete"]) == (1, False)


def test_stop_keeps_what_is_finished_and_loses_one_cell(tiny, tmp_path):
    data = tiny("segment")
    job = run_study("counting", data, out=tmp_path, budget=FAST)
    for _ in range(3):  # reading, cell 0, cell 1
        next(job)
    with pytest.raises(StopIteration) as end:
        job.send(Stop)
    assert end.value.value["done"] == 1
    assert not end.value.value["complete"]
    assert CALLS == [(0, 0), (1, 0)]
    about = run(run_study("counting", data, out=tmp_path, budget=FAST))
    assert CALLS[2:] == [(1, 0), (2, 0), (3, 0)]
    assert about["failures"] == ["a 3, b 0.5: Three is too many."]
    assert (about["done"], about["skipped"]) == (3, 1)


def test_other_data_or_another_budget_is_another_run(tiny, tmp_path):
    small = {"a": ("0",)}
    for data, budget in (
        (tiny("segment"), FAST),
        (tiny("segment"), Budget(epochs=2)),
        (tiny("segment", size=52), FAST),
        (tiny("segment"), FAST),
    ):
        about = run(
            run_study("counting", data, out=tmp_path, budget=budget, only=small)
        )
        assert len(about["results"]) == 1
    assert len(CALLS) == 3
    assert len((tmp_path / RESULTS).read_text().splitlines()) == 3


def test_half_a_line_is_no_result(tmp_path):
    records = Records(tmp_path, "counting", {"data": "x"})
    records.add(CellResult({"a": 1}, 0, {"square": 1}, 2.0))
    file = tmp_path / RESULTS
    whole = file.read_text(encoding="utf-8")
    file.write_text(whole + whole[:40] + "\n[1]\n", encoding="utf-8")
    again = Records(tmp_path, "counting", {"data": "x"})
    assert again.results == (CellResult({"a": 1}, 0, {"square": 1}, 2.0),)
    assert ({"a": 1}, 0) in again
    assert ({"a": 1}, 1) not in again
    assert Records(tmp_path, "counting", {"data": "y"}).results == ()


def test_a_study_that_only_fails_says_why(tiny, tmp_path):
    only = {"a": ("3",)}
    with pytest.raises(TopiaryError, match="Three is too many"):
        run(run_study("counting", tiny("segment"), out=tmp_path, only=only))


def test_part_of_a_grid():
    grid = Counting().grid(quick=False)
    assert [c["a"] for c in chosen(grid, {"a": ("2", "0")})] == [0, 2]
    assert len(chosen(grid, {"b": ("0.50",)})) == 4
    with pytest.raises(TopiaryError, match="a=9 is not in the grid: it has 0, 1, 2, 3"):
        chosen(grid, {"a": ("9",)})
    with pytest.raises(TopiaryError, match="no setting 'z': it has a, b"):
        chosen(grid, {"z": ("9",)})


def test_time_left_is_told_from_the_cells_that_are_done(tiny, tmp_path):
    job = run_study("counting", tiny("segment"), out=tmp_path, budget=FAST)
    seen = [progress for progress in job if progress.total]
    assert [p.done for p in seen] == [0.5, 1.5, 2.5, 3.5, 4]
    assert all(p.total == 4 for p in seen)
    assert all(p.eta_s is not None for p in seen[1:4])
    assert seen[1].message == "2/4 a 1, b 0.5: halfway"


def test_seeds_are_summed_up():
    results = [CellResult({"a": 1}, s, {"q": v}) for s, v in enumerate((1.0, 2.0, 3.0))]
    (group,) = grouped([*results, CellResult({"a": 1}, 3, {"q": None})])
    assert (group.mean("q"), group.deviation("q")) == (2.0, 1.0)
    assert group.standard_error("q") == pytest.approx(1 / 3**0.5)
    assert group.mean("absent") is None
    points = [(10, 0.5), (5, 0.6), (20, 0.7), (30, 0.65), (20, 0.4)]
    assert pareto(points) == [(5, 0.6), (20, 0.7)]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "which study"),
        (("no-such",), "which images"),
        (("counting", "--data", "{data}"), "where the results go"),
        (
            ("no-such", "--data", "{data}", "--out", "{out}"),
            "no study called 'no-such'",
        ),
        (("counting", "--data", "{out}", "--out", "{out}"), "no dataset folder"),
        (("counting", "--data", "{data}", "--out", "{out}", "--only", "a"), "--only a"),
        (("counting", "--data", "{data}", "--out", "{out}", "--seeds", "0"), "Seeds 0"),
        (
            ("counting", "--data", "{data}", "--out", "{out}", "--minutes-per-cell=0"),
            "Minutes 0",
        ),
        (("counting", "--data", "{other}", "--out", "{out}"), "another dataset"),
    ],
)
def test_what_is_refused(tiny_folder, tmp_path, capsys, arguments, words):
    places = {"data": tiny_folder("segment"), "other": tiny_folder("detect")}
    given = [a.format(out=tmp_path / "new", **places) for a in arguments]
    assert main(["study", *given]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
    assert not (tmp_path / "new").exists()


def test_an_interrupted_study_says_so_and_keeps_what_is_done(
    tiny_folder, tmp_path, monkeypatch
):
    class Interrupted(Counting):
        def run_cell(self, cell, context):
            if cell["a"] == 2:
                signal.raise_signal(signal.SIGINT)
            return (yield from super().run_cell(cell, context))

    monkeypatch.setitem(studies._things, "counting", Interrupted)
    arguments = ["--data", str(tiny_folder("segment")), "--out", str(tmp_path)]
    file = tmp_path / "result.json"
    assert main(["study", "counting", *arguments, "--json", str(file)]) == 130
    about = json.loads(file.read_text(encoding="utf-8"))
    assert about["interrupted"]
    assert (about["done"], about["cells"]) == (2, 4)
    assert [row["square"] for row in rows_of(tmp_path)] == ["0.0", "1.0"]


def test_the_command_line_lists_and_runs(tiny_folder, tmp_path, capsys):
    assert main(["study", "--list", "--json", str(tmp_path / "list.json")]) == 0
    listed = json.loads((tmp_path / "list.json").read_text(encoding="utf-8"))
    assert {"counting", "unet-size"} <= set(listed["studies"])
    assert "Squares" in capsys.readouterr().out
    out, file = tmp_path / "out", tmp_path / "result.json"
    arguments = ["counting", "--data", str(tiny_folder("segment")), "--out", str(out)]
    assert main(["study", *arguments, "--only", "a=1,2", "--json", str(file)]) == 0
    about = json.loads(file.read_text(encoding="utf-8"))
    assert (about["done"], about["cells"]) == (2, 2)
    study = json.loads((out / "study.json").read_text(encoding="utf-8"))
    assert about == study | {"notes": [], "problems": []}
    assert "2 of 2 cells are done" in capsys.readouterr().out


def test_a_study_that_lacks_cells_is_not_done(tiny, tmp_path, capsys):
    write_dataset(tmp_path / "data", tiny("segment"))
    words = ["study", "counting", "--data", str(tmp_path / "data"), "--out"]
    words += [str(tmp_path / "out"), "--json", str(tmp_path / "r.json")]
    assert main([*words, "--quick"]) == 0
    assert main(words) == 1
    assert "Three is too many." in capsys.readouterr().err
    about = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    assert about["problems"] == about["failures"] == ["a 3, b 0.5: Three is too many."]


@pytest.mark.parametrize(
    ("workers", "calls"), [(1, [(0, 0), (1, 0)]), (2, [(3, 0), (2, 0), (1, 0)])]
)
def test_a_full_disk_ends_a_study_at_once(tiny, tmp_path, monkeypatch, workers, calls):
    class Full(Counting):
        def run_cell(self, cell, context):
            measured = yield from super().run_cell(cell, context)
            if cell["a"] == 1:
                raise NotWritten("net.safetensors could not be written: make room.")
            return measured

    monkeypatch.setitem(studies._things, "counting", Full)
    monkeypatch.setattr(running, "Workers", AtOnce)
    job = run_study(
        "counting", tiny("segment"), out=tmp_path, budget=FAST, workers=workers
    )
    about = run(job)
    assert CALLS == calls
    assert (about["done"], about["complete"]) == (1, False)
    assert "make room" in about["failures"][-1]
