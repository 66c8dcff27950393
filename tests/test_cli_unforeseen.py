"""Whatever is raised, and whenever a signal comes: a sentence, and the work is kept."""

from __future__ import annotations

import errno
import json
import signal
from functools import partial
from pathlib import Path

import pytest
import torch

from napari_topiary.checkpoint import Checkpoint, load_checkpoint
from napari_topiary.cli import main
from napari_topiary.cli.ending import ENDING
from napari_topiary.evaluation import validator
from napari_topiary.inference.engine import Engine
from napari_topiary.pruning.search import ablation, greedy
from napari_topiary.training import loop, trainer
from napari_topiary.types import Task

TASK = Task("detect", ("background", "virion"), {"virion": 12.0})
SMALL = "--base 4 --levels 1 --patch 48 --batch 4 --working-factor 1".split()
ERRORS = {
    "numpy": (lambda: MemoryError("Unable to allocate 8 GiB"), "memory"),
    "torch": (lambda: torch.OutOfMemoryError("CUDA out of memory"), "memory"),
    "allocator": (lambda: RuntimeError("can't allocate memory: 9 bytes"), "memory"),
    "a library": (lambda: ZeroDivisionError("made up"), "made up"),
    "the disk": (lambda: OSError(errno.ENOSPC, "No space left on device"), "No space"),
}
each_error = pytest.mark.parametrize("kind", ERRORS)


def call(*arguments):
    return main([str(a) for a in arguments])


def calls(trained, out):
    """A short run of every verb that makes a network."""
    data, net = ("--data", trained / "data"), trained / "net.safetensors"
    tuned = ("--finetune-minutes", 0.02)
    search = ("--criterion", "loss", "--kind", "filters", "--at-once", 0.3)
    prune = ("prune", net, *data, "--out", out)
    return {
        "train": ("train", trained / "data", "--epochs", 8, *SMALL, "--out", out),
        "prune": (*prune, "--remove", 0.5),
        "search": (*prune, "--remove", 0.5, *search, "--batches", 1),
        "fine-tune": (*prune, "--remove", 0.5, *tuned, "--one-shot"),
        "gradual": (*prune, "--remove", 0.8, *tuned, "--gradual"),
    }


def failing(monkeypatch, place, name, raised, *, after=0, times=None):
    """Let a function raise from a call on, or let something happen in it."""
    whole, seen = getattr(place, name), [0]

    def function(*given, **named):
        seen[0] += 1
        if seen[0] > after and (times is None or seen[0] <= after + times):
            raised()
        return whole(*given, **named)

    monkeypatch.setattr(place, name, function)
    return seen


def raising(kind):
    def raised():
        raise ERRORS[kind][0]()

    return raised


def checked(status, out, report, capsys, said, *, expected=1):
    told = capsys.readouterr().err
    assert status == expected, told
    assert "Traceback" not in told
    assert said in told
    problems = json.loads(report.read_text(encoding="utf-8"))["problems"]
    kept = load_checkpoint(out)
    assert any(said in one for one in problems) or expected == 130
    return kept, problems


AT = {
    "while judging": ("train", validator.Validator, "validate", 1),
    "while the figure is measured": ("train", loop, "_with_figures", 0),
    "while learning": ("train", trainer.Trainer, "_learn", 5),
    "while a patch is drawn": ("train", trainer.Batches, "draw", 5),
    "while a pruned network is judged": ("prune", Engine, "__call__", 0),
    "while statistics are measured anew": ("prune", "recalibrate", "", 0),
    "while filters are tried": ("search", ablation.Ablation, "losses", 3),
    "while a searched network is judged": ("search", "validate", "", 0),
    "while fine-tuning": ("fine-tune", trainer.Trainer, "_learn", 4),
    "while tuned figures are measured": ("fine-tune", loop, "_with_figures", 0),
    "while removing little by little": ("gradual", trainer.Trainer, "_learn", 4),
}


def dealt(places, things, each):
    """Every place with so many of the things, every thing somewhere."""
    names = list(things)
    return [
        (place, names[(at * each + n) % len(names)])
        for at, place in enumerate(places)
        for n in range(each)
    ]


@pytest.mark.parametrize(("where", "kind"), dealt(AT, ERRORS, 2))
def test_what_was_made_is_kept(trained, tmp_path, monkeypatch, capsys, where, kind):
    verb, place, name, after = AT[where]
    if isinstance(place, str):
        from napari_topiary.jobs import pruning

        place, name = pruning, place
    raised, said = raising(kind), ERRORS[kind][1]
    failing(monkeypatch, place, name, raised, after=after)
    out, report = tmp_path / "a.safetensors", tmp_path / "r.json"
    status = call(*calls(trained, out)[verb], "--json", report)
    if verb == "search" and "tried" in where:
        told = capsys.readouterr().err
        assert status == 1 and said in told and "ordered until then is kept" in told
        assert load_checkpoint(out).sparsity < 0.5
        return
    kept, problems = checked(status, out, report, capsys, said)
    assert kept.provenance["problems"] == problems
    if verb in ("prune", "search"):
        assert kept.sparsity >= 0.48
        assert "quality" not in kept.metrics


