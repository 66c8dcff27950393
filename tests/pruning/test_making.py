"""Plans from forms and files, refusals, criteria from elsewhere."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch

from napari_topiary.checkpoint import Checkpoint, load_checkpoint
from napari_topiary.cli import main
from napari_topiary.config import PruneConfig
from napari_topiary.errors import TopiaryError
from napari_topiary.pruning import (
    FilterPlan,
    criteria,
    criteria_for,
    make_plan,
    plan_from_json,
    prune,
)
from napari_topiary.registry import find_members
from napari_topiary.types import run

room = import_module("napari_topiary.pruning.criteria")


def test_prune_is_the_plan_at_its_position(fresh: Callable[..., Checkpoint]) -> None:
    checkpoint = fresh("unet")
    config = PruneConfig(remove=0.6)
    messages: list[str] = []
    pruned = run(prune(checkpoint, config), lambda p: messages.append(p.message))
    goal = make_plan(checkpoint, config).checkpoint_at(0.6)
    assert all(torch.equal(t, goal.state[n]) for n, t in pruned.state.items())
    assert pruned.pruning == goal.pruning
    assert messages
    entry = pruned.pruning[0]
    assert entry["kind"] == "filters"
    assert entry["asked"] == 0.6
    assert entry["share"] == pytest.approx(pruned.sparsity)
    assert entry["parameters"] == [checkpoint.parameters, pruned.parameters]
    assert pruned.metrics == {}
    assert pruned.thresholds == checkpoint.thresholds
    json.dumps(pruned.pruning)


def test_asking_too_much_or_too_little(fresh: Callable[..., Checkpoint]) -> None:
    with pytest.raises(TopiaryError, match=r"Remove 1\.2 is not possible"):
        make_plan(fresh("unet"), PruneConfig(remove=1.2))
    with pytest.raises(TopiaryError, match="magnitude"):
        make_plan(fresh("unet"), PruneConfig(kind="weights"))


FILE = '''
"""Filters by their place: the last ones go first."""

import torch

from napari_topiary.pruning.criteria.base import Criterion, criteria


def score(subject):
    return {
        group.name: torch.arange(group.channels, 0, -1)
        for group in subject.coupling.groups
    }


criteria.register("backwards")(
    Criterion(
        removes="filters",
        title="last first",
        tip="The filters that come last go first.",
        by="their place",
        score=score,
    )
)
'''


@pytest.fixture
def backwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a criterion that was put into the folder as a file, and found."""
    (tmp_path / "backwards.py").write_text(FILE, encoding="utf-8")
    monkeypatch.setattr(room, "__path__", [*room.__path__, str(tmp_path)])
    monkeypatch.setattr(criteria, "_things", dict(criteria._things))
    find_members(room.__name__, room.__path__)
    monkeypatch.delitem(sys.modules, f"{room.__name__}.backwards")
    return "backwards"


def test_a_criterion_is_one_new_file(
    fresh: Callable[..., Checkpoint], backwards: str, tmp_path: Path
) -> None:
    """An order found by a search, say: each channel's place in it as its score."""
    assert criteria_for("filters") == ["l1", "loss", backwards]
    config = PruneConfig(scope="layer", criterion=backwards)
    plan = make_plan(fresh("unet"), config)
    assert isinstance(plan, FilterPlan)
    first = [channel for group, channel in plan.steps if group == 0]
    assert first == list(range(7, 0, -1))
    with pytest.raises(TopiaryError, match="ranks filters, not weights"):
        make_plan(fresh("unet"), replace(config, kind="weights"))
    fresh("unet").save(tmp_path / "whole.safetensors")
    places = [str(tmp_path / f"{name}.safetensors") for name in ("whole", "cut")]
    how = ["--criterion", backwards, "--scope", "layer", "--remove", "0.5"]
    assert main(["prune", places[0], *how, "--out", places[1]]) == 0
    made = load_checkpoint(places[1])
    assert made.pruning[-1]["criterion"] == backwards
    assert made.state.keys() == fresh("unet").state.keys()
    assert torch.equal(
        made.state["output.bias"], plan.checkpoint_at(0.5).state["output.bias"]
    )


def test_a_criterion_that_does_not_fit_says_which_do(
    fresh: Callable[..., Checkpoint],
) -> None:
    for how, words in (
        (("weights", "l1"), "chosen by their magnitude: use criterion magnitude"),
        (("filters", "magnitude"), "L1 norm or by the loss they save from: use crite"),
        (("filters", "no-such"), "no criterion called 'no-such'"),
        (("filters", "loss"), "annotate one"),
    ):
        config = PruneConfig(kind=how[0], criterion=how[1])  # type: ignore[arg-type]
        with pytest.raises(TopiaryError, match=words):
            make_plan(fresh("unet"), config)


def _broken(record: dict[str, Any]) -> dict[str, dict[str, Any]]:
    steps = record["steps"]
    return {
        "twice": {"steps": [*steps, steps[0]]},
        "all of a layer": {
            "steps": [*steps, *[[0, c] for c in range(8) if [0, c] not in steps]]
        },
        "no such channel": {"steps": [[0, 99]]},
        "no such group": {"steps": [[99, 0]]},
        "no pair": {"steps": [[1]]},
        "no numbers": {"steps": [["a", 1]]},
        "other groups": {"groups": ["x"]},
    }


def test_hostile_plans_are_refused(fresh: Callable[..., Checkpoint]) -> None:
    checkpoint = fresh("unet")
    text = make_plan(checkpoint, PruneConfig()).to_json()
    record = json.loads(text)
    for change in _broken(record).values():
        with pytest.raises(TopiaryError, match="does not fit"):
            plan_from_json(json.dumps(record | change), checkpoint)
    with pytest.raises(TopiaryError, match="another checkpoint"):
        plan_from_json(text, fresh("unet", seed=1))
    with pytest.raises(TopiaryError, match="format 9"):
        plan_from_json(json.dumps(record | {"format": 9}), checkpoint)
    for nonsense in ("", "[]", "{}", '{"config": 3}'):
        with pytest.raises(TopiaryError, match="not a pruning plan"):
            plan_from_json(nonsense, checkpoint)


def test_a_weight_plan_is_checked_against_its_fingerprint(
    fresh: Callable[..., Checkpoint],
) -> None:
    checkpoint = fresh("unet")
    config = PruneConfig(kind="weights", criterion="magnitude")
    text = make_plan(checkpoint, config).to_json()
    assert len(text) < 5000  # a recipe, not two million numbers
    record = json.loads(text)
    record["ranking"] += 1
    with pytest.raises(TopiaryError, match="rank differently"):
        plan_from_json(json.dumps(record), checkpoint)
