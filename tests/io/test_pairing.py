"""Which files belong together: whatever their case, ending and company."""

import json
import os
import unicodedata

import numpy as np
import pytest
import tifffile
from PIL import Image as Picture

from napari_topiary.annotations import Points
from napari_topiary.errors import TopiaryError
from napari_topiary.io.dataset import read_dataset
from napari_topiary.io.image_files import image_files
from napari_topiary.io.images import write_image
from napari_topiary.io.pairing import pair_files
from napari_topiary.session import Session

GREY = np.random.default_rng(0).integers(1, 255, (40, 50), dtype=np.uint8)
LABELS = (GREY > 200).astype(np.uint8)


@pytest.fixture
def home(tmp_path):
    about = {"name": "x", "task": "segment", "classes": ["background", "a"]}
    (tmp_path / "dataset.json").write_text(json.dumps(about))
    write_image(tmp_path / "images" / "z.tif", GREY)
    return tmp_path


def opened(home):
    """What the command line and Python, and what the window gets to see."""
    return read_dataset(home).samples, Session.open(home)


@pytest.mark.parametrize(
    "name",
    ["z.tif", "z.TIF", "z.PNG", "Z.png", "z_masks.tif", "z_mask.png", "z_labels.TIF",
     "z-label.png", "z_cp_masks.png", "z.ome.tif"],
)  # fmt: skip
def test_labels_are_found(home, name):
    path = home / "labels" / name
    write_image(path.with_suffix(path.suffix.lower()), LABELS)
    path.with_suffix(path.suffix.lower()).rename(path)
    assert pair_files(home).of("z") == {"labels": path}
    samples, project = opened(home)
    for drawn in (samples["z"].annotations, project.annotations["z"]):
        np.testing.assert_array_equal(drawn[0].labels, LABELS)
    assert read_dataset(home).notes == ()


@pytest.mark.parametrize(
    "name", ["z_points.csv", "Z-picks.CSV", "z.tif.csv", "z.mrc.csv"]
)
def test_tables_are_found(home, name):
    (home / "points").mkdir()
    (home / "points" / name).write_text("axis-0,axis-1\n3,4\n")
    samples, project = opened(home)
    assert len(samples["z"].annotations[0]) == len(project.annotations["z"][0]) == 1
    assert read_dataset(home).notes == ()


def test_an_ome_tiff_is_called_without_its_second_ending(home):
    (home / "images" / "z.tif").rename(home / "images" / "cells.OME.TIF")
    (home / "points").mkdir()
    (home / "points" / "Cells.CSV").write_text("axis-0,axis-1\n3,4\n")
    samples, project = opened(home)
    assert list(samples) == list(project.images) == ["cells"]
    assert len(samples["cells"].annotations[0]) == 1
    assert len(project.annotations["cells"][0]) == 1


def test_folders_are_found_in_any_case_and_keep_what_is_in_them(home):
    (home / "images").rename(home / "Images")
    (home / "POINTS").mkdir()
    (home / "POINTS" / "z.csv").write_text("axis-0,axis-1\n3,4\n")
    samples, project = opened(home)
    assert len(samples["z"].annotations[0]) == 1
    project.annotations["z"] = (Points(np.array([[3.0, 4], [9, 9]]), ("a", "a")),)
    project.save(home)
    samples, project = opened(home)
    for drawn in (samples["z"].annotations, project.annotations["z"]):
        assert drawn[0].coordinates.tolist() == [[3, 4], [9, 9]]
    assert read_dataset(home).notes == ()


def test_names_that_differ_in_case_alone_are_two_images(home):
    write_image(home / "images" / "Z.tif", GREY)
    write_image(home / "labels" / "Z.png", LABELS)
    pairs = pair_files(home)
    assert (pairs.of("z"), list(pairs.of("Z"))) == ({}, ["labels"])


def test_what_systems_leave_behind_is_passed_over(home):
    for kind in ("images", "labels", "points", "regions"):
        (home / kind).mkdir(exist_ok=True)
        for name in ("Thumbs.db", "desktop.ini", ".DS_Store", "._z.tif"):
            (home / kind / name).write_bytes(b"x")
    samples, project = opened(home)
    assert list(samples) == list(project.images) == ["z"]
    assert read_dataset(home).notes == project.notes == ()


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("images/notes.txt", "images/notes.txt: left out, no image"),
        ("images/x.czi", "images/x.czi: left out. x.czi is an image of a light micro"),
        ("labels/z.npy", "labels/z.npy: left out. z.npy is a file of arrays"),
        ("labels/notes.txt", "labels/notes.txt: left out, no label image"),
        ("points/z.txt", "points/z.txt: left out, no table"),
        ("images/sub.tif/", "images/sub.tif: left out, a folder"),
        ("points/old/", "points/old: left out, a folder"),
        ("labels/q.tif", "labels/q.tif belongs to no image"),
        ("images/z_masks.tif", "images/z_masks.tif looks like the labels"),
        ("Masks/z.tif", "Masks: left out; a dataset has label images in a folder"),
    ],
)
def test_whatever_is_not_used_is_named(home, path, words):
    (home / path).parent.mkdir(exist_ok=True)
    if path.endswith("/"):
        (home / path).mkdir()
    elif path.endswith(".tif"):
        write_image(home / path, LABELS)
    else:
        (home / path).write_text("axis-0,axis-1\n1,2\n")
    samples, project = opened(home)
    assert list(samples) == list(project.images) == ["z"]
    (note,) = read_dataset(home).notes
    assert note.startswith(words)
    assert note in project.notes


