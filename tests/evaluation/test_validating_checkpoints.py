from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("qtpy")

import torch
from torch import nn

from napari_topiary import Labels, Points, Stop, Task, run
from napari_topiary.checkpoint import Checkpoint
from napari_topiary.evaluation.validate import HoldOut, validate
from napari_topiary.inference.engine import Engine
from napari_topiary.io.dataset import Sample
from napari_topiary.networks import build_network
from napari_topiary.networks.base import Network
from napari_topiary.types import BACKGROUND

DETECT = Task("detect", (BACKGROUND, "virion"), radius_nm={"virion": 12.0})
SEGMENT = Task("segment", (BACKGROUND, "dark"))


class Dark(Network):
    """Answers "foreground" where the normalised image is dark; `shift` biases it."""

    stride, halo, output_layers = 1, 8, ("output",)

    def __init__(self, shift=0.0, blur=1):
        super().__init__()
        self.shift = shift
        self.output = nn.AvgPool2d(blur, 1, blur // 2)

    def forward(self, image):
        dark = -4 * self.output(image[:, :1]) + self.shift
        return torch.cat([-dark, dark], dim=1)


def checkpoint(task, **changes):
    network = build_network("unet", {"base": 2, "levels": 0}, 1, len(task.classes))
    return Checkpoint(
        network="unet",
        sizes={"base": 2, "levels": 0},
        in_channels=1,
        task=task,
        state=network.state_dict(),
        pixel_size_nm=2.0,
        **changes,
    )


@pytest.fixture
def painted():
    """A dark square on a bright ground, and what was painted on it."""
    image = np.full((1, 40, 40), 200.0, np.float32)
    image[:, 10:30, 10:30] = 50.0
    labels = (image[0] < 100).astype(np.uint8)
    return Sample(image, (Labels(labels, instances=False),), None, "square")


def test_a_perfect_network_is_perfect(painted):
    judged = run(HoldOut((), (painted,)).validate(checkpoint(SEGMENT), Dark()))
    assert judged.quality.name == "Dice"
    assert judged.quality.value == pytest.approx(1.0)
    assert judged.quality.at_common == pytest.approx(1.0)
    assert judged.held_out == "1 image"


def test_a_shifted_network_is_as_good_at_its_own_threshold(painted, monkeypatch):
    """Pruning shifts calibration: at 0.5 nothing is found, at its own all of it."""
    monkeypatch.setattr("napari_topiary.data.hold_out.ENOUGH", 1)
    judged = run(HoldOut((), (painted,)).validate(checkpoint(SEGMENT), Dark(shift=-8)))
    assert judged.quality.value == pytest.approx(1.0)
    assert judged.quality.at_common == 0.0


def test_where_nothing_is_held_back_the_threshold_comes_from_what_was_learned(
    painted, monkeypatch
):
    """Else a pruned network is read at its parent's, and finds nothing."""
    monkeypatch.setattr("napari_topiary.data.hold_out.ENOUGH", 1)
    monkeypatch.setattr(
        "napari_topiary.evaluation.validate.Engine.of",
        lambda _made, device: Engine(Dark(shift=-8), device),
    )
    learned = [{"image": "square", "pixels": painted.fingerprint, "box": None}]
    made = checkpoint(
        SEGMENT,
        annotations_summary={"learned": learned},
        thresholds={"dark": 0.5},
        metrics={"quality": None},
    )
    kept = run(validate(made, [painted]))
    assert kept.thresholds["dark"] < 0.1
    assert kept.metrics == made.metrics
    (note,) = (n for n in kept.provenance["notes"] if "Nothing is held back" in n)
    assert "that it has learned from" in note and "nobody knows" in note
    old = made.replaced(annotations_summary={"images": 1})  # nobody knows that either
    *_, note = run(validate(old, [painted])).provenance["notes"]
    assert "that it may have learned from" in note
    stopped = validate(made, [painted])
    next(stopped)
    with pytest.raises(StopIteration) as end:
        while True:
            stopped.send(Stop)
    assert end.value.value.thresholds == made.thresholds


def test_both_figures_are_measured_on_the_same_areas(painted, monkeypatch):
    """Where one image chooses and the other judges, 0.5 is judged there as well."""
    monkeypatch.setattr("napari_topiary.data.hold_out.ENOUGH", 1)
    monkeypatch.setattr("napari_topiary.data.hold_out.TWICE", 2)
    (drawn,) = painted.annotations
    beside = Labels(np.roll(drawn.labels, 5, axis=1), instances=False)
    images = [painted, Sample(painted.image, (beside,), None, "beside")]
    for given in (images, images[::-1]):
        made = checkpoint(SEGMENT, thresholds={"dark": 0.5})
        as_it_is = Engine(Dark(), torch.device("cpu"))
        judged = run(HoldOut((), given).validate(made, as_it_is))
        assert judged.quality.value == pytest.approx(judged.quality.at_common)


def test_particles_are_judged_by_their_centres(virions):
    drawn = virions(3, count=6, noise=0.02)
    marks = Points(drawn.centres, ("virion",) * 6)
    sample = Sample(drawn.image, (marks,), drawn.scale, "virions")
    judged = run(
        HoldOut((), (sample,)).validate(checkpoint(DETECT), Dark(shift=-1, blur=7))
    )
    assert judged.quality.name == "F1"
    assert judged.quality.value > 0.9
    assert 0 <= judged.quality.at_common <= judged.quality.value + 1e-9


def test_the_same_part_is_held_back_as_in_training(virions, monkeypatch):
    """Without images of their own, some of those to learn from judge."""
    samples = [
        Sample(v.image, (Points(v.centres, ("virion",) * 8),), v.scale, f"{seed}")
        for seed in range(5)
        for v in [virions(seed)]
    ]
    hold_out = HoldOut(samples, ())
    made = checkpoint(DETECT, provenance={"seed": 3})
    assert run(hold_out.validate(made, Dark())).held_out == "2 images"
    one = HoldOut(samples[:1], ())
    assert run(one.validate(made, Dark())).quality is None  # too few to hold some back
    monkeypatch.setattr("napari_topiary.data.hold_out.FEWEST", 4)
    one = HoldOut(samples[:1], ())
    assert run(one.validate(made, Dark())).held_out == "a part of the image"


def test_a_figure_is_the_one_that_a_kept_version_gets(virions):
    """At the same thresholds: what Prune shows does not change by keeping it."""
    samples = [
        Sample(v.image, (Points(v.centres, ("virion",) * 8),), v.scale, f"{seed}")
        for seed in range(3)
        for v in [virions(seed)]
    ]
    made = checkpoint(DETECT)
    hold_out = HoldOut(samples, ())
    judged = run(hold_out.validate(made, made.build())).quality
    kept = run(validate(made, samples))
    assert judged.value == kept.metrics["quality"]
    assert judged.thresholds == kept.thresholds and "virion" in kept.thresholds
    other = kept.replaced(thresholds={"virion": 0.99})
    assert run(hold_out.validate(kept)).quality.value == kept.metrics["quality"]
    assert run(hold_out.validate(other)).quality.thresholds == {"virion": 0.99}


def test_nothing_annotated_is_not_judged():
    judged = run(HoldOut((), ()).validate(checkpoint(SEGMENT)))
    assert judged.quality is None and not judged.stopped


def test_stop_gives_up(painted):
    judging = HoldOut((), (painted, painted)).validate(checkpoint(SEGMENT))
    next(judging)
    with pytest.raises(StopIteration) as end:
        judging.send(Stop)
    assert end.value.value.stopped and end.value.value.quality is None


def test_a_network_that_answers_no_numbers_is_not_judged(painted):
    judged = run(
        HoldOut((), (painted,)).validate(checkpoint(SEGMENT), Dark(shift=float("nan")))
    )
    assert judged.quality is None
