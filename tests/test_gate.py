"""One gate: each fault gets the same answer at every door.

The doors: the command line (`train`, `evaluate`, before any network is made), Python
(`fit`, `evaluate`) and the window (readiness of the Train page).
"""

import json

import numpy as np
import pytest
from PIL import Image as Picture

from napari_topiary.annotations import Labels, Points
from napari_topiary.cli.datasets import evaluation_samples, learning_data
from napari_topiary.cli.driving import ProgressBar, Runner
from napari_topiary.errors import TopiaryError
from napari_topiary.evaluation.ground_truth import truth_of
from napari_topiary.io.dataset import Sample, read_dataset
from napari_topiary.io.gate import admitted, learning_problem
from napari_topiary.io.images import write_image
from napari_topiary.session import Session
from napari_topiary.types import Task

RNG = np.random.default_rng(0)
GREY = RNG.integers(1, 255, (40, 48), dtype=np.uint8)
BLOCKS = np.zeros((40, 48), np.uint8)
for _y in range(2, 40, 8):
    for _x in range(2, 48, 8):
        BLOCKS[_y : _y + 4, _x : _x + 4] = 1
NUMBERED = (np.cumsum(np.ones_like(BLOCKS)) * BLOCKS.ravel()).reshape(40, 48) // 1
SMOOTH = np.asarray(
    Picture.fromarray(BLOCKS * 255).resize((24, 20), 2).resize((48, 40), 2)
)
MARKS = [[10, 10], [10, 30], [30, 10], [30, 30]]


def table(places, head="axis-0,axis-1,class"):
    return "\n".join([head, *(f"{y},{x},a" for y, x in places)]) + "\n"


def folder(home, *, task="detect", scale=4.0, radius=12.0, image=GREY, **drawn):
    """A data set of image `a`, with what is drawn on it, and of a sound image `b`."""
    about = {"name": "x", "task": task, "classes": ["background", "a"]}
    about |= {"pixel_size_nm": scale} | ({"radius_nm": {"a": radius}} if radius else {})
    about["split"] = {"train": ["b"], "val": ["a"]} if drawn.pop("val", 0) else {}
    home.mkdir(exist_ok=True)
    (home / "dataset.json").write_text(json.dumps(about))
    for name, pixels in (("a", image), ("b", GREY)):
        write_image(home / "images" / f"{name}.tif", pixels)
    sound = {"points": table(MARKS)} if task == "detect" else {"labels": BLOCKS}
    if task == "instances":
        sound = {"labels": numbered(BLOCKS)}
    for name, what in (("a", drawn), ("b", sound)):
        for kind, content in what.items():
            (home / kind).mkdir(exist_ok=True)
            if isinstance(content, str):
                (home / kind / f"{name}.csv").write_text(content)
            else:
                write_image(home / kind / f"{name}.tif", content)
    return home


def numbered(mask):
    from skimage.measure import label

    return label(mask).astype(np.uint16)


def doors(home):
    """What each door says: the sentence that it refuses with, or its notes."""
    said = {}
    for name, enter in (
        ("train", lambda runner: learning_data(home, runner)),
        (
            "evaluate",
            lambda runner: evaluation_samples(read_dataset(home), "all", runner),
        ),
    ):
        runner = Runner(ProgressBar())
        try:
            enter(runner)
            said[name] = " ".join(runner.notes)
        except TopiaryError as error:
            said[name] = str(error)
    try:
        dataset = read_dataset(home)
        samples = tuple(dataset.samples.values())
        said["python"] = learning_problem(samples, task=dataset.task) or " ".join(
            (*dataset.notes, *admitted(samples, task=dataset.task)[1])
        )
    except TopiaryError as error:
        said["python"] = str(error)
    return said


