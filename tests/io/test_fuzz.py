"""Damaged files of every kind are read or refused in a sentence, nothing else."""

import runpy
from pathlib import Path

import pytest

FUZZ = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "fuzz.py"))
FILES = 25
SLOW = {"emd": 4}  # read in another process first


@pytest.fixture(autouse=True)
def _home(tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_TOPIARY_HOME", str(tmp_path / "home"))


@pytest.mark.filterwarnings("ignore")  # what libraries find odd in a file
@pytest.mark.parametrize("name", list(FUZZ["READERS"]))
def test_damaged_files_are_read_or_refused_in_a_sentence(tmp_path, name):
    reader, found = FUZZ["READERS"][name], {}
    for number in range(SLOW.get(name, FILES)):
        path = FUZZ["damaged"](reader, tmp_path, f"0/{number}")
        outcome, words = FUZZ["outcome_of"](reader.read, path)
        if outcome not in ("read", "sentence"):
            found[number] = f"{outcome}: {words}"
    assert not found
    for path in (tmp_path / "good").iterdir():
        reader.read(path)
