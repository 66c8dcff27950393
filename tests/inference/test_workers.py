"""Tasks done by other processes: each of them once, whatever is lost on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from napari_topiary.errors import TopiaryError
from napari_topiary.inference.workers import Workers, workers_problem


def tasks(number: int, **names: Any) -> Callable[[], Any]:
    """What gives tasks out: each evaluates what is shared, with its own `n`."""
    waiting: Iterator[int] = iter(range(number))

    def next_task() -> Any:
        n = next(waiting, None)
        return None if n is None else (n, ({"n": n, **names},))

    return next_task


def done(shared: str, number: int, **names: Any) -> dict[int, object]:
    workers: Workers[int] = Workers(shared, processes=2)
    try:
        answers = workers.spread(eval, tasks(number, **names))
        return dict(found for found in answers if found is not None)
    finally:
        workers.close()


def test_what_a_lost_process_was_doing_is_done_again(tmp_path: Path) -> None:
    dies_once = (
        "n * n if n != 5 or __import__('pathlib').Path(flag).exists() else"
        "(__import__('pathlib').Path(flag).touch(), __import__('os')._exit(1))"
    )
    found = done(dies_once, 12, flag=str(tmp_path / "died"))
    assert (tmp_path / "died").exists()
    assert found == {n: n * n for n in range(12)}


def test_processes_that_always_die_are_a_sentence() -> None:
    with pytest.raises(TopiaryError, match="lost again and again"):
        done("__import__('os')._exit(1)", 3)


def test_errors_come_back() -> None:
    with pytest.raises(ZeroDivisionError):
        done("1 / n", 3)


def test_one_place_at_a_time() -> None:
    assert workers_problem("tcp://node1:8786", 1) is None
    assert workers_problem("", 8) is None
    assert "one of both" in str(workers_problem("tcp://node1:8786", 2))


def test_a_scheduler_that_is_not_there_is_a_sentence() -> None:
    pytest.importorskip("distributed")
    with pytest.raises(TopiaryError, match="No dask scheduler answers at nonsense"):
        Workers(None, scheduler="nonsense://")


def test_without_dask_there_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "distributed", None)
    with pytest.raises(TopiaryError, match=r"napari-topiary\[cluster\]"):
        Workers(None, scheduler="tcp://node1:8786")
