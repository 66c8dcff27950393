"""From a checkpoint and a form to a plan, and to a pruned checkpoint in one go."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import PruneConfig
from napari_topiary.data.centre_sampling import Surroundings
from napari_topiary.data.sampling import Field
from napari_topiary.data.working_grid import to_working
from napari_topiary.errors import TopiaryError
from napari_topiary.inference.devices import pick_device
from napari_topiary.inference.noise import lifeless
from napari_topiary.io.dataset import Sample
from napari_topiary.io.plain_files import parsed_json
from napari_topiary.networks.base import Network
from napari_topiary.pruning.coupling import build_coupling, proven
from napari_topiary.pruning.criteria import Criterion, CriterionInput, criterion_of
from napari_topiary.pruning.filter_plan import FilterPlan, filter_order
from napari_topiary.pruning.plan import FORMAT, PruningPlan
from napari_topiary.pruning.structure import Coupling, Search, Step
from napari_topiary.pruning.weight_plan import WeightPlan, weight_places
from napari_topiary.types import Job, Progress, Stop, run

PASSES = 2
"""Every image is seen this often, at different places."""
SIDE = 256
"""Largest side of the crops, in network pixels."""
PATCHES = 256
"""Patches of an image that a classifier of centre pixels sees at a time."""
_NORM = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def make_plan(
    checkpoint: Checkpoint,
    config: PruneConfig | None = None,
    *,
    samples: Sequence[Sample] = (),
) -> PruningPlan:
    """Rank everything once; well under a second for criteria that read weights only.

    Parameters
    ----------
    checkpoint
        What to prune; pruned before or not.
    config
        Kind, criterion and scope.
    samples
        Annotated images, for criteria that measure a loss.
    """
    return run(plan_job(checkpoint, config, samples=samples))


def plan_job(
    checkpoint: Checkpoint,
    config: PruneConfig | None = None,
    *,
    samples: Sequence[Sample] = (),
    device: str = "auto",
) -> Job[PruningPlan]:
    """Rank everything once; criteria that measure a loss take their time.

    Yields
    ------
    Progress
        With the time left. A `Stop` sent in keeps what has been ordered: filters
        without a place in the order never go, and the plan says so in its note.
    """
    config = config or PruneConfig()
    problem = config.problem()
    if problem is not None:
        raise TopiaryError(problem)
    criterion = criterion_of(config, samples=bool(samples))
    dead = lifeless(checkpoint)
    # Before the search, which takes its time: it may be a reason not to.
    yield Progress(0, 0, "Ranking what to remove", report=dead)
    plan = yield from _ranked(checkpoint, config, criterion, samples, device)
    plan.problems = () if dead is None else (dead,)
    return plan


def _ranked(
    checkpoint: Checkpoint,
    config: PruneConfig,
    criterion: Criterion,
    samples: Sequence[Sample],
    device: str,
) -> Job[PruningPlan]:
    """Rank everything by a criterion."""
    network, coupling = structure(checkpoint)
    names = _prunable(network, coupling, include_output=config.include_output)
    subject = CriterionInput(
        checkpoint=checkpoint,
        coupling=coupling,
        prunable=names,
        samples=samples,
        device=device,
    )
    if criterion.search is not None:
        found = yield from criterion.search(subject, config)
        return FilterPlan(
            checkpoint,
            config,
            network=network,
            coupling=coupling,
            steps=found.steps,
            search=found,
        )
    assert criterion.score is not None
    scores = criterion.score(subject)
    if config.kind == "filters":
        steps = filter_order(coupling, scores, config.scope)
        return FilterPlan(
            checkpoint, config, network=network, coupling=coupling, steps=steps
        )
    scores = {name: scores[name] for name in names}
    places, count = weight_places(
        scores, checkpoint.masks, config.scope, network.branches
    )
    return WeightPlan(
        checkpoint,
        config,
        network=network,
        coupling=coupling,
        names=names,
        places=places,
        count=count,
    )


def prune(
    checkpoint: Checkpoint, config: PruneConfig, samples: Sequence[Sample] = ()
) -> Job[Checkpoint]:
    """Remove `config.remove` of a checkpoint's weights; the original is not changed.

    Fine-tuning afterwards, or better instead (`GradualPruning` handed to the training),
    is the caller's to arrange, and so is validating the result at its own threshold.

    Parameters
    ----------
    checkpoint
        What to prune.
    config
        Kind, criterion, scope and share.
    samples
        Images on which batch-normalisation statistics are re-estimated; annotated
        ones for criteria that measure a loss.
    """
    plan = yield from plan_job(checkpoint, config, samples=samples)
    yield Progress(0, 0, "Removing")
    pruned = plan.checkpoint_at(config.remove)
    result = yield from recalibrate(pruned, samples)
    return result


def plan_from_json(text: str, checkpoint: Checkpoint) -> PruningPlan:
    """Read a plan that `PruningPlan.to_json` wrote for this checkpoint.

    Parameters
    ----------
    text
        The JSON form.
    checkpoint
        The same one that the plan was made for; its hash is compared.
    """
    try:
        record = parsed_json(text, "It")
        config = PruneConfig(**record["config"])
        known = record["format"] == FORMAT
        same = record["checkpoint"] == checkpoint.hash
    except (ValueError, TypeError, KeyError) as error:
        raise _no_plan(error) from error
    if not known:
        raise TopiaryError(
            f"This pruning plan has format {record['format']}; this version reads "
            f"{FORMAT}: make the plan again."
        )
    if not same:
        raise TopiaryError(
            "This pruning plan was made for another checkpoint: make a new plan."
        )
    if config.kind == "weights":
        plan = make_plan(checkpoint, config)
        if plan.to_json() != json.dumps(record):
            raise TopiaryError("The weights now rank differently: make a new plan.")
        return plan
    network, coupling = structure(checkpoint)
    _check_steps(record, coupling)
    steps = tuple((int(group), int(channel)) for group, channel in record["steps"])
    return FilterPlan(
        checkpoint,
        config,
        network=network,
        coupling=coupling,
        steps=steps,
        search=_search(record, steps),
    )


def _search(record: dict[str, Any], steps: tuple[Step, ...]) -> Search | None:
    if "search" not in record:
        return None
    try:
        return Search.from_record(record["search"], steps)
    except (TypeError, KeyError, AttributeError) as error:
        raise _no_plan(error) from error


def _no_plan(error: Exception) -> TopiaryError:
    return TopiaryError(f"This is not a pruning plan ({error}).")


def structure(checkpoint: Checkpoint) -> tuple[Network, Coupling]:
    """Build a checkpoint's network, and say which channels go together in it."""
    network = checkpoint.build()
    coupling = build_coupling(network, checkpoint.in_channels)
    return network, proven(network, coupling, checkpoint.in_channels)


