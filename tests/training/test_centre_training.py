"""Classifiers of centre pixels learn, are judged, pruned, taught and kept."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_topiary.annotations import Labels
from napari_topiary.checkpoint import load_checkpoint
from napari_topiary.config import PruneConfig, TrainConfig
from napari_topiary.data.annotated_area import on_working_grid
from napari_topiary.data.sampling import Field
from napari_topiary.evaluation.validate import validate
from napari_topiary.evaluation.validator import Validator
from napari_topiary.inference.devices import pick_device
from napari_topiary.inference.engine import Engine
from napari_topiary.inference.predict import predict
from napari_topiary.inference.tiles import PIXEL_BY_PIXEL, infer
from napari_topiary.io.dataset import Sample
from napari_topiary.networks import build_network, recipe_config, resolve_sizes
from napari_topiary.pruning import GradualPruning, make_plan, recalibrate
from napari_topiary.training import PreviewRequest, fit
from napari_topiary.types import Progress, Stop, Task, run

TASK = Task("segment", ("background", "virion"))
PRESETS = {"membrane_cnn": "N7", "dcnn": "small", "dccn": "small"}


@pytest.fixture
def samples(virions) -> list[Sample]:
    """Three small micrographs with painted virions, the last one tiny."""
    made = []
    for seed, (size, count) in enumerate([(48, 4), (48, 4), (24, 1)]):
        drawn = virions(seed, size=size, count=count, noise=0.02)
        labels = Labels((drawn.labels > 0).astype(np.uint16), TASK.classes)
        made.append(Sample(drawn.image, (labels,), drawn.scale, f"s{seed}"))
    return made


def config(name: str, **changes: object) -> TrainConfig:
    """A short training by the network's own recipe."""
    given = {"preset": PRESETS[name], "minutes": None, "epochs": 1, "batch": 48}
    return recipe_config(name, given | {"device": "cpu"} | changes)


@pytest.mark.parametrize("name", PRESETS)
def test_learns_and_is_kept(
    name: str, samples: list[Sample], tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_topiary.training.optimizers.VALIDATIONS", 5)
    # So few pixels that an epoch is a few steps; the virions are plain to see.
    asked = config(name, epochs=20, training_pixels=240, learning_rate=5e-3)
    made = run(fit(samples[:2], asked, task=TASK, validation=samples[2:]))
    assert made.provenance["steps"] == 100
    assert made.metrics["quality_name"] == "Dice"
    assert made.metrics["quality"] > (0.45 if name == "dccn" else 0.75)
    made.save(tmp_path / "made.safetensors")
    back = load_checkpoint(tmp_path / "made.safetensors")
    for key, tensor in made.build().state_dict().items():
        assert torch.equal(back.build().state_dict()[key], tensor)


def test_predicts_in_the_window_and_on_whole_images(samples: list[Sample]) -> None:
    job = fit(samples, config("membrane_cnn", epochs=3), task=TASK)
    next(job)
    request = PreviewRequest(samples[0].image, (3, 30, 5, 40), samples[0].scale)
    answer, progress = None, None
    while answer is None:
        progress = job.send(request)
        answer = getattr(progress.report, "preview", None)
    assert answer.probability.shape == (2, 27, 35)
    np.testing.assert_allclose(answer.probability.sum(axis=0), 1, atol=1e-4)
    with pytest.raises(StopIteration) as end:
        while True:
            job.send(Stop)
    found = run(predict(samples[0].image, end.value.value, scale=samples[0].scale))
    assert found.probability.shape == (2, 48, 48)
    assert found.done is None


def held(samples: list[Sample], factor: float = 1.0) -> list:
    from napari_topiary.normalisation import Normalisation

    return [on_working_grid(s, factor, TASK, Normalisation()) for s in samples]


def test_judged_on_pixels_as_on_areas(
    samples: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With every pixel in the sample both judges see the same."""
    torch.manual_seed(0)
    network = build_network("dcnn", resolve_sizes("dcnn", "small"), 1, 2).eval()
    areas = [
        replace(
            area,
            field=Field(
                area.field.image[:, :30, :20],
                area.field.target[:30, :20],
                area.field.weight[:30, :20],
            ),
        )
        for area in held(samples)
    ]
    judge = Validator(
        held=areas,
        task=TASK,
        line_classes=frozenset(),
        device=pick_device("cpu"),
    )
    whole = _end(judge.validate(network))
    monkeypatch.setattr("napari_topiary.evaluation.validator_pixels.MOST_DENSE", 0)
    by_pixel = _end(judge.validate(network))
    assert by_pixel.value == pytest.approx(whole.value, abs=1e-3)
    assert by_pixel.at_common == pytest.approx(whole.at_common, abs=1e-3)
    # Areas of different sizes count alike in one, their pixels in the other.
    assert by_pixel.loss == pytest.approx(whole.loss, abs=5e-3)
    assert by_pixel.thresholds.keys() == whole.thresholds.keys()


def _end(judging):
    while True:
        try:
            next(judging)
        except StopIteration as end:
            return end.value


@pytest.mark.parametrize("name", ["membrane_cnn", "dccn"])
def test_pruned_and_taught(name: str, samples: list[Sample]) -> None:
    """Gradually, imitating the unpruned network: by its maps, or batch by batch."""
    whole = run(fit(samples, config(name, epochs=1, training_pixels=96), task=TASK))
    plan = make_plan(whole, PruneConfig(scope="layer"))
    pruning = GradualPruning(plan, 0.6, stages=3)
    asked = config(name, epochs=2, training_pixels=192)
    tuned = run(fit(samples, asked, task=TASK, start=whole, pruning=pruning))
    assert tuned.sparsity == pytest.approx(plan.statistics(0.6).share)
    assert tuned.parameters < 0.45 * whole.parameters
    assert tuned.metrics["quality"] >= 0


def test_pruned_without_training(samples: list[Sample]) -> None:
    whole = run(fit(samples, config("dccn", training_pixels=48), task=TASK))
    cut = make_plan(whole, PruneConfig()).checkpoint_at(0.5)
    settled = run(recalibrate(cut, samples))
    mean = "block1.0.norm1.running_mean"
    assert not torch.equal(settled.state[mean], cut.state[mean])
    judged = run(validate(settled, samples))
    assert judged.metrics["quality_name"] == "Dice"


def test_networks_without_a_dense_form_can_be_stopped_soon(
    samples: list[Sample],
) -> None:
    network = build_network("dccn", resolve_sizes("dccn", "small"), 1, 2)
    image = np.zeros((1, 40, 40), np.float32)
    job = infer(Engine(network, "cpu"), image, tile=512)
    first = next(job)
    assert isinstance(first, Progress)
    assert first.message == PIXEL_BY_PIXEL
    with pytest.raises(StopIteration) as end:
        job.send(Stop)
    assert 0 < end.value.value.done.sum() <= 16 * 16


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", PRESETS)
def test_learns_on_a_gpu(name: str, samples: list[Sample]) -> None:
    asked = config(name, epochs=5, training_pixels=240, device="cuda")
    made = run(fit(samples, asked, task=TASK))
    assert np.isfinite(made.metrics["validation_loss"])
