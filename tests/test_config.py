"""What a form's annotations say is what every caller is held to."""

from __future__ import annotations

import dataclasses
import math
from types import NoneType, UnionType
from typing import Annotated, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_topiary.annotations.targets import TargetConfig
from napari_topiary.cli import main
from napari_topiary.config import DetectConfig, PredictConfig, PruneConfig, TrainConfig
from napari_topiary.io.importing.meaning import ImportConfig
from napari_topiary.report.demo import DemoConfig
from napari_topiary.studies.context import Budget

FORMS = (
    TrainConfig, PruneConfig, PredictConfig, DetectConfig, TargetConfig, Budget,
    DemoConfig, ImportConfig,
)  # fmt: skip
ODD = st.one_of(
    *(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary()),
    *(st.complex_numbers(), st.just(10**400), st.just("x" * 9000), st.just(object())),
    *(st.lists(st.floats(), max_size=3), st.just(np.arange(3)), st.just(np.float32(2))),
    *(st.tuples(st.integers(), st.text()), st.just({1: 2}), st.fractions()),
)
"""What a script may put into a field."""


def kinds_and_look(hint):
    look = {}
    if get_origin(hint) is Annotated:
        look, hint = hint.__metadata__[0], hint.__origin__
    union = get_origin(hint) in (Union, UnionType)
    return (get_args(hint) if union else (hint,)), look


def rows():
    for form in FORMS:
        hints = get_type_hints(form, include_extras=True)
        for field in dataclasses.fields(form):
            yield pytest.param(
                form, field.name, hints[field.name], id=f"{form.__name__}.{field.name}"
            )


@pytest.mark.parametrize("form", FORMS)
@given(data=st.data())
def test_whatever_is_in_a_form_is_taken_or_refused_in_a_line(form, data):
    name = data.draw(st.sampled_from([row.name for row in dataclasses.fields(form)]))
    problem = dataclasses.replace(form(), **{name: data.draw(ODD)}).problem()
    assert problem is None or (problem.endswith(".") and len(problem) < 350)


@pytest.mark.parametrize(("form", "name", "hint"), list(rows()))
def test_every_field_of_every_form_holds_its_limits(form, name, hint):
    kinds, look = kinds_and_look(hint)
    kind = next(kind for kind in kinds if kind is not NoneType)
    assert form().problem() is None
    wrong = [object()]
    if kind in (int, float):
        assert {"min", "max"} <= look.keys(), "every number has its limits"
        beyond = 1 if kind is int else 1e-3 * (1 + abs(look["max"]))
        wrong += [look["min"] - beyond, look["max"] + beyond, "3", True]
        wrong += [math.nan, math.inf, -math.inf]
        wrong += [2.5] if kind is int else []
    elif kind is bool:
        wrong += [1, "yes"]
    elif get_origin(kind) is Literal:
        wrong = [object(), "quantum"]
    if name in ("criterion", "device"):  # a registry and the machine know these
        wrong = [object()]
    for value in wrong:
        problem = dataclasses.replace(form(), **{name: value}).problem()
        assert problem is not None, value
        assert problem.endswith("."), problem
        assert "\n" not in problem


@pytest.mark.parametrize("name", ["min", "max"])
def test_the_limits_themselves_are_possible(name):
    for form in FORMS:
        for field, hint in get_type_hints(form, include_extras=True).items():
            _, look = kinds_and_look(hint)
            if name in look and form is not TargetConfig:
                changed = dataclasses.replace(form(), **{field: look[name]})
                assert changed.problem() is None, field


@pytest.mark.parametrize(
    "option",
    [
        "--seed=-1", "--minutes=nan", "--patch=-5", "--dice-weight=7",
        "--validation-share=5", "--weight-decay=-5", "--working-factor=0",
        "--working-factor=1e9", "--batch=1000000", "--learning-rate=inf",
        "--learning-rate=1e30", "--working-pixel-size=0",
    ],
)  # fmt: skip
def test_a_value_beyond_its_limits_is_one_sentence(tmp_path, capsys, option):
    out = tmp_path / "net.safetensors"
    arguments = ["train", str(tmp_path / "data"), option, "--out", str(out)]
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1
    assert option.lstrip("-").split("=")[0].split("-")[0].capitalize() in said
    assert "give a" in said
    assert list(tmp_path.iterdir()) == []
