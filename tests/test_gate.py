"""One gate: each fault gets the same sentence at every door, and nothing is written.

The doors: the verbs of the command line, Python (`fit`, `validate`, `evaluate`,
`compare_checkpoints`) and the window (a session as it opens, and the readiness of the
Train page). What comes behind a door, training and predicting, does not run here.
"""

import json
import os
import re
from importlib import import_module

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image as Picture
from scipy.ndimage import gaussian_filter

from napari_topiary.annotations import Labels, Points, Regions
from napari_topiary.checkpoint import Checkpoint
from napari_topiary.cli import main
from napari_topiary.cli.datasets import learning_data
from napari_topiary.cli.driving import ProgressBar, Runner
from napari_topiary.config import PredictConfig, TrainConfig
from napari_topiary.errors import TopiaryError
from napari_topiary.evaluation import compare_checkpoints, evaluate
from napari_topiary.evaluation.ground_truth import truth_of
from napari_topiary.evaluation.validate import validate
from napari_topiary.io.dataset import Sample, read_dataset
from napari_topiary.io.gate import admit, admitted, learning_problem
from napari_topiary.io.images import write_image
from napari_topiary.jobs.predicting import ProjectImage, predicting
from napari_topiary.jobs.training import TrainingData, checking
from napari_topiary.networks import build_network, resolve_sizes
from napari_topiary.normalisation import Contrast, Normalisation
from napari_topiary.session import Session
from napari_topiary.training import fit
from napari_topiary.types import Task, run

RNG = np.random.default_rng(0)
GREY = RNG.integers(1, 255, (40, 48), dtype=np.uint8)
BLOCKS = np.zeros((40, 48), np.uint8)
for _y in range(2, 40, 8):
    for _x in range(2, 48, 8):
        BLOCKS[_y : _y + 4, _x : _x + 4] = 1
NUMBERED = (np.cumsum(np.ones_like(BLOCKS)) * BLOCKS.ravel()).reshape(40, 48)
SMOOTH = np.asarray(
    Picture.fromarray(BLOCKS * 255).resize((24, 20), 2).resize((48, 40), 2)
)
MARKS = [[10, 10], [10, 30], [30, 10], [30, 30]]


def table(places, head="axis-0,axis-1,class"):
    return "\n".join([head, *(f"{y},{x},a" for y, x in places)]) + "\n"


def folder(
    home, *, task="detect", scale=4.0, radius=12.0, image=GREY, own=None, **drawn
):
    """A data set of image `a`, with what is drawn on it, and of a sound image `b`."""
    about = {"name": "x", "task": task, "classes": ["background", "a"]}
    about |= {"pixel_size_nm": scale} | ({"radius_nm": {"a": radius}} if radius else {})
    about["split"] = {"train": ["b"], "val": ["a"]} if drawn.pop("val", 0) else {}
    about["pixel_sizes_nm"] = drawn.pop("scales", {})
    home.mkdir(exist_ok=True)
    (home / "dataset.json").write_text(json.dumps(about))
    for name, pixels in (("a", image), ("b", GREY)):
        given = own if name == "a" else None
        write_image(home / "images" / f"{name}.tif", pixels, scale=given)
    sound = {"points": table(MARKS)} if task == "detect" else {"labels": BLOCKS}
    if task == "instances":
        sound = {"labels": numbered(BLOCKS)}
    for name, what in (("a", drawn), ("b", sound)):
        for kind, content in what.items():
            (home / kind).mkdir(exist_ok=True)
            if isinstance(content, str | bytes):
                content = content.encode() if isinstance(content, str) else content
                (home / kind / f"{name}.csv").write_bytes(content)
            else:
                write_image(home / kind / f"{name}.tif", content)
    return home


def numbered(mask):
    from skimage.measure import label

    return label(mask).astype(np.uint16)


class Ran(BaseException):
    """The gate was passed: what comes behind would have begun."""


