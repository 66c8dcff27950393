"""Filters by loss: the same order as trying all of the network for every candidate."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from napari_topiary.annotations import Labels, Points
from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import PruneConfig
from napari_topiary.data.annotated_area import as_learned
from napari_topiary.errors import TopiaryError
from napari_topiary.io.dataset import Sample
from napari_topiary.networks import build_network
from napari_topiary.networks.base import Network
from napari_topiary.pruning import (
    FilterPlan,
    LayerSearch,
    Search,
    make_plan,
    plan_from_json,
    plan_job,
    prune,
)
from napari_topiary.pruning.coupling import logits_reading_zeros
from napari_topiary.pruning.criteria import CriterionInput
from napari_topiary.pruning.criteria.loss import layer_counts
from napari_topiary.pruning.search import ablation as ablation_module
from napari_topiary.pruning.search.ablation import AblatedNetwork
from napari_topiary.pruning.search.calibration import (
    CalibrationBatches,
    draw_calibration,
)
from napari_topiary.pruning.search.greedy import AT_ONCE, affordable, going, tries
from napari_topiary.pruning.structure import Coupling
from napari_topiary.types import Progress, Stop, Task, run

calibration_module = import_module("napari_topiary.pruning.search.calibration")
loss_module = import_module("napari_topiary.pruning.criteria.loss")
NETWORKS = (
    "membrane",
    "thin",
    "unet-norm",
    "nuclei-thin",
    "residual",
    "dense",
    "flat",
)


def sample(size: int = 48, seed: int = 0) -> Sample:
    """Three classes that the image shows."""
    truth = np.zeros((size, size), int)
    truth[4 : size // 2, 8:30] = 1
    truth[size // 2 + 4 :, :20] = 2
    noise = np.random.default_rng(seed).normal(0, 0.3, (1, size, size))
    labels = Labels(truth, instances=False)
    return Sample((noise + truth).astype(np.float32), (labels,), None, "made up")


@pytest.fixture
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Search in double precision, so that rounding decides nothing."""

    def ablated(
        network: Network, coupling: Coupling, calibration: CalibrationBatches
    ) -> AblatedNetwork:
        return AblatedNetwork(network.double(), coupling, doubled(calibration))

    monkeypatch.setattr(loss_module, "AblatedNetwork", ablated)


@pytest.fixture(autouse=True)
def _small_patches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration_module, "SIDE", 16)
    monkeypatch.setattr(calibration_module, "CENTRES", 32)


def doubled(calibration: CalibrationBatches) -> CalibrationBatches:
    return CalibrationBatches(
        image=calibration.image.double(),
        shares=calibration.shares.double(),
        values=None if calibration.values is None else calibration.values.double(),
        value_weight=calibration.value_weight,
    )


def naive_losses(
    network: Network,
    coupling: Coupling,
    kept: Sequence[np.ndarray],
    calibration: CalibrationBatches,
) -> Callable[[int, int], float]:
    """Loss of the whole network, run as a whole, without one more channel."""

    as_trained = copy.copy(network)  # with the same layers
    as_trained.forward = network.on_patches  # type: ignore[method-assign]

    def loss(group: int, channel: int) -> float:
        without = [mask.copy() for mask in kept]
        without[group][channel] = False
        logits = logits_reading_zeros(as_trained, coupling, without, calibration.image)
        likely = logits[:, :3].log_softmax(1)
        loss = -(likely * calibration.shares).sum()
        if calibration.values is not None:
            error = (logits[:, 3:] - calibration.values).square()
            known = calibration.shares.sum(1, keepdim=True)
            loss += calibration.value_weight * (error * known).sum()
        return float(loss)

    return loss


@torch.no_grad()
def naive_layerwise(
    plan: FilterPlan, calibration: CalibrationBatches, given: dict[str, int]
) -> dict[str, list[int]]:
    """The procedure as the paper states it."""
    network, coupling = plan.checkpoint.build(), plan.coupling
    network.to(calibration.image.dtype)
    kept = [np.ones(group.channels, bool) for group in coupling.groups]
    orders = {}
    for number, group in enumerate(coupling.groups):
        order: list[int] = []
        while len(order) < group.channels - 1:
            loss = naive_losses(network, coupling, kept, calibration)
            left = np.flatnonzero(kept[number])
            best = min(left, key=lambda channel: (loss(number, int(channel)), channel))
            kept[number][best] = False
            order.append(int(best))
        orders[group.name] = order
        kept[number][:] = True
        kept[number][order[: given[group.name]]] = False
    return orders


