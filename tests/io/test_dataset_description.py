"""The split of a dataset: spellings, names, and what is in two parts."""

import json

import numpy as np
import pytest

from napari_topiary.errors import TopiaryError
from napari_topiary.io.dataset import read_dataset
from napari_topiary.io.dataset_description import parse_description
from napari_topiary.io.images import write_image
from napari_topiary.session import Session

GREY = np.random.default_rng(0).integers(1, 255, (20, 20), dtype=np.uint8)


def write(folder, split):
    about = {"name": "x", "task": "segment", "classes": ["background", "a"]}
    folder.mkdir(exist_ok=True)
    (folder / "dataset.json").write_text(json.dumps(about | {"split": split}))
    for name in "abcd":
        write_image(folder / "images" / f"{name}.tif", GREY)
    return folder


@pytest.mark.parametrize(
    ("split", "parts"),
    [
        ({"Train": ["a", "b"], "Validation": ["c"]}, {"train": "abd", "val": "c"}),
        ({"training": ["a.tif"], "TEST": ["B"]}, {"train": "acd", "test": "b"}),
        ({"train_set": ["a"], "Test set ": ["b"]}, {"train": "acd", "test": "b"}),
        ({"val": ["c"], "test": ["d"]}, {"train": "ab", "val": "c", "test": "d"}),
        ({"val": ["c", "c"]}, {"train": "abd", "val": "c"}),
        ({}, {"train": "abcd"}),
        (
            {"fold 1": ["a", "b"], "fold 2": ["c", "d"]},
            {"fold 1": "ab", "fold 2": "cd"},
        ),
    ],
)
def test_parts_are_understood(tmp_path, split, parts):
    dataset = read_dataset(write(tmp_path, split))
    assert dataset.parts == {part: tuple(names) for part, names in parts.items()}
    project = Session.open(tmp_path)
    held = [n for part in ("val", "test") for n in project.split.get(part, ())]
    assert held == [n for part in ("val", "test") for n in parts.get(part, "")]


@pytest.mark.parametrize(
    ("split", "words"),
    [
        (
            {"train": ["a", "b"], "val": ["b"]},
            "'b' is in the part 'train' and",
        ),
        ({"train": "abc", "test": ["c"]}, "must give a list of image names"),
        ({"train": ["a", "b"], "test": ["a", "b"]}, "'a' and 1 more are in the part"),
        ({"Train": ["a"], "training": ["b"]}, "'train' is there twice"),
        ({"train": ["a", "q"]}, "names 'q', but there is no such image"),
    ],
)
def test_faults_are_named(tmp_path, split, words):
    with pytest.raises(TopiaryError, match=words):
        read_dataset(write(tmp_path, split))


def test_images_in_no_part_are_learned_from_and_named(tmp_path):
    dataset = read_dataset(write(tmp_path, {"train": ["a"], "val": ["c"]}))
    (note,) = dataset.notes
    assert note == "2 images are in no part of the split: taken as 'train' (b, d)."
    assert dataset.parts == {"train": ("a", "b", "d"), "val": ("c",)}
    assert read_dataset(write(tmp_path, {"val": ["c"]})).notes == ()


def test_parts_that_nobody_looks_at_are_named(tmp_path):
    split = {"train": ["a", "b"], "vla": ["c"], "mine": ["d"]}
    (note,) = read_dataset(write(tmp_path, split)).notes
    assert note.startswith("2 images are in 'vla' and 'mine': what is marked there")
    assert "--split 'vla' or 'mine' judges" in note
    folds = {"one": ["a", "b"], "two": ["c", "d"]}
    assert read_dataset(write(tmp_path, folds)).notes == ()
    folds["two"].pop()  # all that is learned from is one image, then
    (note,) = read_dataset(write(tmp_path, folds)).notes
    assert note.startswith("3 images are in 'one' and 'two': what is marked there")


def test_the_key_of_the_split_may_be_spelled_otherwise_but_stays_one(tmp_path):
    write(tmp_path, {})
    path = tmp_path / "dataset.json"
    about = json.loads(path.read_text())
    about["Splits"] = {"train": ["a", "b", "c"], "val": ["d"]}
    del about["split"]
    path.write_text(json.dumps(about))
    assert read_dataset(tmp_path).parts == {"train": ("a", "b", "c"), "val": ("d",)}
    assert "Splits" not in parse_description(tmp_path).updated(path)


def test_keys_in_another_case_are_understood_and_misspelled_ones_refused(tmp_path):
    write(tmp_path, {})
    path = tmp_path / "dataset.json"
    about = json.loads(path.read_text())
    about |= {"Pixel_Size_NM": 2.5, "TASK": about.pop("task"), "mine": 3}
    about.pop("pixel_size_nm", None)
    path.write_text(json.dumps(about))
    found = parse_description(tmp_path)
    assert found.scale == 2.5
    kept = found.updated(path)
    assert kept["mine"] == 3 and not {"TASK", "Pixel_Size_NM"} & set(kept)
    path.write_text(json.dumps(kept | {"radius": {}}))
    said = '"radius" is not known: write "radius_px" or "radius_nm".'
    with pytest.raises(TopiaryError, match=said):
        parse_description(tmp_path)


def test_a_description_of_nnunet_says_what_helps(tmp_path):
    (tmp_path / "dataset.json").write_text('{"labels": {"cell": 1}}')
    with pytest.raises(
        TopiaryError, match=r"instances\. If it is nnU-Net's, let .* ov"
    ):
        parse_description(tmp_path)
