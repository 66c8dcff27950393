"""Whatever is wrong with a file: open, draw, save, reopen keeps everything."""

from __future__ import annotations

import json
import os
import sys

import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image as Picture

from napari_topiary.annotations import (
    Centerlines,
    Labels,
    Points,
    Regions,
    annotation_kinds,
)
from napari_topiary.io.images import read_labels, write_image
from napari_topiary.session import ImageEntry, Session

SIZE = 40
BOX = np.array([[2.0, 2], [2, 9], [9, 9], [9, 2]])
LINE = np.array([[2.0, 3], [8, 8], [12, 20]])
DRAWN = {
    "points": Points(np.full((1, 2), 20.0), ("virus",)),
    "centerlines": Centerlines((LINE + 5,), ("virus",)),
    "regions": Regions((BOX + 5,), ("rectangle",)),
}
"""What is drawn in addition."""

POINTS = "index,axis-0,axis-1,class\n0,5,6,virus\n1,7.5,8,virus\n"
SHAPES = "index,shape-type,vertex-index,axis-0,axis-1,class\n"
SHAPES += "".join(
    f"{index},{{kind}},{vertex},{y},{x},virus\n"
    for index, at in enumerate((0, 10))
    for vertex, (y, x) in enumerate(BOX + at)
)
LINES, AREAS = SHAPES.format(kind="path"), SHAPES.format(kind="rectangle")

# Kind, what the file holds, how many things of it are used.
TABLES = {
    "a point far outside": ("points", POINTS + "2,-14,100,virus\n", 3),
    "a point without a place": ("points", POINTS + "2,nan,100,virus\n", 2),
    "a point that is text": ("points", POINTS + "2,here,3,virus\n", 2),
    "a point without a class": ("points", POINTS + "2,3,3,\n", 2),
    "a line cut short": ("points", POINTS + "2,3", 2),
    "a line too long": ("points", POINTS + "2,3,4,virus,9\n", 2),
    "a class nobody knows": ("points", POINTS + "2,3,3,rod\n", 3),
    "an impossible radius": (
        "points",
        "axis-0,axis-1,class,radius_nm\n5,6,virus,4\n7,8,virus,-1\n",
        1,
    ),
    "other columns": ("points", "left,up\n3,4\n", 0),
    "no table at all": ("points", b"\x89PNG\x00\x01\xff", 0),
    "nothing": ("points", b"", 0),
    "another alphabet": (
        "points",
        POINTS.encode() + "2,3,3,K\xf6\n".encode("latin-1"),
        0,
    ),
    "a centerline with a hole": ("centerlines", LINES + "2,path,0,x,3,virus\n", 2),
    "a centerline outside": (
        "centerlines",
        LINES + "2,path,0,90,3,virus\n2,path,1,95,3,virus\n",
        3,
    ),
    "a centerline that is an ellipse": (
        "centerlines",
        LINES + "2,ellipse,0,9,3,virus\n2,ellipse,1,9,9,virus\n",
        2,
    ),
    "an area of three corners": ("regions", AREAS + "2,rectangle,0,9,9,virus\n", 2),
    "an area that is a line": ("regions", AREAS + "2,path,0,9,9,virus\n", 2),
}

OBJECTS = np.zeros((SIZE, SIZE), np.int64)
OBJECTS[3:9, 3:9], OBJECTS[20:26, 3:9], OBJECTS[20:26, 20:26] = 1, 2, 3


def project(folder, kind="detect"):
    session = Session()
    session.set_task(
        session.task.__class__(kind, ("background", "virus"), {}, {"virus": 3.0})
    )
    image = np.random.default_rng(0).integers(0, 255, (1, SIZE, SIZE), np.uint8)
    session.add_image(ImageEntry("a", image, 2.0))
    session.save(folder)
    return folder


def put(folder, name, content):
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def of_kind(session, kind, name="a"):
    found = [d for d in session.annotations.get(name, ()) if d.kind == kind]
    return found[0] if found else None


def one_more(session, kind, name="a"):
    """Draw one thing, as a person does: what is there stays."""
    there = session.annotations.get(name, ())
    session.set_annotations(name, (*there, DRAWN[kind]))