@torch.no_grad()
def naive_global(
    plan: FilterPlan, calibration: CalibrationBatches, steps: int
) -> list[tuple[int, int]]:
    network, coupling = plan.checkpoint.build().double(), plan.coupling
    kept = [np.ones(group.channels, bool) for group in coupling.groups]
    order = []
    for _ in range(steps):
        loss = naive_losses(network, coupling, kept, calibration)
        best = min(
            (loss(number, int(channel)), number, int(channel))
            for number, mask in enumerate(kept)
            if mask.sum() > 1
            for channel in np.flatnonzero(mask)
        )
        kept[best[1]][best[2]] = False
        order.append(best[1:])
    return order


def calibration_of(checkpoint: Checkpoint, config: PruneConfig) -> CalibrationBatches:
    return draw_calibration(
        checkpoint,
        [sample()],
        batches=config.batches,
        seed=config.seed,
        device=torch.device("cpu"),
    )


@pytest.mark.parametrize(
    ("case", "precise"),
    [*((case, False) for case in (*NETWORKS, "membrane_cnn"))]
    + [(case, True) for case in NETWORKS],
)
def test_same_order_as_the_naive_procedure(
    fresh: Callable[..., Checkpoint],
    case: str,
    precise: bool,
    request: pytest.FixtureRequest,
) -> None:
    if precise:
        request.getfixturevalue("exact")
    checkpoint = fresh(case)
    config = PruneConfig(
        criterion="loss", scope="layer", remove=0.6, batches=1, at_once=0.0, seed=3
    )
    plan = run(plan_job(checkpoint, config, samples=[sample()], device="cpu"))
    assert isinstance(plan, FilterPlan)
    assert plan.search is not None
    found = {layer.name: list(layer.order) for layer in plan.search.layers}
    given = dict(plan.search.given)
    calibration = calibration_of(checkpoint, config)
    calibration = doubled(calibration) if precise else calibration
    assert found == naive_layerwise(plan, calibration, given)


@pytest.mark.usefixtures("exact")
@pytest.mark.parametrize("case", ["membrane", "dense", "flat"])
def test_network_wide_it_is_one_order_over_all_layers(
    fresh: Callable[..., Checkpoint], case: str
) -> None:
    checkpoint = fresh(case)
    config = PruneConfig(criterion="loss", batches=1, at_once=0.0)
    plan = make_plan(checkpoint, config, samples=[sample()])
    assert isinstance(plan, FilterPlan)
    calibration = doubled(calibration_of(checkpoint, config))
    expected = naive_global(plan, calibration, min(12, len(plan)))
    assert list(plan.steps[:12]) == expected


@pytest.mark.usefixtures("exact")
@pytest.mark.parametrize("case", NETWORKS)
def test_losses_are_those_of_the_pruned_network(
    fresh: Callable[..., Checkpoint], case: str
) -> None:
    """The curve of the first layer, measured again on networks that were really cut."""
    checkpoint = fresh(case)
    config = PruneConfig(criterion="loss", scope="layer", remove=0.0, batches=2)
    plan = make_plan(checkpoint, config, samples=[sample()])
    assert isinstance(plan, FilterPlan)
    assert plan.search is not None
    first = plan.search.layers[0]
    calibration = doubled(calibration_of(checkpoint, config))
    assert len(first.curve) == first.channels
    for removed, loss in zip(first.removed, first.curve, strict=True):
        steps = [(0, channel) for channel in first.order[:removed]]
        cut = FilterPlan(
            checkpoint,
            config,
            network=plan.network,
            coupling=plan.coupling,
            steps=steps,
        ).network_after(removed)
        with torch.no_grad():
            logits = cut.double().on_patches(calibration.image)
        assert float(calibration.losses(logits, slice(None), 1)[0]) == pytest.approx(
            loss
        )


