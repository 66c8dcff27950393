"""A network that learns distances beside classes: from numbered objects to objects."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_topiary.annotations import Labels, distance_map
from napari_topiary.checkpoint import Checkpoint, load_checkpoint
from napari_topiary.config import DetectConfig, PruneConfig, TrainConfig
from napari_topiary.data.batches import Augmentation
from napari_topiary.data.losses import IMITATION, masked_square_error, objective
from napari_topiary.data.sampling import Batch, Field, PatchSampler
from napari_topiary.errors import TopiaryError
from napari_topiary.evaluation import evaluate
from napari_topiary.inference.predict import predict
from napari_topiary.io.dataset import Sample
from napari_topiary.networks.base import in_shares
from napari_topiary.postprocessing.interpret import PostProcessing
from napari_topiary.pruning import make_plan, pruning_schedule
from napari_topiary.training import fit
from napari_topiary.types import Task, run

TASK = Task("instances", ("background", "nucleus"))
SMALL = TrainConfig(
    network="nuclei",
    preset="tiny",
    sizes={"base": 6, "levels": 2},
    minutes=None,
    epochs=25,
    patch=48,
    batch=4,
    device="cpu",
)


def tissue(seed: int, side: int = 72) -> Sample:
    """Dark discs, many of them touching, on a pale colour image."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side]
    centres = [(18.0, 18.0), (18.0, 32.0), (50.0, 50.0)]
    centres += [tuple(rng.uniform(8, side - 8, 2)) for _ in range(3)]
    depth = np.stack([7.5 - np.hypot(y - cy, x - cx) for cy, cx in centres])
    labels = np.where(depth.max(0) >= 0, depth.argmax(0) + 1, 0)
    stain = np.array([0.5, 0.2, 0.7])[:, None, None]
    image = np.where(labels > 0, stain, 0.9) + rng.normal(0, 0.04, (3, side, side))
    made = (np.clip(image, 0, 1) * 255).astype(np.uint8)
    return Sample(made, (Labels(labels, instances=True),), None, f"tissue {seed}")