FEW = TrainConfig(epochs=1, minutes=None, patch=32, device="cpu")
NETWORK = dict(resolve_sizes("unet", "tiny", {"base": 2, "levels": 1}))
VERBS = {
    "train": "train {home} --out {out}/net.safetensors",
    "prune": "prune {net} --remove 0.5 --data {home} --out {out}/less.safetensors",
    "evaluate": "evaluate {net} {home} --split all",
    "compare": "compare {net} {net} --data {home} --split all --out {out}",
}


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """A file for each kind of task; their weights have learned nothing."""
    home, made = tmp_path_factory.mktemp("networks"), {}
    torch.manual_seed(0)  # by chance some would be dead
    for kind in ("detect", "segment", "instances"):
        network = build_network("unet", NETWORK, 1, 2)
        made[kind] = Checkpoint(
            network="unet",
            sizes=NETWORK,
            in_channels=1,
            task=Task(kind, ("background", "a"), radius_nm={"a": 12.0}),
            state=network.state_dict(),
            pixel_size_nm=4.0,
        )
        made[kind].save(home / f"{kind}.safetensors")
    return home, made


@pytest.fixture
def at_all_doors(tmp_path, monkeypatch, capsys, networks):
    """`at_all_doors(home)`: what each says, and whether it lets the data set in."""

    def begun(*_, **__):
        raise Ran

    begun.of = begun

    def prepared(*given, **_):
        raise Ran(*next(one for one in given if hasattr(one, "held_back")).notes)

    for module, engine in (("evaluate", "engine_for"), ("side_by_side", "Engine")):
        home = import_module(f"napari_topiary.evaluation.{module}")
        monkeypatch.setattr(home, engine, begun)
    monkeypatch.setattr("napari_topiary.pruning.plan_job", begun)
    monkeypatch.setattr("napari_topiary.training.loop.Trainer", prepared)
    monkeypatch.setattr(
        import_module("napari_topiary.evaluation.validate"), "validate_on", prepared
    )
    files, made = networks

    def called(line):
        try:
            status = main(line.split())
        except Ran:
            status = None
        said = capsys.readouterr()
        assert status in (None, 2), said
        return said.err, status is None

    def python(job):
        said = []
        try:
            run(job, lambda one: said.append(note_of(one.report)))
        except Ran as end:
            return "\n".join([*said, *end.args]), True
        except TopiaryError as refusal:
            return str(refusal), False
        raise AssertionError

    def window(home):
        try:
            session = Session.open(home)
        except TopiaryError as refusal:
            return str(refusal), False
        found = run(checking(TrainingData.of(session)))
        said = [*session.notes, found.problem, *found.notes]
        return "\n".join(said), not found.problem

    def at(home):
        kind = json.loads((home / "dataset.json").read_text())["task"]
        out, net = tmp_path / "out", files / f"{kind}.safetensors"
        said = {
            verb: called(line.format(home=home, out=out, net=net))
            for verb, line in VERBS.items()
        }
        try:
            dataset = read_dataset(home)
            samples = dataset.part("all")
        except TopiaryError as refusal:
            said["reading"] = str(refusal), False
        else:
            known, learned = made[kind], tuple(samples)
            config = TrainConfig(epochs=1, minutes=None, sizes=NETWORK)
            for name, job in {
                "fit": fit(learned, config, task=dataset.task),
                "validate": validate(known, learned),
                "evaluation": evaluate(known, learned),
                "comparison": compare_checkpoints({"one": known}, learned),
            }.items():
                said[name] = python(job)
        assert not out.exists()
        before = {file: file.read_bytes() for file in home.rglob("*") if file.is_file()}
        said["window"] = window(home)
        for file, content in before.items():
            assert file.read_bytes() == content
        return said

    return at


def note_of(report):
    return str(getattr(report, "note", report or ""))


def sentence_of(text, words):
    """The sentence with these words, without the name that it begins with."""
    lines = (line.split(words) for line in text.splitlines() if words in line)
    (sentence,) = {
        re.sub(r"^([\w, /.]+: )+", "", begin) + words + re.split(r"[.:] ", rest)[0]
        for begin, rest, *_ in lines
    }
    return sentence


def told(said, words, *, refused, but_window=None):
    """Hold every door to the same sentence, and to letting in or not."""
    sentences = {}
    for door, (text, let_in) in said.items():
        assert words in text, (door, text)
        sentences[door] = sentence_of(text, words)
        wanted = not refused
        if door == "window" and but_window is not None:
            wanted = but_window
        assert let_in is wanted, (door, text)
    assert len(set(sentences.values())) == 1, sentences