@pytest.mark.usefixtures("exact")
def test_a_network_that_cannot_be_traced_gives_the_same_order(
    fresh: Callable[..., Checkpoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = fresh("residual")
    config = PruneConfig(criterion="loss", scope="layer", batches=1, at_once=0.0)
    quick = make_plan(checkpoint, config, samples=[sample()])

    def refuse(*arguments: object) -> None:
        raise ValueError("cannot be traced")

    monkeypatch.setattr(ablation_module, "OperationGraph", refuse)
    slow = make_plan(checkpoint, config, samples=[sample()])
    assert isinstance(quick, FilterPlan)
    assert isinstance(slow, FilterPlan)
    assert slow.steps == quick.steps


def test_the_loss_is_the_mean_cross_entropy_of_the_batches(
    fresh: Callable[..., Checkpoint],
) -> None:
    checkpoint = fresh("unet-norm")
    calibration = calibration_of(checkpoint, PruneConfig(batches=3))
    assert len(calibration) == 6
    assert float(calibration.shares.sum()) == pytest.approx(1.0)
    with torch.no_grad():
        logits = checkpoint.build().on_patches(calibration.image)
    target = calibration.shares.argmax(1)
    known = calibration.shares.sum(1) > 0
    means = []
    for batch in range(3):
        rows = slice(2 * batch, 2 * batch + 2)
        each = F.cross_entropy(logits[rows], target[rows], reduction="none")
        means.append(float(each[known[rows]].mean()))
    assert calibration.losses(logits, slice(None), 1)[0] == pytest.approx(
        np.mean(means)
    )
    again = calibration_of(checkpoint, PruneConfig(batches=3))
    other = calibration_of(checkpoint, PruneConfig(batches=3, seed=1))
    assert torch.equal(calibration.image, again.image)
    assert not torch.equal(calibration.image, other.image)


def test_the_loss_is_measured_on_what_was_learned(virions: Any) -> None:
    """Particles as large as in training; classes and distance count as they did."""
    made = virions(2, count=4)
    drawn = Sample(made.image, (Points(made.centres, ("virion",) * 4),), 2.0, "one")
    task = Task("detect", ("background", "virion"), radius_nm={"virion": 12.0})
    zones = {"certain": 0.3, "ignore": 0.4, "negative_weight": 4.0}
    usual = Checkpoint(
        network="unet",
        sizes={"base": 2, "levels": 0},
        in_channels=1,
        task=task,
        state=dict(build_network("unet", {"base": 2, "levels": 0}, 1, 2).state_dict()),
        pixel_size_nm=2.0,
    )
    small = usual.replaced(
        annotations_summary={"zones": zones, "distance": "image"},
        provenance={"config": {"distance_weight": 3.0, "balance": "natural"}},
    )
    known = as_learned(drawn, small).field.target
    assert (known == 1).sum() < (as_learned(drawn, usual).field.target == 1).sum()
    found = [
        draw_calibration(each, [drawn], batches=8, seed=0, device=torch.device("cpu"))
        for each in (usual, small)
    ]
    there = [int((each.shares[:, 1] > 0).sum()) for each in found]
    assert 0 < there[1] < there[0]
    assert [each.value_weight for each in found] == [1.0, 3.0]


def test_centre_pixels_are_drawn_with_their_class(
    fresh: Callable[..., Checkpoint],
) -> None:
    calibration = calibration_of(fresh("membrane"), PruneConfig(batches=1))
    assert calibration.image.shape == (32, 1, 12, 12)
    assert calibration.shares.shape == (32, 3, 1, 1)
    centre = calibration.image[:, 0, 6, 6]
    classes = calibration.shares.flatten(1).argmax(1)
    means = [float(centre[classes == c].mean()) for c in range(3)]
    assert np.diff(means) == pytest.approx([1.2, 1.2], abs=0.5)


def test_features_that_do_nothing_go_first_in_their_own_order(
    fresh: Callable[..., Checkpoint],
) -> None:
    checkpoint = fresh("membrane")
    state = dict(checkpoint.state)
    for channel in (4, 2):
        state["conv1.bias"] = state["conv1.bias"].clone()
        state["conv1.bias"][channel] = -100.0
    checkpoint = checkpoint.replaced(state=state)
    config = PruneConfig(criterion="loss", scope="layer", batches=1)
    plan = make_plan(checkpoint, config, samples=[sample()])
    assert isinstance(plan, FilterPlan)
    assert plan.search is not None
    first = plan.search.layers[0]
    helpful = [loss for loss in first.tried if loss < first.curve[0]]
    order = [channel for channel in first.order if channel in (2, 4)]
    assert order == [2, 4]
    assert first.order.index(4) == first.order.index(2) + 1
    assert first.order.index(2) <= len(helpful)


def test_every_layer_loses_the_same_share(fresh: Callable[..., Checkpoint]) -> None:
    checkpoint = fresh("thin")
    config = PruneConfig(criterion="loss", scope="layer", remove=0.5, batches=1)
    plan = make_plan(checkpoint, config, samples=[sample()])
    for position in (0.3, 0.5, 0.8):
        rows = plan.statistics(position).layers
        shares = np.array([1 - row.kept / row.total for row in rows])
        steps = np.array([1 / row.total for row in rows])
        assert np.all(np.abs(shares - np.median(shares)) <= steps + 1e-9)
    assert isinstance(plan, FilterPlan)
    assert plan.search is not None
    at_asked = {row.name: row.total - row.kept for row in plan.statistics(0.5).layers}
    assert dict(plan.search.given) == {
        name: gone for name, gone in at_asked.items() if name in plan.search.given
    }


def test_given_counts_follow_the_share(fresh: Callable[..., Checkpoint]) -> None:
    checkpoint = fresh("membrane")
    plan = make_plan(checkpoint, PruneConfig(scope="layer"))
    subject = CriterionInput(checkpoint=checkpoint, coupling=plan.coupling, prunable=())
    assert set(layer_counts(subject, 0.0).values()) == {0}
    half = layer_counts(subject, 0.5)
    kept = {row.name: row.total - row.kept for row in plan.statistics(0.5).layers}
    assert half == kept


class Interrupted:
    """Send Stop after so many reports."""

    def __init__(self, after: int) -> None:
        self.after, self.seen = after, list[Progress]()

    def __call__(self, progress: Progress) -> None:
        self.seen.append(progress)

    def asked(self) -> bool:
        return len(self.seen) >= self.after


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_stopped_it_keeps_what_is_ordered(
    fresh: Callable[..., Checkpoint], scope: str
) -> None:
    checkpoint = fresh("membrane")
    config = PruneConfig(criterion="loss", scope=scope, batches=1, at_once=0.0)
    whole = make_plan(checkpoint, config, samples=[sample()])
    watch = Interrupted(25)
    job = plan_job(checkpoint, config, samples=[sample()])
    part = run(job, watch, watch.asked)
    assert isinstance(whole, FilterPlan)
    assert isinstance(part, FilterPlan)
    assert part.search is not None
    assert part.search.stopped
    assert 0 < len(part) < len(whole)
    assert set(part.steps) < set(whole.steps)
    assert part.end < whole.end
    assert "stopped" in part.statistics(part.end).note
    assert "cannot be reached" in part.statistics(0.99).note
    assert part.checkpoint_at(part.end).build()(torch.zeros(1, 1, 32, 32)).isfinite
    back = plan_from_json(part.to_json(), checkpoint)
    assert isinstance(back, FilterPlan)
    assert back.search == part.search
    assert back.statistics(0.5) == part.statistics(0.5)


def test_stopped_at_once_nothing_can_go(fresh: Callable[..., Checkpoint]) -> None:
    config = PruneConfig(criterion="loss", scope="layer", batches=1)
    job = plan_job(fresh("membrane"), config, samples=[sample()])
    part = run(job, None, lambda: True)
    assert len(part) == 0
    assert part.end == 0.0


def test_progress_says_where_it_is_and_how_long(
    fresh: Callable[..., Checkpoint],
) -> None:
    config = PruneConfig(criterion="loss", scope="layer", batches=1, remove=0.5)
    seen: list[Progress] = []
    checkpoint = fresh("membrane")
    pruned = run(prune(checkpoint, config, [sample()]), seen.append)
    assert pruned.sparsity >= 0.5
    assert pruned.pruning[-1]["criterion"] == "loss"
    trying = [p for p in seen if p.message.startswith("Trying")]
    assert any("conv2" in p.message for p in trying)
    assert all(p.eta_s is not None and p.eta_s >= 0 for p in trying)
    done = [p.done for p in trying]
    assert done == sorted(done)
    assert trying[-1].fraction > 0.8


def test_recorded_in_json(fresh: Callable[..., Checkpoint]) -> None:
    config = PruneConfig(criterion="loss", scope="layer", batches=1, at_once=0.3)
    checkpoint = fresh("membrane")
    plan = make_plan(checkpoint, config, samples=[sample()])
    record = json.loads(plan.to_json())
    layers = {layer["name"]: layer for layer in record["search"]["layers"]}
    assert list(layers) == ["conv1", "conv2", "hidden"]
    conv1 = layers["conv1"]
    assert sorted([*conv1["order"], *_rest(conv1)]) == list(range(10))
    assert conv1["removed"] == [0, 3, 5, 6, 7, 8, 9]
    assert len(conv1["curve"]) == 7
    assert len(conv1["tried"]) == 9
    assert record["search"]["at_once"] == 0.3
    back = plan_from_json(plan.to_json(), checkpoint)
    assert back.to_json() == plan.to_json()
    for broken in ({"layers": 3}, {"layers": [{}]}, {"x": 1}, []):
        with pytest.raises(TopiaryError, match="not a pruning plan"):
            plan_from_json(json.dumps(record | {"search": broken}), checkpoint)


def _rest(layer: dict[str, list[int]]) -> set[int]:
    return set(range(10)) - set(layer["order"])


def test_sentences(fresh: Callable[..., Checkpoint]) -> None:
    checkpoint = fresh("membrane")
    loss = PruneConfig(criterion="loss")
    with pytest.raises(TopiaryError, match="annotate one"):
        make_plan(checkpoint, loss)
    with pytest.raises(TopiaryError, match="by their magnitude"):
        make_plan(checkpoint, PruneConfig(kind="weights", criterion="loss"))
    with pytest.raises(TopiaryError, match="Batches 0 is not possible"):
        make_plan(checkpoint, PruneConfig(batches=0))
    with pytest.raises(TopiaryError, match=r"At once 0\.9 is not possible"):
        make_plan(checkpoint, PruneConfig(at_once=0.9))


def test_how_many_go_at_a_step() -> None:
    assert [going(left, 0.0) for left in (100, 2)] == [1, 1]
    assert [going(left, 0.25) for left in (100, 8, 3, 2)] == [25, 2, 1, 1]
    assert tries(100, 0.0) == 100 * 101 // 2 - 1
    assert tries(200, 0.0) == 20_099
    assert tries(4, 0.5) == 4 + 2
    assert affordable(lambda share: 1.0) == 0.0
    assert affordable(lambda share: 1e99) == AT_ONCE[-1]
    assert affordable(lambda share: 1e12 / (share + 0.01)) == 0.1


def test_a_search_is_a_value() -> None:
    layer = LayerSearch(
        name="a",
        channels=3,
        order=(1, 0),
        tried=(0.1, 0.2),
        removed=(0, 1, 2),
        curve=(0.0, 0.1, 0.2),
    )
    search = Search(
        steps=((0, 1), (0, 0)),
        layers=(layer,),
        given={"a": 1},
        at_once=0.0,
        batches=10,
        seed=0,
    )
    assert layer.complete
    assert search.note == ""
    record = json.loads(json.dumps(search.to_record()))
    assert Search.from_record(record, search.steps) == search


@pytest.mark.usefixtures("exact")
def test_what_upper_layers_are_tried_on_is_cut_below(
    fresh: Callable[..., Checkpoint],
) -> None:
    """The second layer's curve begins at the loss that the first one's cut has left."""
    checkpoint = fresh("membrane")
    config = PruneConfig(criterion="loss", scope="layer", remove=0.6, batches=1)
    plan = make_plan(checkpoint, config, samples=[sample()])
    assert isinstance(plan, FilterPlan)
    assert plan.search is not None
    first, second = plan.search.layers[:2]
    gone = plan.search.given["conv1"]
    assert gone > 0
    assert second.curve[0] == pytest.approx(first.curve[gone])


def test_bench_prices_every_group(fresh: Callable[..., Checkpoint]) -> None:
    checkpoint = fresh("membrane")
    plan = make_plan(checkpoint)
    calibration = calibration_of(checkpoint, PruneConfig(batches=1))
    prices = AblatedNetwork(checkpoint.build(), plan.coupling, calibration).prices()
    assert list(prices) == ["conv1", "conv2", "hidden"]
    assert prices["conv1"] > prices["conv2"] > prices["hidden"] > 0


def test_stop_is_heard_between_candidates(fresh: Callable[..., Checkpoint]) -> None:
    config = PruneConfig(criterion="loss", scope="layer", batches=1, at_once=0.0)
    job = plan_job(fresh("unet-norm"), config, samples=[sample()])
    next(job)
    while not next(job).message.startswith("Trying"):
        pass
    with pytest.raises(StopIteration) as end:
        job.send(Stop)
    assert end.value.value.search.stopped
