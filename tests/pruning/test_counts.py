"""Exactly so many filters of each layer: the tables' counts, whatever the criterion."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
import pytest
import torch

from napari_topiary.annotations import Labels
from napari_topiary.checkpoint import Checkpoint
from napari_topiary.errors import TopiaryError
from napari_topiary.io.dataset import Sample
from napari_topiary.networks import build_network, count_parameters, networks
from napari_topiary.pruning import counts_job, filter_counts
from napari_topiary.types import Task, run

calibration_module = import_module("napari_topiary.pruning.search.calibration")


def sample() -> Sample:
    """Three classes that the image shows."""
    truth = np.zeros((48, 48), int)
    truth[4:24, 8:30], truth[28:, :20] = 1, 2
    noise = np.random.default_rng(0).normal(0, 0.3, (1, 48, 48))
    labels = Labels(truth, instances=False)
    return Sample((noise + truth).astype(np.float32), (labels,), None, "made up")


def untrained(name: str, preset: str, channels: int) -> Checkpoint:
    """A published network with random weights."""
    sizes: dict[str, Any] = dict(networks[name].presets[preset])
    torch.manual_seed(0)
    network = build_network(name, sizes, channels, 2)
    return Checkpoint(
        network=name,
        sizes=sizes,
        in_channels=channels,
        task=Task("segment", ("background", "cell")),
        state=dict(network.state_dict()),
        unpruned_parameters=count_parameters(network),
    )


@pytest.mark.parametrize(
    ("preset", "parameters"),
    [
        ("N1", 206_817),
        ("N2", 158_692),
        ("N3", 167_652),
        ("N4", 198_557),
        ("N5", 205_097),
        ("N6", 120_672),
        ("N7", 18_462),
    ],
)
@pytest.mark.parametrize("criterion", ["l1", "magnitude"])
def test_membrane_networks_of_the_table(
    preset: str, parameters: int, criterion: Any
) -> None:
    """Roels et al. 2017: N becomes N1..N7, with the published numbers of weights."""
    whole = untrained("membrane_cnn", "N", 1)
    goal = networks["membrane_cnn"].presets[preset]
    sizes = filter_counts(whole)
    counts = {
        layer: sizes[layer] - kept
        for layer, kept in zip(sizes, goal.values(), strict=True)
    }
    pruned = run(counts_job(whole, counts, criterion=criterion))
    assert pruned.parameters == parameters
    assert list(filter_counts(pruned).values()) == list(goal.values())
    assert pruned.pruning[-1]["criterion"] == criterion
    share = pruned.pruning[-1]["share"]
    assert share == pytest.approx(1 - parameters / 236_977)


def test_weakest_go_first(fresh: Callable[..., Checkpoint]) -> None:
    checkpoint = fresh("membrane")
    pruned = run(counts_job(checkpoint, {"conv2": 3}))
    norms = checkpoint.state["conv2.weight"].abs().sum((1, 2, 3))
    kept = norms.argsort()[3:].sort().values
    assert torch.equal(
        pruned.state["conv2.weight"], checkpoint.state["conv2.weight"][kept]
    )
    assert torch.equal(pruned.state["conv1.weight"], checkpoint.state["conv1.weight"])
    assert pruned.state["hidden.weight"].shape == (12, 4)


def test_magnitude_is_the_mean_with_the_bias(
    fresh: Callable[..., Checkpoint],
) -> None:
    checkpoint = fresh("membrane")
    state = dict(checkpoint.state)
    state["conv1.weight"] = torch.ones_like(state["conv1.weight"])
    state["conv1.bias"] = -torch.arange(10.0)
    pruned = run(
        counts_job(
            checkpoint.replaced(state=state), {"conv1": 4}, criterion="magnitude"
        )
    )
    assert pruned.state["conv1.bias"].tolist() == [-4, -5, -6, -7, -8, -9]


def test_an_order_that_is_known_is_followed(fresh: Callable[..., Checkpoint]) -> None:
    checkpoint = fresh("membrane")
    order = {"conv1": [9, 0, 5], "hidden": [1]}
    pruned = run(counts_job(checkpoint, {"conv1": 2, "hidden": 1}, order=order))
    kept = [1, 2, 3, 4, 5, 6, 7, 8]
    assert torch.equal(pruned.state["conv1.bias"], checkpoint.state["conv1.bias"][kept])
    with pytest.raises(TopiaryError, match="does not name 4 of its 10"):
        run(counts_job(checkpoint, {"conv1": 4}, order=order))


def test_by_loss_it_is_what_hurts_least(
    fresh: Callable[..., Checkpoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A map that nothing above listens to, and one that is never active, go first."""
    monkeypatch.setattr(calibration_module, "CENTRES", 32)
    checkpoint = fresh("membrane")
    state = {name: tensor.clone() for name, tensor in checkpoint.state.items()}
    state["conv1.bias"][6] = -100.0
    state["conv2.weight"][:, 3] = 0.0
    state["hidden.weight"] *= 20  # all else matters
    checkpoint = checkpoint.replaced(state=state)
    pruned = run(
        counts_job(
            checkpoint, {"conv1": 2, "conv2": 1}, criterion="loss", samples=[sample()]
        )
    )
    assert list(filter_counts(pruned).values()) == [8, 6, 12]
    gone = set(range(10)) - {
        int((checkpoint.state["conv1.bias"] == b).nonzero())
        for b in pruned.state["conv1.bias"]
    }
    plain = run(counts_job(checkpoint, {"conv1": 2}))
    assert not torch.equal(plain.state["conv1.bias"], pruned.state["conv1.bias"])
    assert len(gone) == 2


def test_stopped_nothing_is_removed(
    fresh: Callable[..., Checkpoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibration_module, "CENTRES", 32)
    checkpoint = fresh("membrane")
    job = counts_job(checkpoint, {"conv1": 2}, criterion="loss", samples=[sample()])
    assert run(job, None, lambda: True) is checkpoint
    assert run(counts_job(checkpoint, {"conv1": 0})) is checkpoint


def test_coupled_layers_lose_together(fresh: Callable[..., Checkpoint]) -> None:
    checkpoint = fresh("residual")
    one = run(counts_job(checkpoint, {"block2": 2}))
    other = run(counts_job(checkpoint, {"stem": 2}))
    assert one.state["stem.weight"].shape[0] == 4
    assert all(torch.equal(t, other.state[n]) for n, t in one.state.items())
    with pytest.raises(TopiaryError, match="together"):
        run(counts_job(checkpoint, {"stem": 1, "block2": 2}))


def test_sentences(fresh: Callable[..., Checkpoint]) -> None:
    checkpoint = fresh("membrane")
    with pytest.raises(TopiaryError, match="give one of conv1, conv2, hidden"):
        run(counts_job(checkpoint, {"output": 1}))
    with pytest.raises(TopiaryError, match="give 0 to 9"):
        run(counts_job(checkpoint, {"conv1": 10}))
    with pytest.raises(TopiaryError, match="annotated images"):
        run(counts_job(checkpoint, {"conv1": 1}, criterion="loss"))
