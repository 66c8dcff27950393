"""What every study has to keep to; a new one is tested from the moment it exists."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import pytest
from PIL import Image

from napari_topiary.studies import (
    Budget,
    membrane,
    patch_accuracy,
    run_study,
    sample_size,
    studies,
)
from napari_topiary.studies.context import digest
from napari_topiary.training import optimizers
from napari_topiary.types import run

pytest.importorskip("matplotlib")

NAMES = tuple(studies)
BUDGET = Budget(epochs=1, quick=True)


@pytest.mark.parametrize("name", NAMES)
def test_it_says_what_it_is_and_its_cells_are_plain(name):
    study = studies[name]()
    assert study.title
    assert study.source.identifier
    assert set(study.tasks) <= {"detect", "segment", "instances"}
    for quick in (True, False):
        grid = study.grid(quick=quick)
        assert grid
        assert json.loads(json.dumps(grid)) == [dict(cell) for cell in grid]
        assert len({digest(cell) for cell in grid}) == len(grid)
        for cell in grid:
            assert cell.keys() <= study.axes.keys()
    assert len(study.grid(quick=True)) < len(study.grid(quick=False))


@pytest.mark.parametrize("name", NAMES)
def test_it_has_published_numbers_before_anything_is_measured(name, tiny):
    study = studies[name]()
    tables = study.tables((), tiny(study.tasks[0]).task)
    assert tables[0].name == "table"
    for table in tables:
        assert all(len(row) == len(table.columns) for row in table.rows)


@pytest.fixture
def _a_little_of_all(monkeypatch):
    """As few patches and validations as show that a cell runs."""
    for study in (membrane, sample_size):
        monkeypatch.setattr(study, "QUICK_PIXELS", 128)
    search = replace(membrane.QUICK_SEARCH, batches=1, at_once=0.5)
    monkeypatch.setattr(membrane, "QUICK_SEARCH", search)
    monkeypatch.setattr(patch_accuracy, "FEW", 200)
    monkeypatch.setattr(patch_accuracy, "PREDICTIONS", 5)
    monkeypatch.setattr(optimizers, "VALIDATIONS", 2)


@pytest.mark.usefixtures("_a_little_of_all")
@pytest.mark.parametrize("name", NAMES)
def test_one_cell_runs_and_leaves_its_files(name, tiny, tmp_path):
    study = studies[name]()
    data = tiny(study.tasks[0], colour=study.tasks[0] == "instances")
    cell = study.grid(quick=True)[0]
    only = {key: (str(value),) for key, value in cell.items()}
    about = run(run_study(name, data, out=tmp_path, budget=BUDGET, only=only))
    assert about["done"] == about["cells"] == 1
    assert about["pictures"]
    for picture in about["pictures"]:
        with Image.open(tmp_path / picture) as shown:
            assert shown.width >= 300
    for table in about["tables"]:
        with (tmp_path / f"{table['name']}.csv").open(encoding="utf-8") as file:
            assert next(csv.reader(file)) == table["columns"]
    page = (tmp_path / "table.md").read_text(encoding="utf-8")
    assert study.source.identifier in page
    assert all(f"({name})" in page for name in about["pictures"])
    assert about["results"][0]["measured"]
