"""Would more annotations help: nested shares, the law, and the sentence."""

from __future__ import annotations

import numpy as np
import pytest

from napari_topiary.annotations import Points, Regions, build_target
from napari_topiary.config import TrainConfig
from napari_topiary.errors import TopiaryError
from napari_topiary.io.dataset import Sample
from napari_topiary.training.learning_curve import (
    LearningCurve,
    _sentence,
    _told,
    fit_power_law,
    learning_curve,
)
from napari_topiary.training.shares import nested_shares
from napari_topiary.types import Stop, Task, run

TASK = Task("detect", ("background", "virion"), {}, {"virion": 5.0})
SHARES = (1 / 8, 1 / 4, 1 / 2, 1.0)
QUICK = TrainConfig(
    sizes={"base": 4, "levels": 1}, epochs=1, minutes=None, patch=32, batch=2
)


def sample(virions, seed=0, *extra, size=96, count=8):
    drawn = virions(seed, size=size, count=count, radius=5.0)
    points = Points(drawn.centres, ("virion",) * len(drawn.centres))
    return Sample(drawn.image, (points, *extra), None, f"m{seed}")


def known(one, task=TASK):
    shape = one.image.shape[1:]
    return build_target(one.annotations, shape, task=task, scale=one.scale).classes >= 0


def by_name(samples, task=TASK):
    return {one.name: known(one, task) for one in samples}


@pytest.mark.parametrize("images", [1, 2, 4, 12])
def test_larger_shares_hold_the_smaller_and_nothing_that_is_held_out(virions, images):
    drawn = [sample(virions, seed) for seed in range(images)]
    shares = nested_shares(drawn, TASK, held_share=0.2, seed=3)
    held = by_name(shares.held)
    assert len(held) == (1 if images < 8 else 2)
    before, total = {}, len(shares.units)
    assert total >= 7
    for count in range(1, total + 1):
        now = by_name(shares.first(count))
        for name, mask in before.items():
            assert (now[name] | ~mask).all()
        assert sum(m.sum() for m in now.values()) > sum(
            m.sum() for m in before.values()
        )
        before = now
    for name, mask in before.items():
        assert not (mask & held.get(name, np.zeros_like(mask))).any()
    whole = {name: mask for name, mask in by_name(drawn).items() if name not in held}
    for name, mask in whole.items():  # all units together are the whole image
        assert (before[name] == mask).all()


def test_strips_stay_inside_finished_regions_and_hold_equal_foreground(virions):
    polygon = np.array([[10.0, 5], [10, 90], [80, 90], [60, 5]])
    ellipse = np.array([[82.0, 10], [82, 30], [94, 30], [94, 10]])
    regions = Regions((polygon, ellipse), ("polygon", "ellipse"))
    one = sample(virions, 0, regions, count=12)
    shares = nested_shares([one], TASK, held_share=0.25, seed=0)
    finished = regions.mask((96, 96))
    together = by_name((*shares.first(len(shares.units)), *shares.held))["m0"]
    assert not (together & ~finished).any()
    target = build_target(one.annotations, (96, 96), task=TASK).classes
    (rest,) = shares.first(len(shares.units))
    (end,) = shares.held
    parts = [((target > 0) & known(x)).sum() for x in (rest, end)]
    assert parts[1] / sum(parts) == pytest.approx(0.25, abs=0.08)


def test_the_first_units_hold_every_class(virions):
    task = Task(
        "detect", ("background", "virion", "rare"), {}, {"virion": 5, "rare": 5}
    )
    drawn = [sample(virions, seed) for seed in range(12)]
    for seed in range(4):
        names = ("rare",) + ("virion",) * 7
        odd = Sample(
            drawn[5].image, (Points(drawn[5].annotations[0].coordinates, names),),
            None, "odd",
        )  # fmt: skip
        shares = nested_shares(
            [*drawn[:4], odd, *drawn[6:]], task, held_share=0.1, seed=seed
        )
        if all(one.name != "odd" for one in shares.held):
            assert shares.units[0].classes == {0, 1, 2}