REFUSED = [
    ("NaN", {"image": np.full((40, 48), np.nan, np.float32)}, "not a number"),
    ("infinite", {"image": np.full((40, 48), np.inf, np.float32)}, "not a number"),
    ("1e300", {"image": GREY * 1e300}, "not a number (NaN, infinite or above 3e38)"),
    ("constant", {"image": np.full((40, 48), 7, np.uint8)}, "constant"),
    ("saturated", {"image": np.where(GREY > 253, 9, 255).astype(np.uint8)}, "saturat"),
    ("colour", {"image": RNG.integers(0, 255, (3, 40, 48), np.uint8)}, "one kind"),
    ("areas", {"points": table(np.argwhere(BLOCKS))}, "these are areas"),
    ("nm", {"points": table(np.array(MARKS) * 4.0)}, "Are these nm? Divide them by 4"),
    ("swapped", {"points": table([[47, 5], [47, 30], [9, 9]])}, "y and x swap"),
    ("far", {"points": table(np.array(MARKS) + 999)}, "4 of 4 points lie outside"),
    ("400 nm", {"scales": {"a": 400.0}}, "a has 400 nm per pixel and b 4 nm"),
]  # fmt: skip
"""Of particles: name, what is wrong, and what every door says."""
RADII = [
    ("nothing", {"radius": 1.0}, "radius of 'a' is 0.25 pixels"),
    ("metres", {"radius": 1e6}, "check the radius and the pixel size"),
    ("none", {"radius": None}, "has no radius"),
]
"""A network knows its own radii: where it is asked for by Python, they count."""
UNREAD = [
    ("no number", {"points": table([*MARKS, ["here", 3]])}, "has 'here' in column"),
    ("a row too short", {"points": table(MARKS) + "3\n"}, "has 1 values for 3 columns"),
    ("other columns", {"points": "left,up\n3,4\n"}, "axis-0"),
    ("another alphabet", {"points": (table(MARKS) + "1,2,K\xf6\n").encode("latin-1")},
     "is not a text table"),
]  # fmt: skip
"""What reading refuses; a project opens with what is sound."""
LEFT_OUT = [
    ("outside", {"points": table([*MARKS, [99, 5]])}, "1 of 5 points lie more than"),
    ("twice", {"points": table([*MARKS, [10, 10.5]])}, "1 of 5 points mark the same"),
    ("near", {"points": table([*MARKS, [10.6, 10.3]])}, "1 of 5 points mark the"),
    ("sizes", {"scales": {"a": 5.0}}, "The pixel sizes differ, from 4 to 5 nm"),
    ("file", {"own": 5.0}, "The file says 5 nm per pixel, dataset.json 4 nm"),
    ("print", {"own": 84666.67}, "300 dots per inch"),
    ("corner", {"points": table(np.array(MARKS) / 4)}, "lie in one part of the image"),
]
"""What is told, and learned from all the same."""
MASKS = [
    ("instances", BLOCKS * 255, "One number (255) for 30 separate pieces", False),
    ("instances", BLOCKS * (1 + (np.arange(48) // 24)), "only 2 different", True),
    ("instances", SMOOTH, "smooth or lossy", True),
    ("segment", BLOCKS * 255, "255 is taken for a", False),
    ("segment", SMOOTH, "smooth or lossy edges", True),
    ("segment", BLOCKS * (6 + np.arange(48) % 2), "hold the value 7", True),
    ("segment", BLOCKS * 0, "1 of 2 label images are empty", False),
    ("instances", BLOCKS * 0, "1 of 2 label images are empty", False),
    ("segment", BLOCKS[:-1], "39 x 48 pixels, but the image is 40 x 48", None),
    ("instances", BLOCKS[:, :-9], "40 x 39 pixels, but the image is 40 x 48", None),
    ("segment", BLOCKS.astype(np.int16) - 1, "hold the value -1", True),
    ("segment", BLOCKS / 3, "not whole numbers", None),
    (
        "segment",
        np.stack([BLOCKS, BLOCKS * 2, BLOCKS]),
        "is a colour picture, not a label",
        None,
    ),
    (
        "instances",
        (NUMBERED + 1).astype(np.uint16),
        "No pixel of the labels is 0",
        False,
    ),
]
"""Task, labels, what is said, whether it is refused; None = by reading already."""


def named(cases):
    return pytest.mark.parametrize(
        ("given", "words"),
        [(given, words) for _, given, words in cases],
        ids=[name for name, *_ in cases],
    )


@named(REFUSED)
def test_every_door_refuses_with_the_same_sentence(
    tmp_path, at_all_doors, given, words
):
    home = folder(tmp_path / "x", **{"points": table(MARKS)} | given)
    told(at_all_doors(home), words, refused=True)


@pytest.mark.parametrize("image", [given["image"] for _, given, _ in REFUSED[:5]])
def test_an_image_that_shows_nothing_is_told_and_predicted_as_empty(
    tmp_path, networks, capsys, image
):
    file, out, (net, _) = tmp_path / "i.tif", tmp_path / "out", networks
    tifffile.imwrite(file, image)
    write_image(tmp_path / "sound.tif", GREY)
    line = (
        f"predict {net}/instances.safetensors {file} {tmp_path}/sound.tif --out {out}"
    )
    assert main(line.split()) == 0
    assert "i.tif: There is nothing to see on this image" in capsys.readouterr().err
    assert not tifffile.imread(out / "i_labels.tif").any()
    assert (out / "sound_labels.tif").exists()
    pytest.importorskip("napari")
    intake = import_module("napari_topiary._napari.data.intake")
    (refused,) = intake.read_files([file])
    task = Task("segment", ("background", "a"))
    sample = Sample(image[None], (Labels(BLOCKS),), None, "i")
    assert refused.sentence == learning_problem([sample], task=task)


def test_a_click_on_train_says_the_same_and_starts_nothing(
    tmp_path, capsys, request, monkeypatch
):
    pytest.importorskip("napari")
    from qtpy.QtCore import Qt

    viewer = request.getfixturevalue("make_napari_viewer_proxy")(show=True)
    qtbot = request.getfixturevalue("qtbot")
    workbench = import_module("napari_topiary._napari.workbench").Workbench(viewer)
    viewer.window.add_dock_widget(workbench, name="Topiary", area="right")
    page, session = workbench.show_page("Train"), workbench.session
    begun = []
    monkeypatch.setattr(page.training_run, "start", lambda *_, **__: begun.append(1))

    def click():
        qtbot.mouseClick(page.train_button, Qt.MouseButton.LeftButton)

    task, labels, *_ = MASKS[4]
    faults = [given for _, given, _ in (*REFUSED[1::2], RADII[0])]
    for number, given in enumerate([*faults, {"task": task, "labels": labels}]):
        drawn = {} if "labels" in given else {"points": table(MARKS)}
        home = folder(tmp_path / str(number), **drawn | given)
        assert main(["train", str(home), "--out", f"{tmp_path}/no.safetensors"]) == 2
        said = capsys.readouterr().err.splitlines()[-1]
        session.restore(home)
        click()  # before anybody has looked
        qtbot.waitUntil(lambda: page.form.marks_problem.isVisible(), timeout=20_000)
        assert page.form.marks_problem.text() == said
        click()
        assert not page.train_button.isEnabled()
    assert begun == []
    session.restore(folder(tmp_path / "sound", points=table(MARKS)))
    click()
    assert begun == []
    qtbot.waitUntil(lambda: begun != [], timeout=20_000)


def dark_lines(seed):
    """Dark lines on a bright ground, `(1, y, x)`, and where they are."""
    noise = np.random.default_rng(seed).normal(size=(192, 192))
    ridge = np.abs(gaussian_filter(noise, 5))
    there = ridge < np.quantile(ridge, 0.12)
    grey = 180 - 110 * gaussian_filter(there.astype(float), 0.8) + 6 * noise
    return grey.clip(0, 255)[None].astype(np.uint8), there


def test_every_door_tells_that_the_contrast_is_the_opposite(
    tmp_path, capsys, networks, monkeypatch
):
    # A network finds as much in a negative, in other places.
    monkeypatch.setattr(
        "napari_topiary.inference.suitability._foreground", lambda *_: 0.1
    )
    normal, shown = Normalisation(), [dark_lines(seed) for seed in range(3)]
    contrast = Contrast.of((normal.apply(image), there) for image, there in shown)
    known = networks[1]["segment"].replaced(
        annotations_summary={"contrast": contrast.to_record()}
    )
    net = tmp_path / "net.safetensors"
    known.save(net)
    image, there = dark_lines(7)
    negative, labels = 255 - image, there.astype(np.uint8)
    home = folder(tmp_path / "x", task="segment", image=negative, labels=labels)
    words = "The contrast of this image is the opposite of what the network learned"
    report = tmp_path / "report.json"
    for line in (
        f"predict {net} {home}/images/a.tif --out {tmp_path}/out",
        f"evaluate {net} {home} --split all",
        f"compare {net} {net} --data {home} --split all --out {tmp_path}/both",
    ):
        assert main([*line.split(), "--json", str(report)]) == 0
        said = capsys.readouterr().err
        assert "a" in said.split(words)[0] and said.count(words) == 1
        assert "--invert" in said and words in report.read_text()
        out = tmp_path / "inverted"
        healed = line.replace("/out", "/out2").replace("/both", "/both2")
        assert main([*healed.split(), "--invert"]) == 0, out
        assert "a: " + words not in capsys.readouterr().err
    samples = read_dataset(home).part("all")
    for job in (
        evaluate(known, samples),
        compare_checkpoints({"one": known}, samples),
        fit(samples, FEW, task=known.task, start=known),
    ):
        notes = list[str]()
        run(job, lambda one, notes=notes: notes.append(note_of(one.report)))
        assert any("opposite of what the network learned" in note for note in notes)
    answers = []
    wanted = ProjectImage(name="a", image=negative, scale=4.0)
    run(
        predicting([wanted], known, PredictConfig()),
        lambda one: answers.append(one.report),
    )
    said, answer = filter(None, answers)
    assert said.startswith(f"a: {words}") and words in answer.prediction.notes[0]


@named(RADII)
def test_radii_are_held_against_the_image(tmp_path, at_all_doors, given, words):
    said = at_all_doors(folder(tmp_path / "x", points=table(MARKS), **given))
    for door in ("validate", "evaluation", "comparison"):
        assert said.pop(door)[1]
    told(said, words, refused=True)


def test_the_resolution_of_a_print_is_no_pixel_size(tmp_path, at_all_doors):
    home = folder(tmp_path / "x", points=table(MARKS), scale=84666.67)
    told(at_all_doors(home), "300 dots per inch", refused=True)


@named(UNREAD)
def test_what_cannot_be_read_is_told_alike(tmp_path, at_all_doors, given, words):
    home = folder(tmp_path / "x", **{"points": table(MARKS)} | given)
    told(at_all_doors(home), words, refused=True, but_window=True)


@named(LEFT_OUT)
def test_every_door_tells_what_is_left_out(tmp_path, at_all_doors, given, words):
    home = folder(tmp_path / "x", **{"points": table(MARKS)} | given)
    told(at_all_doors(home), words, refused=False)


@pytest.mark.parametrize(("task", "labels", "words", "refused"), MASKS)
def test_every_door_says_the_same_of_labels(
    tmp_path, at_all_doors, task, labels, words, refused
):
    if labels.dtype == np.int64:
        labels = labels.astype(np.uint8)
    said = at_all_doors(folder(tmp_path / "x", task=task, labels=labels))
    window = True if refused is None else None
    told(said, words, refused=refused is not False, but_window=window)


@pytest.mark.parametrize("suffix", [".jpg", ".JPEG"])
def test_labels_in_a_lossy_file_are_refused(tmp_path, at_all_doors, suffix):
    home = folder(tmp_path / "x", task="segment")
    Picture.fromarray(BLOCKS * 255).save(home / "labels" / f"a{suffix}")
    words = "is a JPEG, which changes"
    told(at_all_doors(home), words, refused=True, but_window=True)


def test_twins_are_refused(tmp_path, at_all_doors):
    home = folder(tmp_path / "x", task="segment", labels=BLOCKS)
    Picture.fromarray(BLOCKS).save(home / "labels" / "a.png")
    words = "a.png and a.tif have the same name"
    told(at_all_doors(home), words, refused=True, but_window=True)


@pytest.mark.parametrize("part", ["val", "test"])
def test_an_image_that_is_learned_from_is_not_judged_on(tmp_path, at_all_doors, part):
    home = folder(tmp_path / "x", points=table(MARKS))
    about = json.loads((home / "dataset.json").read_text())
    about["split"] = {"Train": ["a", "b.tif"], part.upper(): ["B"]}
    (home / "dataset.json").write_text(json.dumps(about))
    words = f"'b' is in the part 'train' and in {part!r}"
    told(at_all_doors(home), words, refused=True)


def test_a_split_that_names_no_image_is_told(tmp_path, at_all_doors):
    home = folder(tmp_path / "x", points=table(MARKS))
    about = json.loads((home / "dataset.json").read_text())
    about["split"] = {"train": ["a", "gone"], "val": ["b"]}
    (home / "dataset.json").write_text(json.dumps(about))
    words = "the split 'train' names 'gone', but there is no such image"
    told(at_all_doors(home), words, refused=True, but_window=True)


@pytest.mark.parametrize(
    ("points", "words"),
    [
        (None, "No image of the part 'val' is annotated"),
        ("axis-0,axis-1,class\n", "nothing is marked there"),
        ("axis-0,axis-1,class\n9,9,background\n", "nothing is marked there"),
    ],
)
def test_nothing_to_judge_on_is_told_before_it_trains(
    tmp_path, at_all_doors, points, words
):
    drawn = {} if points is None else {"points": points}
    home = folder(tmp_path / "x", val=1, **drawn)
    said = at_all_doors(home)
    for door in ("train", "window"):
        assert words in said[door][0] and said[door][1]


def test_where_only_background_is_marked_figures_say_little(tmp_path, at_all_doors):
    home = folder(tmp_path / "x", val=1, task="segment", labels=BLOCKS * 0)
    (home / "labels" / "b.tif").unlink()
    said = at_all_doors(home)
    for door in ("evaluate", "compare", "evaluation", "comparison"):
        assert "Only background is marked on the images to judge on" in said[door][0]
        assert said[door][1]
    for door in ("train", "prune", "window", "fit"):
        assert not said[door][1]


@pytest.mark.parametrize("share", [0.6, 0.0])
def test_torn_images_are_refused(tmp_path, at_all_doors, share):
    home = folder(tmp_path / "x", points=table(MARKS))
    file = home / "images" / "a.tif"
    os.truncate(file, int(share * file.stat().st_size))
    told(at_all_doors(home), "a.tif", refused=True, but_window=True)


def test_one_hot_pixel_says_nothing_and_changes_nothing(tmp_path, at_all_doors):
    image = GREY.astype(np.uint16)
    image[3, 3] = 65_535
    home = folder(tmp_path / "x", points=table(MARKS), image=image)
    said = at_all_doors(home)
    assert all(let_in for _, let_in in said.values())
    assert not any("a:" in text for text, _ in said.values()), said


def test_slices_that_are_not_annotated_are_left_out(tmp_path, at_all_doors):
    home = folder(tmp_path / "x", task="segment", labels=BLOCKS)
    for kind, content in (("images", GREY), ("labels", BLOCKS)):
        stack = np.stack([content, content[::-1], content[:, ::-1]])
        stack[0] *= kind == "images"
        (home / kind / "a.tif").unlink()
        tifffile.imwrite(
            home / kind / "a.tif", stack, imagej=True, metadata={"axes": "ZYX"}
        )
    said = at_all_doors(home)
    assert all(let_in for _, let_in in said.values())
    for verb in ("train", "prune", "evaluate", "compare"):
        assert "1 of 4 images" in said[verb][0]
        use = "at most look-alikes of what is marked are learned there"
        use = use if verb == "train" else "left out"
        assert f"are not annotated: {use} (a 0)" in said[verb][0]


def test_numbers_of_a_palette_are_the_labels(tmp_path, at_all_doors):
    home = folder(tmp_path / "x", task="instances")
    objects = numbered(BLOCKS).astype(np.uint8)
    picture = Picture.frombytes("P", objects.shape[::-1], objects.tobytes())
    picture.putpalette([0, 0, 0] + [128] * 3 + [255] * 3 + [0] * 759)
    picture.save(home / "labels" / "a.png")
    (labels,) = read_dataset(home).samples["a"].annotations
    np.testing.assert_array_equal(labels.labels, objects)
    assert all(let_in for _, let_in in at_all_doors(home).values())


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


def test_of_a_particle_off_a_corner_nothing_is_in_the_image():
    task = Task("detect", ("background", "a"), radius_px={"a": 6.0})
    points = Points([[-5.0, -5.0], [-3.0, -3.0], [20, 20]], ("a",) * 3)
    kept, (note,) = admitted([Sample(GREY[None], (points,), None, "x")], task=task)
    np.testing.assert_array_equal(
        kept[0].annotations[0].coordinates, [[-3, -3], [20, 20]]
    )
    assert "1 of 3 points lie more than a radius outside" in note
    # What is left of the image cannot have become nm by that.
    low = Points([[-9.0, 20], [20, 90], [20, 20]], ("a",) * 3)
    said = learning_problem([Sample(GREY[None], (low,), 20.0, "x")], task=task)
    assert "2 of 3 points lie outside" in said and "nm" not in said


UNSEEN = {
    "at the very border": ([[-3.4, 20], [-3.4, 40]], None, GREY),
    "outside what is finished": (
        [[9, 9]], [[20, 20], [20, 47], [39, 47], [39, 20]], GREY,
    ),
    "where there is no image": (
        [[20, 4]], None, np.where(np.arange(48) > 15, GREY, np.nan).astype(np.float32),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", UNSEEN)
def test_what_is_marked_where_nothing_can_be_learned_is_refused(case):
    places, finished, image = UNSEEN[case]
    task = Task("detect", ("background", "a"), radius_px={"a": 4.0})
    drawn = [Points(places, ("a",) * len(places))]
    if finished:
        drawn.append(Regions((np.array(finished, float),), ("rectangle",)))
    sample = Sample(image[None], tuple(drawn), None, "x")
    data = TrainingData(samples=(sample,), validation=(), task=task, n_images=1)
    words = "Nothing of what is marked can be learned from: it lies outside"
    assert run(checking(data)).problem.startswith(words)
    with pytest.raises(TopiaryError, match=words):
        run(fit([sample], FEW, task=task))


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
    use = "at most look-alikes of what is marked are learned there"
    assert list(runner.notes) == [
        "1 image is in 'unlabelled': what is marked there is not learned from, and "
        "only evaluate --split 'unlabelled' judges on it. The usual parts are train, "
        "val, test.",
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


def test_a_blank_colour_image_is_not_called_grey_among_colour_ones():
    task = Task("segment", ("background", "a"))
    colour = np.stack([GREY, GREY[::-1], GREY])
    tiles = [
        Sample(image, (Labels(BLOCKS),), None, name)
        for image, name in ((colour, "x"), (np.full_like(GREY[None], 255), "white"))
    ]
    assert learning_problem(tiles, task=task).startswith("white: The image is constant")


def test_an_image_held_back_of_another_pixel_size_is_told_before_it_trains():
    task = Task("segment", ("background", "a"))
    x, y = (Sample(GREY[None], (Labels(BLOCKS),), n, f"x{n}") for n in (4.0, 16.0))
    notes = admit([x], [y], task=task, around_marks=False).notes
    assert [n for n in notes if n.startswith("The pixel sizes differ, from 4 to 16")]


def test_an_empty_table_of_marks_is_told_as_empty_labels_are():
    task = Task("detect", ("background", "a"), radius_px={"a": 3.0})
    marked = Points(np.array(MARKS, float), ("a",) * len(MARKS))
    known = [
        Sample(GREY[None], (points,), None, name)
        for points, name in ((marked, "x"), (Points(np.zeros((0, 2)), ()), "y"))
    ]
    said = [note for note in admitted(known, task=task)[1] if "empty" in note]
    assert len(said) == 1 and said[0].startswith("1 of 2 tables of marks are empty")
    assert "(y)" in said[0]


def test_a_class_that_is_marked_nowhere_is_told_before_it_trains():
    numbers = Labels(BLOCKS * 3)
    known = [Sample(GREY[None], (numbers,), None, "x")]
    task = Task("segment", ("background", "a", "b", "c"))
    notes = admit(known, (), task=task, around_marks=False).notes
    assert [note for note in notes if "marked on no" in note] == [
        "a, b: marked on no image to learn from, so none is learned and none will be "
        "found."
    ]


def test_a_few_strays_are_no_question_about_all_places():
    """An image as high as wide: swapped, the places would fit as well."""
    task = Task("detect", ("background", "a"), radius_px={"a": 2.0})
    places = RNG.uniform(0, 38, (40, 2))
    places[0] = [39, 90]
    points = Points(places, ("a",) * 40)
    _, (note,) = points.usable((40, 40), task=task, scale=None)
    assert "1 of 40 points" in note
    assert "?" not in note


def test_one_place_of_two_classes_is_told_and_neighbours_are_not():
    task = Task("detect", ("background", "a", "b"), radius_px={"a": 8.0, "b": 8.0})
    places, names = [[5, 6], [5, 7.5], [30, 30], [30, 33]], ("a", "b", "a", "b")
    _, (note,) = Points(places, names).usable((40, 40), task=task, scale=None)
    assert "1 of 4 points mark the same place" in note
    assert "as a and b at y 5, x 6" in note
    same = Points(places, ("a", "background", "b", "background"))
    assert same.usable((40, 40), task=task, scale=None) == (same, ())
