"""Failure never looks like success, and interruptions keep what is done."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tifffile
import torch

from napari_topiary.checkpoint import Checkpoint, load_checkpoint
from napari_topiary.cli import main
from napari_topiary.cli.driving import ProgressBar
from napari_topiary.cli.keeping import Keeping
from napari_topiary.errors import NotWritten
from napari_topiary.pruning import pruning_doubt, pruning_problems
from napari_topiary.training import trainer as trainer_module
from napari_topiary.types import Task

TASK = Task("detect", ("background", "virion"), {"virion": 12.0})
SMALL = "--base 4 --levels 1 --patch 48 --batch 4 --working-factor 1".split()


def call(*arguments):
    return main([str(a) for a in arguments])


@pytest.fixture
def net(trained, tmp_path):
    path = tmp_path / "net.safetensors"
    path.write_bytes((trained / "net.safetensors").read_bytes())
    return path


def judged(checkpoint, quality):
    metrics = {**checkpoint.metrics, "quality": quality, "quality_name": "F1"}
    return checkpoint.replaced(metrics=metrics)


def test_a_worse_unfinished_network_stays_beside(net):
    there = load_checkpoint(net)
    judged(there, 0.6).save(net)
    before = net.read_bytes()
    keeping = Keeping(net)
    assert keeping.growing == net.with_name("net-unfinished.safetensors")
    _, path, problems = keeping.keep(judged(there, 0.2), whole=False)
    assert path == keeping.growing and path.is_file()
    assert "0.600, against 0.200" in problems[0]
    assert net.read_bytes() == before


def test_a_better_or_finished_network_takes_its_place(net):
    there = load_checkpoint(net)
    judged(there, 0.6).save(net)
    for quality, whole in ((0.7, False), (0.2, True)):
        keeping = Keeping(net)
        judged(there, 0.1).save(keeping.growing)
        _, path, problems = keeping.keep(judged(there, quality), whole=whole)
        assert (path, problems) == (net, [])
        assert load_checkpoint(net).metrics["quality"] == quality
        assert list(net.parent.iterdir()) == [net]


@pytest.mark.parametrize("value", [0.0, 1e30])
def test_a_dead_network_says_so_wherever_its_answer_goes(
    net, trained, tmp_path, capsys, value
):
    whole = load_checkpoint(net)
    state = {
        name: torch.full_like(one, value) if one.is_floating_point() else one
        for name, one in whole.state.items()
    }
    whole.replaced(state=state).save(net)
    image, report = trained / "data/images/m1.tif", tmp_path / "report.json"
    out = tmp_path / "out"
    assert call("predict", net, image, "--out", out, "--json", report) == 1
    told, found = capsys.readouterr().err, json.loads(report.read_text())
    said = "same answer everywhere" if value == 0 else "is no number"
    assert said in told
    assert said in found["problems"][0]
    assert said in found["images"][0]["problems"][0]
    with tifffile.TiffFile(out / "m1_labels.tif") as file:
        assert said in str(file.pages[0].description)


def without_room(monkeypatch, *room):
    """Let files be written in some folders only."""
    save = Checkpoint.save

    def full(self, path, **how):
        if path.parent not in room:
            raise NotWritten(f"{path} could not be written.")
        save(self, path, **how)

    monkeypatch.setattr(Checkpoint, "save", full)


@pytest.mark.parametrize("place", ["here", "home", "temp"])
def test_on_a_full_disk_it_is_written_elsewhere(net, tmp_path, monkeypatch, place):
    for name in ("here", "home", "temp"):
        (tmp_path / name).mkdir()
    there = load_checkpoint(net)
    with monkeypatch.context() as full:
        full.chdir(tmp_path / "here")
        full.setattr("pathlib.Path.home", lambda: tmp_path / "home")
        full.setattr("tempfile.gettempdir", lambda: str(tmp_path / "temp"))
        without_room(full, tmp_path / place)
        _, path, problems = Keeping(net).keep(there, whole=True)
    assert path == tmp_path / place / "net.safetensors"
    assert str(path) in problems[0]
    assert load_checkpoint(path).parameters == there.parameters


def test_where_there_is_no_room_at_all_a_person_is_waited_for(net, monkeypatch, capsys):
    there = load_checkpoint(net)
    with monkeypatch.context() as full:
        without_room(full)
        with pytest.raises(NotWritten, match="Nor was there room"):
            Keeping(net).keep(there, whole=True)

        class Person:
            def isatty(self):
                return True

            def readline(self):
                full.undo()  # room is made
                return "\n"

        full.setattr("sys.stdin", Person())
        full.setattr("sys.stderr.isatty", lambda: True)
        _, path, (problem,) = Keeping(net).keep(there, whole=True)
    assert "still in memory" in capsys.readouterr().err
    assert str(path) in problem and path.is_file()
    path.unlink()


def test_a_training_that_diverged_is_no_success(trained, tmp_path, monkeypatch, capsys):
    learn, seen = trainer_module.Trainer._learn, [0]

    def diverging(self, batch):
        seen[0] += 1
        return float("nan") if seen[0] > 2 else learn(self, batch)

    monkeypatch.setattr(trainer_module.Trainer, "_learn", diverging)
    out, report = tmp_path / "a.safetensors", tmp_path / "r.json"
    arguments = ("train", trained / "data", "--epochs", 4, *SMALL, "--out", out)
    assert call(*arguments, "--json", report) == 1
    (problem,) = json.loads(report.read_text(encoding="utf-8"))["problems"]
    assert "not a number" in problem
    assert problem in capsys.readouterr().err
    assert load_checkpoint(out).provenance["problems"] == [problem]


def test_what_pruning_did_not_do_is_said(trained):
    before = judged(load_checkpoint(trained / "net.safetensors"), 0.9)
    assert pruning_problems(before, before, 0.0) == ()
    (short,) = pruning_problems(before, before, 0.8)
    assert short == "0.0% of the weights are gone instead of 80.0%."
    (dead,) = pruning_problems(before, judged(before, 0.1), 0.0)
    assert "hardly anything right any more: F1 0.10 (0.90 before)" in dead
    assert pruning_problems(before, judged(before, 0.5), 0.0) == ()
    (never,) = pruning_problems(judged(before, 0.0), judged(before, 0.02), 0.0)
    assert "any more" not in never and "Nor did it before" in never


def flat(checkpoint, *, bias):
    """The same network after it has died: every pixel gets the same answer."""
    state = {name: tensor * 0 for name, tensor in checkpoint.state.items()}
    *_, last = (name for name in state if name.endswith("bias"))
    state[last] = state[last] + torch.tensor([0.0, bias])
    return checkpoint.replaced(state=state, metrics={})


def test_a_dead_network_is_known_without_images(trained):
    before = load_checkpoint(trained / "net.safetensors")
    assert pruning_doubt(before, before.replaced(metrics={})) is None
    for bias in (-3.0, 3.0):
        dead = pruning_doubt(before, flat(before, bias=bias))
        assert dead.is_certain
        assert "the same answer to whatever it is shown" in dead.sentence


def test_a_network_that_is_dead_already_is_said_before_it_is_pruned(
    net, tmp_path, capsys
):
    flat(load_checkpoint(net), bias=-3.0).save(net)
    out, report = tmp_path / "less.safetensors", tmp_path / "r.json"
    assert call("prune", net, "--remove", 0.5, "--out", out, "--json", report) == 1
    (problem,) = json.loads(report.read_text(encoding="utf-8"))["problems"]
    assert "same answer to whatever it is shown: it is dead" in problem
    assert capsys.readouterr().err.startswith(problem)  # once, and before the rest
    assert load_checkpoint(out).provenance["problems"] == [problem]


@pytest.mark.parametrize("data", [True, False])
def test_a_pruned_network_that_finds_nothing_is_never_silent(
    trained, net, tmp_path, capsys, data
):
    judged(load_checkpoint(net), 1.0).save(net)
    out, report = tmp_path / "less.safetensors", tmp_path / "r.json"
    images = ("--data", trained / "data") if data else ()
    assert call("prune", net, "--remove", 0, *images, "--out", out) == 0
    assert ("Nobody has looked" in capsys.readouterr().err) == (not data)
    arguments = ("prune", net, "--remove", 0.97, *images, "--out", out)
    # Judged on images it failed; without any it gives one answer to everything.
    assert call(*arguments, "--kind", "weights", "--json", report) == 1
    words = "hardly anything" if data else "The pruned network gives the same answer"
    said = json.loads(report.read_text(encoding="utf-8"))["problems"]
    (sentence,) = (one for one in said if words in one)
    assert sentence in capsys.readouterr().err
    assert sentence in load_checkpoint(out).provenance["problems"]


@pytest.fixture
def interrupt_at(monkeypatch):
    def arrange(step, number):
        count = 0

        def show(self, progress):
            nonlocal count
            count += 1
            if count == step:
                signal.raise_signal(number)

        monkeypatch.setattr(ProgressBar, "show", show)

    return arrange


def test_a_request_to_end_is_heard_like_ctrl_c(trained, tmp_path, interrupt_at):
    before = signal.getsignal(signal.SIGTERM)
    interrupt_at(6, signal.SIGTERM)
    out = tmp_path / "a.safetensors"
    arguments = ("train", trained / "data", "--minutes", 5, *SMALL, "--out", out)
    assert call(*arguments) == 130
    assert load_checkpoint(out).provenance["complete"] is False
    assert signal.getsignal(signal.SIGTERM) is before


def test_an_interrupted_prediction_is_marked(trained, tmp_path, interrupt_at, capsys):
    interrupt_at(2, signal.SIGTERM)
    image = trained / "data" / "images" / "m0.tif"
    arguments = ("predict", trained / "net.safetensors", image, "--out", tmp_path)
    assert call(*arguments, "--tile", 32) == 130
    assert "the rest of its results is 0" in capsys.readouterr().err
    with tifffile.TiffFile(tmp_path / "m0_labels.tif") as tif:
        assert tif.shaped_metadata[0]["complete"] is False
    interrupt_at(10_000, signal.SIGTERM)
    assert call(*arguments) == 0  # its own results are replaced
    with tifffile.TiffFile(tmp_path / "m0_labels.tif") as tif:
        assert tif.shaped_metadata[0]["complete"] is True
    assert np.isfinite(tifffile.imread(tmp_path / "m0_probability.tif")).all()


@pytest.mark.parametrize(
    ("verb", "number"),
    [
        ("evaluate", signal.SIGINT),
        ("compare", signal.SIGTERM),
        ("import", signal.SIGINT),
    ],
)
def test_what_an_interrupted_verb_wrote_is_whole_and_marked(
    trained, tmp_path, interrupt_at, verb, number
):
    net, data = trained / "net.safetensors", trained / "data"
    out, report, raw = tmp_path / "out", tmp_path / "r.json", tmp_path / "raw"
    raw.mkdir()
    for file in (*(data / "images").iterdir(), *(data / "points").iterdir()):
        (raw / file.name).write_bytes(file.read_bytes())
    arguments = {
        "evaluate": (net, data, "--split", "all"),
        "compare": (net, net, "--data", data, "--split", "all", "--out", out),
        "import": (raw, "--yes", "--out", out),
    }[verb]
    interrupt_at(2, number)
    assert call(verb, *arguments, "--json", report) == 130
    if report.exists():
        assert json.loads(report.read_text(encoding="utf-8"))["interrupted"]
    assert not list(tmp_path.rglob(".part-*"))
    assert not (out / "dataset.json").exists()


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_while_everything_is_being_imported(trained, number):
    code = (
        "import sys; print('here', flush=True); "
        "from napari_topiary.cli import main; sys.exit(main())"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, "info", str(trained / "net.safetensors")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    process.stdout.readline()
    time.sleep(0.6)
    process.send_signal(number)
    said = process.communicate()[1]
    assert process.returncode in (130, 0)  # 0: the machine was faster
    assert "Traceback" not in said


EARLY = r"""
import signal, sys, types
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
from napari_topiary.cli import main
stub = types.ModuleType("napari_topiary.cli.dispatch")
def dispatch(argv):
    # As when a dataclass is being imported: its methods are made by exec.
    exec("import os, signal\nos.kill(os.getpid(), signal.{0})\nwhile True: pass")
stub.main = dispatch
sys.modules[stub.__name__] = stub
sys.exit(main([]))
"""


@pytest.mark.skipif(os.name == "nt", reason="Signals are sent in another way.")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_interrupted_while_code_is_imported_it_ends_like_later(name):
    script = EARLY.replace("{0}", name)
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (130, "Interrupted.\n")
