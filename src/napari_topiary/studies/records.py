"""`results.jsonl`: one finished cell a line, so that an interruption costs one cell."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from napari_topiary.io.atomic import writing
from napari_topiary.studies.base import Cell, Result
from napari_topiary.studies.bench import digest

RESULTS = "results.jsonl"


class Records:
    """Finished cells of one study on one dataset with one budget.

    Lines of other budgets or datasets in the same file stay, and do not count.

    Parameters
    ----------
    folder
        Of the study.
    study
        Its name.
    identity
        Dataset and budget, as `Bench.identity`.
    """

    def __init__(self, folder: Path, study: str, identity: Mapping[str, Any]) -> None:
        self._path = folder / RESULTS
        self._study, self._identity = study, dict(identity)
        self._own = digest([study, self._identity])
        self._found: dict[str, Result] = {}
        for line in self._lines():
            if line.get("run") == self._own:
                result = Result(
                    line["cell"],
                    int(line["seed"]),
                    line["measured"],
                    float(line["seconds"]),
                )
                self._found[self._key(result.cell, result.seed)] = result

    def __contains__(self, asked: tuple[Cell, int]) -> bool:
        """Whether a cell with a seed is finished."""
        return self._key(*asked) in self._found

    @property
    def results(self) -> tuple[Result, ...]:
        """All finished cells, in the order in which they were finished."""
        return tuple(self._found.values())

    def add(self, result: Result) -> None:
        """Keep a finished cell: afterwards the file holds it whole."""
        line: dict[str, Any] = {
            "study": self._study,
            "run": self._own,
            "key": self._key(result.cell, result.seed),
            "cell": dict(result.cell),
            "seed": result.seed,
            "measured": result.measured,
            "seconds": result.seconds,
            "identity": self._identity,
        }
        # Read anew: somebody may run another part of the grid into the same folder.
        lines = [*self._lines(), line]
        text = "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in lines)
        with writing(self._path) as beside:
            beside.write_text(text, encoding="utf-8")
        self._found[line["key"]] = result

    def _lines(self) -> list[dict[str, Any]]:
        try:
            text = self._path.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return []
        found = []
        for line in text.splitlines():
            try:
                content = json.loads(line)
            # Half a line, from a copy that was cut off.
            except (ValueError, RecursionError):
                continue
            if isinstance(content, dict) and {
                "cell", "seed", "measured", "seconds",
            } <= content.keys():  # fmt: skip
                found.append(content)
        return found

    def _key(self, cell: Cell, seed: int) -> str:
        return digest([self._own, dict(cell), seed])