@pytest.mark.parametrize("kind", ["numpy", "the disk"])
def test_what_cannot_be_saved_on_the_way_is_saved_at_the_end(
    trained, tmp_path, monkeypatch, capsys, kind
):
    monkeypatch.setattr(loop, "SECONDS_BETWEEN_SAVES", 0.0)
    failing(monkeypatch, Checkpoint, "save", raising(kind), after=1, times=3)
    out, report = tmp_path / "a.safetensors", tmp_path / "r.json"
    assert call(*calls(trained, out)["train"], "--json", report) == 0
    assert ERRORS[kind][1] in capsys.readouterr().err
    assert load_checkpoint(out).provenance["complete"] is True


@each_error
def test_one_image_that_fails_never_stops_the_others(
    trained, tmp_path, monkeypatch, capsys, kind
):
    from napari_topiary.cli import file_predictor

    predictor = file_predictor.FilePredictor
    failing(monkeypatch, predictor, "_image", raising(kind), times=1)
    out, report = tmp_path / "out", tmp_path / "r.json"
    images = sorted((trained / "data" / "images").iterdir())
    arguments = ("predict", trained / "net.safetensors", *images, "--out", out)
    assert call(*arguments, "--json", report) == 1
    found = json.loads(report.read_text(encoding="utf-8"))
    assert len(found["images"]) == len(found["failed"]) == 1
    assert ERRORS[kind][1] in found["failed"][0]["reason"]
    assert "Traceback" not in capsys.readouterr().err


@each_error
@pytest.mark.parametrize("verb", ["predict", "evaluate", "compare", "info"])
def test_an_error_that_nobody_foresaw_is_a_sentence(
    trained, tmp_path, monkeypatch, capsys, verb, kind
):
    from napari_topiary import checkpoint

    failing(monkeypatch, checkpoint, "load_checkpoint", raising(kind))
    net, data = trained / "net.safetensors", trained / "data"
    arguments = {
        "predict": (net, data / "images" / "m0.tif", "--out", tmp_path / "out"),
        "evaluate": (net, data),
        "compare": (net, net, "--data", data),
        "info": (net,),
    }[verb]
    assert call(verb, *arguments) == 2
    told = capsys.readouterr().err
    assert ERRORS[kind][1] in told
    assert len(told.splitlines()) == 1


@pytest.mark.parametrize("verb", ["train", "prune"])
def test_a_disk_that_is_full_at_any_of_the_writes(
    trained, tmp_path, monkeypatch, capsys, verb
):
    """Every single write fails once: the network is there, and nothing half-written."""
    whole, count = Path.replace, [0, 0]

    def replace(self, target):
        if self.name.startswith(".part-"):
            count[0] += 1
            if count[0] == count[1]:
                raise OSError(errno.ENOSPC, "No space left on device", str(self))
        return whole(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    at = 0
    while count[0] >= count[1] and at < 6:
        at += 1
        count[:] = [0, at]
        folder = tmp_path / str(at)
        folder.mkdir()
        out = folder / "a.safetensors"
        arguments = (*calls(trained, out)[verb], "--json", folder / "r.json")
        with monkeypatch.context() as here:
            here.chdir(tmp_path)
            status = call(*arguments)
        capsys.readouterr()
        assert status in (0, 1, 2)
        places = [*folder.glob("*.safetensors"), *tmp_path.glob("*.safetensors")]
        assert places, (verb, at)
        assert load_checkpoint(places[0]).parameters > 0
        assert not list(tmp_path.rglob(".part-*"))
        for place in places:
            place.unlink()
    assert at > 1


def signalled(monkeypatch, place, name, number, after):
    """Let a signal come while a function runs, once."""
    failing(
        monkeypatch,
        place,
        name,
        lambda: signal.raise_signal(number),
        after=after,
        times=1,
    )


SIGNALS = {
    "while judging": ("train", validator.Validator, "validate", 1),
    "while the figure is measured": ("train", loop, "_with_figures", 0),
    "while saving": ("train", Checkpoint, "save", 1),
    "while fine-tuning": ("fine-tune", trainer.Trainer, "_learn", 3),
    "while removing little by little": ("gradual", trainer.Trainer, "_learn", 3),
    "while a gradual form is saved": ("gradual", Checkpoint, "save", 1),
    "while filters are tried": ("search", greedy, "tried", 2),
    "while a pruned network is judged": ("prune", Engine, "__call__", 0),
    "while a pruned network is saved": ("prune", Checkpoint, "save", 0),
}


@pytest.mark.parametrize(("where", "number"), dealt(SIGNALS, ENDING, 1))
def test_a_signal_keeps_what_there_is(
    trained, tmp_path, monkeypatch, capsys, request, where, number
):
    monkeypatch.setattr(loop, "SECONDS_BETWEEN_SAVES", 0.0)
    request.addfinalizer(partial(signal.signal, number, signal.getsignal(number)))
    # Where tests run behind nohup or a shell, it may be ignored.
    is_ctrl_c = number == signal.SIGINT
    signal.signal(number, signal.default_int_handler if is_ctrl_c else signal.SIG_DFL)
    verb, place, name, after = SIGNALS[where]
    signalled(monkeypatch, place, name, number, after)
    out = tmp_path / "a.safetensors"
    assert call(*calls(trained, out)[verb]) == 130
    assert "Traceback" not in capsys.readouterr().err
    assert load_checkpoint(out).parameters > 0
    assert not list(tmp_path.rglob(".part-*"))