@pytest.fixture(scope="module")
def trained() -> Checkpoint:
    samples = [tissue(seed) for seed in range(3)]
    # Two to judge on: thresholds are not chosen on a handful of objects.
    judged_on = [tissue(seed) for seed in (20, 21)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("napari_topiary.training.optimizers.VALIDATIONS", 5)
        return run(fit(samples, SMALL, task=TASK, validation=judged_on))


def test_it_learns_to_tell_touching_objects_apart(trained: Checkpoint) -> None:
    assert trained.metrics["quality_name"] == "PQ"
    assert trained.metrics["quality"] > 0.6
    assert set(trained.metrics["beside"]) == {"AJI"}
    assert trained.thresholds["nucleus"] == trained.thresholds["common"]
    assert trained.annotations_summary["distance"] == "object"
    sample = tissue(9)
    found = run(predict(sample.image, trained))
    assert found.probability.shape == (2, 72, 72)
    assert found.regression is not None
    assert found.regression.shape == (1, 72, 72)
    assert found.labels[18, 18] > 0
    assert found.labels[18, 32] > 0
    assert found.labels[18, 18] != found.labels[18, 32]
    true = distance_map(sample.annotations[0].labels)
    assert np.sqrt(np.mean((found.regression[0] - true) ** 2)) < 0.25


def test_reading_anew_needs_no_network(trained: Checkpoint) -> None:
    found = run(predict(tissue(9).image, trained))
    coarse = DetectConfig(seed_height=0.99)
    joined = PostProcessing.of(trained, coarse).read(found)
    assert joined.labels[18, 18] == joined.labels[18, 32] > 0
    again = PostProcessing.of(trained).read(joined)
    assert np.array_equal(again.labels, found.labels)


def test_evaluation_says_what_each_branch_is_worth(trained: Checkpoint) -> None:
    result = run(evaluate(trained, [tissue(9), tissue(10)]))
    assert {"aji", "pq", "dq", "sq"} <= result.keys()
    assert result["segmentation_dice"] > 0.8
    assert 0 < result["distance_rmse"] < 0.25
    halves = [run(evaluate(trained, [tissue(seed)])) for seed in (9, 10)]
    for name in ("pq", "aji", "segmentation_dice", "distance_rmse"):
        assert result[name] == pytest.approx(np.mean([h[name] for h in halves]))


def test_masks_of_both_branches_stay_through_fine_tuning(
    trained: Checkpoint, tmp_path
) -> None:
    samples = [tissue(seed) for seed in range(3)]
    for scope in ("layer", "global"):
        config = PruneConfig(kind="weights", criterion="magnitude", scope=scope)
        plan = make_plan(trained, config)
        tune = replace(SMALL, epochs=2)
        job = fit(
            samples,
            tune,
            task=TASK,
            start=trained,
            pruning=pruning_schedule(plan, 0.8),
        )
        tuned = run(job)
        shares = []
        for branch in ("segmentation", "distance"):
            own = {n: m for n, m in tuned.masks.items() if n.startswith(branch)}
            gone = sum(int((~mask).sum()) for mask in own.values())
            whole = [t for n, t in trained.state.items() if n.startswith(branch)]
            shares.append(gone / sum(t.numel() for t in whole))
        assert shares[0] == pytest.approx(shares[1], abs=0.01)
        assert tuned.sparsity >= 0.8 - 1e-9
        tuned.save(tmp_path / "tuned.safetensors")
        back = load_checkpoint(tmp_path / "tuned.safetensors")
        for name, mask in back.masks.items():
            assert not back.state[name][~mask].any()


def test_the_distance_of_a_checkpoint_is_what_it_goes_on_with() -> None:
    samples = [tissue(seed) for seed in range(2)]
    config = replace(SMALL, epochs=1, distance="image")
    first = run(fit(samples, config, task=TASK))
    on = run(fit(samples, replace(config, distance="object"), task=TASK, start=first))
    assert on.annotations_summary["distance"] == "image"


def test_it_needs_numbered_objects() -> None:
    sample = tissue(0)
    classes = Labels(np.minimum(sample.annotations[0].labels, 1))
    task = Task("segment", ("background", "nucleus"))
    samples = [replace(sample, annotations=(classes,))]
    with pytest.raises(TopiaryError, match="needs numbered objects"):
        run(fit(samples, SMALL, task=task))


# Parts ----------------------------------------------------------------------------


def test_square_error_by_hand() -> None:
    values = torch.tensor([[[[0.5, 1.0, 9.0]]]])
    wanted = torch.tensor([[[[0.0, 0.0, 0.0]]]])
    known = torch.tensor([[[1.0, 3.0, 0.0]]])
    error = masked_square_error(values, wanted, known)
    assert float(error) == pytest.approx((0.25 + 3 * 1.0) / 4)
    assert float(masked_square_error(values, wanted, torch.zeros(1, 1, 3))) == 0.0


def test_objective_adds_classes_values_and_imitation() -> None:
    answer = torch.tensor([[[[0.0, 0.0]], [[0.0, 0.0]], [[0.5, 0.5]]]])
    target = torch.tensor([[[0, -1]]])
    wanted = torch.tensor([[[[0.0, 7.0]]]])
    config = TrainConfig(dice_weight=0.0, distance_weight=2.0)
    batch = Batch(answer, target, torch.ones(1, 1, 2), regression=wanted)
    even = torch.ones(2)
    plain = float(objective(answer, batch, config, class_weight=even))
    assert plain == pytest.approx(np.log(2) + 2 * 0.25)
    # A teacher that is heard on the second pixel only.
    said = torch.tensor([[[[0.0, 1.0]], [[0.0, 0.0]], [[9.0, 0.9]]]])
    taught = replace(batch, teacher=said)
    mixed = float(objective(answer, taught, config, class_weight=even))
    imitation = np.log(2) + 2 * 0.16
    assert mixed == pytest.approx((1 - IMITATION) * plain + IMITATION * imitation)


def test_shares_leave_values_alone() -> None:
    class Two:
        regressions = 1

    answer = torch.tensor([0.0, np.log(3.0), 5.0]).view(1, 3, 1, 1)
    shares = in_shares(Two(), answer)  # type: ignore[arg-type]
    torch.testing.assert_close(shares.flatten(), torch.tensor([0.25, 0.75, 5.0]))


def test_patches_carry_the_distance_that_belongs_to_them() -> None:
    labels = tissue(1).annotations[0].labels
    distance = distance_map(labels)[None]
    image = np.stack([distance[0]] * 3)  # so that it can be compared after the cut
    field = Field(
        image, np.minimum(labels, 1).astype(np.int16), np.ones(labels.shape, np.float32)
    )
    sampler = PatchSampler([replace(field, regression=distance)], patch=32, seed=0)
    batch = sampler.draw(5)
    assert batch.regression is not None
    assert torch.equal(batch.regression[:, 0], batch.image[:, 0])
    small = PatchSampler([replace(field, regression=distance)], patch=96, seed=0)
    padded = small.draw(1).regression
    assert padded is not None
    assert padded.shape == (1, 1, 96, 96)


def test_augmentation_moves_the_distance_with_the_image() -> None:
    torch.manual_seed(0)
    y, x = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    hill = torch.exp(-((y - 8) ** 2 + (x - 20) ** 2) / 30)
    images = hill.expand(24, 3, 32, 32).contiguous()
    batch = Batch(
        images,
        torch.ones(24, 32, 32, dtype=torch.int64),
        torch.ones(24, 32, 32),
        regression=images[:, :1].clone(),
    )
    augment = Augmentation(3)
    augment._intensity = lambda image: image  # type: ignore[method-assign]
    changed = augment(batch)
    assert changed.regression is not None
    for image, values in zip(
        changed.image[:, 0], changed.regression[:, 0], strict=True
    ):
        assert int(image.argmax()) == int(values.argmax())
    # Quarter turns alone change no value; free turns and scales keep the height.
    heights = changed.regression.amax(dim=(1, 2, 3))
    assert (heights > 0.85).all()


def test_other_stains_keep_greys_grey() -> None:
    torch.manual_seed(0)
    from napari_topiary.data.batches import _restained

    grey = torch.rand(4, 1, 5, 5).expand(4, 3, 5, 5)
    torch.testing.assert_close(_restained(grey), grey)
    colour = torch.rand(4, 3, 5, 5)
    changed = _restained(colour)
    assert not torch.allclose(changed, colour, atol=0.02)
    # The same everywhere in a patch, other from patch to patch.
    flat = _restained(torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1).expand(4, 3, 5, 5))
    assert torch.equal(flat, flat[:, :, :1, :1].expand_as(flat))
    assert flat[:, 0, 0, 0].unique().numel() == 4
