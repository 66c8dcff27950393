"""Stacks: each slice is an image of its own, with what is drawn on it."""

import json

import numpy as np
import pytest
import tifffile

from napari_topiary.annotations import Labels, Points
from napari_topiary.errors import TopiaryError
from napari_topiary.io.dataset import read_dataset
from napari_topiary.io.images import count_slices, read_slices
from napari_topiary.session import Session

RNG = np.random.default_rng(3)
VOLUME = RNG.integers(0, 255, (12, 20, 30), dtype=np.uint8)
ABOUT = {"name": "vol", "classes": ["background", "x"], "radius_px": {"x": 3}}


def dataset(folder, task="segment", split=None, **drawn):
    """A dataset of one stack; drawn is an array or the text of a table."""
    for kind, what in {"images": VOLUME, **drawn}.items():
        (folder / kind).mkdir()
        if isinstance(what, str):
            (folder / kind / "vol.csv").write_text(what)
        else:
            tifffile.imwrite(
                folder / kind / "vol.tif", what, imagej=True, metadata={"axes": "ZYX"}
            )
    about = ABOUT | {"task": task} | ({"split": split} if split else {})
    (folder / "dataset.json").write_text(json.dumps(about))
    return folder


def painted(*indices):
    labels = np.zeros_like(VOLUME)
    for index in indices:
        labels[index, 3:9, 4 : 4 + index + 2] = 1
    return labels


def test_a_stack_in_a_dataset_is_its_slices(tmp_path):
    data = read_dataset(dataset(tmp_path, labels=painted(3, 4, 5)))
    assert list(data.samples) == [f"vol {n:02d}" for n in range(12)]
    for index, sample in enumerate(data.samples.values()):
        np.testing.assert_array_equal(sample.image[0], VOLUME[index])
        # Nothing is known of a slice that is not painted.
        assert len(sample.annotations) == (index in (3, 4, 5))
    (labels,) = data.samples["vol 04"].annotations
    np.testing.assert_array_equal(labels.labels, painted(4)[4])


def test_a_stack_without_any_paint_is_all_empty(tmp_path):
    data = read_dataset(dataset(tmp_path, labels=painted()))
    assert all(len(s.annotations) == 1 for s in data.samples.values())


def test_a_finished_region_makes_an_empty_slice_count(tmp_path):
    region = "index,shape-type,vertex-index,axis-0,axis-1,axis-2\n" + "".join(
        f"0,rectangle,{n},7,{y},{x}\n"
        for n, (y, x) in enumerate([(0, 0), (0, 9), (9, 9), (9, 0)])
    )
    data = read_dataset(dataset(tmp_path, labels=painted(3), regions=region))
    kinds = {n: [a.kind for a in s.annotations] for n, s in data.samples.items()}
    assert kinds.pop("vol 03") == ["labels"]
    assert kinds.pop("vol 07") == ["regions", "labels"]
    assert not any(kinds.values())


@pytest.mark.parametrize(
    "table",
    [
        "index,axis-0,axis-1,axis-2,class\n0,2,5,6,x\n1,9.0,7.5,8,x\n2,2,1,1,x\n",
        "z,y,x\n2,5,6\n9,7.5,8\n2,1,1\n",
        " ,Slice,X,Y\n1,3,6,5\n2,10,8,7.5\n3,3,1,1\n",
    ],
    ids=["napari", "z", "ImageJ"],
)
def test_points_of_a_stack_name_their_slice(tmp_path, table):
    data = read_dataset(dataset(tmp_path, "detect", points=table))
    drawn = {n: s.annotations for n, s in data.samples.items() if s.annotations}
    assert list(drawn) == ["vol 02", "vol 09"]
    assert drawn["vol 02"] == (Points(np.array([[5.0, 6], [1, 1]]), ("x", "x")),)
    assert drawn["vol 09"] == (Points(np.array([[7.5, 8.0]]), ("x",)),)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("axis-0,axis-1,class\n5,6,x\n", "no column says which slice"),
        ("axis-0,axis-1,axis-2\n12,6,1\n3,1,1\n", "1 of 2 rows lie in none of the 12"),
    ],
)
def test_a_table_that_does_not_fit_the_stack(tmp_path, table, words):
    data = read_dataset(dataset(tmp_path, "detect", points=table))
    with pytest.raises(TopiaryError, match=f"points/vol.csv: .*{words}"):
        data.part("train")


def test_labels_of_another_depth_are_refused(tmp_path):
    data = read_dataset(dataset(tmp_path, labels=painted(3)[:5]))
    with pytest.raises(TopiaryError, match="5 label images for the 12 slices"):
        data.part("train")


def test_the_split_names_stacks_and_slices(tmp_path):
    split = {"train": ["vol"], "val": ["vol 05"], "test": ["VOL 06"]}
    data = read_dataset(dataset(tmp_path, split=split, labels=painted(3, 5)))
    assert data.parts["val"] == ("vol 05",)
    assert data.parts["test"] == ("vol 06",)
    assert len(data.parts["train"]) == 10
    assert "vol 05" not in data.parts["train"]


def test_files_of_a_slice_count_more_than_those_of_the_stack(tmp_path):
    folder = dataset(tmp_path, labels=painted(3, 4))
    own = np.ones((20, 30), np.uint8)
    tifffile.imwrite(folder / "labels" / "vol 04.tif", own)
    tifffile.imwrite(folder / "images" / "vol 11.tif", own * 7 + painted(5)[5])
    data = read_dataset(folder)
    assert data.notes == ()
    assert data.samples["vol 04"].annotations == (Labels(own),)
    assert data.samples["vol 11"].image.max() == 8
    assert len(data.samples) == 12


def test_a_project_with_a_stack_keeps_what_is_drawn_on_a_slice(tmp_path):
    folder = dataset(tmp_path, labels=painted(3, 4))
    session = Session.open(folder)
    assert len(session.images) == 12
    own = Labels(np.eye(20, 30, dtype=np.uint8))
    session.set_annotations("vol 04", (own,))
    session.set_annotations("vol 08", (own,))
    session.save()
    again = read_dataset(folder)
    assert again.samples["vol 04"].annotations == (own,)
    assert again.samples["vol 08"].annotations == (own,)
    np.testing.assert_array_equal(
        again.samples["vol 03"].annotations[0].labels, painted(3)[3]
    )
    np.testing.assert_array_equal(tifffile.imread(folder / "images/vol.tif"), VOLUME)
    # Nothing that has not changed was written a second time.
    assert len(list((folder / "images").iterdir())) == 1
    assert len(list((folder / "labels").iterdir())) == 3


def test_slices_are_counted_by_the_header(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", VOLUME[0])
    tifffile.imwrite(tmp_path / "s.tif", VOLUME, photometric="minisblack")
    tifffile.imwrite(tmp_path / "c.tif", VOLUME[:3].transpose(1, 2, 0))
    (tmp_path / "torn.tif").write_bytes(b"II*\x00\x01")
    counts = {p.stem: count_slices(p) for p in tmp_path.iterdir()}
    assert counts == {"a": 1, "s": 12, "c": 1, "torn": 1}
    for stem in "asc":
        assert counts[stem] == len(list(read_slices(tmp_path / f"{stem}.tif")))
