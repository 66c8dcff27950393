"""How networks were made, as commands that the command line understands."""

import shlex
from dataclasses import asdict

import numpy as np
import pytest

from napari_topiary.checkpoint import Checkpoint
from napari_topiary.cli.dispatch import build_parser
from napari_topiary.cli.train import _given
from napari_topiary.networks import build_network
from napari_topiary.networks.base import recipe_config
from napari_topiary.session import ImageEntry, Session, commands_for, parents_of
from napari_topiary.session.commands import SCRIPT
from napari_topiary.types import Task

SIZES = {"base": 2, "multiplier": 1.0, "levels": 1}
TASK = Task("segment", ("background", "light"))
ENTRY = {
    "kind": "filters",
    "criterion": "l1",
    "scope": "global",
    "include_output": False,
    "asked": 0.5,
}


def a_network(name="net", **changes):
    about = {"created": "1", "parent": None, "settings": asdict(settings())}
    about |= changes.pop("provenance", {})
    state = build_network("unet", SIZES, 1, 2).state_dict()
    made = Checkpoint(
        network="unet",
        sizes=SIZES,
        in_channels=1,
        task=TASK,
        state=state,
        provenance=about,
        **changes,
    )
    return made.named(name)


def settings(**changes):
    given = {"preset": "", "sizes": SIZES, "minutes": None, "epochs": 3}
    return recipe_config("unet", given | changes)


def parsed(line):
    words = shlex.split(line)
    assert words.pop(0) == "napari-topiary"
    return build_parser(words[0]).parse_args(words)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"minutes": 2.5, "epochs": None, "seed": 7, "augment": False},
        {"preset": "2m", "sizes": {}, "learning_rate": 0.003, "balance": "natural"},
        {"working_pixel_size_nm": 4.5, "self_teaching": False, "batch": 3},
        {"working_factor": 1.5, "distance": "image", "patch": 96},
    ],
)
def test_a_training_is_the_same_again(changes):
    config = settings(**changes)
    net = a_network("a net", provenance={"settings": asdict(config)})
    (line,) = commands_for("a net", {"a net": net}, {})
    options = parsed(line)
    assert str(options.out) == "again/a net.safetensors"
    assert recipe_config(options.network, _given(options)) == config


def test_pruned_and_fine_tuned_networks_follow_from_the_first():
    first = a_network("first")
    about = {"parent": first.hash}
    pruned = a_network("pruned", pruning=(ENTRY,), provenance=about)
    tuned = {"parent": pruned.hash, "created": "2", "minutes_asked": 0.5}
    last = a_network("last", pruning=(ENTRY,), provenance=tuned)
    known = {"first": first, "pruned": pruned, "last": last}
    parents = parents_of(known)
    lines = commands_for("last", known, parents)
    train, prune, tune = map(parsed, lines)
    assert (prune.kind, prune.criterion, prune.remove) == ("filters", "l1", 0.5)
    assert prune.checkpoint == train.out
    assert tune.start == prune.out
    both = {"parent": first.hash, "created": "2", "minutes_asked": 0.5}
    at_once = a_network("x", pruning=(ENTRY,), provenance=both)
    known = {"first": first, "x": at_once}
    line = commands_for("x", known, parents_of(known))[-1]
    assert parsed(line).finetune_minutes == 0.5


def test_what_cannot_be_repeated_is_said():
    old = a_network(provenance={"settings": None})
    assert "does not say" in commands_for("net", {"net": old}, {})[0]
    orphan = a_network(provenance={"parent": "gone"})
    assert "not in the project" in commands_for("net", {"net": orphan}, {})[0]


def test_a_project_has_a_script_of_them(tmp_path, rng):
    session = Session()
    image = rng.integers(0, 255, (1, 30, 30), dtype=np.uint8)
    session.add_image(ImageEntry("a", image, None))
    session.add_checkpoint("net", a_network())
    session.save(tmp_path / "p")
    lines = (tmp_path / "p" / SCRIPT).read_text().splitlines()
    assert lines[0] == "#!/bin/sh"
    assert str(parsed(lines[-1]).dataset) == "."
    (tmp_path / "q").mkdir()
    (tmp_path / "q" / SCRIPT).write_text("echo mine")
    session.save(tmp_path / "q")
    assert (tmp_path / "q" / SCRIPT).read_text() == "echo mine"
