"""How the networks of a project were made, as commands that make them again.

`session.sh` in the folder of a project runs them; what they make goes into `again/`.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_topiary.checkpoint import Checkpoint

SCRIPT = "session.sh"
PROGRAM = "napari-topiary"
AGAIN = "again"
"""Folder of what the commands make, in that of the project."""
SWITCHES = {"augment": "--no-augment", "self_teaching": "--marks-only"}
"""Options that turn off what is usual."""
RENAMED = {"working_pixel_size_nm": "--working-pixel-size"}
APART = ("network", "preset", "sizes", "minutes", "epochs", "seed", "device")


def parents_of(checkpoints: Mapping[str, Checkpoint]) -> dict[str, str]:
    """Return which checkpoint each comes from, by name, as far as both are here."""
    wanted = {
        name: str(each.provenance["parent"])
        for name, each in checkpoints.items()
        if each.provenance.get("parent")
    }
    if not wanted:
        return {}
    names = {each.hash: name for name, each in checkpoints.items()}
    return {
        name: names[parent]
        for name, parent in wanted.items()
        if names.get(parent, name) != name
    }


def commands_for(
    name: str, checkpoints: Mapping[str, Checkpoint], parents: Mapping[str, str]
) -> list[str]:
    """Return the commands that make a network again, the first one first.

    Parameters
    ----------
    name
        Of the network.
    checkpoints
        Those of the project by name.
    parents
        Name of each -> name of what it comes from, as far as that is there.

    Returns
    -------
    list of str
        To be run in the folder of the project; a line that begins with # says why
        there is no command.
    """
    chain = [name]
    while (parent := parents.get(chain[0])) is not None and parent not in chain:
        chain.insert(0, parent)
    return [_command(one, checkpoints, parents) for one in chain]


def script_for(
    checkpoints: Mapping[str, Checkpoint], parents: Mapping[str, str]
) -> str:
    """Return a script that makes all networks of a project again.

    Parameters
    ----------
    checkpoints, parents
        As for `commands_for`.
    """
    lines = dict[str, None]()
    for name in checkpoints:
        lines |= dict.fromkeys(commands_for(name, checkpoints, parents))
    return "\n".join(
        [
            "#!/bin/sh",
            "# How the networks of this project were made, by napari-topiary.",
            'cd "$(dirname "$0")" || exit',
            f"mkdir -p {AGAIN}",
            *lines,
            "",
        ]
    )


def _command(
    name: str, checkpoints: Mapping[str, Checkpoint], parents: Mapping[str, str]
) -> str:
    made, about = checkpoints[name], checkpoints[name].provenance
    parent = parents.get(name)
    settings = about.get("settings")
    out = ["--out", _file(name)]
    if about.get("parent") and parent is None:
        return f"# {name}: what it comes from is not in the project any more."
    if parent is not None and len(made.pruning) > len(checkpoints[parent].pruning):
        tuned = about.get("created") != checkpoints[parent].provenance.get("created")
        minutes = about.get("minutes_asked") if tuned else None
        words = _pruning(made.pruning[-1], parent, minutes)
        words += ["--int8"] if made.int8 else []
        return shlex.join([PROGRAM, *words, *out])
    if not isinstance(settings, Mapping):
        return f"# {name}: it does not say how it was trained."
    return shlex.join([PROGRAM, "train", ".", *_training(settings, parent), *out])


def _file(name: str) -> str:
    return f"{AGAIN}/{name.replace('/', '_')}.safetensors"


def _training(settings: Mapping[str, Any], parent: str | None) -> list[str]:
    """Options of a training."""
    from napari_topiary.networks.base import recipe_config  # torch: not at the start

    words: list[str] = []
    if parent is not None:
        words += ["--start", _file(parent)]
    else:
        words += ["--network", str(settings["network"])]
        words += ["--preset", str(settings["preset"])] if settings["preset"] else []
        for size, value in dict(settings["sizes"]).items():
            words += ["--size", f"{size}={json.dumps(value)}"]
    if settings["minutes"] is not None and settings["epochs"] is None:
        words += ["--minutes", f"{settings['minutes']:g}"]
    elif settings["epochs"] is not None:
        words += ["--epochs", str(settings["epochs"])]
    words += ["--seed", str(settings["seed"])]
    usual = recipe_config(str(settings["network"]), {})
    for field, value in settings.items():
        if field in APART or value == getattr(usual, field, value):
            continue
        if field in SWITCHES:
            words += [] if value else [SWITCHES[field]]
        elif value is not None:
            option = RENAMED.get(field, f"--{field.replace('_', '-')}")
            words += [option, f"{value:g}" if isinstance(value, float) else str(value)]
    return words


def _pruning(entry: Mapping[str, Any], parent: str, minutes: float | None) -> list[str]:
    """Options of a pruning."""
    words = ["prune", _file(parent), "--kind", str(entry["kind"])]
    words += ["--criterion", str(entry["criterion"]), "--scope", str(entry["scope"])]
    words += ["--remove", f"{entry['asked']:g}", "--data", "."]
    words += ["--include-output"] if entry.get("include_output") else []
    return words + (["--finetune-minutes", f"{minutes:g}"] if minutes else [])
