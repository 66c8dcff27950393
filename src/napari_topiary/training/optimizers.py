"""How a training steps: its optimizer, its learning rate, and when it is validated.

The usual optimizer, Muon, makes steps that change every direction of a layer alike. The
gradient of a convolution is dominated by a few directions; those that matter for rare
patterns hardly move, however the step is scaled per weight. Here the averaged gradient
of a layer, as a matrix of outputs by inputs, is replaced by the orthogonal matrix
nearest to it (Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural
networks"). A small network then learns in a minute what otherwise takes two. Biases,
normalisations and layers with one input map or a few outputs are left to AdamW.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from typing import Any

import torch

from napari_topiary.config import TrainConfig
from napari_topiary.networks.pruning_schedule import TrainingOptimizer

WARM_UP = 0.03
FINAL_RATE = 0.02
VALIDATIONS = 20
FIRST_VALIDATION_S = 1.5
LONG_S = 2.0
VALIDATION_SHARE = 0.05
"""Validating the hold-out on the way may take this share of the time."""
JUDGED_SHARE = 0.1
"""And all of it, with the last time and the figure, that: on a machine that becomes
busier it is validated less often."""
ONCE_SHARE = 0.015
"""Once takes about this share of a timed run, at most: with the first, the last and the
figure at the end a tenth."""
ORTHOGONAL_RATE = 5.0
"""Rate of the orthogonal steps in terms of AdamW's, so that one number sets both."""
MOMENTUM = 0.9
BETAS = (0.9, 0.999)
EPSILON = 1e-8
FEW_MAPS = 2
"""Layers from or to so few maps have no directions to balance."""
ROUNDS = 5
POLYNOMIAL = (3.4445, -4.7750, 2.0315)
"""x -> a x + b x³ + c x⁵ five times over brings singular values in 0..1 close to 1."""


class Schedule:
    """Falling learning rate over a time budget or a number of steps.

    Parameters
    ----------
    config
        Minutes or epochs, and the highest learning rate.
    steps_per_epoch
        How many steps one pass over the data takes.
    """

    def __init__(self, config: TrainConfig, steps_per_epoch: int) -> None:
        self._peak, self._linear = config.learning_rate, config.schedule == "linear"
        self._steps = None if config.epochs is None else config.epochs * steps_per_epoch
        self._seconds = (
            math.inf
            if config.minutes is None or config.epochs is not None
            else config.minutes * 60.0
        )
        self._start = time.perf_counter()

    @property
    def total_steps(self) -> int | None:
        """Steps of the whole run; None = it is timed."""
        return self._steps

    @property
    def total_s(self) -> float:
        """Seconds of the whole run; infinite where it is not timed."""
        return self._seconds

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self._start

    def fraction(self, step: int) -> float:
        """Share of the run that is done, 0..1, before step number `step`."""
        if self._steps is not None:
            return min(1.0, step / self._steps)
        return min(1.0, self.seconds / self._seconds)

    def seconds_left(self, step: int) -> float | None:
        """Estimated seconds to the end; None before anything is known."""
        fraction = self.fraction(step)
        if self._steps is None:
            return max(0.0, self._seconds - self.seconds)
        return self.seconds * (1 - fraction) / fraction if fraction > 0 else None

    def learning_rate(self, fraction: float) -> float:
        """Learning rate due at a fraction of the run."""
        if fraction < WARM_UP:
            return self._peak * max(fraction / WARM_UP, 0.05)
        phase = (fraction - WARM_UP) / (1 - WARM_UP)
        left = 1 - phase if self._linear else 0.5 * (1 + math.cos(math.pi * phase))
        return self._peak * (FINAL_RATE + (1 - FINAL_RATE) * left)


class ValidationRounds:
    """When to validate the hold-out.

    Runs counted in epochs are validated at fixed steps, so that the same seed gives the
    same result on any machine; timed runs so often that it takes a fixed share of time.

    `total_steps`: steps of the run; None = timed · `lasts`: seconds that validating
    took the last time; before the first, about as long · `total_s`: seconds of a timed
    run · `figure_s`: seconds that the figure at the end takes, about.
    """

    def __init__(
        self,
        total_steps: int | None,
        lasts: float = 0.0,
        *,
        total_s: float = math.inf,
        figure_s: float = 0.0,
    ) -> None:
        self._every = (
            None if total_steps is None else max(1, total_steps // VALIDATIONS)
        )
        self._due_at = max(FIRST_VALIDATION_S, lasts / VALIDATION_SHARE)
        self.lasts = lasts
        self.long = False  # took so long that the weights are saved before
        self._planned, self._figure_s = lasts, figure_s
        self._left = JUDGED_SHARE * total_s

    @property
    def at_the_end_s(self) -> float:
        """Seconds from the last step on: it is validated, and its figure measured."""
        return self.lasts + max(self.lasts, self._figure_s)

    def due(self, step: int, seconds: float) -> bool:
        """Whether to validate after this step."""
        if self._every is not None:
            return step % self._every == 0
        # This time, the last time, and the figure, as slow as the machine is now.
        slower = max(1.0, self.lasts / self._planned) if self._planned > 0 else 1.0
        needed = 2 * self.lasts + slower * self._figure_s
        return seconds >= self._due_at and needed <= self._left

    def took(self, seconds: float, now: float) -> None:
        """Note how long validating took, to plan the next one."""
        self._left -= seconds
        self.lasts, self.long = seconds, seconds >= LONG_S
        self._due_at = now + max(1.0, seconds / VALIDATION_SHARE)


def optimizer_for(
    config: TrainConfig, groups: list[dict[str, Any]]
) -> TrainingOptimizer:
    """Make the optimizer that a form asks for."""
    rate, decay = config.learning_rate, config.weight_decay
    if config.optimizer == "muon":
        return Muon(groups, lr=rate, weight_decay=decay)
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=rate, momentum=0.9, weight_decay=decay)
    if config.optimizer == "adam":
        return torch.optim.Adam(groups, lr=rate, weight_decay=decay)
    return torch.optim.AdamW(groups, lr=rate, weight_decay=decay)


