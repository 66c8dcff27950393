"""Dataset folders: read, written, and every fault named in a sentence."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture

from napari_topiary.annotations import (
    Centerlines,
    Labels,
    Points,
    Regions,
    annotation_problem,
    build_target,
)
from napari_topiary.errors import TopiaryError
from napari_topiary.io.dataset import (
    Dataset,
    Sample,
    read_dataset,
    sample_dataset,
    sample_folder,
    sample_names,
)
from napari_topiary.io.dataset_writing import write_dataset
from napari_topiary.io.images import read_image, write_image
from napari_topiary.io.pairing import safe_name
from napari_topiary.types import Task

SHARED = Path(__file__).parents[3] / "shared" / "data"
RNG = np.random.default_rng(0)
TASK = Task(
    "detect",
    ("background", "adeno", "ebola"),
    radius_nm={"adeno": 45.0, "ebola": 40.0},
)
GREY = RNG.integers(0, 255, (1, 40, 50), dtype=np.uint8)
COLOUR = RNG.integers(0, 255, (3, 30, 20), dtype=np.uint8)
DRAWN = (
    Centerlines(([[1, 2], [3.5, 4]],), ("ebola",)),
    Points([[10, 12.25], [3, 4]], ("adeno", "background"), (None, 30.0)),
    Regions(([[0, 0], [0, 40], [30, 40], [30, 0]],), ("rectangle",)),
)


def project():
    samples = {
        "one": Sample(GREY, DRAWN, 4.6, "one"),
        "two": Sample(COLOUR, (), 4.6, "two"),
        "three": Sample(GREY, (Points(np.zeros((0, 2)), ()),), 4.6, "three"),
    }
    split = {"train": ("one", "three"), "val": ("two",)}
    return Dataset("My viruses", TASK, samples, split)


def write(folder, about, **images):
    """A folder with `dataset.json` and images."""
    (folder / "images").mkdir()
    for name, image in (images or {"a": GREY}).items():
        write_image(folder / "images" / f"{name}.tif", image)
    text = about if isinstance(about, str) else json.dumps(about)
    (folder / "dataset.json").write_text(text)
    return folder


def about(**changes):
    content = {"name": "x", "task": "detect", "classes": ["background", "a", "b"]}
    content |= changes
    return {key: value for key, value in content.items() if value is not ...}


def same(a, b):
    np.testing.assert_array_equal(a.image, b.image)
    assert a.image.dtype == b.image.dtype
    key = lambda drawn: drawn.kind  # noqa: E731
    assert sorted(a.annotations, key=key) == sorted(b.annotations, key=key)
    assert (a.scale, a.name) == (b.scale, b.name)


def test_what_is_written_comes_back(tmp_path):
    write_dataset(tmp_path / "new", project())
    again = read_dataset(tmp_path / "new")
    assert (again.name, again.task, again.scale) == ("My viruses", TASK, 4.6)
    assert again.split == project().split
    assert sorted(again.samples) == ["one", "three", "two"]
    for name, sample in project().samples.items():
        same(again.samples[name], sample)
    assert [s.name for s in again.part("train")] == ["one", "three"]
    assert again.part("val")[0].path == tmp_path / "new" / "images" / "two.tif"
    assert read_image(tmp_path / "new" / "images" / "one.tif").scale == 4.6


def test_writing_again_changes_nothing(tmp_path):
    write_dataset(tmp_path, project())
    files = {p: p.stat().st_ino for p in tmp_path.rglob("*.*") if p.suffix != ".json"}
    write_dataset(tmp_path, project())
    assert files == {
        p: p.stat().st_ino for p in tmp_path.rglob("*.*") if p.suffix != ".json"
    }
    assert len(files) == 7


def test_annotations_that_were_taken_away_are_gone(tmp_path):
    write_dataset(tmp_path, project())
    samples = {"one": Sample(GREY, DRAWN[:1], 4.6, "one")}
    write_dataset(tmp_path, Dataset("x", TASK, samples))
    assert read_dataset(tmp_path).samples["one"].annotations == DRAWN[:1]
    assert read_dataset(tmp_path).parts == {"train": ("one", "three", "two")}


def test_two_layers_of_points_become_one_table(tmp_path):
    marks = (Points([[1, 2]], ("adeno",)), Points([[3, 4]], ("background",)))
    sample = Sample(GREY, marks, 4.6, "one")
    write_dataset(tmp_path, Dataset("x", TASK, {"one": sample}))
    (points,) = read_dataset(tmp_path).samples["one"].annotations
    assert points == Points([[1, 2], [3, 4]], ("adeno", "background"))
    labels = (Labels(np.zeros((40, 50), int)),) * 2
    with pytest.raises(TopiaryError, match="has 2 label images"):
        write_dataset(
            tmp_path, Dataset("x", TASK, {"one": Sample(GREY, labels, None, "one")})
        )


def test_images_in_the_folder_stay_as_they_are(tmp_path):
    write(tmp_path, about(classes=["background", "adeno", "ebola"]))
    Picture.fromarray(GREY[0]).save(tmp_path / "images" / "b.png")
    before = (tmp_path / "images" / "b.png").read_bytes()
    dataset = read_dataset(tmp_path)
    write_dataset(tmp_path, dataset)
    assert sorted(p.name for p in (tmp_path / "images").iterdir()) == ["a.tif", "b.png"]
    assert (tmp_path / "images" / "b.png").read_bytes() == before
    foreign = Dataset("x", TASK, {"b": Sample(GREY, (), None, "b")})
    with pytest.raises(TopiaryError, match="would get a twin"):
        write_dataset(tmp_path, foreign)


def test_images_of_different_pixel_size_keep_theirs(tmp_path):
    Picture.fromarray(GREY[0]).save(tmp_path / "mine.png")
    samples = {
        "a": Sample(GREY, (), 4.6, "a"),
        "b": Sample(GREY, (), 2.5, "b"),
        "c": Sample(GREY, (), None, "c"),
    }
    write_dataset(tmp_path / "d", Dataset("x", TASK, samples))
    again = read_dataset(tmp_path / "d")
    assert {name: s.scale for name, s in again.samples.items()} == {
        "a": 4.6,
        "b": 2.5,
        "c": None,
    }
    content = json.loads((tmp_path / "d" / "dataset.json").read_text())
    assert content["pixel_size_nm"] is None


def test_keys_of_others_are_kept(tmp_path):
    write(tmp_path, about(licence="CC0", split={"train": ["a"]}))
    dataset = read_dataset(tmp_path)
    write_dataset(tmp_path, dataset)
    content = json.loads((tmp_path / "dataset.json").read_text())
    assert content["licence"] == "CC0"
    assert content["split"] == {"train": ["a"]}


def test_the_pixel_size_of_the_dataset_beats_that_of_the_image(tmp_path):
    write(tmp_path, about(pixel_size_nm=5))
    write_image(tmp_path / "images" / "a.tif", GREY, scale=3.0)
    assert read_dataset(tmp_path).samples["a"].scale == 5.0
    (tmp_path / "dataset.json").write_text(json.dumps(about(pixel_size_nm=None)))
    assert read_dataset(tmp_path).samples["a"].scale == 3.0


def test_without_a_split_everything_is_for_training(tmp_path):
    write(tmp_path, about(), b=GREY, a=GREY)
    dataset = read_dataset(tmp_path)
    assert [s.name for s in dataset.part("train")] == ["a", "b"]
    assert [s.name for s in dataset.part("all")] == ["a", "b"]
    with pytest.raises(TopiaryError, match="has no part 'val': it has train"):
        dataset.part("val")


def test_images_are_read_only_when_asked_for(tmp_path):
    write(tmp_path, about(split={"train": ["a"], "val": ["b"]}))
    (tmp_path / "images" / "b.tif").write_bytes(b"not a tiff")
    dataset = read_dataset(tmp_path)
    assert len(dataset.samples) == 2
    assert dataset.part("train")[0].name == "a"
    with pytest.raises(TopiaryError, match="cannot be read"):
        dataset.part("val")


def test_a_missing_class_column_is_no_problem_where_there_is_one_class(tmp_path):
    write(tmp_path, about(classes=["background", "a"]))
    (tmp_path / "points").mkdir()
    (tmp_path / "points" / "a.csv").write_text("index,axis-0,axis-1\n0,3,4\n")
    (points,) = read_dataset(tmp_path).samples["a"].annotations
    assert points == Points([[3, 4]], ("a",))


def test_hidden_and_unknown_files_are_passed_over(tmp_path):
    write(tmp_path, about())
    (tmp_path / "points").mkdir()
    for name in ("images/.part-1-a.tif", "points/.DS_Store", "images/notes.txt"):
        (tmp_path / name).write_text("x")
    assert list(read_dataset(tmp_path).samples) == ["a"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "cannot be read"),
        ("[1]", "must hold one object"),
        (about(task=...), "no task is given, but it must be one of detect, segment"),
        (about(task="count"), "the task is 'count', but it must be one of"),
        (about(classes=...), '"classes" must be a list'),
        (about(classes=[1, 2]), '"classes" must be a list'),
        (about(classes=[]), 'first class must be "background", but .* are none'),
        (about(classes=["a", "b"]), 'must be "background", but the classes are a, b'),
        (about(classes=["background", "a", "a"]), "listed twice"),
        (about(pixel_size_nm=-1), '"pixel_size_nm" is -1'),
        (about(pixel_size_nm="4 nm"), "\"pixel_size_nm\" is '4 nm'"),
        (about(radius_nm={"c": 3}), "\"radius_nm\" names 'c', but the classes are"),
        (about(radius_px={"a": 0}), '"radius_px" must give a number above 0'),
        (about(radius_px=5), '"radius_px" must give a number above 0'),
        (about(split={"train": ["a", "zz"]}), "split 'train' names 'zz', but there is"),
        (about(split={"train": ["q", "zz"]}), "names 'q' and 1 more"),
        (about(split=["a"]), '"split" must give a list of image names for each part'),
        (about(split={"train": "a"}), '"split" must give a list'),
    ],
)
def test_faults_of_the_description_are_named(tmp_path, content, words):
    with pytest.raises(TopiaryError, match=words) as fault:
        read_dataset(write(tmp_path, content))
    assert str(fault.value).endswith(".")
    assert str(tmp_path.name) in str(fault.value)


def test_faults_of_the_folder_are_named(tmp_path):
    with pytest.raises(TopiaryError, match="There is no dataset folder"):
        read_dataset(tmp_path / "nowhere")
    with pytest.raises(TopiaryError, match=r"it has no dataset\.json"):
        read_dataset(tmp_path)
    write(tmp_path, about())
    (tmp_path / "images" / "a.tif").rename(tmp_path / "a.tif")
    with pytest.raises(TopiaryError, match="holds no images"):
        read_dataset(tmp_path)
    (tmp_path / "a.tif").rename(tmp_path / "images" / "a.tif")
    Picture.fromarray(GREY[0]).save(tmp_path / "images" / "a.png")
    with pytest.raises(TopiaryError, match=r"a\.png and a\.tif have the same name"):
        read_dataset(tmp_path)
    (tmp_path / "images" / "a.png").unlink()
    (tmp_path / "points").mkdir()
    (tmp_path / "points" / "b.csv").write_text("axis-0,axis-1,class\n")
    (note,) = read_dataset(tmp_path).notes
    assert note.startswith("points/b.csv belongs to no image")


@pytest.mark.parametrize(
    ("path", "content", "words"),
    [
        ("points/a.csv", "axis-0,axis-1,class\n1,2,virus\n", "1 of 1 points are of"),
        ("points/a.csv", "axis-0,axis-1,class\n1,99,a\n", "1 of 1 points lie outside"),
        ("points/a.csv", "axis-0,axis-1\n1,2\n", "points/a.csv: The column 'class'"),
        ("points/a.csv", "lat,lon,class\n1,2,a\n", "column 'axis-0' is missing"),
        ("centerlines/a.csv", "axis-0,axis-1,class\n1,2,a\n", "column 'index' is"),
        ("labels/a.tif", np.zeros((9, 9), np.uint8), "9 x 9 pixels, but the image is"),
        ("labels/a.tif", np.full((40, 50), 3, np.uint8), "hold the value 3, but"),
        ("labels/a.tif", np.full((40, 50), 0.5), "not whole numbers"),
        ("labels/a.tif", np.zeros((3, 9, 9), np.uint8) + 1, "labels are 9 x 9"),
    ],
)
def test_faults_of_annotations_are_named_with_their_image(
    tmp_path, path, content, words
):
    write(tmp_path, about())
    (tmp_path / path).parent.mkdir()
    if isinstance(content, str):
        (tmp_path / path).write_text(content)
    else:
        write_image(tmp_path / path, content)
    dataset = read_dataset(tmp_path)
    with pytest.raises(TopiaryError, match=words) as fault:
        dataset.part("train")
    assert "a" in str(fault.value).split(":")[0]


def test_numbered_objects_are_read_as_such(tmp_path):
    write(tmp_path, about(task="instances", classes=["background", "nucleus"]))
    labels = np.zeros((40, 50), np.uint16)
    labels[3:9, 3:9] = 300
    write_image(tmp_path / "x.png", labels)
    (tmp_path / "labels").mkdir()
    (tmp_path / "x.png").rename(tmp_path / "labels" / "a.png")
    (drawn,) = read_dataset(tmp_path).samples["a"].annotations
    assert drawn == Labels(labels, instances=True)


def test_names_that_cannot_be_files_are_refused_before_anything_is_written(tmp_path):
    samples = {"a/b": Sample(GREY, (), None, "a/b")}
    with pytest.raises(TopiaryError, match="for instance to 'a_b'"):
        write_dataset(tmp_path / "d", Dataset("x", TASK, samples))
    assert not (tmp_path / "d").exists()
    assert safe_name("...") == "image"
    assert safe_name(" grid 7: cell?*. ") == "grid 7_ cell__"


@pytest.mark.parametrize("name", sample_names())
def test_the_samples_that_come_along_can_be_learned_from(name):
    dataset = sample_dataset(name)
    for sample in dataset.part("train"):
        shape = sample.image.shape[1:]
        problem = annotation_problem(
            sample.annotations, shape, task=dataset.task, scale=sample.scale
        )
        assert problem is None
        target = build_target(
            sample.annotations, shape, task=dataset.task, scale=sample.scale
        )
        assert set(np.unique(target.classes)) > {0}


def test_unknown_samples_are_refused():
    assert (sample_folder() / "README.md").is_file()
    assert "apoferritin" in sample_names()
    with pytest.raises(TopiaryError, match="the samples are apoferritin"):
        sample_dataset("apoferitin")


def test_coordinates_mean_what_they_say():
    """The shell of apoferritin is darker than what surrounds it."""
    sample = sample_dataset("apoferritin").part("train")[0]
    assert sample.scale == 0.3
    (points,) = sample.annotations
    y, x = np.mgrid[: sample.image.shape[1], : sample.image.shape[2]]
    shell, around = [], []
    for cy, cx in points.coordinates[:20]:
        nm = np.hypot(y - cy, x - cx) * sample.scale
        shell.append(sample.image[0][(nm > 4) & (nm < 5)].mean())
        around.append(sample.image[0][(nm > 6) & (nm < 7)].mean())
    assert np.mean(shell) < np.mean(around) - 20


@pytest.mark.skipif(not SHARED.is_dir(), reason="The larger sets are not here.")
@pytest.mark.parametrize(
    ("name", "images", "channels"),
    [
        ("apoferritin", 13, {1}),
        ("membrane_fibsem", 38, {1}),
        ("myelin_sem", 2, {1}),
        ("nuclei_dsb2018", 83, {3}),
        ("virus_phil", 5, {1, 3}),
    ],
)
def test_the_larger_sets_are_read(name, images, channels):
    dataset = read_dataset(SHARED / name)
    assert len(dataset.samples) == images
    assert {s.image.shape[0] for s in dataset.part("all")} == channels
