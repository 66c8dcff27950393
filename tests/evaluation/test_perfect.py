"""A perfect answer scores 1 everywhere, another what an independent scorer says."""

import itertools

import numpy as np
import pytest

from napari_topiary.annotations import Labels, Regions
from napari_topiary.config import PredictConfig
from napari_topiary.evaluation import compare_checkpoints, evaluate
from napari_topiary.evaluation.object_metrics import instance_metrics
from napari_topiary.evaluation.validate import HoldOut, validate
from napari_topiary.io.dataset import Sample
from napari_topiary.types import Task, run

DTYPES = "int8 int16 int32 int64 uint8 uint16 uint32 uint64 float32 float64".split()
OBJECTS = Task("instances", ("background", "cell"))
AREAS = Task("segment", ("background", "cell"))
CPU = PredictConfig(device="cpu")
SIDE = 60


def cells(task, dtype):
    """Nine squares, some at the border."""
    labels = np.zeros((SIDE, SIDE), dtype)
    for number, (row, column) in enumerate(np.ndindex(3, 3), start=1):
        y, x = 20 * row, 20 * column + 4
        labels[y : y + 11, x : x + 12] = number if task is OBJECTS else 1
    return labels


def sample(labels, answer, region, name="a"):
    """What the network says is the image itself."""
    drawn = [Labels(labels)]
    if region:
        top, bottom, left, right = region
        box = [(top, left), (top, right), (bottom, right), (bottom, left)]
        drawn.append(Regions((np.array(box, float),), ("rectangle",)))
    image = np.asarray(answer > 0, np.float32)[None]
    return Sample(image, tuple(drawn), None, name)


def figures(known, task, one):
    """Of the same answer at every door."""
    made, other = known(task), known(task, "b")
    report = run(evaluate(made, [one], config=CPU))
    compared = run(compare_checkpoints({"a": made, "b": other}, [one], config=CPU))
    held = HoldOut((), (one,), device="cpu")
    judged = run(validate(made, (), validation=(one,), device="cpu"))
    return {
        "evaluate": report,
        "compare": compared.rows[0]["own"],
        "validate": judged.metrics["quality"],
        "card": run(held.validate(made)).quality.value,
    }


def naive(task, labels, answer, region):
    """Dice, AJI and PQ by their definitions, object by object."""
    seen = np.zeros(labels.shape, bool)
    top, bottom, left, right = region or (0, SIDE - 1, 0, SIDE - 1)
    seen[top : bottom + 1, left : right + 1] = True
    truth, found = np.where(seen, labels, 0), np.where(seen, answer, 0)
    both = ((truth > 0) & (found > 0)).sum()
    dice = 2 * both / ((truth > 0).sum() + (found > 0).sum())
    if task is AREAS:
        return {"dice": dice}
    there, said = (set(np.unique(one).tolist()) - {0} for one in (truth, found))
    shared = {
        (a, b): ((truth == a) & (found == b)).sum()
        / ((truth == a) | (found == b)).sum()
        for a, b in itertools.product(there, said)
    }
    matched = {pair: iou for pair, iou in shared.items() if iou > 0.5}
    missed, wrong = len(there) - len(matched), len(said) - len(matched)
    pq = sum(matched.values()) / (len(matched) + (missed + wrong) / 2)
    overlap = union = 0
    used = set()
    for a in there:
        best = max(said, key=lambda b: shared[a, b])
        if not shared[a, best]:  # missed: nothing is its counterpart
            union += (truth == a).sum()
            continue
        used.add(best)
        overlap += ((truth == a) & (found == best)).sum()
        union += ((truth == a) | (found == best)).sum()
    union += sum((found == b).sum() for b in said - used)
    return {"pq": pq, "aji": overlap / union, "sq": np.mean(list(matched.values()))}


def test_one_object_that_is_found_exactly_scores_one():
    labels = cells(OBJECTS, np.uint8)
    one = (labels == 1).astype(np.uint8)
    scores = instance_metrics(one, one)
    assert (scores["pq"], scores["sq"]) == (1.0, 1.0)


REGIONS = {"whole": None, "finished area": (0, 39, 0, 39)}


CASES = [
    *((OBJECTS, dtype) for dtype in DTYPES),
    # One number for all objects is asked about before, so bool is of areas.
    *((AREAS, dtype) for dtype in ("uint8", "int64", "float32", "bool")),
]


@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize(
    ("task", "dtype"), CASES, ids=lambda one: getattr(one, "kind", one)
)
def test_a_perfect_answer_scores_one(known, task, dtype, region):
    labels = cells(task, dtype)
    said = figures(known, task, sample(labels, labels, REGIONS[region]))
    names = ["dice", "iou", "accuracy", "sensitivity", "specificity"]
    names += ["pq", "dq", "sq", "aji"] if task is OBJECTS else []
    for door in ("evaluate", "compare"):
        for name in names:
            assert said[door][name] == pytest.approx(1, abs=1e-6), (door, name)
    for door in ("validate", "card"):
        assert said[door] == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize("dtype", ["uint8", "int64", "uint64", "float32"])
@pytest.mark.parametrize("task", [OBJECTS, AREAS], ids=["objects", "areas"])
def test_another_answer_scores_what_its_definition_says(known, task, dtype, region):
    labels = cells(task, dtype)
    answer = cells(OBJECTS, np.int64)
    answer[:11, :18] = 0  # one is missed
    answer[0:9, 24:32] = 0  # of one hardly anything is found
    answer[22:28, 2:4] = 4  # one is larger
    answer[34:37, 40:43] = 50  # one is wrong
    said = figures(known, task, sample(labels, answer, REGIONS[region]))
    wanted = naive(task, labels, answer, REGIONS[region])
    for door in ("evaluate", "compare"):
        for name, value in wanted.items():
            assert said[door][name] == pytest.approx(value, abs=1e-6), (door, name)
    first = next(iter(wanted.values()))
    assert said["validate"] == pytest.approx(first, abs=1e-6)
    assert said["card"] == pytest.approx(first, abs=1e-6)
