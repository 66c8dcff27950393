"""Work is kept whatever happens: full disks, no memory, errors of any library."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys

import pytest
import torch

from napari_topiary.annotations import Points
from napari_topiary.checkpoint import Checkpoint, load_checkpoint
from napari_topiary.config import PruneConfig, TrainConfig
from napari_topiary.errors import NotWritten
from napari_topiary.io.dataset import Sample
from napari_topiary.pruning import GradualPruning, make_plan
from napari_topiary.training import fit, loop, optimizers
from napari_topiary.training import trainer as trainer_module
from napari_topiary.types import Stop, Task, run

TASK = Task("detect", ("background", "virion"), radius_nm={"virion": 12.0})
SMALL = TrainConfig(
    sizes={"base": 4, "levels": 1},
    minutes=None,
    epochs=8,
    patch=48,
    batch=4,
    device="cpu",
)


@pytest.fixture
def samples(virions):
    found = []
    for seed in range(2):
        made = virions(seed, size=72, count=5)
        points = Points(made.centres, ("virion",) * len(made.centres))
        found.append(Sample(made.image, (points,), made.scale, f"m{seed}"))
    return found


@pytest.fixture
def failing_at(monkeypatch):
    """`failing_at(step, error)`: learning raises from that step on."""
    learn = trainer_module.Trainer._learn

    def arrange(step, error, times=None):
        seen = [0]

        def learning(self, batch):
            seen[0] += 1
            if seen[0] >= step and (times is None or seen[0] < step + times):
                if isinstance(error, float):
                    return error
                raise error
            return learn(self, batch)

        monkeypatch.setattr(trainer_module.Trainer, "_learn", learning)

    return arrange


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), "memory was not enough"),
        (MemoryError("Unable to allocate"), "memory was not enough"),
        (RuntimeError("cuDNN error: made up"), r"\(cuDNN error: made up\)"),
        (ZeroDivisionError(), r"\(ZeroDivisionError\)"),
        (float("nan"), "not a number any more.*best weights before are kept"),
    ],
)
def test_what_was_learned_is_kept(samples, tmp_path, failing_at, error, words):
    failing_at(6, error)
    path = tmp_path / "net.safetensors"
    made = run(fit(samples, SMALL, task=TASK, checkpoint_path=path))
    (problem,) = made.provenance["problems"]
    assert made.provenance["complete"] is False
    assert re.search(words, problem)
    assert problem.endswith(".")
    assert load_checkpoint(path).hash == made.hash


def test_one_error_of_memory_halves_the_batch(samples, failing_at):
    failing_at(3, MemoryError("Unable to allocate"), times=1)
    made = run(fit(samples, SMALL, task=TASK))
    assert made.provenance["problems"] == []
    assert made.provenance["complete"] is True
    assert any("fewer patches a step" in note for note in made.provenance["notes"])


def test_before_anything_was_learned_an_error_is_an_error(samples, failing_at):
    failing_at(1, RuntimeError("made up"))
    with pytest.raises(RuntimeError, match="made up"):
        run(fit(samples, SMALL, task=TASK))


def test_a_failed_autosave_never_ends_a_training(samples, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "SECONDS_BETWEEN_SAVES", 0.0)

    def full(self, path):
        raise NotWritten("The disk is full.")

    monkeypatch.setattr(Checkpoint, "save", full)
    path = tmp_path / "net.safetensors"
    made = run(fit(samples, SMALL, task=TASK, checkpoint_path=path))
    assert made.provenance["complete"] is True
    notes = [n for n in made.provenance["notes"] if "disk is full" in n]
    assert len(notes) == 1


def test_weights_are_saved_though_nobody_has_judged_them(
    samples, tmp_path, monkeypatch
):
    monkeypatch.setattr(loop, "SECONDS_BETWEEN_SAVES", 0.0)
    monkeypatch.setattr(loop.ValidationRounds, "due", lambda *_: False)
    path = tmp_path / "net.safetensors"
    job = fit(samples, SMALL, task=TASK, checkpoint_path=path)
    while not path.exists():
        next(job)
    kept = load_checkpoint(path)
    assert kept.provenance["complete"] is False
    assert "quality" not in kept.metrics
    with pytest.raises(StopIteration) as end:
        while True:
            job.send(Stop)
    assert end.value.value.metrics["quality_name"] == "F1"


def test_before_a_long_judging_weights_are_saved(samples, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "SECONDS_BETWEEN_SAVES", 1e9)
    monkeypatch.setattr(optimizers, "LONG_S", 0.0)
    judge, path = trainer_module.Trainer.validate, tmp_path / "net.safetensors"
    steps = []

    def slow(self):
        kept = load_checkpoint(path) if path.exists() else None
        steps.append(kept and kept.provenance["steps"])
        return judge(self)

    monkeypatch.setattr(trainer_module.Trainer, "validate", slow)
    made = run(fit(samples, SMALL, task=TASK, checkpoint_path=path))
    assert steps[0] is None and steps[1:] == sorted(steps[1:])
    assert steps[-1] == made.provenance["steps"]


def test_gradual_pruning_keeps_its_running_form(samples, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "SECONDS_BETWEEN_SAVES", 0.0)
    whole = run(fit(samples, dataclasses.replace(SMALL, epochs=1), task=TASK))
    plan = make_plan(whole, PruneConfig(scope="layer"))
    pruning = GradualPruning(plan, 0.8, until=1.0, stages=4)
    path = tmp_path / "net.safetensors"
    job = fit(
        samples, SMALL, task=TASK, start=whole, pruning=pruning, checkpoint_path=path
    )
    while not path.exists():
        next(job)
    assert not pruning.settled
    kept = load_checkpoint(path)
    assert 0 < kept.sparsity < 0.8
    assert kept.pruning[-1]["asked"] == pytest.approx(kept.sparsity)
    job.close()


KILLED_WHILE_TRAINING = """
import os, signal, sys
from pathlib import Path
import numpy as np
from napari_topiary.annotations import Points
from napari_topiary.config import TrainConfig
from napari_topiary.io.dataset import Sample
from napari_topiary.training import fit, loop, optimizers, trainer
from napari_topiary.types import Task, run