LEARNED = [
    ("NaN", {"image": np.full((40, 48), np.nan, np.float32)}, "not a number"),
    ("constant", {"image": np.full((40, 48), 7, np.uint8)}, "constant"),
    ("colour", {"image": RNG.integers(0, 255, (3, 40, 48), np.uint8)}, "one kind"),
    ("a radius of nothing", {"radius": 1.0}, "radius of 'a' is 0.25 pixels"),
    ("a radius of metres", {"radius": 1e6}, "check the radius and the pixel size"),
    ("no radius", {"radius": None}, "has no radius"),
    ("300 dpi", {"scale": 84666.67}, "300 dots per inch"),
    ("areas", {"points": table(np.argwhere(BLOCKS))}, "these are areas"),
    ("nm", {"points": table(np.array(MARKS) * 4.0)}, "Are these nm? Divide them by 4"),
    ("swapped", {"points": table([[47, 5], [47, 30], [9, 9]])}, "y and x swap"),
    ("far", {"points": table(np.array(MARKS) + 999)}, "4 of 4 points lie outside"),
]  # fmt: skip
LEFT_OUT = [
    ("outside", {"points": table([*MARKS, [99, 5]])}, "1 of 5 points lie more than"),
    ("twice", {"points": table([*MARKS, [10, 10.5]])}, "1 of 5 points mark the same"),
]
MASKS = [
    ("instances", BLOCKS * 255, "One number (255) for 30 separate pieces"),
    ("instances", BLOCKS * (1 + (np.arange(48) // 24)), "only 2 different numbers"),
    ("instances", SMOOTH, "smooth or lossy"),
    ("segment", BLOCKS * 255, "255 is taken for a"),
    ("segment", SMOOTH, "smooth or lossy edges"),
    ("segment", BLOCKS * 0, "1 of 2 label images are empty"),
    ("segment", BLOCKS[:-1], "39 x 48 pixels, but the image is 40 x 48"),
]


@pytest.mark.parametrize(
    ("given", "words"),
    [(given, words) for _, given, words in LEARNED + LEFT_OUT],
    ids=[name for name, *_ in LEARNED + LEFT_OUT],
)
def test_every_door_says_the_same_of_points(tmp_path, given, words):
    home = folder(tmp_path / "x", **{"points": table(MARKS)} | given)
    said = doors(home)
    assert all(words in sentence for sentence in said.values()), said


@pytest.mark.parametrize(("task", "labels", "words"), MASKS)
def test_every_door_says_the_same_of_labels(tmp_path, task, labels, words):
    labels = labels.astype(np.uint8)
    said = doors(folder(tmp_path / "x", task=task, labels=labels))
    assert all(words in sentence for sentence in said.values()), said


@pytest.mark.parametrize("suffix", [".jpg", ".JPEG"])
def test_labels_in_a_lossy_file_are_refused(tmp_path, suffix):
    home = folder(tmp_path / "x", task="segment")
    Picture.fromarray(BLOCKS * 255).save(home / "labels" / f"a{suffix}")
    said = doors(home)
    assert all("is a JPEG, which changes" in words for words in said.values()), said


def test_numbers_of_a_palette_are_the_labels(tmp_path):
    home = folder(tmp_path / "x", task="instances")
    objects = numbered(BLOCKS).astype(np.uint8)
    picture = Picture.frombytes("P", objects.shape[::-1], objects.tobytes())
    picture.putpalette([0, 0, 0] + [128] * 3 + [255] * 3 + [0] * 759)
    picture.save(home / "labels" / "a.png")
    (labels,) = read_dataset(home).samples["a"].annotations
    np.testing.assert_array_equal(labels.labels, objects)
    Picture.fromarray(RNG.integers(0, 255, (40, 48, 3), np.uint8)).save(
        home / "labels" / "a.png"
    )
    with pytest.raises(TopiaryError, match="is a colour picture, not a label image"):
        read_dataset(home).part("all")


def test_pixel_sizes_that_disagree_are_told(tmp_path):
    home = folder(tmp_path / "x", points=table(MARKS))
    write_image(home / "images" / "a.tif", GREY, scale=5.0)
    (note,) = doors(home)["python"].splitlines()
    assert note == (
        "a: The file says 5 nm per pixel, dataset.json 4 nm: the latter counts."
    )
    assert note in Session.open(home).notes
    about = json.loads((home / "dataset.json").read_text())
    about["pixel_sizes_nm"] = {"a": 400.0}
    (home / "dataset.json").write_text(json.dumps(about))
    said = doors(home)
    assert all("a has 400 nm per pixel and b 4 nm" in s for s in said.values()), said


def test_a_particle_cut_by_the_border_is_learned_from_and_counts():
    task = Task("detect", ("background", "a"), radius_px={"a": 6.0})
    places = [[-0.7, 20], [-4.0, 30], [39.5, 10], [20, 20], [60, 20]]
    points = Points(places, ("a",) * 5)
    kept, notes = admitted([Sample(GREY[None], (points,), None, "x")], task=task)
    np.testing.assert_array_equal(kept[0].annotations[0].coordinates, places[:4])
    assert len(notes) == 1
    assert "1 of 5 points" in notes[0]
    truth = truth_of((points,), GREY.shape, task=task, scale=None)
    assert len(truth.particles) == 4
    assert truth.classes[0, 20] == truth.classes[39, 10] == 1


def test_what_is_marked_twice_counts_once_and_the_value_keeps_every_row():
    task = Task("detect", ("background", "a"), radius_px={"a": 12.0})
    points = Points(
        [[5, 5], [5, 7], [5, 5], [5, 12], [5, 5]], ("a",) * 4 + ("background",)
    )
    used, (note,) = points.usable(GREY.shape, task=task, scale=None)
    np.testing.assert_array_equal(used.coordinates, [[5, 5], [5, 12], [5, 5]])
    assert used.classes == ("a", "a", "background")
    assert "2 of 5 points" in note
    assert len(points) == 5
    assert used.usable(GREY.shape, task=task, scale=None) == (used, ())


def test_each_piece_of_a_mask_is_an_object_in_training_and_in_judging():
    task = Task("instances", ("background", "a"))
    labels = Labels(BLOCKS * 255, instances=True)
    truth = truth_of((labels,), GREY.shape, task=task, scale=None)
    assert truth.objects.max() == 30
    assert (
        Labels(BLOCKS, instances=True).problem(
            GREY.shape, task=task, scale=None, radii=True
        )
        is None
    )


@pytest.mark.parametrize("look_alikes", [False, True])
def test_images_that_are_not_annotated_are_named_with_their_use(tmp_path, look_alikes):
    home = folder(tmp_path / "x", points=table(MARKS), val=1)
    about = json.loads((home / "dataset.json").read_text())
    about["split"] = {"train": ["a"], "unlabelled": ["b"]}
    write_image(home / "images" / "c.tif", GREY, scale=4.0)  # in no part
    (home / "points" / "b.csv").unlink()
    (home / "dataset.json").write_text(json.dumps(about))
    runner = Runner(ProgressBar())
    found = learning_data(home, runner, look_alikes=look_alikes)
    assert [sample.name for sample in found.train] == ["a"]
    use = "only look-alikes of what is marked are learned there"
    assert list(runner.notes) == [
        "1 image is in no part of the split: taken as 'train' (c).",
        "1 of 2 images of the part 'train' are not annotated: "
        f"{use if look_alikes else 'left out'} (c).",
    ]
    names = [sample.name for sample in found.unannotated]
    assert names == (["b", "c"] if look_alikes else [])


def test_only_background_or_only_one_class_is_told_before_anything_runs():
    task = Task("segment", ("background", "a"))
    empty = Sample(GREY[None], (Labels(BLOCKS * 0),), None, "x")
    full = Sample(GREY[None], (Labels(BLOCKS * 0 + 1),), None, "x")
    assert "Only background is marked" in learning_problem([empty], task=task)
    assert "Everything is marked as a" in learning_problem([full], task=task)
    assert "no annotated image" in learning_problem([], task=task)
    assert learning_problem([empty, full], task=task) == ""
