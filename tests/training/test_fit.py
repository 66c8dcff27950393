"""Training from end to end on micrographs whose truth is known."""

from __future__ import annotations

import dataclasses
import time

import numpy as np
import pytest
import torch

from napari_topiary.annotations import Centerlines, Labels, Points, Regions
from napari_topiary.checkpoint import load_checkpoint
from napari_topiary.config import TrainConfig
from napari_topiary.data.working_grid import propose_working_factor
from napari_topiary.errors import TopiaryError
from napari_topiary.evaluation import evaluate
from napari_topiary.evaluation.validate import validate
from napari_topiary.io.dataset import Sample
from napari_topiary.networks import count_parameters
from napari_topiary.training import PreviewRequest, fit
from napari_topiary.training import trainer as trainer_module
from napari_topiary.types import UNKNOWN_RADIUS, Stop, Task, run

TASK = Task("detect", ("background", "virion"), radius_nm={"virion": 12.0})
SMALL = TrainConfig(
    sizes={"base": 4, "levels": 2, "multiplier": 2.0},
    minutes=None,
    epochs=30,
    patch=48,
    batch=4,
    device="cpu",
)


def sample(virions, seed, **drawing) -> Sample:
    made = virions(seed, **drawing)
    points = Points(made.centres, ("virion",) * len(made.centres))
    return Sample(made.image, (points,), made.scale, f"made-up {seed}")


def test_it_finds_the_particles_of_a_micrograph_it_has_not_seen(virions):
    samples = [sample(virions, seed) for seed in range(4)]
    made = run(fit(samples, dataclasses.replace(SMALL, epochs=60), task=TASK))
    assert made.metrics["quality_name"] == "F1"
    assert made.metrics["quality"] > 0.9
    assert made.metrics["held_out"] == "2 images"
    first, last = made.metrics["loss_curve"][0][1], made.metrics["loss_curve"][-1][1]
    assert last < 0.5 * first
    assert 0.0 < made.thresholds["virion"] < 1.0
    assert made.annotations_summary["points"] == {"virion": 32}


def test_a_class_has_the_radius_that_is_drawn_with_its_points(virions):
    bare = Task("detect", ("background", "virion"))
    samples = []
    for seed in range(4):
        one = sample(virions, seed)
        (points,) = one.annotations
        radii = (10.0, *(12.0,) * (len(points) - 1))
        drawn = dataclasses.replace(points, radius_nm=radii)
        samples.append(dataclasses.replace(one, annotations=(drawn,)))
    made = run(fit(samples, dataclasses.replace(SMALL, epochs=1), task=bare))
    assert made.task.radius_nm == {"virion": 12.0}
    config = dataclasses.replace(SMALL, epochs=1)
    assert TrainConfig(**made.provenance["config"]) == config
    assert made.metrics["quality_name"] == "F1"
    # A checkpoint of unknown radius can be judged as well.
    unknown = dataclasses.replace(made, task=bare, annotations_summary={})
    found = run(evaluate(unknown, samples[:1]))
    assert found["tolerance_px"] == 0.5 * UNKNOWN_RADIUS
    again = run(validate(unknown, (), validation=samples[:1]))
    assert again.metrics["quality_name"] == "F1"


def test_the_same_seed_grows_the_same_network(virions):
    samples = [sample(virions, seed) for seed in range(2)]
    config = dataclasses.replace(SMALL, epochs=2)
    one, two = (run(fit(samples, config, task=TASK)) for _ in range(2))
    other = run(fit(samples, dataclasses.replace(config, seed=5), task=TASK))
    assert all(torch.equal(one.state[name], two.state[name]) for name in one.state)
    assert not all(torch.equal(one.state[n], other.state[n]) for n in one.state)


def test_stop_returns_what_it_has_learned_so_far(virions):
    samples = [sample(virions, seed) for seed in range(2)]
    config = dataclasses.replace(SMALL, epochs=100_000)
    steps = []

    def enough() -> bool:
        return len(steps) > 12

    made = run(fit(samples, config, task=TASK), steps.append, enough)
    assert made.provenance["steps"] < 40
    assert "quality" in made.metrics


def test_the_time_budget_is_kept(virions):
    samples = [sample(virions, seed) for seed in range(2)]
    config = dataclasses.replace(SMALL, epochs=None, minutes=2 / 60)
    begun = time.perf_counter()
    made = run(fit(samples, config, task=TASK))
    assert made.provenance["steps"] > 1
    assert 1.9 < made.provenance["seconds"] <= time.perf_counter() - begun