def is_kept(folder, content):
    content = content.encode() if isinstance(content, str) else content
    files = (file for file in (folder / "kept").rglob("*") if file.is_file())
    return any(file.read_bytes() == content for file in files)


@pytest.mark.parametrize("fault", TABLES)
def test_a_table_with_a_fault_keeps_its_good_rows_and_its_file(tmp_path, fault):
    kind, content, used = TABLES[fault]
    folder = project(tmp_path / "p")
    file = put(folder, f"{kind}/a.csv", content)
    session = Session.open(folder)
    assert len(of_kind(session, kind) or ()) == used
    assert session.notes
    assert file.read_bytes() == (
        content.encode() if isinstance(content, str) else content
    )
    one_more(session, kind)
    session.save()
    again = Session.open(folder)
    assert len(of_kind(again, kind)) == used + 1
    # What could be read wholly need not be kept apart.
    whole = ("a point far outside", "a class nobody knows", "a centerline outside")
    assert is_kept(folder, content) or fault in whole


SOUND = {"points": POINTS, "centerlines": LINES, "regions": AREAS}
"""Two things of each kind."""
LAST = {
    "points": "2,{y},{x},virus\n",
    "centerlines": "2,path,0,{y},{x},virus\n2,path,1,{y},{x}5,virus\n",
    "regions": "".join(f"2,rectangle,{n},{{y}},{{x}},virus\n" for n in range(4)),
}
"""A third one, at some place."""
FAULTS = {
    "outside": lambda kind: (SOUND[kind] + LAST[kind].format(y=-90, x=3), 3),
    "far away": lambda kind: (SOUND[kind] + LAST[kind].format(y=1e9, x=3), 3),
    "no number": lambda kind: (SOUND[kind] + LAST[kind].format(y="here", x=3), 2),
    "no place": lambda kind: (SOUND[kind] + LAST[kind].format(y="nan", x=3), 2),
    "cut short": lambda kind: (SOUND[kind] + "2,3", 2),
    "too long": lambda kind: (SOUND[kind] + "2" + ",3" * 9 + "\n", 2),
    "header only": lambda kind: (SOUND[kind].splitlines()[0] + "\n", 0),
    "nothing": lambda kind: (b"", 0),
    "no table": lambda kind: (b"\x89PNG\x00\x01\xff", 0),
    "another alphabet": lambda kind: (SOUND[kind].encode() + b"2,K\xf6\n", 0),
    "a class twice": lambda kind: (SOUND[kind].replace("index", "class", 1), 0),
    "in UTF-16": lambda kind: (SOUND[kind].encode("utf-16"), 2),
    "of a spreadsheet": lambda kind: (
        b"\xef\xbb\xbf" + SOUND[kind].replace(",", ";").replace("7.5", "7,5").encode(),
        2,
    ),
    "of an old Mac": lambda kind: (SOUND[kind].replace("\n", "\r"), 2),
}
"""What the file of any kind of table holds, and how many things of it are used."""
WHOLE = {"outside", "far away", "header only", "in UTF-16", "of a spreadsheet",
         "of an old Mac"}  # fmt: skip


OF_STACKS = ("outside", "no number", "another alphabet", "in UTF-16")


@pytest.mark.parametrize(
    ("fault", "of_stack"),
    [(fault, False) for fault in FAULTS] + [(fault, True) for fault in OF_STACKS],
)
@pytest.mark.parametrize("kind", SOUND)
def test_every_kind_of_table_survives_every_fault(tmp_path, kind, fault, of_stack):
    folder, name = project(tmp_path / "p"), "a"
    content, used = FAULTS[fault](kind)
    if of_stack:
        name, content = stacked(folder, content), in_slice(content)
    file = put(folder, f"{kind}/{'vol' if of_stack else 'a'}.csv", content)
    before = file.read_bytes()
    session = Session.open(folder)
    assert len(of_kind(session, kind, name) or ()) == used
    assert session.notes or fault in WHOLE
    one_more(session, kind, name)
    session.save()
    assert len(of_kind(Session.open(folder), kind, name)) == used + 1
    # That of a stack stays where it is: what is drawn on a slice has its own file.
    assert is_kept(folder, before) or fault in WHOLE or file.read_bytes() == before
    session.go_back(session.versions()[-1])
    assert file.read_bytes() == before


