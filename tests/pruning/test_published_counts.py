"""Filters really removed, floor(δ·n) of a convolution, give the published weights."""

from __future__ import annotations

import pytest
import torch

from napari_topiary.checkpoint import Checkpoint
from napari_topiary.networks import build_network, count_parameters
from napari_topiary.pruning import counts_job, filter_counts
from napari_topiary.types import Task, run


def checkpoint(name: str, channels: int) -> Checkpoint:
    torch.manual_seed(0)
    network = build_network(name, {}, channels, 2)
    return Checkpoint(
        network=name,
        sizes={},
        in_channels=channels,
        task=Task("segment", ("background", "cell")),
        state={k: v.detach().clone() for k, v in network.state_dict().items()},
        unpruned_parameters=count_parameters(network),
    )


@pytest.mark.parametrize(
    ("tenths", "left"),
    [
        (1, 810_385), (2, 706_142), (3, 606_453), (4, 509_345), (5, 416_541),
        (6, 326_568), (7, 240_649), (8, 157_811), (9, 78_777),
    ],
)  # fmt: skip
def test_dcnn(tenths: int, left: int) -> None:
    whole = checkpoint("dcnn", 3)
    counts = filter_counts(whole)
    assert counts == {"conv1": 25, "conv2": 50, "conv3": 80, "fc1": 1024}
    del counts["fc1"]  # the fully connected layer was not pruned
    gone = {name: n * tenths // 10 for name, n in counts.items()}
    pruned = run(counts_job(whole, gone))
    assert pruned.parameters == left
    assert count_parameters(pruned.build()) == left


@pytest.mark.slow
@pytest.mark.parametrize(("tenths", "left"), [(5, 1_214_658), (9, 64_408)])
def test_dccn(tenths: int, left: int) -> None:
    whole = checkpoint("dccn", 3)
    counts = filter_counts(whole)
    assert len(counts) == 1 + 2 * (6 + 12 + 24) + 3
    gone = {name: n * tenths // 10 for name, n in counts.items()}
    pruned = run(counts_job(whole, gone))
    assert pruned.parameters == left