def test_a_single_image_is_judged_on_a_part_of_it(virions):
    made = run(fit([sample(virions, 1, size=128, count=16)], SMALL, task=TASK))
    assert made.metrics["held_out"] == "a part of the image"
    assert 0.0 <= made.metrics["quality"] <= 1.0


def test_given_validation_images_are_used(virions):
    made = run(
        fit(
            [sample(virions, 0)],
            dataclasses.replace(SMALL, epochs=2),
            task=TASK,
            validation=[sample(virions, 7), sample(virions, 8)],
        )
    )
    assert made.metrics["held_out"] == "2 images"


def test_fine_tuning_keeps_masks_exactly_and_remembers_its_parent(virions):
    samples = [sample(virions, seed) for seed in range(2)]
    config = dataclasses.replace(SMALL, epochs=3)
    start = run(fit(samples, config, task=TASK))
    name = "down1.conv1.weight"
    mask = torch.rand(start.state[name].shape) > 0.5
    start = dataclasses.replace(
        start,
        masks={name: mask},
        state={**start.state, name: start.state[name] * mask},
    )
    tuned = run(fit(samples, config, task=TASK, start=start))
    assert torch.equal(tuned.state[name][~mask], torch.zeros(int((~mask).sum())))
    assert (tuned.state[name][mask] != start.state[name][mask]).any()
    assert tuned.provenance["parent"] == start.hash
    assert tuned.unpruned_parameters == start.unpruned_parameters
    assert count_parameters(tuned.build()) == count_parameters(start.build())


def test_a_killed_training_leaves_a_checkpoint(virions, tmp_path, monkeypatch):
    import napari_topiary.training.loop as module

    monkeypatch.setattr(module, "SECONDS_BETWEEN_SAVES", 0.0)
    path = tmp_path / "growing.safetensors"
    samples = [sample(virions, seed) for seed in range(2)]
    job = fit(samples, SMALL, task=TASK, checkpoint_path=path)
    for _ in range(6):
        next(job)
    job.close()  # as good as killed: nothing is returned
    assert load_checkpoint(path).task == TASK


def test_a_preview_shows_the_present_network_on_the_window(virions):
    made = sample(virions, 0)
    made.image[:, :, :24] = 0  # a margin: nothing is found there
    job = fit([made, sample(virions, 1)], SMALL, task=TASK)
    for _ in range(4):
        next(job)
    request = PreviewRequest(made.image, (10, 60, 20, 90), made.scale, key="here")
    job.send(request)
    answers = [p.report.preview for p in (next(job), next(job)) if p.report]
    # The request is answered by the very next progress or the one after a judging.
    shown = next((a for a in answers if a is not None), None) or _answer(job, request)
    assert shown.key == "here"
    assert shown.window == (10, 60, 20, 90)
    assert shown.probability.shape == (2, 50, 70)
    assert np.allclose(shown.probability.sum(axis=0), 1.0, atol=1e-3)
    assert not shown.probability[1:, :, :4].any()
    assert shown.probability[1:, :, 4:].all()
    job.close()


def _answer(job, request):
    for _ in range(10):
        progress = job.send(request)
        if progress.report and progress.report.preview:
            return progress.report.preview
    raise AssertionError("No preview came.")


def test_running_out_of_memory_halves_the_batch_and_goes_on(virions, monkeypatch):
    learn = trainer_module.Trainer._learn

    def greedy(self, batch):
        if len(batch.image) > 2:
            raise torch.OutOfMemoryError("made up")
        return learn(self, batch)

    monkeypatch.setattr(trainer_module.Trainer, "_learn", greedy)
    samples = [sample(virions, seed) for seed in range(2)]
    made = run(fit(samples, dataclasses.replace(SMALL, epochs=4), task=TASK))
    assert any("fewer patches a step" in note for note in made.provenance["notes"])


def test_a_loss_that_is_not_a_number_stops_with_a_sentence(virions, monkeypatch):
    samples = [sample(virions, seed) for seed in range(2)]
    monkeypatch.setattr(trainer_module.Trainer, "_learn", lambda *_: float("nan"))
    with pytest.raises(TopiaryError, match="not a number"):
        run(fit(samples, SMALL, task=TASK))


def test_stop_before_anything_was_judged_still_gives_a_checkpoint(virions):
    job = fit([sample(virions, 0), sample(virions, 1)], SMALL, task=TASK)
    next(job)
    next(job)
    with pytest.raises(StopIteration) as end:
        while True:
            job.send(Stop)
    assert end.value.value.provenance["steps"] >= 1


