"""What must hold for every network, kind, scope and slider position."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_topiary.checkpoint import Checkpoint, load_checkpoint
from napari_topiary.config import PruneConfig
from napari_topiary.networks import count_macs_per_pixel, count_parameters
from napari_topiary.networks.base import Network
from napari_topiary.pruning import (
    FilterPlan,
    PruningPlan,
    WeightPlan,
    make_plan,
    plan_from_json,
)

POSITIONS = (0.0, 0.1, 0.33, 0.5, 0.75, 0.8, 0.9, 0.9375, 0.95, 0.99)


def kept_sets(plan: PruningPlan, cursor: int) -> torch.Tensor:
    """Everything a position keeps, as one long bool vector."""
    if isinstance(plan, FilterPlan):
        return torch.from_numpy(np.concatenate(plan.kept(cursor)))
    assert isinstance(plan, WeightPlan)
    return torch.cat([mask.flatten() for mask in plan.masks(cursor).values()])


def same_tensors(a: Checkpoint, b: Checkpoint) -> bool:
    return a.state.keys() == b.state.keys() and all(
        torch.equal(a.state[name], b.state[name]) for name in a.state
    )


def test_monotone(checkpoint: Checkpoint, config: PruneConfig) -> None:
    plan = make_plan(checkpoint, config)
    rows = [plan.statistics(position) for position in POSITIONS]
    for position, before, after in zip(POSITIONS, rows, rows[1:], strict=False):
        assert after.nonzero <= before.nonzero
        assert after.parameters <= before.parameters
        assert after.macs_per_pixel <= before.macs_per_pixel + 1e-9
        assert after.memory_per_megapixel <= before.memory_per_megapixel + 1e-6
        assert before.share >= position - 1e-9 or before.note
    cursors = [plan.cursor(position) for position in POSITIONS]
    kept = [kept_sets(plan, cursor) for cursor in cursors]
    assert all(
        not (after & ~before).any() for before, after in itertools.pairwise(kept)
    )
    assert cursors[0] == 0
    assert rows[0].share == pytest.approx(0.0)


def test_counts_are_those_of_the_network(
    checkpoint: Checkpoint, config: PruneConfig, tmp_path: Path
) -> None:
    plan = make_plan(checkpoint, config)
    for position in POSITIONS:
        statistics = plan.statistics(position)
        pruned = plan.checkpoint_at(position)
        network = pruned.build()
        assert pruned.parameters_nonzero == statistics.nonzero
        assert pruned.sparsity == pytest.approx(statistics.share)
        assert count_parameters(network) == statistics.parameters
        assert count_macs_per_pixel(network) == pytest.approx(statistics.macs_per_pixel)
        assert statistics.ratio == pytest.approx(1 / (1 - statistics.share))
        pruned.save(tmp_path / "pruned.safetensors")
        size = (tmp_path / "pruned.safetensors").stat().st_size
        assert size == statistics.file_bytes


def test_first_position_that_removes_enough(
    checkpoint: Checkpoint, config: PruneConfig
) -> None:
    plan = make_plan(checkpoint, config)
    for position in POSITIONS[1:]:
        cursor = plan.cursor(position)
        if cursor < len(plan):
            assert plan.share(cursor) >= position - 1e-9
        assert plan.share(cursor - 1) < position


def test_slider_network_is_the_kept_checkpoint(
    checkpoint: Checkpoint, config: PruneConfig, image: torch.Tensor
) -> None:
    plan = make_plan(checkpoint, config)
    for position in POSITIONS[::3]:
        with torch.no_grad():
            slider = plan.network_at(position)(image)
            kept = plan.checkpoint_at(position).build()(image)
        assert torch.equal(slider, kept)


def test_prefix_replay_is_bit_equal_to_stepping(
    checkpoint: Checkpoint, config: PruneConfig
) -> None:
    """Cut a little, trace again, cut a little more: the same bits as one jump."""
    plan = make_plan(checkpoint, config)
    cuts = np.unique(np.linspace(0, len(plan), 8).astype(int))
    stepped = checkpoint
    for before, after in itertools.pairwise(cuts):
        stepped = step(stepped, plan, int(before), int(after))
        share = plan.share(int(after))
        jumped = plan.checkpoint_at(share)
        assert plan.cursor(share) == after
        assert same_tensors(stepped, jumped)
        assert dict(jumped.widths.items()) == dict(stepped.widths)


def step(stepped: Checkpoint, plan: PruningPlan, before: int, after: int) -> Checkpoint:
    """Take a checkpoint that stands at one position to a later one."""
    own = make_plan(stepped, plan.config)  # traces the pruned network anew
    if isinstance(plan, FilterPlan):
        assert isinstance(own, FilterPlan)
        places = [np.flatnonzero(kept) for kept in plan.kept(before)]
        steps = [
            (group, int(np.searchsorted(places[group], channel)))
            for group, channel in plan.steps[before:after]
        ]
        network = stepped.build()
        following = FilterPlan(
            stepped, plan.config, network=network, coupling=own.coupling, steps=steps
        )
        return following.checkpoint_at(following.end)
    assert isinstance(plan, WeightPlan)
    masks = plan.masks(after)
    state = {
        name: tensor * masks[name] if name in masks else tensor
        for name, tensor in stepped.state.items()
    }
    return dataclasses.replace(stepped, state=state, masks=masks)


def test_cut_network_is_the_whole_one_with_those_maps_zeroed(
    checkpoint: Checkpoint, image: torch.Tensor
) -> None:
    for scope in ("layer", "global"):
        plan = make_plan(checkpoint, PruneConfig(scope=scope))
        assert isinstance(plan, FilterPlan)
        for position in POSITIONS[1:]:
            expected = zeroed(checkpoint.build(), plan, plan.cursor(position), image)
            with torch.no_grad():
                found = plan.network_at(position)(image)
            largest = max(1.0, float(expected.abs().max()))
            assert (found - expected).abs().max() <= 1e-5 * largest


@torch.no_grad()
def zeroed(
    network: Network, plan: FilterPlan, cursor: int, image: torch.Tensor
) -> torch.Tensor:
    """Logits of the whole network where readers see zeros instead of removed maps."""
    handles = []
    for group, kept in zip(plan.coupling.groups, plan.kept(cursor), strict=True):
        for cut in group.cuts:
            if cut.side == "in":
                gone = torch.from_numpy(cut.places[~kept[cut.roots]])

                def blank(
                    module: torch.nn.Module,
                    inputs: tuple[torch.Tensor],
                    gone: torch.Tensor = gone,
                ) -> tuple[torch.Tensor]:
                    return (inputs[0].index_fill(1, gone, 0.0),)

                layer = network.get_submodule(cut.layer)
                handles.append(layer.register_forward_pre_hook(blank))
    assert handles
    logits = network(image)
    for handle in handles:
        handle.remove()
    return logits


def test_something_of_every_layer_stays(
    checkpoint: Checkpoint, config: PruneConfig, image: torch.Tensor
) -> None:
    plan = make_plan(checkpoint, config)
    assert all(row.kept >= 1 for row in plan.layers_kept(len(plan)))
    logits = plan.network_at(0.99)(image)
    regressions = checkpoint.build().regressions
    assert logits.shape[1] == len(checkpoint.task.classes) + regressions
    assert torch.isfinite(logits).all()
    output = checkpoint.build().output_layers[0]
    untouched = plan.checkpoint_at(0.99).state[f"{output}.bias"]
    assert torch.equal(untouched, checkpoint.state[f"{output}.bias"])


def test_saved_loaded_and_pruned_again(
    checkpoint: Checkpoint, config: PruneConfig, tmp_path: Path
) -> None:
    once = make_plan(checkpoint, config).checkpoint_at(0.5)
    once.save(tmp_path / "once.safetensors")
    loaded = load_checkpoint(tmp_path / "once.safetensors")
    assert same_tensors(once, loaded)
    for kind, criterion in (("filters", "l1"), ("weights", "magnitude")):
        again = dataclasses.replace(config, kind=kind, criterion=criterion)
        plan = make_plan(loaded, again)
        assert plan.start == pytest.approx(once.sparsity)
        twice = plan.checkpoint_at(0.8)
        assert twice.sparsity == pytest.approx(plan.statistics(0.8).share)
        assert twice.sparsity >= 0.8 - 1e-9 or plan.end < 0.8
        assert len(twice.pruning) == 2
        twice.save(tmp_path / "twice.safetensors")
        back = load_checkpoint(tmp_path / "twice.safetensors")
        assert same_tensors(twice, back)
        assert back.pruning == twice.pruning
        # What was zero stays zero.
        for name, mask in twice.masks.items():
            assert not twice.state[name][~mask].any()


def test_same_order_continues_where_it_stopped(
    checkpoint: Checkpoint, config: PruneConfig
) -> None:
    """Magnitudes do not change by removing others: pruning on = pruning further."""
    if config.kind == "filters":
        pytest.skip("a filter's norm shrinks with its inputs: the order may change")
    plan = make_plan(checkpoint, config)
    on = make_plan(plan.checkpoint_at(0.4), config)
    assert same_tensors(on.checkpoint_at(0.7), plan.checkpoint_at(0.7))


def test_json_round_trip(checkpoint: Checkpoint, config: PruneConfig) -> None:
    plan = make_plan(checkpoint, config)
    back = plan_from_json(plan.to_json(), checkpoint)
    assert back.to_json() == plan.to_json()
    assert len(back) == len(plan)
    for position in POSITIONS[::4]:
        assert same_tensors(plan.checkpoint_at(position), back.checkpoint_at(position))
        assert plan.statistics(position) == back.statistics(position)


def test_the_original_is_never_touched(
    checkpoint: Checkpoint, config: PruneConfig, image: torch.Tensor
) -> None:
    before = {name: tensor.clone() for name, tensor in checkpoint.state.items()}
    plan = make_plan(checkpoint, config)
    network = plan.network_at(0.5)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(1.0)
    pruned = plan.checkpoint_at(0.6)
    assert all(torch.equal(before[n], t) for n, t in checkpoint.state.items())
    assert checkpoint.widths == {}
    assert checkpoint.masks == {}
    assert checkpoint.pruning == ()
    assert pruned.provenance["parent"] == checkpoint.hash
    # And a slider's network does not reach into the next one.
    fresh = plan.network_at(0.6)
    assert torch.equal(fresh(image), pruned.build()(image))