def stacked(folder, content):
    """Put a stack of three slices beside the image; return the name of the second."""
    volume = np.random.default_rng(1).integers(0, 255, (3, SIZE, SIZE), np.uint8)
    tifffile.imwrite(
        folder / "images" / "vol.tif", volume, imagej=True, metadata={"axes": "ZYX"}
    )
    return "vol 1"


def in_slice(content):
    """The rows of a table as those of slice 1 of a stack."""
    if isinstance(content, bytes):
        for mark, name in ((b"\xff\xfe", "utf-16"), (b"\xef\xbb\xbf", "utf-8-sig")):
            if content.startswith(mark):
                return in_slice(content.decode(name)).encode(name)
        return content
    if "axis-1" not in content:
        return content
    end = "\r" if "\r" in content else "\n"
    between = ";" if ";" in content else ","
    head, *rows = content.split(end)
    whole = head.count(between)
    rows = [f"{row}{between}1" * (row.count(between) == whole) or row for row in rows]
    return end.join([f"{head}{between}z", *rows])


def test_every_kind_of_table_has_a_fault_of_its_own_here():
    tables = {k for k in annotation_kinds if annotation_kinds[k].storage == "table"}
    assert {kind for kind, _, _ in TABLES.values()} == tables == set(SOUND)


@pytest.mark.parametrize("kind", SOUND)
def test_twin_tables_are_both_kept(tmp_path, kind):
    folder = project(tmp_path / "p")
    other = SOUND[kind].replace("virus", "rod")
    files = (
        put(folder, f"{kind}/a.csv", SOUND[kind]),
        put(folder, f"{kind}/A.CSV", other),
    )
    if files[0].samefile(files[1]):
        pytest.skip("Here a.csv and A.CSV are the same file.")
    session = Session.open(folder)
    assert of_kind(session, kind) is None
    one_more(session, kind)
    session.save()
    assert len(of_kind(Session.open(folder), kind)) == 1
    assert is_kept(folder, SOUND[kind])
    assert is_kept(folder, other)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="All can be read.")
def test_a_table_that_may_not_be_read_is_kept(tmp_path):
    folder = project(tmp_path / "p")
    file = put(folder, "points/a.csv", POINTS)
    file.chmod(0)
    session = Session.open(folder)
    assert "points/a.csv" in session.notes[0]
    one_more(session, "points")
    session.save()
    (kept,) = (folder / "kept" / "points").iterdir()
    kept.chmod(0o600)
    assert kept.read_text() == POINTS


def test_the_rows_that_are_left_out_are_named(tmp_path):
    folder = project(tmp_path / "p")
    put(folder, "points/a.csv", POINTS + "2,here,3,virus\n3,1\n4,5,5,virus\n")
    (note,) = Session.open(folder).notes
    assert note.startswith("points/a.csv: ")
    assert "2 of 5 rows cannot be read (line 4, 5)" in note
    assert "kept" in note


@pytest.mark.parametrize(
    "cut", [np.s_[:-1], np.s_[:, :-2], np.s_[:-1, :-1]], ids=["row", "columns", "both"]
)
def test_a_label_image_that_lacks_a_row_is_used(tmp_path, cut):
    folder = project(tmp_path / "p", "instances")
    labels = OBJECTS.astype(np.uint8)[cut]
    write_image(folder / "labels" / "a.tif", labels)
    before = (folder / "labels" / "a.tif").read_bytes()
    session = Session.open(folder)
    painted = of_kind(session, "labels").labels.copy()
    assert np.array_equal(painted, OBJECTS)
    painted[35:38, 35:38] = 4
    session.set_annotations("a", [Labels(painted, instances=True)])
    session.save()
    assert len(of_kind(Session.open(folder), "labels")) == 4
    assert (folder / "kept" / "labels" / "a.tif").read_bytes() == before


def colour(folder):
    Picture.fromarray(np.dstack([OBJECTS, OBJECTS * 2, OBJECTS]).astype(np.uint8)).save(
        folder / "labels" / "a.png"
    )


def torn(folder):
    write_image(folder / "labels" / "a.tif", OBJECTS.astype(np.uint16))
    file = folder / "labels" / "a.tif"
    file.write_bytes(file.read_bytes()[:900])


