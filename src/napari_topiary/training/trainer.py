"""The moving parts of a training: network, norms, optimizer, patches."""

from __future__ import annotations

import logging
import math
import time
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import TrainConfig
from napari_topiary.data.batches import Batches
from napari_topiary.data.losses import objective
from napari_topiary.data.prepared import PreparedData
from napari_topiary.data.sampling import Batch, Field
from napari_topiary.errors import is_out_of_memory
from napari_topiary.evaluation.quality import Quality
from napari_topiary.evaluation.validator import MOST_VALIDATED, Validator
from napari_topiary.inference.devices import Threads, autocast_dtype, pick_device
from napari_topiary.inference.engine import Engine
from napari_topiary.inference.tiles import infer
from napari_topiary.networks import build_network
from napari_topiary.networks.base import Network, in_shares
from napari_topiary.networks.pruning_schedule import (
    FixedShape,
    NetworkInTraining,
    PrunedShape,
    PruningSchedule,
)
from napari_topiary.training.normalising import LentNorms
from napari_topiary.training.optimizers import ONCE_SHARE, optimizer_for
from napari_topiary.types import Job, Progress, run

logger = logging.getLogger(__name__)

GRADIENT_LIMIT = 5.0
READ_EVERY = 16
"""Steps between looks at the loss where a device computes in the background."""
SHARE_OF_TIME = 0.1
"""Asking may take this share of the time; images not reached have no answers."""
FEWER = "The device ran out of memory: training goes on with fewer patches a step."


