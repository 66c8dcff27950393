"""What graphics cards cannot do, or would be waited for, is not asked of them."""

from __future__ import annotations

import traceback
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from napari_topiary.annotations import Labels
from napari_topiary.config import PruneConfig, TrainConfig
from napari_topiary.data.prepared import prepare
from napari_topiary.inference.predict import predict
from napari_topiary.io.dataset import Sample
from napari_topiary.networks import resolve_sizes
from napari_topiary.networks.base import networks
from napari_topiary.networks.pruning_schedule import FixedShape, PrunedShape
from napari_topiary.pruning import prune
from napari_topiary.training import fit
from napari_topiary.training import trainer as trainer_module
from napari_topiary.training.trainer import Trainer
from napari_topiary.types import Task, run

SMALL = TrainConfig(
    preset="", sizes={"base": 4, "levels": 2}, minutes=None, epochs=1, batch=4, patch=32
)
TASK = Task("segment", ("background", "light"))


def sample(seed: int) -> Sample:
    image = np.random.default_rng(seed).normal(100, 20, (1, 64, 64)).astype(np.float32)
    labels = Labels((image[0] > 100).astype(np.int64), instances=False)
    return Sample(image=image, annotations=(labels,), scale=None, name=str(seed))


def _asked_by() -> str:
    """Where in the package an operation was asked for."""
    for frame in reversed(traceback.extract_stack()):
        if "napari_topiary" in frame.filename and "tests" not in frame.filename:
            return f"{Path(frame.filename).name}::{frame.name}"
    return "elsewhere"


class Refusing(TorchDispatchMode):
    """Says which operations a device could not do, or would be waited for by."""

    def __init__(self, *, float64: bool = False, waiting: bool = False) -> None:
        super().__init__()
        self.float64, self.waiting = float64, waiting
        self.seen: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        every = made if isinstance(made, tuple | list) else [made]
        doubled = any(
            isinstance(one, torch.Tensor) and one.dtype in (torch.float64,)
            for one in every
        )
        name = str(func)
        waits = any(word in name for word in ("_local_scalar_dense", "nonzero"))
        if (self.float64 and doubled) or (self.waiting and waits):
            self.seen.append(f"{name} in {_asked_by()}")
        return made


def test_nothing_is_computed_in_double_precision(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Apple's graphics cards have none; the processor may still be asked for it."""
    monkeypatch.setattr("napari_topiary.training.optimizers.VALIDATIONS", 2)
    samples = [sample(0), sample(1)]
    mode = Refusing(float64=True)
    # The loss of every filter is tried: few filters do as well.
    few = replace(SMALL, sizes={"base": 2, "levels": 2})
    with mode:
        made = run(fit(samples, few, task=TASK))
        config = PruneConfig(kind="filters", criterion="l1", remove=0.5)
        pruned = run(prune(made, config))
        by_loss = PruneConfig(kind="filters", criterion="loss", remove=0.3, batches=1)
        run(prune(made, by_loss, samples=samples))
        run(predict(sample(2).image, pruned))
    assert sorted(set(mode.seen)) == []


TINY: dict[str, dict[str, Any]] = {
    "unet": {"base": 2, "levels": 1},
    "nuclei": {"base": 2, "levels": 1, "shared_encoder": True},
    "dcnn": {"conv1": 2, "conv2": 2, "conv3": 2, "fc": 2},
    "membrane_cnn": {"conv1": 2, "conv2": 2, "conv3": 2, "fc": 2},
    "dccn": dict.fromkeys(("stem", "growth", "bottleneck"), 2)
    | {f"{what}{n}": n for what in ("layers", "transition") for n in (1, 2, 3)},
}


@pytest.mark.parametrize("network", sorted(networks))
def test_no_network_learns_in_double_precision(network: str) -> None:
    image = sample(0).image
    squares = np.zeros((64, 64), np.int64)
    for number in range(1, 17):
        row, column = divmod(number - 1, 4)
        squares[16 * row + 4 : 16 * row + 12, 16 * column + 4 : 16 * column + 12] = (
            number
        )
    drawn = Sample(image, (Labels(squares, instances=True),), None, "squares")
    task = Task("instances", ("background", "cell"))
    sizes = TINY[network]
    config = TrainConfig(
        network=network, preset="", sizes=sizes, batch=2, patch=32, dice_weight=0.3
    )
    prepared = prepare([drawn], (), config, task=task)
    known = resolve_sizes(network, next(iter(networks[network].presets)))
    mode = Refusing(float64=True)
    with mode:
        shape = FixedShape(PrunedShape())
        trainer = Trainer(
            config, prepared, sizes=known | sizes, start=None, pruning=shape
        )
        assert trainer.step(1e-3)
    assert mode.seen == []


def a_trainer(network: str = "unet", **changes: Any) -> Trainer:
    config = TrainConfig(**{**SMALL.__dict__, "network": network, **changes})
    prepared = prepare([sample(0), sample(1)], (), config, task=TASK)
    sizes = {**resolve_sizes("unet", "tiny"), **SMALL.sizes}
    shape = FixedShape(PrunedShape())
    return Trainer(config, prepared, sizes=sizes, start=None, pruning=shape)


@pytest.mark.parametrize("optimizer", ["muon", "sgd"])
def test_a_step_waits_for_no_device(optimizer: str) -> None:
    trainer = a_trainer(optimizer=optimizer, dice_weight=0.3)
    trainer._read_every = trainer_module.READ_EVERY
    batch = trainer.batches.draw()
    trainer._learn(batch)
    mode = Refusing(waiting=True)
    with mode:
        for _ in range(3):
            trainer._learn(batch)
    assert mode.seen == []


def test_losses_are_read_together() -> None:
    one, other = a_trainer(augment=False), a_trainer(augment=False)
    other._read_every = 3
    losses = []
    for _ in range(6):
        assert one.step(1e-3)
        assert other.step(1e-3)
        losses.append((one.loss, other.loss))
    assert np.isnan(losses[1][1])
    assert losses[2][0] == pytest.approx(losses[2][1])
    assert losses[4][1] == losses[2][1]
    assert losses[5][0] == pytest.approx(losses[5][1])
    for weight in other.network.parameters():
        weight.data[:] = float("nan")
    assert other.step(1e-3)
    assert other.step(1e-3)
    assert not other.step(1e-3)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_patches_are_cut_where_they_are_learned_from() -> None:
    trainer = a_trainer(device="cuda")
    batch = trainer.batches.draw()
    assert {batch.image.device.type, batch.target.device.type} == {"cuda"}
    torch.cuda.set_sync_debug_mode("error")
    try:
        trainer.step(1e-3)
    finally:
        torch.cuda.set_sync_debug_mode("default")