def half(folder):
    write_image(folder / "labels" / "a.tif", OBJECTS[::2, ::2].astype(np.uint8))


def probability(folder):
    write_image(folder / "labels" / "a.tif", (OBJECTS / 7).astype(np.float32))


def twins(folder):
    write_image(folder / "labels" / "a.tif", OBJECTS.astype(np.uint8))
    write_image(folder / "labels" / "a.png", np.zeros((SIZE, SIZE), np.uint8))


@pytest.mark.parametrize("make", [colour, torn, half, probability, twins])
def test_a_label_image_that_cannot_be_used_is_named_and_kept(tmp_path, make):
    folder = project(tmp_path / "p", "instances")
    (folder / "labels").mkdir()
    make(folder)
    before = {f.name: f.read_bytes() for f in (folder / "labels").iterdir()}
    session = Session.open(folder)
    assert of_kind(session, "labels") is None
    assert any(name in note for name in before for note in session.notes)
    session.set_annotations("a", [Labels(OBJECTS.astype(np.uint8), instances=True)])
    session.save()
    again = Session.open(folder)
    assert again.notes == ()
    assert len(of_kind(again, "labels")) == 3
    kept = {f.name: f.read_bytes() for f in (folder / "kept" / "labels").iterdir()}
    # One that is equal to what is saved has no need to be kept apart.
    for name, content in before.items():
        assert kept.get(name) == content or name == "a.tif"
    assert kept or make is twins


def in_zarr(folder, labels):
    """Write labels as OME-Zarr."""
    group = zarr.open_group(str(folder / "labels" / "a.zarr"), mode="w", zarr_format=2)
    group.create_array("0", shape=labels.shape, dtype=labels.dtype)[...] = labels
    axes = [{"name": name, "type": "space"} for name in "yx"]
    group.attrs["multiscales"] = [
        {"version": "0.4", "axes": axes, "datasets": [{"path": "0"}]}
    ]


@pytest.mark.parametrize("kind", ["segment", "instances"])
@pytest.mark.parametrize("cut", [np.s_[:], np.s_[:-1], np.s_[::2, ::2]])
def test_labels_in_zarr_are_read_kept_and_come_back(tmp_path, kind, cut):
    folder = project(tmp_path / "p", kind)
    (folder / "labels").mkdir()
    labels = np.minimum(OBJECTS, 1 if kind == "segment" else 9).astype(np.uint16)
    in_zarr(folder, labels[cut])
    session = Session.open(folder)
    drawn = of_kind(session, "labels")
    assert (drawn is None) == (labels[cut].shape[1] < SIZE)
    painted = (np.zeros_like(labels) if drawn is None else drawn.labels).copy()
    painted[35:38, 35:38] = 1
    session.set_annotations("a", [Labels(painted, instances=kind == "instances")])
    session.save()
    again = Session.open(folder)
    assert np.array_equal(of_kind(again, "labels").labels, painted)
    assert again.notes == ()
    session.go_back(session.versions()[-1])
    assert np.array_equal(read_labels(folder / "labels" / "a.zarr"), labels[cut])


@pytest.mark.parametrize("pages", [2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.float32])
def test_labels_of_a_stack_stay_whatever_is_painted_on_a_slice(tmp_path, pages, dtype):
    folder = project(tmp_path / "p", "instances")
    name = stacked(folder, "")
    (folder / "labels").mkdir()
    file = folder / "labels" / "vol.tif"
    tifffile.imwrite(
        file, np.stack([OBJECTS.astype(dtype)] * pages), photometric="minisblack"
    )
    before = file.read_bytes()
    session = Session.open(folder)
    drawn = of_kind(session, "labels", name)
    assert (drawn is not None) == (pages == 3)
    assert bool(session.notes) == (pages != 3)
    painted = np.where(OBJECTS == 2, 9, OBJECTS)
    session.set_annotations(name, [Labels(painted, instances=True)])
    session.save()
    again = Session.open(folder)
    assert np.array_equal(of_kind(again, "labels", name).labels, painted)
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    "ids",
    [
        np.array([0, -1, 1, 2]),
        np.array([0, 65_536, 70_000, 2**32 - 1]),
        np.array([0, 2**32, 2**33, 3 * 2**32]),
        np.array([0, 7 * 10**16, 7 * 10**16 + 1, 5]),
        np.array([0, 2**63, 2**63 + 1, 2**64 - 1], np.uint64),
        np.array([0.0, 2.0**32, 2.0**33, 3.0]),
        np.array([0, -5, -(2**40), 3]),
    ],
)
def test_numbers_of_objects_stay_distinct(tmp_path, ids):
    folder = project(tmp_path / "p", "instances")
    session = Session.open(folder)
    session.set_annotations("a", [Labels(ids[OBJECTS], instances=True)])
    session.save()
    again = Session.open(folder)
    assert again.notes == () or "-" in again.notes[0]
    back = of_kind(again, "labels").labels
    pairs = {(int(o), int(b)) for o, b in zip(OBJECTS.flat, back.flat, strict=True)}
    assert len(pairs) == 4
    assert len(set(back.flat)) == 4
    assert (0, 0) in pairs
    assert read_labels(folder / "labels" / "a.tif").dtype.itemsize <= 8


