"""From a checkpoint and a form to a plan, and to a pruned checkpoint in one go."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import PruneConfig
from napari_topiary.errors import TopiaryError
from napari_topiary.io.plain_files import parsed_json
from napari_topiary.networks.base import Network
from napari_topiary.pruning.coupling import build_coupling, proven
from napari_topiary.pruning.criteria import CriterionInput, criterion_of
from napari_topiary.pruning.filter_plan import FilterPlan, filter_order
from napari_topiary.pruning.plan import FORMAT, PruningPlan
from napari_topiary.pruning.search.record import Search, Step
from napari_topiary.pruning.structure import Coupling
from napari_topiary.pruning.weight_plan import WeightPlan, weight_places
from napari_topiary.types import Job, Progress, run

if TYPE_CHECKING:
    from napari_topiary.io.dataset import Sample


from napari_topiary.io.dataset import Sample
from napari_topiary.pruning.recalibration import recalibrate


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
    yield Progress(0, 0, "Ranking what to remove")
    config = config or PruneConfig()
    problem = config.problem()
    if problem is not None:
        raise TopiaryError(problem)
    criterion = criterion_of(config, samples=bool(samples))
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
    is the caller's to arrange, and so is judging the result at its own best threshold.

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
        raise TopiaryError(f"This is not a pruning plan ({error}).") from error
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
        raise TopiaryError(f"This is not a pruning plan ({error}).") from error


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