def _prunable(
    network: Network, coupling: Coupling, *, include_output: bool
) -> tuple[str, ...]:
    """Kernels; biases and normalisations stay dense."""
    return tuple(
        f"{name}.weight"
        for name, facts in coupling.layers.items()
        if facts.kind != "norm"
        and (include_output or name not in network.output_layers)
    )


def _check_steps(record: dict[str, Any], coupling: Coupling) -> None:
    """Refuse steps that this network does not have."""
    sizes = [group.channels for group in coupling.groups]
    steps = record.get("steps")
    if (
        record.get("groups") != [group.name for group in coupling.groups]
        or not isinstance(steps, list)
        or not all(_is_step(step, sizes) for step in steps)
        or len({tuple(step) for step in steps}) != len(steps)
        or any(
            sum(group == number for group, _ in steps) >= size
            for number, size in enumerate(sizes)
        )
    ):
        raise TopiaryError("The pruning plan does not fit its network: make a new one.")


def _is_step(step: object, sizes: Sequence[int]) -> bool:
    return (
        isinstance(step, list)
        and len(step) == 2
        and all(type(number) is int for number in step)
        and 0 <= step[0] < len(sizes)
        and 0 <= step[1] < sizes[step[0]]
    )


def recalibrate(checkpoint: Checkpoint, samples: Sequence[Sample]) -> Job[Checkpoint]:
    """Re-estimate batch-normalisation statistics; weights do not change.

    Parameters
    ----------
    checkpoint
        Returned as it is when it has no batch normalisation.
    samples
        Images like those it was trained on; annotations are not needed.

    Yields
    ------
    Progress
        After every crop; a `Stop` sent in leaves the checkpoint as it was.
    """
    device = pick_device("auto")
    network = checkpoint.build().to(device)
    norms = [
        m for m in network.modules() if isinstance(m, _NORM) and m.track_running_stats
    ]
    if not norms or not samples:
        return checkpoint
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain average over everything that is seen
    generator = torch.Generator().manual_seed(0)
    network.train()
    total = PASSES * len(samples)
    for index in range(total):
        crop = learned_part(
            checkpoint, samples[index % len(samples)], network, generator
        )
        with torch.no_grad():
            network.on_patches(crop.to(device))
        message = yield Progress(index + 1, total, "Re-estimating batch statistics")
        if message is Stop:
            return checkpoint
    fresh = {name: tensor.cpu() for name, tensor in network.state_dict().items()}
    return dataclasses.replace(checkpoint, state={**checkpoint.state, **fresh})


def learned_part(
    checkpoint: Checkpoint, sample: Sample, network: Network, generator: torch.Generator
) -> torch.Tensor:
    """Cut a random piece `(1, c, y, x)` as the network sees images.

    Of an image for a classifier of centre pixels: `PATCHES` patches.

    Parameters
    ----------
    checkpoint
        Knows how images are normalised, and their working grid.
    sample
        The image.
    network
        The checkpoint's.
    generator
        Says where.
    """
    factor = checkpoint.factor_for(sample.scale)
    normalised = checkpoint.normalisation.apply(sample.image, sample.excerpt)
    image = torch.from_numpy(to_working(normalised, factor))
    if network.patch is not None:
        return _patches(image, network.patch, generator)
    stride = network.stride
    for axis in (1, 2):
        length = image.shape[axis]
        side = max(stride, min(SIDE, length) // stride * stride)
        if length < side:
            missing = [0, 0] * (2 - axis) + [0, side - length]
            image = nn.functional.pad(image, missing)
        room = image.shape[axis] - side
        start = int(torch.randint(room + 1, (1,), generator=generator))
        image = image.narrow(axis, start, side)
    return image[None]


def _patches(
    image: torch.Tensor, patch: int, generator: torch.Generator
) -> torch.Tensor:
    """Patches `(n, c, p, p)` around random pixels of an image `(c, y, x)`."""
    height, width = image.shape[1:]
    nothing = np.zeros((height, width))
    around = Surroundings(
        [Field(image.numpy(), nothing.astype(np.int16), nothing.astype(np.float32))],
        patch,
    )
    pixels = torch.randint(height * width, (PATCHES,), generator=generator)
    return torch.from_numpy(around.around(pixels.numpy()))
