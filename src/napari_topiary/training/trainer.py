"""The moving parts of a training: network, norms, optimizer, patches."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from napari_topiary.annotations import distance_map
from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import TrainConfig
from napari_topiary.data.annotated_area import AnnotatedArea
from napari_topiary.data.augmentation import Augmentation
from napari_topiary.data.prepared import PreparedData
from napari_topiary.data.sampling import Batch, CentreSampler, Field, PatchSampler
from napari_topiary.errors import TopiaryError
from napari_topiary.evaluation.quality import Quality
from napari_topiary.evaluation.validator import Validator
from napari_topiary.inference.devices import (
    Threads,
    autocast_dtype,
    is_out_of_memory,
    pick_device,
)
from napari_topiary.networks import build_network
from napari_topiary.networks.base import Network, in_shares
from napari_topiary.networks.pruning_schedule import (
    FixedShape,
    NetworkInTraining,
    PrunedShape,
    PruningSchedule,
)
from napari_topiary.training.normalising import LentNorms
from napari_topiary.training.objective import objective
from napari_topiary.training.optimizers import optimizer_for
from napari_topiary.training.schedule import ONCE_SHARE
from napari_topiary.types import Job, Task

logger = logging.getLogger(__name__)

USUAL_PATCH = 128
USUAL_BATCH = 8
DETECTING_BATCH = 4
"""Particles are on every patch and look alike: more steps teach more (measured)."""
MAX_CLASS_WEIGHT = 10.0
GRADIENT_LIMIT = 5.0
FEWER = "The device ran out of memory: training goes on with fewer patches a step."
MOST_VALIDATED, LEAST_VALIDATED = 4_000_000, 256**2
"""Pixels that are judged while training: of all areas together, and of each."""
EXAMPLES = 4
"""Batches that the statistics of normalisations are taken from before judging."""


class Trainer:
    """Owns what changes from step to step.

    Parameters
    ----------
    config, task, prepared
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
        task: Task,
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
        self._amp = autocast_dtype(self.device)
        n_classes = len(task.classes)
        network = (
            build_network(config.network, sizes, prepared.in_channels, n_classes)
            if start is None
            else start.build()
        )
        usual = DETECTING_BATCH if task.kind == "detect" else USUAL_BATCH
        self._batch = config.batch or usual
        self._sampler = sampler_for(network, config, prepared)
        # The same ones throughout: how often a run is judged must not change it.
        self._examples = [
            self._sampler.draw(max(self._batch, USUAL_BATCH))
            .image.to(self.device)
            .contiguous(memory_format=torch.channels_last)
            for _ in range(EXAMPLES)
        ]
        self._adopt(channels_last(network.to(self.device)))
        self._class_weight = self._balance(n_classes).to(self.device)
        self._augment = (
            Augmentation(prepared.in_channels, geometry=network.patch is None)
            if config.augment
            else None
        )
        self._teacher = None
        if start is not None and not isinstance(pruning, FixedShape):
            # Without a dense form it cannot be asked about whole images beforehand.
            teacher = None if network.dense else start.build()
            self._teacher = teacher and teacher.to(self.device).eval()
        self.pixel_s = self._seconds_per_pixel() if timed else 0.0
        seconds = ONCE_SHARE * 60 * (config.minutes or 0.0)
        self._most = MOST_VALIDATED
        if self.pixel_s > 0:
            self._most = min(MOST_VALIDATED, int(seconds / self.pixel_s))
        self._validator = Validator(
            held=self._cut(prepared.held, network),
            task=task,
            line_classes=frozenset(prepared.line_classes),
            device=self.device,
            learned=self._cut(prepared.learned, network),
            figure_only=prepared.figure_only,
        )
        examples = 1 if network.patch is not None else self._sampler.patch**2
        patch_pixels = examples * self._batch
        self.steps_per_epoch = max(
            1, math.ceil(self._sampler.known_pixels / patch_pixels)
        )

    def _cut(
        self, areas: Sequence[AnnotatedArea], network: Network
    ) -> tuple[AnnotatedArea, ...]:
        """Areas without what is not judged, and no more than can be judged often."""
        if network.patch is not None:
            return tuple(areas)  # single pixels are looked at
        most = max(LEAST_VALIDATED, self._most // max(1, len(areas)))
        return tuple(
            one.cropped(most=most, margin=network.halo, step=network.stride)
            for one in areas
        )

    def _seconds_per_pixel(self) -> float:
        """How long judging takes for a working pixel here, about; 0 where unknown."""
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
    def judging_s(self) -> float:
        """About how long judging takes, before it was done once."""
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

    def _balance(self, n_classes: int) -> torch.Tensor:
        """Class weights: inverse root of how often each class is drawn, at most 10×.

        Centre pixels are drawn as often as they shall count.
        """
        if self.network.patch is not None:
            return torch.ones(n_classes)
        target = self._sampler.draw(32).target
        counts = torch.bincount(target[target >= 0], minlength=n_classes).float()
        share = counts / counts.sum().clamp(min=1)
        weight = torch.where(share > 0, share.clamp(min=1e-6).rsqrt(), 0.0)
        weight = weight / weight[weight > 0].min().clamp(min=1e-6)
        return weight.clamp(max=MAX_CLASS_WEIGHT)

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
                loss = self._learn(self._next_batch())
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error) or self._batch == 1:
                raise
            self._halve_batch()
            return True
        if not math.isfinite(loss):
            return False
        first = math.isnan(self.loss)
        self.loss = loss if first else 0.95 * self.loss + 0.05 * loss
        return True

    def _next_batch(self) -> Batch:
        batch = self._sampler.draw(self._batch)
        return batch if self._augment is None else self._augment(batch)

    def _learn(self, batch: Batch) -> float:
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
        value = float(loss.detach())
        if math.isfinite(value):
            self._pruning.before_step(self.network)
            trained = [p for g in self.optimizer.param_groups for p in g["params"]]
            torch.nn.utils.clip_grad_norm_(trained, GRADIENT_LIMIT)
            self.optimizer.step()
            self._pruning.after_step(self.network)
        return value

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
        self._batch //= 2
        self.optimizer.zero_grad(set_to_none=True)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        logger.warning("out of memory: %d patches a step from now on", self._batch)
        # The same words however often it happens: the user is told once.
        self.notes.append(FEWER)

    def validate(self) -> Job[Quality]:
        """Validate the present weights on the hold-out."""
        return self._validator.validate(self.settled())

    def settled(self) -> Network:
        """Return the present network as it would be validated."""
        self._settle(EXAMPLES)
        return self.plain()

    def plain(self) -> Network:
        """Return the present network as it would be kept: a copy, norms folded in."""
        plain = self._norms.folded()
        self._pruning.after_step(plain)
        return plain


