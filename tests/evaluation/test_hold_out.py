"""What is held back, that it stays held back, and the figure measured on it."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
import torch

from napari_topiary.annotations import Labels, Points, Regions
from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import PredictConfig, TrainConfig
from napari_topiary.data.annotated_area import AnnotatedArea, on_working_grid
from napari_topiary.data.learned import NO_SKETCHES
from napari_topiary.data.prepared import foresee, prepare
from napari_topiary.errors import TopiaryError
from napari_topiary.evaluation import evaluate
from napari_topiary.evaluation.detection_metrics import points_inside
from napari_topiary.evaluation.evaluate import known_from_training
from napari_topiary.evaluation.figures import figure_pixels
from napari_topiary.evaluation.ground_truth import truth_of
from napari_topiary.evaluation.quality import interval
from napari_topiary.evaluation.score import Scorer
from napari_topiary.evaluation.validate import validate, validation_data
from napari_topiary.evaluation.validator import LEAST_VALIDATED, Validator
from napari_topiary.io.dataset import Sample
from napari_topiary.io.stacks import are_slices
from napari_topiary.jobs.training import TrainingData, checking
from napari_topiary.networks import build_network
from napari_topiary.networks.pruning_schedule import FixedShape, PrunedShape
from napari_topiary.normalisation import Normalisation
from napari_topiary.training import fit
from napari_topiary.training.trainer import Trainer
from napari_topiary.types import Task, run

DETECT = Task("detect", ("background", "virion"), radius_nm={"virion": 12.0})
OBJECTS = Task("instances", ("background", "cell"))
AREAS = Task("segment", ("background", "cell"))
SMALL = TrainConfig(
    sizes={"base": 4, "levels": 1},
    minutes=None,
    epochs=8,
    patch=32,
    batch=4,
    device="cpu",
)
CPU = PredictConfig(device="cpu")


def cells(dtype=np.int32, seed=0, number=True, name="cells") -> Sample:
    """Twenty bright squares on noise."""
    labels = np.zeros((80, 100), dtype)
    for n, (row, column) in enumerate(np.ndindex(4, 5), start=1):
        y, x = 20 * row + 5, 20 * column + 5
        labels[y : y + 9, x : x + 9] = n if number else 1
    noise = np.random.default_rng(seed).normal(100, 10, labels.shape)
    return Sample((noise + 80 * (labels > 0))[None], (Labels(labels),), None, name)


def clicks(virions, seed, n=8) -> Sample:
    made = virions(seed)
    points = Points(made.centres[:n], ("virion",) * n)
    return Sample(made.image, (points,), made.scale, f"image {seed}")


def marked(sample: Sample, box) -> Sample:
    """The sample with nothing finished but a box."""
    top, bottom, left, right = np.array(box) - np.array([0, 1, 0, 1])
    corners = [[top, left], [top, right], [bottom, right], [bottom, left]]
    region = Regions((np.array(corners, float),), ("rectangle",))
    return dataclasses.replace(sample, annotations=(*sample.annotations, region))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint64, np.int32])
def test_training_and_evaluate_say_the_same_about_objects(dtype):
    sample = cells(dtype)
    made = run(fit([sample], SMALL, task=OBJECTS))
    (area,) = made.annotations_summary["held_out"]
    again = run(evaluate(made, [marked(sample, area["box"])], config=CPU))
    assert made.metrics["quality_name"] == "PQ"
    assert made.metrics["quality"] == pytest.approx(again["pq"], abs=1e-6)
    assert made.metrics["beside"]["AJI"] == pytest.approx(again["aji"], abs=1e-6)
    # A version that is kept is judged anew, and by the same figures.
    kept = run(validate(dataclasses.replace(made, metrics={}), [sample]))
    assert kept.metrics["beside"] == pytest.approx(made.metrics["beside"])
    assert made.metrics["n_objects"] >= 10


def test_training_and_evaluate_say_the_same_about_areas_and_particles(virions):
    sample = cells(np.uint8, number=False)
    made = run(fit([sample], SMALL, task=AREAS))
    (area,) = made.annotations_summary["held_out"]
    again = run(evaluate(made, [marked(sample, area["box"])], config=CPU))
    dice = again["per_class"]["cell"]["dice"]
    assert made.metrics["quality"] == pytest.approx(dice, abs=1e-6)
    samples = [clicks(virions, seed) for seed in range(3)]
    found = run(fit(samples, SMALL, task=DETECT))
    held = {area["image"] for area in found.annotations_summary["held_out"]}
    judged = [one for one in samples if one.name in held]
    again = run(evaluate(found, judged, config=CPU))
    assert found.metrics["quality"] == pytest.approx(again["f1"], abs=1e-6)
    low, high = found.metrics["interval"]
    assert 0 <= low <= found.metrics["quality"] <= high <= 1


def test_marks_outside_finished_areas_count_in_no_figure(virions):
    """Nor do reviewed ones: of what else lies there nobody has said anything."""
    learned, judged = clicks(virions, 0), clicks(virions, 1)
    (points,) = judged.annotations
    height, width = judged.image.shape[1:]
    inside = points.coordinates[:, 0] < height / 2
    seen = dataclasses.replace(points, reviewed=tuple(map(bool, ~inside)))
    for drawn in (points, seen):
        judged = dataclasses.replace(judged, annotations=(drawn,))
        part = marked(judged, (0, height // 2, 0, width))
        config = dataclasses.replace(SMALL, epochs=1)
        made = run(fit([learned], config, task=DETECT, validation=[part]))
        again = run(evaluate(made, [part], config=CPU))
        assert again["n_true"] == made.metrics["n_objects"] < len(points)
        assert again["n_right"] == made.metrics["n_right"]
        assert again["n_wrong"] == made.metrics["n_wrong"]
        assert again["interval"] == pytest.approx(made.metrics["interval"], abs=1e-6)
        assert made.metrics["quality"] == pytest.approx(again["f1"], abs=1e-6)


def test_marks_outside_finished_areas_are_no_reason_to_hold_back(virions):
    whole = clicks(virions, 0)
    inside = int((whole.annotations[0].coordinates[:, 0] < 47.5).sum())
    assert 0 < inside < 8
    for sample, count in ((whole, 8), (marked(whole, (0, 48, 0, 96)), inside)):
        area = on_working_grid(sample, 1.0, DETECT, Normalisation())
        assert area.things == count


@pytest.mark.parametrize("reviewed", [False, True])
def test_as_many_marks_decide_as_the_figure_rests_on(virions, reviewed):
    """Answers about single places teach outside finished areas, but judge nothing."""
    made = virions(0)
    height, width = made.image.shape[1:]
    inside = made.centres[:, 0] < height / 2 - 1
    names = ["virion"] * 8
    seen = tuple(map(bool, ~inside)) if reviewed else None
    points = Points(made.centres[:8], tuple(names), reviewed=seen)
    whole = Sample(made.image, (points,), made.scale, "image")
    sample = marked(whole, (0, height // 2, 0, width))
    area = on_working_grid(sample, 1.0, DETECT, Normalisation())
    truth = truth_of(sample.annotations, (height, width), task=DETECT, scale=2.0)
    assert (
        area.things
        == inside[:8].sum()
        == points_inside(points.coordinates, truth.area).sum()
    )
    outside = points.coordinates[~inside[:8]]
    y, x = outside.round().astype(int).T
    assert ((area.field.target[y, x] == 1) == reviewed).all()
    told = run(checking(data(sample)))
    made = run(fit([sample], dataclasses.replace(SMALL, epochs=1), task=DETECT))
    few = f"Only {area.things} thing"
    assert any(few in note for note in told.notes)
    assert any(few in note for note in made.provenance["notes"])
    taught = 8 if reviewed else area.things
    assert made.annotations_summary["points"] == {"virion": taught}
    said = f"{8 - taught} of 8 marks lie outside the finished areas and do not teach"
    for notes in (told.notes, made.provenance["notes"]):
        assert any(said in note for note in notes) is not reviewed


def data(*samples, validation=(), task=DETECT):
    return TrainingData(samples=samples, validation=validation, task=task, n_images=1)


def test_of_few_things_on_several_images_none_is_held_back(virions):
    samples = [clicks(virions, seed, 3) for seed in range(3)]
    told = run(checking(data(*samples)))
    assert told.held_back == "There is nothing to judge it on."
    made = run(fit(samples, dataclasses.replace(SMALL, epochs=1), task=DETECT))
    assert made.annotations_summary["held_out"] == []
    assert any("Only 9 things are marked" in n for n in made.provenance["notes"])
    assert any("Only 9 things are marked" in note for note in told.notes)


@pytest.mark.parametrize("aside", [1, 2])
def test_images_kept_aside_on_which_nothing_is_marked_judge_nothing(virions, aside):
    """Some of what is learned from is held back instead, and that is said before."""
    empty = [
        dataclasses.replace(
            clicks(virions, 9), annotations=(Points([[5, 5]], ("background",)),), name=n
        )
        for n in ("e", "f")[:aside]
    ]
    samples = [clicks(virions, seed) for seed in range(3)]
    told = run(checking(data(*samples, validation=tuple(empty))))
    assert told.held_back == "1 of them is kept back to judge it."
    config = dataclasses.replace(SMALL, epochs=1)
    said = []
    made = run(
        fit(samples, config, task=DETECT, validation=empty),
        lambda one: said.append(getattr(one.report, "note", None)),
    )
    assert "quality" in made.metrics
    held = {area["image"] for area in made.annotations_summary["held_out"]}
    assert len(held) == 1 and not held & {"e", "f"}
    names = "e, f"[: 3 * aside - 2]
    words = f"{names}: kept aside to judge on, but nothing is marked there"
    assert any(note.startswith(words) for note in told.notes)
    # Before the first step, not after it.
    assert next(note for note in said if note).startswith(words)


def test_of_images_kept_aside_those_without_marks_do_not_count(virions):
    empty = Points(np.empty((0, 2)), ())
    given = [
        clicks(virions, 1),
        dataclasses.replace(clicks(virions, 2), annotations=(empty,), name="e"),
    ]
    divided = foresee([clicks(virions, 0)], given, SMALL, task=DETECT)
    assert [one.sample.name for one in divided.held] == [given[0].name]
    assert divided.words == "1 image"
    words = "e: kept aside to judge on, but nothing is marked there"
    assert [note for note in divided.notes if note.startswith(words)]


@pytest.mark.parametrize(("n", "said"), [(2, "1 image"), (4, "2 images")])
def test_the_images_named_beside_a_figure_are_those_it_was_measured_on(n, said):
    aside = [cells(seed=k, name=f"aside {k}") for k in range(1, n + 1)]
    config = dataclasses.replace(SMALL, epochs=1)
    made = run(fit([cells()], config, task=OBJECTS, validation=aside))
    about = made.metrics
    assert about["held_out"] == said
    assert about["n_objects"] == 20 * (n // 2)
    assert len(made.annotations_summary["held_out"]) == n
    assert not about["used_for_choosing"]


def test_what_is_foreseen_is_what_is_done(virions):
    one = cells(np.uint8, number=False)
    for samples, validation, task in (
        ([one], [], AREAS),
        ([one, cells(seed=1, number=False, name="b")], [], AREAS),
        ([clicks(virions, seed) for seed in range(4)], [], DETECT),
        ([clicks(virions, 0)], [clicks(virions, 1)], DETECT),
        ([clicks(virions, 0)], [clicks(virions, 0)], DETECT),
        ([cells()], [], OBJECTS),
    ):
        config = dataclasses.replace(SMALL, working_factor=2.0)
        seen = foresee(samples, validation, config, task=task)
        done = prepare(samples, validation, config, task=task)
        entries = [area.entry() for area in seen.held]
        assert entries == done.summary["held_out"]
        assert set(seen.notes) <= set(done.notes)


def test_of_a_large_image_only_what_is_held_back_is_computed(virions):
    """The figure is that of evaluate all the same, on a coarser grid too."""
    made = [virions(seed) for seed in range(6)]
    image = np.concatenate([one.image for one in made], axis=2)
    places = [one.centres + np.array([0, 96 * n]) for n, one in enumerate(made)]
    points = Points(np.concatenate(places), ("virion",) * 48)
    sample = Sample(image, (points,), made[0].scale, "long")
    config = dataclasses.replace(SMALL, working_pixel_size_nm=3.0, epochs=4)
    found = run(fit([sample], config, task=DETECT))
    (area,) = found.annotations_summary["held_out"]
    again = run(evaluate(found, [marked(sample, area["box"])], config=CPU))
    assert found.metrics["quality"] == pytest.approx(again["f1"], abs=1e-6)
    assert found.metrics["n_right"] == again["n_right"] > 0
    prepared = validation_data(found, [sample], ())
    network, whole = found.build(), prepared.figure_areas[0].field.target.size
    assert figure_pixels(prepared, network, DETECT) < 0.6 * whole


def test_particles_need_no_picture_of_the_truth(virions):
    """Drawing it took longest in the figure of a large image."""
    whole = clicks(virions, 0)
    box, left = (0, 60, 0, 96), Points(np.array([[5.0, 9.0]]), ("background",))
    sample = dataclasses.replace(whole, annotations=(*whole.annotations, left))
    made = Checkpoint(
        network="unet",
        sizes=SMALL.sizes,
        in_channels=1,
        task=DETECT,
        state=build_network("unet", SMALL.sizes, 1, 2).state_dict(),
        pixel_size_nm=2.0,
    )
    scorers = [Scorer.of(made, sample, box=box, drawn=on) for on in (True, False)]
    found = scorers[0].truth.particles
    drawn, places = (one.score_particles(found).particles for one in scorers)
    for of in ("hit", "extra", "missed"):
        np.testing.assert_array_equal(getattr(drawn, of), getattr(places, of))
    assert 0 < drawn.hit[1] < 8  # some lie outside of the box
    assert (scorers[0].truth.classes >= 0).any()
    assert (scorers[1].truth.classes < 0).all()


def test_judging_takes_a_tenth_of_a_timed_training(virions):
    """The slower a network, the less of a large image is judged on the way."""
    sample = clicks(virions, 0)
    large = dataclasses.replace(sample, image=np.tile(sample.image, (1, 8, 8)))
    config = dataclasses.replace(SMALL, epochs=None, minutes=0.05)
    prepared = prepare([large], [large], config, task=DETECT)
    held = on_working_grid(large, 1.0, DETECT, Normalisation())
    prepared = dataclasses.replace(prepared, held=(held,), learned=())
    trainer = Trainer(
        config,
        prepared,
        sizes=SMALL.sizes,
        start=None,
        pruning=FixedShape(PrunedShape()),
    )
    assert trainer.pixel_s > 0
    # As for a network that is far too slow.
    often = Validator.often(prepared, trainer.network, device=trainer.device, most=0)
    (cut,) = often.held
    assert (cut.field.target >= 0).sum() <= LEAST_VALIDATED < held.field.target.size


def test_where_nobody_knows_what_was_learned_from_nothing_is_judged_on(virions):
    """Networks of earlier versions do not say; images of a part `val` are new."""
    samples = [clicks(virions, seed) for seed in range(3)]
    config = dataclasses.replace(SMALL, epochs=1)
    made = run(fit(samples, config, task=DETECT))
    about = dict(made.annotations_summary)
    del about["learned"], about["held_out"]
    old = made.replaced(annotations_summary=about, metrics={})
    tuned = run(fit(samples, config, task=DETECT, start=old))
    for one in (run(validate(old, samples)), tuned, run(validate(tuned, samples))):
        assert "quality" not in one.metrics
        assert any("may know these images" in note for note in one.provenance["notes"])
    judged = run(validate(old, samples[:2], validation=samples[2:]))
    assert judged.metrics["quality_name"] == "F1"


def test_what_was_learned_from_is_never_judged_on(virions):
    """Another seed, share and number of images, and other names, change nothing."""
    samples = [clicks(virions, seed) for seed in range(4)]
    config = dataclasses.replace(SMALL, epochs=1)
    made = run(fit(samples[:3], config, task=DETECT))
    held = {area["image"] for area in made.annotations_summary["held_out"]}
    learned = {area["image"] for area in made.annotations_summary["learned"]}
    assert held and learned and not held & learned
    other = dataclasses.replace(config, seed=7, validation_share=0.5)
    tuned = run(fit(samples[::-1], other, task=DETECT, start=made))
    assert {a["image"] for a in tuned.annotations_summary["held_out"]} == held
    names = {area["image"] for area in tuned.annotations_summary["learned"]}
    assert learned < names and not names & held
    # Asked to judge on an image that it learned from, it has nothing to judge on.
    seen = [one for one in samples if one.name in learned]
    renamed = [dataclasses.replace(one, name=f"{one.name} b") for one in seen]
    blank = dataclasses.replace(tuned, metrics={})
    assert "quality" not in run(validate(blank, (), validation=renamed)).metrics
    assert "quality" in run(validate(blank, samples)).metrics


def test_an_image_that_is_there_twice_is_never_learned_from_and_judged_on():
    one, other = cells(name="a"), cells(seed=1, name="b")
    double = dataclasses.replace(one, name="c")
    for pool, names in (
        ([one, double, other], {"a", "b", "c"}),
        ([double, one], {"a", "c"}),
    ):
        for seed in range(3):
            config = dataclasses.replace(SMALL, seed=seed)
            made = prepared(pool, (), config)
            assert made.held_back
            for area, judged in itertools.product(made.areas, made.held_back):
                if area.pixels == judged.pixels:
                    both = np.minimum(area.field.target, judged.field.target)
                    assert (both < 0).all()
            used = [area.sample.name for area in (*made.areas, *made.held_back)]
            missing = names - set(used)
            told = [n for n in made.notes if "same image under another name" in n]
            assert [note[0] for note in told] == sorted(missing)
            # Both may be learned from: that is said as well.
            doubles = [n for n in made.notes if n not in told]
            if missing:
                assert not doubles
            else:
                first, second = (one.name for one in pool if one is not other)
                assert len(doubles) == 1
                assert doubles[0].startswith(f"{first}, {second}: the same image under")
    made = prepared([one, other], (double,), SMALL)
    assert not made.held
    (note,) = made.notes
    assert note.startswith("c: not judged on")


def prepared(samples, validation, config):
    return prepare(samples, validation, config, task=OBJECTS)


@pytest.mark.parametrize("places", [[(30, 4)], [(10, 5), (30, 8), (50, 6)]])
def test_with_a_few_clicks_there_is_nothing_to_judge_on(virions, places):
    image = virions(0).image
    points = Points(np.array(places, float), ("virion",) * len(places))
    sample = Sample(image, (points,), 2.0, "few")
    made = run(fit([sample], dataclasses.replace(SMALL, epochs=1), task=DETECT))
    assert "quality" not in made.metrics
    assert made.annotations_summary["held_out"] == []
    said = " ".join(made.provenance["notes"])
    assert f"Only {len(places)} thing" in said
    assert "nothing is kept back to judge on" in said
    again = run(validate(made, [sample]))
    assert "quality" not in again.metrics
    words = "The network has learned from all that is annotated here"
    assert any(note.startswith(words) for note in again.provenance["notes"])


@pytest.mark.parametrize("shape", [(20, 20), (1, 300), (128, 16), (33, 205), (64, 64)])
def test_every_size_of_image_trains(shape):
    labels = np.zeros(shape, np.uint8)
    labels[:, -6:] = 1
    image = np.random.default_rng(1).normal(100, 15, shape) + 80 * labels
    sample = Sample(image[None], (Labels(labels),), None, "strip")
    made = run(fit([sample], dataclasses.replace(SMALL, epochs=1), task=AREAS))
    assert made.parameters > 0


@pytest.mark.parametrize(
    ("drawn", "words"),
    [
        (Points(np.zeros((0, 2)), ()), "Only background"),
        (Points(np.array([[9.0, 9.0]]), ("background",)), "Only background"),
        (Labels(np.zeros((64, 64), np.uint8)), "Only background"),
        (Labels(np.ones((64, 64), np.uint8)), "Everything is marked"),
    ],
)
def test_what_teaches_nothing_is_refused_before_the_clock_starts(drawn, words):
    image = np.random.default_rng(0).normal(size=(1, 64, 64))
    task = DETECT if isinstance(drawn, Points) else AREAS
    with pytest.raises(TopiaryError, match=words):
        run(fit([Sample(image, (drawn,), 2.0, "one")], SMALL, task=task))


def slices(virions, n=10, name="vol") -> list[Sample]:
    """Of one stack: neighbours show nearly the same."""
    whole, random = clicks(virions, 0), np.random.default_rng(0)
    noise = random.normal(size=(n, *whole.image.shape)) * whole.image.std()
    return [
        dataclasses.replace(whole, image=whole.image + one, name=f"{name} {index:02d}")
        for index, one in enumerate(noise)
    ]


@pytest.mark.parametrize("seed", range(4))
def test_of_a_stack_one_end_is_held_back(virions, seed):
    """A slice between two that are learned from would show what they show."""
    config = dataclasses.replace(SMALL, seed=seed, validation_share=0.3)
    samples = slices(virions)
    shuffled = [samples[n] for n in np.random.default_rng(seed).permutation(10)]
    held = foresee(shuffled, [], config, task=DETECT).held
    names = sorted(one.sample.name for one in held)
    assert len(names) == 3
    assert names in (
        [f"vol {n:02d}" for n in (0, 1, 2)],
        [f"vol {n:02d}" for n in (7, 8, 9)],
    )


@pytest.mark.parametrize("number", ["{}", "{:02d}"])
def test_images_that_are_only_numbered_are_held_back_by_chance(virions, number):
    """Else all that is judged on would be of one treatment."""
    names = [f"{what} {number}" for what in ("control", "drug")]
    samples = [
        dataclasses.replace(clicks(virions, 5 * k + n), name=name.format(n))
        for k, name in enumerate(names)
        for n in range(1, 6)
    ]
    found = []
    for seed in range(6):
        config = dataclasses.replace(SMALL, seed=seed, validation_share=0.3)
        held = foresee(samples, [], config, task=DETECT).held
        found.append({one.sample.name.split()[0] for one in held})
    assert found.count({"control", "drug"}) > 2


def test_slices_are_numbered_as_such_and_their_neighbours_look_alike(virions):
    alike = [one.image for one in slices(virions, 2)]

    def slices_of(names, images):
        return are_slices(dict(zip(names, images, strict=True)))

    for names in (["vol 07", "vol 12"], ["vol 0", "vol 3"]):
        assert slices_of(names, alike)
        assert not slices_of(names, [virions(n).image for n in range(2)])
    assert not slices_of(["image 1", "image 2"], alike)
    assert not slices_of(["image 0", "image 10"], alike)
    nothing = np.full((1, 9, 9), np.nan), np.full((1, 9, 9), np.inf)
    assert slices_of(["vol 07", "vol 12"], nothing)  # the names are all that is known


def test_three_of_three_may_be_four_in_ten():
    low, high = interval(1.0, 3)
    assert low == pytest.approx(0.438, abs=1e-3) and high == 1.0
    assert interval(0.5, 0) == (0.0, 1.0)


def large(box) -> AnnotatedArea:
    """Squares on a large image of which only a box is judged."""
    labels = np.zeros((256, 320), np.uint8)
    for y, x in np.ndindex(8, 10):
        labels[32 * y + 8 : 32 * y + 24, 32 * x + 8 : 32 * x + 24] = 1
    noise = np.random.default_rng(0).normal(100, 10, labels.shape)
    sample = Sample((noise + 40 * labels)[None], (Labels(labels),), None, "large")
    return on_working_grid(sample, 1.0, AREAS, Normalisation()).divided(box)[1]


def test_what_is_not_judged_is_not_computed_and_the_figure_is_the_same():
    torch.manual_seed(0)
    network = build_network("unet", {"base": 4, "levels": 2}, 1, 2).eval()
    area = large((100, 180, 130, 250))
    margin, step = network.halo, network.stride
    cut = area.cropped(most=10**6, margin=margin, step=step)
    assert cut.field.image.shape[1] <= 80 + 2 * margin + step
    assert (cut.field.target >= 0).sum() == (area.field.target >= 0).sum()
    said = [
        judged(
            Validator(
                held=[one],
                task=AREAS,
                line_classes=frozenset(),
                device=torch.device("cpu"),
            ),
            network,
        )
        for one in (area, cut)
    ]
    assert said[0].value == pytest.approx(said[1].value, abs=1e-6)


def judged(judge, network):
    """Validator to the end."""
    job = judge.validate(network)
    while True:
        try:
            next(job)
        except StopIteration as end:
            return end.value


def test_of_a_large_area_the_fullest_part_is_judged():
    area = large((0, 256, 0, 320))
    few = area.field.target.copy()
    few[:, :160] = np.minimum(few[:, :160], 0)  # nothing in the left half
    area = dataclasses.replace(area, field=dataclasses.replace(area.field, target=few))
    cut = area.cropped(most=100 * 100, margin=8, step=4)
    known = cut.field.target >= 0
    assert known.sum() <= 100 * 100
    assert (cut.field.target > 0).sum() >= 0.2 * known.sum()
    assert area.cropped(most=10**6, margin=8, step=4) is area


def test_the_time_that_is_left_counts_judging_and_never_lies(virions, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("napari_topiary.data.hold_out.FEWEST", 4)
    monkeypatch.setattr(
        "time.perf_counter", lambda: now.__setitem__(0, now[0] + 0.05) or now[0]
    )
    config = dataclasses.replace(SMALL, epochs=None, minutes=0.1)
    steps = []
    job = fit([clicks(virions, 0)], config, task=DETECT)
    for progress in job:
        steps.append(progress)
    over = [one for one in steps if one.fraction == 1.0]
    assert over and all(one.eta_s is None for one in over)
    assert over[-1].message == "Validating on what was held back"
    assert any(one.eta_s and one.eta_s > 0 for one in steps)


def textured(seed: int, name: str, height=80, width=100) -> Sample:
    """Twenty squares, with edges that are as rough as real ones."""
    made = cells(seed=seed, name=name)
    image = np.round(made.image * 16).astype(np.uint16)
    return cut(dataclasses.replace(made, image=image), 0, 0, height, width, name)


def cut(sample: Sample, y: int, x: int, height: int, width: int, name: str) -> Sample:
    """A part of an image as a file of its own."""
    place = np.s_[y : y + height, x : x + width]
    (labels,) = sample.annotations
    part = Labels(labels.labels[place].copy())
    image = np.ascontiguousarray(sample.image[:, *place])
    return dataclasses.replace(sample, image=image, annotations=(part,), name=name)


def test_a_part_of_a_learned_image_is_never_judged_on():
    first, other = textured(0, "first"), textured(1, "other")
    part = cut(first, 7, 13, 60, 61, "cut out of first")
    made = run(fit([first], SMALL, task=OBJECTS, validation=[part, other]))
    assert made.metrics["held_out"] == "1 image"
    (note,) = foresee([first], [part, other], SMALL, task=OBJECTS).notes
    assert note.startswith("cut out of first: not judged on")
    # Evaluate says it too.
    assert known_from_training(made, [other]) != ""  # it was held back
    said = known_from_training(made, [part])
    assert said.startswith("This image was learned from")
    assert known_from_training(made, [textured(2, "new")]) == ""
    # Nor does a later validation fall for it.
    entries = made.annotations_summary["learned"]
    assert len(entries[0]["sketch"]) > 16
    about = {"learned": entries, "held_out": []}
    again = dataclasses.replace(made, annotations_summary=about)
    judged = run(validate(again, [part, textured(2, "new", 60, 61)]))
    assert judged.metrics["held_out"] == "1 image"
    assert NO_SKETCHES not in judged.provenance["notes"]
    # Earlier versions kept no sketches: that a part is not known again is said.
    about["learned"] = [
        {k: v for k, v in one.items() if k != "sketch"} for one in entries
    ]
    old = dataclasses.replace(made, annotations_summary=about)
    judged = run(validate(old, [part]))
    assert NO_SKETCHES in judged.provenance["notes"]
    assert known_from_training(old, [part]) == NO_SKETCHES
    assert NO_SKETCHES not in known_from_training(old, [first])


def test_two_cuttings_of_one_place_are_not_learned_from_and_held_back():
    whole = textured(0, "a")
    for one, other, apart in (
        (cut(whole, 0, 0, 80, 70, "b"), cut(whole, 0, 6, 80, 70, "c"), True),
        (cut(whole, 0, 0, 80, 55, "b"), cut(whole, 0, 45, 80, 55, "c"), False),
    ):
        for seed in range(3):
            config = dataclasses.replace(SMALL, seed=seed, validation_share=0.5)
            parts = foresee([one, other], [], config, task=OBJECTS)
            names = [
                {area.sample.name for area in areas if area.box is None}
                for areas in (parts.learned, parts.held)
            ]
            assert len(names[0] | names[1]) == (1 if apart else 2)