KILLED_AT, clock, calls = 40.0, [0.0], []

def lasting(name, seconds):
    # What takes no time here takes so many seconds, and ends in their midst.
    whole = getattr(trainer.Trainer, name)
    def function(self, *given):
        clock[0] += seconds
        if clock[0] >= KILLED_AT:
            print(calls.count("step"), flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        calls.append(name)
        return whole(self, *given)
    setattr(trainer.Trainer, name, function)

optimizers.time.perf_counter = lambda: clock[0]
lasting("step", 1.0)
lasting("validate", 20.0)
task = Task("detect", ("background", "dot"), {}, {"dot": 4.0})
image = np.random.default_rng(0).integers(0, 9, (1, 64, 64)).astype(np.uint8)
places = np.array([(10, 10), (10, 50), (50, 10), (50, 50.0)])
sample = Sample(image, (Points(places, ("dot",) * 4),), None, "a")
sizes = {"base": 2, "levels": 1}
config = TrainConfig(sizes=sizes, minutes=5, patch=32, batch=2, device="cpu")
run(fit([sample], config, task=task, checkpoint_path=Path(sys.argv[1])))
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows kills in another way.")
def test_killed_while_training_ten_seconds_are_lost_at_most(tmp_path):
    path = tmp_path / "net.safetensors"
    command = [sys.executable, "-c", KILLED_WHILE_TRAINING, path]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode < 0, done.stderr  # by a signal
    kept = load_checkpoint(path).provenance
    assert kept["complete"] is False
    lost = int(done.stdout) - kept["steps"]
    assert 0 <= lost <= 10  # a step takes a second there