def test_twins_are_refused_and_in_the_window_neither_is_taken(home):
    write_image(home / "labels" / "z.tif", LABELS)
    Picture.fromarray(0 * LABELS).save(home / "labels" / "z.png")
    with pytest.raises(TopiaryError, match=r"labels: z\.png and z\.tif have the same"):
        read_dataset(home)
    project = Session.open(home)
    assert "z" not in project.annotations
    assert any("z.png and z.tif" in note for note in project.notes)


def test_an_image_over_several_files_is_one(home):
    stack = np.stack([GREY, LABELS])
    uuid = "<UUID FileName='{0}'>urn:uuid:{0}</UUID>"
    planes = "".join(
        f"<TiffData FirstZ='{z}' IFD='0' PlaneCount='1'>{uuid.format(name)}</TiffData>"
        for z, name in enumerate(("v.ome.tif", "v_2.ome.tif"))
    )
    for name, plane in zip(("v.ome.tif", "v_2.ome.tif"), stack, strict=True):
        about = (
            "<?xml version='1.0'?><OME xmlns='http://www.openmicroscopy.org/Schemas/"
            f"OME/2016-06' UUID='urn:uuid:{name}'><Image ID='Image:0'><Pixels "
            "DimensionOrder='XYZCT' ID='Pixels:0' Type='uint8' SizeX='50' SizeY='40' "
            f"SizeZ='2' SizeC='1' SizeT='1'>{planes}</Pixels></Image></OME>"
        )
        path = home / "images" / name
        tifffile.imwrite(path, plane, description=about, metadata=None)
    samples, project = opened(home)
    assert list(samples) == list(project.images) == ["v 0", "v 1", "z"]
    found = [samples[name].image[0] for name in ("v 0", "v 1")]
    np.testing.assert_array_equal(found, stack)
    assert "v_2.ome.tif belongs to the image in v.ome.tif." in read_dataset(home).notes
    assert [p.name for p in image_files([home / "images"])] == ["v.ome.tif", "z.tif"]
    (home / "images" / "v.ome.tif").rename(home / "v.ome.tif")
    with pytest.raises(TopiaryError, match=r"only a part .* rest is in v\.ome\.tif"):
        read_dataset(home).samples["v_2 0"]


def test_letters_of_two_kinds_that_look_like_one_are_one(tmp_path):
    """`ö` of one letter, or of two as macOS stores it."""
    one, two = (unicodedata.normalize(form, "größe") for form in ("NFC", "NFD"))
    write_image(tmp_path / "images" / f"{two}.tif", np.eye(20, dtype=np.uint8))
    (tmp_path / "points").mkdir()
    (tmp_path / "points" / f"{one}.csv").write_text("axis-0,axis-1\n3,4\n")
    about = {"name": "x", "task": "detect", "classes": ["background", "a"]}
    for spelling in (one, two):
        described = about | {"radius_px": {"a": 2}, "split": {"val": [spelling]}}
        (tmp_path / "dataset.json").write_text(json.dumps(described))
        data = read_dataset(tmp_path)
        assert data.parts["val"] == (one,)
        assert len(data.samples[one].annotations[0]) == 1
    # Saved again, the table takes the place of the old one under whatever spelling.
    os.rename(tmp_path / "points" / f"{one}.csv", tmp_path / "points" / f"{two}.csv")
    session = Session.open(tmp_path)
    session.annotations[one] = (Points(np.array([[3.0, 4], [9, 9]]), ("a", "a")),)
    session.save(tmp_path)
    assert len(read_dataset(tmp_path).samples[one].annotations[0]) == 2
    assert len(list((tmp_path / "points").iterdir())) == 1
    assert len(list((tmp_path / "images").iterdir())) == 1


def test_a_data_set_of_images_of_another_program_says_what_helps(tmp_path):
    about = {"name": "x", "task": "segment", "classes": ["background", "a"]}
    (tmp_path / "dataset.json").write_text(json.dumps(about))
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.lif").write_bytes(b"x")
    with pytest.raises(TopiaryError, match=r"no images: images/a\.lif: .* as OME-TIFF"):
        read_dataset(tmp_path)