def sampler_for(
    network: Network, config: TrainConfig, prepared: PreparedData
) -> PatchSampler | CentreSampler:
    """Return what draws the patches that a network learns from.

    Parameters
    ----------
    network
        What will be trained.
    config
        Patch side, balance and seed are read from it.
    prepared
        What there is to learn from.
    """
    if network.patch is None:
        patch = _patch_side(config.patch, network.stride, prepared)
        fields = prepared.train
        if network.regressions:
            fields = tuple(_with_distance(field, config) for field in fields)
        return PatchSampler(fields, patch=patch, seed=config.seed)
    return CentreSampler(
        prepared.train,
        patch=network.patch,
        seed=config.seed,
        balance=config.balance,
        pixels=config.training_pixels,
        turn=config.augment,
    )


def _with_distance(field: Field, config: TrainConfig) -> Field:
    """Add what a network with a distance branch learns beside the classes."""
    if field.objects is None:
        raise TopiaryError(
            "This network learns how deep inside its object a pixel lies, so it needs "
            "numbered objects: choose the task instances, or another network."
        )
    distance = distance_map(field.objects, relative_to=config.distance)
    return replace(field, regression=distance[None])


def _patch_side(asked: int | None, stride: int, prepared: PreparedData) -> int:
    """Side of a patch: as asked, else 128, but not far beyond the images."""
    largest: int = max(max(field.target.shape) for field in prepared.train)
    side = min(asked or USUAL_PATCH, math.ceil(largest / stride) * stride)
    return max(stride, math.ceil(side / stride) * stride)


def channels_last(network: Network) -> Network:
    """Lay the weights out as CPUs and GPUs convolve fastest; in place, returned."""
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network