def test_values_that_are_no_class_come_back_as_they_were(tmp_path):
    folder = project(tmp_path / "p", "segment")
    values = np.where(OBJECTS > 1, 255, OBJECTS).astype(np.uint8)
    write_image(folder / "labels" / "a.tif", values)
    session = Session.open(folder)
    assert "255" in session.notes[0]
    session.set_annotations("a", [of_kind(session, "labels"), DRAWN["regions"]])
    session.save()
    assert np.array_equal(of_kind(Session.open(folder), "labels").labels, values)


def test_a_file_that_was_changed_elsewhere_meanwhile_is_kept(tmp_path):
    folder = project(tmp_path / "p")
    put(folder, "points/a.csv", POINTS)
    session = Session.open(folder)
    other = POINTS + "2,30,30,virus\n"
    put(folder, "points/a.csv", other)
    one_more(session, "points")
    session.save()
    assert (folder / "kept" / "points" / "a.csv").read_text() == other
    assert len(of_kind(Session.open(folder), "points")) == 3


def test_saving_over_a_folder_of_somebody_keeps_what_is_replaced(tmp_path):
    folder = project(tmp_path / "p")
    put(folder, "points/a.csv", POINTS)
    session = Session.open(project(tmp_path / "q"))
    session.set_annotations("a", [DRAWN["points"]])
    session.save(folder)
    assert (folder / "kept" / "points" / "a.csv").read_text() == POINTS


def test_an_image_that_cannot_be_read_keeps_its_files_and_its_part(tmp_path):
    folder = project(tmp_path / "p")
    put(folder, "images/b.tif", b"II*\0torn")
    put(folder, "points/b.csv", POINTS)
    about = json.loads((folder / "dataset.json").read_text())
    about["split"] = {"train": ["a"], "val": ["b"]}
    put(folder, "dataset.json", json.dumps(about))
    session = Session.open(folder)
    assert "b.tif" in session.notes[0]
    one_more(session, "points")
    session.save()
    assert (folder / "images" / "b.tif").read_bytes() == b"II*\0torn"
    assert (folder / "points" / "b.csv").read_text() == POINTS
    split = json.loads((folder / "dataset.json").read_text())["split"]
    assert split == {"train": ["a"], "val": ["b"]}


ODD = [b"caf\xe9", b"a:b*c", b" spaced .", b"x" * 240, "ü.v2 [1]".encode()]


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="Names are text there.")
@pytest.mark.parametrize("stem", ODD)
def test_names_of_any_kind_are_saved_and_come_back(tmp_path, stem):
    folder = project(tmp_path / "p")
    odd = os.fsdecode(stem)
    (folder / "images" / "a.tif").rename(folder / "images" / f"{odd}.tif")
    put(folder, f"points/{odd}.csv", POINTS)
    session = Session.open(folder)
    (name,) = session.images
    assert name.encode()
    one_more(session, "points", name)
    session.save()
    again = Session.open(folder)
    assert list(again.images) == [name]
    assert len(of_kind(again, "points", name)) == 3
    assert [os.fsencode(f.name) for f in (folder / "images").iterdir()] == [
        stem + b".tif"
    ]