def test_labels_and_centerlines_are_learned_too(virions):
    images = [virions(n, size=96, count=5, filaments=1) for n in range(2)]
    task = Task(
        "segment",
        ("background", "virion", "filament"),
    )
    labelled = [
        Sample(made.image, (Labels(made.labels, False),), made.scale, f"labels {n}")
        for n, made in enumerate(images)
    ]
    config = dataclasses.replace(SMALL, epochs=6)
    trained = run(fit(labelled, config, task=task))
    assert trained.metrics["quality_name"] == "Dice"
    detect = Task(
        "detect",
        ("background", "virion", "filament"),
        radius_nm={"virion": 12.0, "filament": 4.0},
    )
    both = [
        Sample(
            made.image,
            (
                Points(made.centres, ("virion",) * len(made.centres)),
                Centerlines(made.lines, ("filament",) * len(made.lines)),
            ),
            made.scale,
            f"both {n}",
        )
        for n, made in enumerate(images)
    ]
    drawn = run(fit(both, config, task=detect))
    assert drawn.annotations_summary["line_classes"] == ["filament"]
    assert set(drawn.metrics["per_class"]) == {"virion", "filament"}


def test_only_finished_regions_are_learned_from(virions):
    made = sample(virions, 0)
    box = np.array([[0, 0], [0, 40], [40, 40], [40, 0]], float)
    inside = dataclasses.replace(
        made, annotations=(*made.annotations, Regions((box,), ("polygon",)))
    )
    run(fit([inside, inside], dataclasses.replace(SMALL, epochs=1), task=TASK))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"minutes": None, "epochs": None}, "how long"),
        ({"preset": "huge"}, "preset"),
        ({"network": "yunet"}, "unet"),
    ],
)
def test_a_form_that_cannot_run_is_refused_with_a_sentence(virions, change, words):
    config = dataclasses.replace(SMALL, **change)
    with pytest.raises(TopiaryError, match=words):
        run(fit([sample(virions, 0)], config, task=TASK))


def test_what_cannot_be_learned_from_is_refused_with_a_sentence(virions):
    grey = sample(virions, 0)
    colour = dataclasses.replace(grey, image=np.repeat(grey.image, 3, axis=0))
    outside = dataclasses.replace(
        grey, annotations=(Points(np.array([[500.0, 5.0]]), ("virion",)),)
    )
    for samples, task, words in (
        ([], TASK, "no annotated image"),
        ([grey, colour], TASK, "grey and some are colour"),
        ([grey], Task("detect", ("background",)), "only the class background"),
        ([outside], TASK, "outside"),
    ):
        with pytest.raises(TopiaryError, match=words):
            run(fit(samples, SMALL, task=task))


def test_a_start_checkpoint_must_know_the_same_classes_and_channels(virions):
    samples = [sample(virions, seed) for seed in range(2)]
    start = run(fit(samples, dataclasses.replace(SMALL, epochs=1), task=TASK))
    other = Task("detect", ("background", "phage"), radius_nm={"phage": 12.0})
    with pytest.raises(TopiaryError, match="phage"):
        run(fit(samples, SMALL, task=other, start=start))
    painting = Task("segment", TASK.classes)
    with pytest.raises(TopiaryError, match="trained to detect and the annotations are"):
        run(fit(samples, SMALL, task=painting, start=start))
    colour = [
        dataclasses.replace(s, image=np.repeat(s.image, 3, axis=0)) for s in samples
    ]
    with pytest.raises(TopiaryError, match="grey images and these are colour"):
        run(fit(colour, SMALL, task=TASK, start=start))


def test_the_working_pixel_size_keeps_the_smallest_radius_at_six_pixels():
    task = Task("detect", ("background", "a", "b"), radius_nm={"a": 30.0, "b": 60.0})
    assert propose_working_factor(task, 0.5) == pytest.approx(10.0)
    assert propose_working_factor(task, 20.0) == 1.0
    assert propose_working_factor(Task("segment", ("background", "a")), 0.5) == 1.0


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_learns_as_well(virions):
    samples = [sample(virions, seed) for seed in range(4)]
    config = dataclasses.replace(SMALL, epochs=60, device="cuda")
    made = run(fit(samples, config, task=TASK))
    assert made.provenance["device"].startswith("cuda")
    assert made.metrics["quality"] > 0.9
