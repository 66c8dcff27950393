"""Folders as others leave them: what is paired, what is asked, what is written."""

import json

import numpy as np
import pytest
import tifffile
from PIL import Image as Picture

from napari_topiary.annotations import Centerlines, Labels, Points
from napari_topiary.cli import main
from napari_topiary.errors import TopiaryError
from napari_topiary.io.dataset import read_dataset
from napari_topiary.io.importing.meaning import ImportConfig
from napari_topiary.io.importing.reviewing import import_reviewed, review_folder
from napari_topiary.types import run

RNG = np.random.default_rng(0)
PLACES = np.array([[12.0, 30], [40, 10], [25, 50], [33, 33]])
SHAPE = (60, 80)


def image(path, *, scale=None, shape=SHAPE, places=()):
    """A noisy picture, bright where something is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    grey = RNG.normal(50, 10, shape)
    y, x = np.mgrid[: shape[0], : shape[1]]
    for place in places:
        grey[np.hypot(y - place[0], x - place[1]) < 4] += 100
    grey = grey.clip(0, 255).astype(np.uint8)
    if path.suffix == ".tif":
        more = {} if scale is None else {
            "resolution": (1e7 / scale, 1e7 / scale), "resolutionunit": "CENTIMETER"
        }  # fmt: skip
        tifffile.imwrite(path, grey, **more)
    else:
        Picture.fromarray(grey).save(path)


def mask(path, labels, **how):
    path.parent.mkdir(parents=True, exist_ok=True)
    Picture.fromarray(labels.astype(np.uint8)).save(path, **how)


def blobs(value=255, shape=SHAPE):
    labels = np.zeros(shape, np.uint8)
    for number, (y, x) in enumerate(((5, 5), (5, 30), (30, 50)), start=1):
        labels[y : y + 10, x : x + 10] = number if value == "each" else value
    return labels


def box(places, size=8):
    return "".join(
        f"{x - size / 2:g}\t{y - size / 2:g}\t{size}\t{size}\n" for y, x in places
    )


def reviewed(folder, **config):
    return run(review_folder(folder, ImportConfig(**config)))


def imported(folder, out, **config):
    return run(import_reviewed(reviewed(folder, **config), out))


def table(review):
    return {
        (row["image"], row["annotation"]): row["confidence"] for row in review.table()
    }


# ---- pairs


@pytest.mark.parametrize(
    ("first", "second", "confidence", "reason"),
    [
        ("a.tif", "masks/a.png", "high", "same name, in masks"),
        ("images/a.tif", "labels/a.png", "high", "same name, in labels"),
        ("a.tif", "a_masks.png", "high", "_masks behind the name"),
        ("a.png", "a_seg.tif", "high", "_seg behind the name"),
        ("a.tif", "mask_a.png", "high", "mask_ before the name"),
        ("a.tif", "mask_a_seg.png", "high", "mask_ before and _seg behind the name"),
        ("gt_1.tif", "gt_1_mask.png", "high", "_mask behind the name"),
        ("seg.tif", "seg_mask.png", "high", "_mask behind the name"),
        ("a_image.tif", "a_labels.tif", "medium", "other case or ending"),
        ("A.TIF", "annotations/a.PNG", "medium", "but for case"),
        ("a.ome.tif", "masks/a.png", "high", "same name"),
    ],
)
def test_masks_are_paired_by_name(tmp_path, first, second, confidence, reason):
    image(tmp_path / first.replace(".TIF", ".tif"))
    (tmp_path / first.replace(".TIF", ".tif")).rename(tmp_path / first)
    mask(tmp_path / second, blobs())
    (tmp_path / "Thumbs.db").write_bytes(b"x")
    (tmp_path / "notes.txt").write_text("by hand")
    review = reviewed(tmp_path)
    assert table(review) == {(first, second): confidence}
    assert reason in review.rows[0].pair.reason
    assert [one.path.name for one in review.unused] == ["notes.txt"]


@pytest.mark.parametrize(
    "name", ["m1.box", "m1_autopick.box", "picks/M1_picks.box", "m1.mrc.box"]
)
def test_tables_are_paired_by_name(tmp_path, name):
    image(tmp_path / "m1.tif")
    image(tmp_path / "m2.tif")
    (tmp_path / "picks").mkdir()
    (tmp_path / name).write_text(box(PLACES))
    review = reviewed(tmp_path)
    assert set(table(review)) == {("m1.tif", name)}
    assert [(one.path.name, one.reason) for one in review.unused] == [
        ("m2.tif", "no annotation")
    ]


def test_a_table_that_names_its_images(tmp_path):
    for name in ("m1", "m2", "m3"):
        image(tmp_path / f"{name}.tif")
    rows = [f"m{i}\t{x}\t{y}" for i in (1, 2, 9) for y, x in PLACES]
    text = "image_name\tx_coord\ty_coord\n" + "\n".join(rows) + "\n"
    (tmp_path / "all.txt").write_text(text)
    review = reviewed(tmp_path, radius_px={"": 4})
    assert set(table(review)) == {("m1.tif", "all.txt"), ("m2.tif", "all.txt")}
    assert "the table names it" in review.rows[0].pair.reason
    reasons = {one.path.name: one.reason for one in review.unused}
    assert reasons["m3.tif"] == "no annotation" and "marks m9" in reasons["all.txt"]


def test_what_is_ambiguous_is_shown_and_not_used(tmp_path):
    image(tmp_path / "a.tif")
    (tmp_path / "a.box").write_text(box(PLACES))
    (tmp_path / "a.csv").write_text("y,x\n1,2\n")
    image(tmp_path / "b.tif")
    (tmp_path / "b.box").write_text(box(PLACES))
    review = reviewed(tmp_path)
    assert table(review) == {
        ("a.tif", "a.box"): "ambiguous",
        ("a.tif", "a.csv"): "ambiguous",
        ("b.tif", "b.box"): "high",
    }
    dataset = run(import_reviewed(review, tmp_path / "out"))
    assert list(dataset.samples) == ["b"]
    assert len(reviewed(tmp_path, only="*.box").used) == 2


def test_images_of_one_name_belong_to_what_lies_nearest(tmp_path):
    for part in ("train", "test"):
        image(tmp_path / part / "images" / "a.tif")
        mask(tmp_path / part / "masks" / "a.png", blobs())
    dataset = imported(tmp_path, tmp_path / "out")
    assert dataset.split == {"test": ("test_images_a",), "train": ("train_images_a",)}


# ---- labels


def test_masks_of_one_value_are_one_class_or_numbered_pieces(tmp_path):
    image(tmp_path / "a.tif", scale=2.0)
    mask(tmp_path / "masks" / "a.png", blobs())
    review = reviewed(tmp_path)
    assert any(
        "3 separate pieces" in n and "--number-pieces" in n for n in review.notes
    )
    dataset = run(import_reviewed(review, tmp_path / "one"))
    (labels,) = dataset.samples["a"].annotations
    assert dataset.task.kind == "segment"
    assert np.array_equal(labels.labels, blobs(1))
    dataset = imported(tmp_path, tmp_path / "many", number_pieces=True)
    (labels,) = dataset.samples["a"].annotations
    assert dataset.task.kind == "instances" and len(labels) == 3
    assert np.array_equal(labels.labels > 0, blobs(1) > 0)
    assert dataset.samples["a"].scale == pytest.approx(2.0)


def test_a_mask_with_objects_0_is_said_and_inverted_where_asked(tmp_path):
    image(tmp_path / "a.tif")
    mask(tmp_path / "a_mask.png", 255 - blobs())
    review = reviewed(tmp_path)
    assert any("--invert-masks" in note for note in review.notes)
    review = reviewed(tmp_path, invert_masks=True, number_pieces=True)
    assert not any("--invert-masks" in note for note in review.notes)
    (labels,) = run(import_reviewed(review, tmp_path / "out")).samples["a"].annotations
    assert ((labels.labels > 0) == (blobs() > 0)).all()
    assert len(labels) == 3
    mask(tmp_path / "a_mask.png", blobs("each"))
    (row,) = reviewed(tmp_path, invert_masks=True, only="*_mask.png").rows
    assert "only masks of 0 and one number can be inverted" in row.pair.reason


def test_stacks_with_a_stack_of_masks_become_their_painted_slices(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (4, *SHAPE), np.uint8)
    painted = np.zeros((4, *SHAPE), np.uint8)
    painted[1], painted[3] = blobs(1), blobs(2)
    folder = tmp_path / "in"
    folder.mkdir()
    tifffile.imwrite(folder / "vol.tif", pixels, photometric="minisblack")
    tifffile.imwrite(folder / "vol_mask.tif", painted, photometric="minisblack")
    short = np.stack([painted[1]] * 3)
    tifffile.imwrite(folder / "other.tif", pixels, photometric="minisblack")
    tifffile.imwrite(folder / "other_mask.tif", short, photometric="minisblack")
    tifffile.imwrite(folder / "marked.tif", pixels, photometric="minisblack")
    (folder / "marked.csv").write_text("y,x\n10,10\n", encoding="utf-8")
    review = reviewed(folder, task="segment")
    told = {row["image"]: (row["confidence"], row["reason"]) for row in review.table()}
    assert told["vol.tif, slice 1"][0] == told["vol.tif, slice 3"][0] == "high"
    assert "3 label images for the 4 slices" in told["other.tif"][1]
    assert "which slice each is on" in told["marked.tif"][1]
    assert len(told) == 4
    (said,) = review.used[0].notes
    assert said == "Not painted, and so left out: slice 0, 2 of vol.tif."
    assert not review.used[1].notes
    dataset = imported(folder, tmp_path / "out", task="segment")
    assert list(dataset.samples) == ["vol 1", "vol 3"]
    for index in (1, 3):
        sample = dataset.samples[f"vol {index}"]
        assert np.array_equal(sample.image[0], pixels[index])
        assert np.array_equal(sample.annotations[0].labels > 0, painted[index] > 0)


def test_a_table_marks_slices_of_a_stack(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (4, *SHAPE), np.uint8)
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("vol", "short"):
        tifffile.imwrite(folder / f"{name}.tif", pixels, photometric="minisblack")
    image(folder / "flat.tif")
    rows = "0,10,20\n0,30,40\n3,50,60\n"
    (folder / "vol.csv").write_text(f"axis-0,axis-1,axis-2\n{rows}")
    (folder / "short.csv").write_text("axis-0,axis-1,axis-2\n1,5,5\n9,5,5\n")
    (folder / "flat.csv").write_text("slice,y,x\n1,5,5\n2,9,9\n")
    review = reviewed(folder, radius_px={"": 4.0})
    reasons = {row["image"]: row["reason"] for row in review.table()}
    assert "marks slice 9, but short.tif has 4 slices" in reasons["short.tif"]
    assert "several slices of a stack, but flat.tif is one" in reasons["flat.tif"]
    dataset = imported(folder, tmp_path / "out", radius_px={"": 4.0})
    assert list(dataset.samples) == ["short 1", "vol 0", "vol 3"]
    first = dataset.samples["vol 0"]
    assert first.annotations[0].coordinates.tolist() == [[10, 20], [30, 40]]
    assert np.array_equal(dataset.samples["vol 3"].image[0], pixels[3])


def test_numbers_are_objects_or_classes(tmp_path):
    image(tmp_path / "a.tif")
    mask(tmp_path / "a_masks.png", blobs("each"))
    dataset = imported(tmp_path, tmp_path / "out")
    assert dataset.task.kind == "instances"
    assert dataset.samples["a"].annotations == (Labels(blobs("each"), instances=True),)
    classes = imported(
        tmp_path, tmp_path / "c", task="segment", classes=("x", "y", "z")
    )
    assert classes.task.classes == ("background", "x", "y", "z")


def test_a_palette_counts_by_its_numbers(tmp_path):
    image(tmp_path / "a.tif")
    picture = Picture.frombytes("P", SHAPE[::-1], blobs("each").tobytes())
    picture.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255] + [0] * 756)
    (tmp_path / "masks").mkdir()
    picture.save(tmp_path / "masks" / "a.png")
    (labels,) = imported(tmp_path, tmp_path / "out").samples["a"].annotations
    assert np.array_equal(labels.labels, blobs("each"))


@pytest.mark.parametrize("how", ["jpeg", "rgb", "smooth", "size", "float"])
def test_what_is_no_label_image_is_refused(tmp_path, how):
    image(tmp_path / "a.tif")
    path = tmp_path / "masks" / f"a.{'jpg' if how == 'jpeg' else 'png'}"
    labels = blobs()
    if how == "rgb":
        labels = np.stack([labels, labels // 2, labels * 0], axis=-1)
    elif how == "smooth":
        small = Picture.fromarray(labels).resize((40, 30), 2)
        labels = np.asarray(small.resize((80, 60), 2))
    elif how == "size":
        labels = labels[:-9]
    mask(path, labels)
    if how == "float":
        path.unlink()
        tifffile.imwrite(path.with_suffix(".tif"), np.full(SHAPE, 0.5, np.float32))
    review = reviewed(tmp_path)
    assert [row.pair.confidence for row in review.rows] == ["refused"]
    words = {"jpeg": "JPEG", "rgb": "colour", "smooth": "edges", "size": "same size",
             "float": "whole numbers"}  # fmt: skip
    assert words[how] in review.problem and "a.tif" in review.problem
    with pytest.raises(TopiaryError):
        run(import_reviewed(review, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


# ---- tables


def test_boxes_become_points_with_a_radius(tmp_path):
    image(tmp_path / "a.tif", scale=2.0)
    (tmp_path / "a.box").write_text(box(PLACES))
    dataset = imported(tmp_path, tmp_path / "out")
    assert dataset.task.radius_nm == {"particle": 8.0}
    assert dataset.samples["a"].annotations == (Points(PLACES, ("particle",) * 4),)


def test_a_radius_that_nobody_gives_is_asked_for(tmp_path):
    image(tmp_path / "a.tif")
    (tmp_path / "a.csv").write_text("y,x\n12,30\n40,10\n")
    review = reviewed(tmp_path)
    assert '--radius "particle=40"' in review.problem
    dataset = imported(tmp_path, tmp_path / "out", radius_px={"": 6.0})
    assert dataset.task.radius_px == {"particle": 6.0}


READINGS = {
    "nm": (PLACES * 2.5, {"units": "nm"}, "--units nm"),
    "angstrom": (PLACES * 25, {"units": "angstrom"}, "--units angstrom"),
    "mirrored": (PLACES * [-1, 1], {"flip_y": True}, "--flip-y"),
    "binned": ((PLACES + 0.5) * 4 - 0.5, {"binned": 4.0}, "--bin N"),
}


@pytest.mark.parametrize("kind", READINGS)
def test_most_points_outside_ask_what_they_are(tmp_path, kind):
    places, config, option = READINGS[kind]
    scale = None if kind == "binned" else 2.5
    image(tmp_path / "a.tif", scale=scale)
    rows = "".join(f"{y},{x}\n" for y, x in places)
    (tmp_path / "a.csv").write_text(f"y,x\n{rows}")
    review = reviewed(tmp_path, radius_px={"": 3})
    assert f" of {len(places)} points lie outside the image" in review.problem
    assert option in review.problem
    dataset = imported(tmp_path, tmp_path / "out", radius_px={"": 3}, **config)
    (points,) = dataset.samples["a"].annotations
    assert np.allclose(points.coordinates, PLACES)


def test_swapped_axes_are_asked_about(tmp_path):
    image(tmp_path / "a.tif", shape=(40, 200))
    rows = "".join(f"{y},{x}\n" for y, x in ((150, 10), (180, 20), (90, 30)))
    (tmp_path / "a.csv").write_text(f"y,x\n{rows}")
    review = reviewed(tmp_path, radius_px={"": 3})
    assert "swapped" in review.problem and "--swap-axes" in review.problem
    dataset = imported(tmp_path, tmp_path / "out", radius_px={"": 3}, swap_axes=True)
    (points,) = dataset.samples["a"].annotations
    assert points.coordinates[0].tolist() == [10, 150]


@pytest.mark.parametrize(("scale", "unit"), [(0.3, "nm"), (0.03, "angstrom")])
def test_coordinates_that_fit_but_only_a_corner_are_asked_about(tmp_path, scale, unit):
    places = RNG.uniform([0, 0], SHAPE, (20, 2))
    image(tmp_path / "a.tif", scale=scale)
    rows = "".join(f"{y},{x}\n" for y, x in places * 0.3)
    (tmp_path / "a.csv").write_text(f"y,x\n{rows}")
    review = reviewed(tmp_path, radius_px={"": 3})
    asked = [note for note in review.rows[0].notes if "--units" in note]
    assert f"are these {unit}?" in asked[0]
    review = reviewed(tmp_path, radius_px={"": 3}, units=unit)
    assert not any("are these" in note for note in review.rows[0].notes)
    (points,) = run(import_reviewed(review, tmp_path / "out")).samples["a"].annotations
    assert np.allclose(points.coordinates, places)


def test_y_counted_from_below_is_seen_in_the_image_and_asked_about(tmp_path):
    places = RNG.uniform([5, 5], [30, 75], (14, 2))
    image(tmp_path / "a.tif", places=places)
    upside_down = np.stack([SHAPE[0] - 1 - places[:, 0], places[:, 1]], axis=1)
    (tmp_path / "a.box").write_text(box(upside_down.round()))
    assert any("--flip-y" in note for note in reviewed(tmp_path).notes)
    assert not reviewed(tmp_path, flip_y=True).notes[1:]
    dataset = imported(tmp_path, tmp_path / "out", flip_y=True)
    (points,) = dataset.samples["a"].annotations
    assert np.abs(points.coordinates - places).max() <= 0.5


@pytest.mark.parametrize(
    ("wrong", "option"),
    [
        (lambda p: np.stack([119 - p[:, 0], p[:, 1]], axis=1), "give --flip-y"),
        (lambda p: p[:, ::-1], "give --swap-axes"),
        (lambda p: (p + 0.5) / 2 - 0.5, "give --bin 0.5"),
        (lambda p: p * 0.3, "give --units nm"),
        (lambda p: p * 0.0003, "give --units um"),
        (lambda p: p, ""),
    ],
)
def test_five_marks_are_enough_to_see_that_they_lie_on_nothing(tmp_path, wrong, option):
    """Five rings as bright as the rest on the whole, in an image of noise."""
    places = np.array([[20, 100], [50, 30], [90, 60], [30, 50], [95, 105]], float)
    y, x = np.mgrid[:120, :120]
    grey = np.random.default_rng(3).normal(100, 10, (120, 120))
    for row, column in places:
        away = np.hypot(y - row, x - column)
        grey += 60 * (away < 4) - 45 * ((away >= 4) & (away < 6.5))
    tifffile.imwrite(tmp_path / "a.tif", grey.clip(0, 255).astype(np.uint8))
    rows = "".join(f"{y},{x}\n" for y, x in wrong(places))
    (tmp_path / "a.csv").write_text(f"y,x\n{rows}")
    review = reviewed(tmp_path, radius_px={"": 3}, pixel_size_nm=0.3)
    said = [note for note in review.notes if "stands out" in note]
    assert [option in note for note in said] == ([True] if option else [])


def test_coordinates_of_an_unbinned_micrograph_follow_the_pixel_sizes(tmp_path):
    image(tmp_path / "m.tif", scale=0.56)
    rows = "".join(f"{x} {y} m.mrc 1\n" for y, x in (PLACES + 0.5) * 4 - 0.5)
    (tmp_path / "particles.star").write_text(
        "data_optics\n\nloop_\n_rlnOpticsGroup #1\n_rlnMicrographPixelSize #2\n1 1.4\n"
        "data_particles\n\nloop_\n_rlnCoordinateX #1\n_rlnCoordinateY #2\n"
        f"_rlnMicrographName #3\n_rlnOpticsGroup #4\n{rows}"
    )
    review = reviewed(tmp_path, radius_nm={"": 2})
    assert any("multiplied by 0.25" in note for note in review.rows[0].notes)
    (points,) = run(import_reviewed(review, tmp_path / "out")).samples["m"].annotations
    assert np.allclose(points.coordinates, PLACES)


def test_shares_of_the_image_are_its_pixels(tmp_path):
    image(tmp_path / "m.tif")
    (tmp_path / "p.csv").write_text(
        "location/micrograph_path,location/center_x_frac,location/center_y_frac\n"
        "J1/012345678901234567890_m.mrc,0.25,0.5\n"
    )
    image(tmp_path / "012345678901234567890_m.tif")
    (tmp_path / "m.tif").unlink()
    dataset = imported(tmp_path, tmp_path / "out", radius_px={"": 4})
    (points,) = dataset.samples["012345678901234567890_m"].annotations
    assert points.coordinates.tolist() == [[30, 20]]


def test_outlines_become_objects_classes_or_middles(tmp_path):
    image(tmp_path / "a.tif")
    squares = [
        [[[x, y], [x + 6, y], [x + 6, y + 6], [x, y + 6], [x, y]]]
        for y in (4, 24, 44)
        for x in (4, 24, 44, 64)
    ]
    features = [
        {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": square},
            "properties": {"classification": {"name": "Cell"}},
        }
        for square in squares
    ]
    text = json.dumps({"type": "FeatureCollection", "features": features})
    (tmp_path / "a.geojson").write_text(text)
    objects = imported(tmp_path, tmp_path / "o")
    (labels,) = objects.samples["a"].annotations
    assert objects.task.classes == ("background", "Cell")
    assert objects.task.kind == "instances" and len(labels) == 12
    assert (labels.labels[4:10, 24:30] == 2).all() and (labels.labels > 0).sum() == 432
    classes = imported(tmp_path, tmp_path / "s", task="segment")
    assert int(classes.samples["a"].annotations[0].labels.max()) == 1
    middles = imported(tmp_path, tmp_path / "d", task="detect", radius_px={"": 3})
    (points,) = middles.samples["a"].annotations
    assert points.coordinates[1].tolist() == [6.5, 26.5] and points.classes[0] == "Cell"


def test_lines_are_centerlines(tmp_path):
    image(tmp_path / "a.tif")
    (tmp_path / "a.box").write_text("0 0 10 10 -1\n40 30 10 10 -2\n")
    config = {"radius_px": {"": 4}, "classes": ("tube",)}
    (lines,) = imported(tmp_path, tmp_path / "out", **config).samples["a"].annotations
    assert lines == Centerlines(([[5, 5], [35, 45]],), ("tube",))


# ---- command line


def test_import_shows_the_table_and_writes_only_when_told(tmp_path, capsys):
    folder, out = tmp_path / "theirs", tmp_path / "mine"
    for name in ("a", "b"):
        image(folder / f"{name}.tif", scale=2.0)
        mask(folder / f"{name}_masks.png", blobs())
    image(folder / "c.tif")
    mask(folder / "c_masks.jpg", blobs())
    report = tmp_path / "report.json"
    arguments = ["import", str(folder), "--out", str(out)]
    assert main([*arguments, "--json", str(report)]) == 0
    shown = capsys.readouterr().out
    assert "a_masks.png" in shown and "Nothing is written yet" in shown
    assert not out.exists()
    table = json.loads(report.read_text())
    assert [row["confidence"] for row in table["pairs"]] == ["high", "high", "refused"]
    assert table["task"] == "segment" and table["dataset"] is None
    # Two are written; the third is named, and the exit status says so.
    assert main([*arguments, "--yes", "--json", str(report)]) == 1
    assert "c_masks.jpg" in capsys.readouterr().err
    assert list(read_dataset(out).samples) == ["a", "b"]
    assert json.loads(report.read_text())["n_images"] == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "no image together with annotations"),
        (["--radius", "x=?"], "write CLASS=NM"),
        (["--bin", "0"], "not possible"),
        (["--classes", "a,a"], "each once"),
    ],
)
def test_what_cannot_be_imported_is_a_sentence(tmp_path, capsys, arguments, words):
    image(tmp_path / "in" / "a.tif")
    out = tmp_path / "out"
    given = ["import", str(tmp_path / "in"), "--out", str(out), "--yes", *arguments]
    assert main(given) == 2
    assert words in capsys.readouterr().err
    assert not out.exists()


def test_areas_that_qupath_ignores_are_no_class(tmp_path):
    image(tmp_path / "in" / "a.png")
    square = [[0, 0], [9, 0], [9, 9], [0, 9], [0, 0]]
    features = [
        {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": [square]},
            "properties": {"classification": {"name": name}},
        }
        for name in ("Ignore*", "cell")
    ]
    (tmp_path / "in" / "a.geojson").write_text(json.dumps(features))
    review = reviewed(tmp_path / "in")
    assert review.meaning.task.classes == ("background", "cell")
    assert "1 areas of the class Ignore* are left out" in review.rows[0].notes[-1]


@pytest.mark.parametrize("behind", ["table", "spots", "centroids", "Detections"])
def test_tables_of_other_programs_have_names_of_their_own(tmp_path, behind):
    image(tmp_path / "a.png")
    (tmp_path / f"a_{behind}.csv").write_text("x,y\n3,4\n")
    (row,) = reviewed(tmp_path, radius_px={"": 3.0}).used
    assert (row.name, row.count) == ("a", 1)


def test_points_outside_are_said_before_anything_is_written(tmp_path):
    image(tmp_path / "a.tif")
    height, width = SHAPE
    places = [(9, 9), (30, 40), (2 * height - 20, 30), (20, 2 * width - 20)]
    (tmp_path / "a.csv").write_text("y,x\n" + "".join(f"{y},{x}\n" for y, x in places))
    (note,) = reviewed(tmp_path, radius_px={"": 3}).rows[0].notes
    assert "2 of 4 points lie more than a radius outside" in note
    assert note.endswith("Divide them by 2. (--bin N)")


def test_a_dot_in_the_name_of_an_image_is_no_ending(tmp_path):
    for name in ("m.v1", "m.v2"):
        image(tmp_path / f"{name}.tif")
    rows = "m.v1\t14\t24\nm.v2\t5\t6\n"
    (tmp_path / "all.txt").write_text(f"image_name\tx_coord\ty_coord\n{rows}")
    found = {row.pair.image.name: row.pair.marks for row in reviewed(tmp_path).rows}
    assert found["m.v1.tif"].places.tolist() == [[24, 14]]
    assert found["m.v2.tif"].places.tolist() == [[6, 5]]


def test_two_masks_of_one_name_are_told_apart_by_their_folders(tmp_path):
    image(tmp_path / "images" / "a.tif")
    for folder in ("labels", "masks"):
        mask(tmp_path / folder / "a.png", blobs())
    rows = reviewed(tmp_path).rows
    assert [row.pair.confidence for row in rows] == ["ambiguous"] * 2
    assert rows[0].pair.reason.startswith("labels/a.png and masks/a.png are both for")
