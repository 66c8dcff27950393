"""Speed and batch statistics."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from napari_topiary.annotations import Labels
from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import PruneConfig
from napari_topiary.io.dataset import Sample
from napari_topiary.pruning import make_plan, measure_speed, recalibrate
from napari_topiary.types import Progress, Stop, run


def sample(seed: int, size: int = 64) -> Sample:
    rng = np.random.default_rng(seed)
    picture = rng.normal(100, 20, (1, size, size)).astype(np.float32)
    labels = Labels((picture[0] > 100).astype(np.int64), instances=False)
    return Sample(image=picture, annotations=(labels,), scale=None, name=str(seed))


def test_speed_in_turns(fresh: Callable[..., Checkpoint]) -> None:
    plan = make_plan(fresh("unet"), PruneConfig())
    networks = {"unpruned": plan.network_at(0.0), "pruned": plan.network_at(0.9)}
    seen: list[Progress] = []
    found = run(
        measure_speed(
            networks, in_channels=1, device=torch.device("cpu"), side=60, rounds=2
        ),
        seen.append,
    )
    assert found.keys() == networks.keys()
    assert all(milliseconds > 0 for milliseconds in found.values())
    assert len(seen) == 6
    assert seen[-1].fraction == 1.0


def test_speed_can_be_stopped(fresh: Callable[..., Checkpoint]) -> None:
    network = fresh("unet").build()
    job = measure_speed(
        {"one": network}, in_channels=1, device=torch.device("cpu"), side=32
    )
    next(job)
    with pytest.raises(StopIteration) as ended:
        job.send(Stop)
    assert ended.value.value == {}


def test_batch_statistics_fit_the_pruned_network(
    fresh: Callable[..., Checkpoint],
) -> None:
    pruned = make_plan(fresh("unet-norm"), PruneConfig()).checkpoint_at(0.7)
    fixed = run(recalibrate(pruned, [sample(0), sample(1)]))
    statistics = [n for n in pruned.state if "running" in n]
    assert statistics
    assert all(
        torch.equal(pruned.state[n], fixed.state[n])
        for n in pruned.state
        if "running" not in n and "tracked" not in n
    )
    # What reaches a norm now has the mean that the norm expects.
    network = fixed.build()
    means = []
    norm = network.get_submodule("down0.norm1")
    norm.register_forward_pre_hook(lambda m, x: means.append(x[0].mean(dim=(0, 2, 3))))
    for seed in (0, 1):
        image = pruned.normalisation.apply(sample(seed).image)
        with torch.no_grad():
            network(torch.from_numpy(image)[None])
    expected = torch.stack(means).mean(dim=0)
    assert torch.allclose(norm.running_mean, expected, atol=1e-4)


def test_without_norms_nothing_changes(fresh: Callable[..., Checkpoint]) -> None:
    checkpoint = fresh("unet")
    assert run(recalibrate(checkpoint, [sample(0)])) is checkpoint


def test_stopped_recalibration_changes_nothing(
    fresh: Callable[..., Checkpoint],
) -> None:
    checkpoint = fresh("unet-norm")
    stopped = run(recalibrate(checkpoint, [sample(0)]), should_stop=lambda: True)
    assert stopped is checkpoint


@pytest.mark.parametrize("size", [10, 40, 300])
def test_images_of_any_size(fresh: Callable[..., Checkpoint], size: int) -> None:
    fixed = run(recalibrate(fresh("unet-norm"), [sample(0, size)]))
    assert all(torch.isfinite(tensor).all() for tensor in fixed.state.values())