class Muon:
    """Orthogonal steps for convolutions, AdamW for the rest.

    It has what training and pruning need of an optimizer of torch and is none: making
    the first of those loads torch's compiler, for seconds, and nothing is compiled.

    Parameters
    ----------
    groups
        Parameters, with a `weight_decay` of their own where it differs.
    lr
        Rate of AdamW's part; orthogonal steps are `ORTHOGONAL_RATE` times longer.
    weight_decay
        Pull towards zero, as in AdamW.
    """

    def __init__(
        self, groups: list[dict[str, Any]], *, lr: float, weight_decay: float
    ) -> None:
        usual = {"lr": lr, "weight_decay": weight_decay}
        self.param_groups: list[dict[str, Any]] = [usual | group for group in groups]
        self.state: defaultdict[torch.Tensor, Any] = defaultdict(dict)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients."""
        for group in self.param_groups:
            for weight in group["params"]:
                if set_to_none:
                    weight.grad = None
                elif weight.grad is not None:
                    weight.grad.zero_()

    @torch.no_grad()
    def step(self) -> None:
        """Make one step along the gradients that there are."""
        for group in self.param_groups:
            rate, decay = group["lr"], group["weight_decay"]
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                weight.mul_(1 - rate * decay)
                memory = self.state[weight]
                # Pruning may leave a layer few maps later on: it goes on as it began.
                orthogonal = is_orthogonal(weight)
                if memory:
                    orthogonal = "square" not in memory
                if orthogonal:
                    length = ORTHOGONAL_RATE * rate
                    weight.add_(_orthogonal_step(weight.grad, memory), alpha=-length)
                else:
                    weight.add_(_adam_step(weight.grad, memory), alpha=-rate)


def is_orthogonal(weight: torch.Tensor) -> bool:
    """Whether a layer's weights get orthogonal steps: a convolution between maps."""
    return weight.ndim == 4 and min(weight.shape[:2]) > FEW_MAPS


def _orthogonal_step(gradient: torch.Tensor, memory: dict[str, Any]) -> torch.Tensor:
    if not memory:
        memory["average"] = torch.zeros_like(gradient)
    average = memory["average"].mul_(MOMENTUM).add_(gradient)
    direction = gradient.add(average, alpha=MOMENTUM)  # Nesterov's look ahead
    # Inputs come last because that is how the weights lie in memory.
    rows = direction.permute(0, 2, 3, 1)
    matrix = rows.flatten(1)
    outputs, inputs = matrix.shape
    if outputs > inputs:
        turned = orthogonalised(matrix.T).T.mul(math.sqrt(outputs / inputs))
    else:
        turned = orthogonalised(matrix)
    return turned.reshape(rows.shape).permute(0, 3, 1, 2)


def orthogonalised(matrix: torch.Tensor) -> torch.Tensor:
    """Bring all singular values of a matrix roughly to 1 (0.7 to 1.2).

    The iteration is done on the matrix times its transpose, which is small and goes
    with the factor that it is multiplied by: the wide matrix itself is multiplied
    twice instead of in every round.

    Parameters
    ----------
    matrix
        `(m, n)` with m <= n; singular values below a hundredth of the norm stay small.

    Returns
    -------
    Tensor
        `(m, n)`; all zero for a matrix of zeros.
    """
    gram = matrix @ matrix.T
    square_norm = gram.trace() + EPSILON**2
    gram = gram / square_norm
    factor = _polynomial(gram)
    once = factor
    for _ in range(ROUNDS - 1):
        gram = once @ gram @ once
        once = _polynomial(gram)
        factor = once @ factor
    return (factor / square_norm.sqrt()) @ matrix


def _polynomial(gram: torch.Tensor) -> torch.Tensor:
    a, b, c = POLYNOMIAL
    result = torch.addmm(gram, gram, gram, beta=b, alpha=c)
    result.diagonal().add_(a)
    return result


def _adam_step(gradient: torch.Tensor, memory: dict[str, Any]) -> torch.Tensor:
    if not memory:
        memory["steps"] = 0
        memory["average"] = torch.zeros_like(gradient)
        memory["square"] = torch.zeros_like(gradient)
    memory["steps"] += 1
    first, second = BETAS
    memory["average"].lerp_(gradient, 1 - first)
    memory["square"].lerp_(gradient.square(), 1 - second)
    unbiased = 1 - first ** memory["steps"], 1 - second ** memory["steps"]
    spread = (memory["square"] / unbiased[1]).sqrt_().add_(EPSILON)
    average: torch.Tensor = memory["average"] / unbiased[0]
    return average.div_(spread)