class Trainer:
    """Owns what changes from step to step.

    Parameters
    ----------
    config, prepared
        What the run was given.
    sizes
        Sizes of the unpruned network.
    start
        Checkpoint to continue from, if any.
    pruning
        Changes the network's shape as the run goes on.
    """

    def __init__(
        self,
        config: TrainConfig,
        prepared: PreparedData,
        *,
        sizes: dict[str, Any],
        start: Checkpoint | None,
        pruning: PruningSchedule,
    ) -> None:
        torch.manual_seed(config.seed)
        self.device = pick_device(config.device)
        # Runs counted in epochs are to be the same each time, and rounding depends on
        # the number of threads.
        timed = config.minutes is not None and config.epochs is None
        self.threads = Threads(choose=timed and self.device.type == "cpu")
        self.notes: list[str] = []
        self.loss = float("nan")
        self._config, self._pruning = config, pruning
        self._read_every = 1 if self.device.type == "cpu" else READ_EVERY
        self._losses: list[torch.Tensor] = []
        self._amp = autocast_dtype(self.device)
        network = (
            build_network(
                config.network, sizes, prepared.in_channels, len(prepared.task.classes)
            )
            if start is None
            else start.build()
        )
        self.batches = Batches(network, config, prepared, self.device)
        self._examples = [
            image.to(self.device).contiguous(memory_format=torch.channels_last)
            for image in self.batches.examples
        ]
        self._adopt(channels_last(network.to(self.device)))
        self._class_weight = self.batches.class_weight.to(self.device)
        self._teacher = None
        if start is not None and not isinstance(pruning, FixedShape):
            # Without a dense form it cannot be asked about whole images beforehand.
            teacher = None if network.dense else start.build()
            self._teacher = teacher and teacher.to(self.device).eval()
        self.pixel_s = self._seconds_per_pixel() if timed else 0.0
        most = MOST_VALIDATED
        if self.pixel_s > 0:
            most = int(ONCE_SHARE * 60 * (config.minutes or 0.0) / self.pixel_s)
        self._validator = Validator.often(
            prepared, network, device=self.device, most=most
        )

    def _seconds_per_pixel(self) -> float:
        """How long validating a working pixel takes, about; 0 where unknown."""
        if self.network.patch is not None:
            return 0.0
        times = []
        for _ in range(2):  # the first time is slower
            begun = time.perf_counter()
            self._settle(1)
            times.append(time.perf_counter() - begun)
        shape = self._examples[0].shape
        # What is found has to be looked for as well.
        return 2 * times[-1] / (shape[0] * shape[2] * shape[3])

    @property
    def validation_s(self) -> float:
        """About how long validating takes, before the first time."""
        areas = (*self._validator.held, *self._validator.learned)
        return self.pixel_s * sum(one.field.target.size for one in areas)

    def _adopt(self, network: Network) -> None:
        """Take over a network: lend it norms, give it an optimizer."""
        self.network = network
        self._norms = LentNorms(network, self._examples[0])
        trained: list[torch.nn.Parameter] = [
            *network.parameters(),
            *self._norms.parameters(),
        ]
        # Decay would pull biases and norms to zero as well, and they are needed.
        groups: list[dict[str, Any]] = [
            {"params": [p for p in trained if p.ndim > 1]},
            {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
        ]
        self.optimizer = optimizer_for(self._config, groups)

    def reshape(self, fraction: float) -> bool:
        """Let the schedule change the network; return whether its shape is final."""
        if self._pruning.due(fraction):
            trained = NetworkInTraining(
                self.network, self.optimizer, self._norms.by_layer()
            )
            self._pruning.update(fraction, trained)
            self._settle(1)
        return self._pruning.settled

    def _settle(self, batches: int) -> None:
        """Re-estimate the norms' statistics on the first of the example batches."""
        with torch.autocast(
            self.device.type, dtype=self._amp, enabled=self._amp is not None
        ):
            self._norms.settle(self._examples[:batches])

    def shape(self) -> PrunedShape:
        """Shape of the present network, for the checkpoint."""
        return self._pruning.shape()

    def step(self, learning_rate: float) -> bool:
        """Learn from one batch; False if the loss is not a number any more."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        try:
            with self.threads.step():
                loss = self._learn(self.batches.draw())
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error) or self.batches.size == 1:
                raise
            self._halve_batch()
            return True
        self._losses.append(loss)
        if len(self._losses) < self._read_every:
            return True
        read = [float(one) for one in self._losses]
        self._losses.clear()
        for value in read:
            if not math.isfinite(value):
                return False
            first = math.isnan(self.loss)
            self.loss = value if first else 0.95 * self.loss + 0.05 * value
        return True

    def _learn(self, batch: Batch) -> torch.Tensor:
        """Learn from a batch; return the loss, which is not waited for."""
        self.network.train()
        self._norms.train()
        image = batch.image.to(self.device, memory_format=torch.channels_last)
        if self._teacher is not None:
            batch = replace(batch, teacher=self._asked(self._teacher, image))
        with torch.autocast(
            self.device.type, dtype=self._amp, enabled=self._amp is not None
        ):
            answer = self.network.on_patches(image)
        loss = objective(
            answer.float(),
            batch.to(self.device),
            self._config,
            class_weight=self._class_weight,
        )
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        loss = loss.detach()
        # To ask a graphics card whether it is a number would be to wait for it.
        if self._read_every > 1 or math.isfinite(float(loss)):
            self._pruning.before_step(self.network)
            trained = [p for g in self.optimizer.param_groups for p in g["params"]]
            torch.nn.utils.clip_grad_norm_(trained, GRADIENT_LIMIT)
            self.optimizer.step()
            self._pruning.after_step(self.network)
        return loss

    def _asked(self, teacher: Network, image: torch.Tensor) -> torch.Tensor:
        """What the unpruned network says about a batch: `(b, k, 1, 1)` probability."""
        with (
            torch.no_grad(),
            torch.autocast(
                self.device.type, dtype=self._amp, enabled=self._amp is not None
            ),
        ):
            return in_shares(teacher, teacher.on_patches(image))

    def _halve_batch(self) -> None:
        self.batches.size //= 2
        self.optimizer.zero_grad(set_to_none=True)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        logger.warning(
            "out of memory: %d patches a step from now on", self.batches.size
        )
        # The same words however often it happens: the user is told once.
        self.notes.append(FEWER)

    def validate(self) -> Job[Quality]:
        """Validate the present weights on the hold-out."""
        return self._validator.validate(self.settled())

    def settled(self) -> Network:
        """Return the present network as it would be validated."""
        self._settle(len(self._examples))
        return self.plain()

    def plain(self) -> Network:
        """Return the present network as it would be kept: a copy, norms folded in."""
        plain = self._norms.folded()
        self._pruning.after_step(plain)
        return plain


def channels_last(network: Network) -> Network:
    """Lay the weights out as CPUs and GPUs convolve fastest; in place, returned."""
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


def with_answers_of(
    teacher: Checkpoint, prepared: PreparedData, config: TrainConfig
) -> Job[PreparedData]:
    """Add what a teacher answers, values included, to the fields to learn from.

    Fine-tuning a pruned network on the annotations alone repeats their noise; the
    unpruned network has already averaged that out, and it answers everywhere, also
    where nobody has annotated. It is asked once, before the first step.

    Yields
    ------
    Progress
        After every image.
    """
    seconds = math.inf if config.minutes is None else config.minutes * 60
    device = pick_device(config.device)
    network = teacher.build()
    if not network.dense:
        return prepared  # it is asked about every batch instead
    engine = Engine(network, device, backend="torch", precision="reduced")
    maps = len(teacher.task.classes) + network.regressions
    begun = time.perf_counter()
    fields: list[Field] = []

    def late() -> bool:
        return time.perf_counter() - begun >= SHARE_OF_TIME * seconds

    for field in prepared.train:
        if not late():
            asking = infer(engine, field.image)
            # What it has not answered by then is 0: not known.
            answer = run(asking, should_stop=late)
            said = answer.probability
            if answer.regression is not None:
                said = np.concatenate([said, answer.regression])
            said = said.astype(np.float16)
        else:
            said = np.zeros((maps, *field.target.shape), dtype=np.float16)
        fields.append(replace(field, teacher=said))
        yield Progress(len(fields), len(prepared.train), "Asking the unpruned network")
    return replace(prepared, train=tuple(fields))