def test_too_little_is_said(virions):
    with pytest.raises(TopiaryError, match="too little annotated"):
        nested_shares([], TASK, held_share=0.2, seed=0)
    lone = Sample(
        np.zeros((1, 40, 40)), (Points([[20.0, 20]], ("virion",)),), None, "l"
    )
    with pytest.raises(TopiaryError, match="annotate"):
        nested_shares([lone], TASK, held_share=0.2, seed=0)


# ------------------------------------------------------------------------ the law
@pytest.mark.parametrize(
    ("law", "gain"),
    [
        (lambda x: 0.95 - 0.05 * x**-0.5, 0.0146),
        (lambda x: 0.9 + 0 * x, 0.0),
        (lambda x: 0.9 - 0.1 * x**-0.3, 0.0188),
        (lambda x: 0.5 - 0.02 * x**-1.0, 0.0100),
    ],
)
def test_the_gain_of_a_known_law_is_found(law, gain):
    x = np.array(SHARES)
    told, low, high = fit_power_law(x, law(x)).gain(2.0)
    assert told == pytest.approx(gain, abs=0.006)
    assert low - 0.003 <= gain <= high + 0.003
    assert fit_power_law(x, law(x)).at(1.0)[0] == pytest.approx(law(1.0), abs=0.006)


def test_noise_widens_what_is_likely():
    x = np.array(SHARES)
    clean = 0.9 - 0.1 * x**-0.4
    noisy = clean + np.array([0.04, -0.04, -0.04, 0.04])
    spreads = []
    for values in (clean, noisy):
        _, low, high = fit_power_law(x, values).gain(2.0)
        spreads.append(high - low)
    assert spreads[1] > 1.3 * spreads[0]


def test_the_sentence():
    curve = LearningCurve(
        fractions=SHARES,
        qualities=(0.7, 0.8, 0.91, 0.94),
        quality_name="F1",
        gain=0.012,
        gain_low=0.004,
        gain_high=0.021,
    )
    assert _sentence(curve) == (
        "With half of your annotations you reach F1 0.91, with all 0.94; about twice "
        "as many would bring about 0.01 more (0.00 to 0.02)."
    )
    flat = _told(SHARES, (0.9, 0.9, 0.9, 0.9), "Dice")
    assert flat.sentence == (
        "With half of your annotations you reach Dice 0.90, with all 0.90; more would "
        "hardly help."
    )
    steep = _told(SHARES, (0.3, 0.45, 0.58, 0.68), "F1")
    assert steep.gain > 0.05
    assert "would bring about 0.0" in steep.sentence
    shares = [point[0] for point in steep.curve]
    assert (min(shares), max(shares)) == pytest.approx((1 / 8, 2.0))
    assert all(low <= q <= high for _, q, low, high in steep.curve)
    assert "Too little is known" in _told((1 / 8,), (0.3,), "F1").sentence
    assert "Too little is known" in _told((1 / 8, 0.25), (0.3, 0.4), "F1").sentence


# ------------------------------------------------------------------------ the job
def test_a_curve_of_ones_own_annotations(virions):
    drawn = [sample(virions, seed, size=64, count=5) for seed in range(3)]
    seen = []
    job = learning_curve(drawn, QUICK, task=TASK, seconds=None)
    curve = run(job, lambda progress: seen.append(progress))
    assert curve.fractions == pytest.approx((1 / 8, 1 / 4, 1 / 2, 1.0))
    assert len(curve.qualities) == 4
    assert all(0 <= quality <= 1 for quality in curve.qualities)
    assert curve.quality_name == "F1"
    assert curve.sentence.startswith("With half of your annotations you reach F1")
    assert seen[0].message == "Learning from an eighth of the annotations"
    assert [p.done for p in seen] == sorted(p.done for p in seen)
    assert len(seen[-1].report.fractions) == 3


def test_a_time_box_is_kept_and_stop_keeps_what_is_measured(virions):
    drawn = [sample(virions, seed, size=64, count=5) for seed in range(3)]
    job = learning_curve(drawn, QUICK, task=TASK, seconds=None)
    progress = next(job)
    while progress.done <= 2.0:
        progress = next(job)
    with pytest.raises(StopIteration) as end:
        while True:
            job.send(Stop)
    curve = end.value.value
    assert len(curve.fractions) == 2
    assert curve.gain is not None
    assert "Too little is known" in curve.sentence
