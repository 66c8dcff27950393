"""Every number on the command line has limits; they hold before anything is read."""

from __future__ import annotations

import argparse

import pytest

from napari_topiary.cli import main
from napari_topiary.cli.dispatch import VERBS, build_parser

CALLS = {
    "train": "NONE --out OUT.safetensors",
    "prune": "NONE --remove 0.5 --out OUT.safetensors",
    "predict": "NONE IMAGE.tif --out OUT",
    "evaluate": "NONE NONE",
    "compare": "NONE NONE --data NONE",
    "export": "NONE --format onnx --out OUT.onnx",
    "info": "NONE",
    "study": "learning-curve --data NONE --out OUT",
    "demo": "--headless --out OUT",
    "import": "NONE --out OUT",
}
ODD = ("nan", "inf", "-inf", "-1", "1e12", "1000000000000")


def numbers(verb):
    """Options of a verb that take a number, and the number's type."""
    parser = build_parser(verb)
    verbs = next(a for a in parser._actions if hasattr(a, "choices") and a.choices)
    assert isinstance(verbs, argparse._SubParsersAction)
    return [
        action.option_strings[-1]
        for action in verbs.choices[verb]._actions
        if action.type in (int, float)
    ]


@pytest.mark.parametrize("verb", list(VERBS))
def test_a_number_beyond_its_limits_is_refused_first(verb, tmp_path, capsys):
    assert set(CALLS) == set(VERBS)
    taken = {}
    (tmp_path / "IMAGE.tif").touch()
    for option in numbers(verb):
        words = CALLS[verb].split()
        if option in words:
            at = words.index(option)
            del words[at : at + 2]
        for value in ODD:
            given = [
                word
                if word[0] == "-" or word[0].islower() or word[0].isdigit()
                else str(tmp_path / word)
                for word in words
            ]
            status = main([verb, *given, f"{option}={value}"])
            said = capsys.readouterr().err
            refused = "not possible" in said or f"Argument {option}: invalid" in said
            if status != 2 or not refused or said.count("\n") != 1:
                taken[option, value] = (status, said)
    assert not list(taken)
    assert [path.name for path in tmp_path.iterdir()] == ["IMAGE.tif"]
