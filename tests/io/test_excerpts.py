"""Of large images only what is marked is read, and it looks as the whole does."""

import json

import numpy as np
import pytest
import tifffile

from napari_topiary.annotations import Labels, Points, Regions
from napari_topiary.data.annotated_area import on_working_grid
from napari_topiary.errors import TopiaryError
from napari_topiary.io import excerpts, large_images
from napari_topiary.io.dataset import Sample, read_dataset
from napari_topiary.io.dataset_writing import write_dataset
from napari_topiary.normalisation import Normalisation

SHAPE = (400, 500)
BOXES = [(20, 60, 30, 90), (300, 390, 400, 480)]
PLACES = [(30.0, 50.0), (310.5, 420.25), (380.0, 470.0), (200.0, 10.0)]


@pytest.fixture
def image(rng):
    """Brighter to the right, so that a part alone would look different."""
    values = rng.normal(100, 10, SHAPE) + np.linspace(0, 90, SHAPE[1])
    return values.clip(0, 255).astype(np.uint8)


@pytest.fixture
def folder(tmp_path, image):
    for name in ("images", "points", "regions", "labels"):
        (tmp_path / name).mkdir()
    about = {"name": "big", "task": "detect", "classes": ["background", "virus"]}
    about["radius_px"] = {"virus": 5}
    (tmp_path / "dataset.json").write_text(json.dumps(about))
    tifffile.imwrite(tmp_path / "images" / "a.tif", image, tile=(64, 64))
    write(tmp_path / "points" / "a.csv", Points(PLACES, ("virus",) * 4))
    return tmp_path


def write(path, annotation):
    table = annotation.to_table()
    rows = zip(*table.values(), strict=True)
    lines = [",".join(table), *(",".join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines))


def finished():
    corners = [[(a, c), (a, d), (b, d), (b, c)] for a, b, c, d in BOXES]
    return Regions(tuple(corners), ("rectangle",) * len(BOXES))


@pytest.fixture
def _large(monkeypatch):
    monkeypatch.setattr(large_images, "LARGE", 1000)
    monkeypatch.setattr(excerpts, "MARGIN", 16)


def kinds(sample):
    return {type(item): item for item in sample.annotations}


@pytest.mark.usefixtures("_large")
@pytest.mark.parametrize("kind", ["robust", "zscore", "percentile"])
def test_parts_look_as_in_the_whole(folder, image, kind):
    write(folder / "regions" / "a.csv", finished())
    sample = read_dataset(folder).samples["a"]
    assert sample.image.shape[1] * sample.image.shape[2] < image.size / 4
    whole = Normalisation(kind=kind).apply(image[None])
    seen = Normalisation(kind=kind).apply(sample.image, sample.excerpt)
    for window, (place, _) in zip(
        sample.excerpt.windows, sample.excerpt.pieces(), strict=True
    ):
        top, bottom, left, right = window
        np.testing.assert_array_equal(
            sample.image[:, *place], image[None, top:bottom, left:right]
        )
        np.testing.assert_allclose(
            seen[:, *place], whole[:, top:bottom, left:right], atol=1e-5
        )
        assert sample.area[place].all()
    assert not seen[:, ~sample.area].any()


@pytest.mark.usefixtures("_large")
def test_marks_lie_where_they_lay(folder, image):
    write(folder / "regions" / "a.csv", finished())
    sample = read_dataset(folder).samples["a"]
    points, regions = kinds(sample)[Points], kinds(sample)[Regions]
    for (y, x), place in zip(points.coordinates, PLACES, strict=True):
        there = image[int(place[0]), int(place[1])]
        assert sample.image[0, int(y), int(x)] == there
    mask = regions.mask(sample.image.shape[1:])
    whole = finished().mask(SHAPE)
    assert mask.sum() == whole.sum()
    assert sorted(sample.image[0][mask]) == sorted(image[whole])
    assert "Only what is marked was read" in sample.notes[-1]


@pytest.mark.usefixtures("_large")
def test_without_finished_areas_what_lies_between_the_marks_counts(folder):
    sample = read_dataset(folder).samples["a"]
    ((top, _, left, _),) = sample.excerpt.windows
    assert (top, left) == (6, 0)
    mask = kinds(sample)[Regions].mask(sample.image.shape[1:])
    assert 0.2 < mask.mean() < 0.8
    assert "between its marks" in sample.notes[0]


@pytest.mark.usefixtures("_large")
@pytest.mark.parametrize("form", ["tiled", "png-like"])
def test_painted_areas(folder, image, form):
    labels = np.zeros(SHAPE, np.uint8)
    labels[100:150, 200:260] = 1
    (folder / "points" / "a.csv").unlink()
    tiles = {"tile": (64, 64)} if form == "tiled" else {"rowsperstrip": 400}
    tifffile.imwrite(folder / "labels" / "a.tif", labels, compression="zlib", **tiles)
    sample = read_dataset(folder).samples["a"]
    assert sample.excerpt.windows == ((84, 166, 184, 276),)
    found = kinds(sample)[Labels].labels
    np.testing.assert_array_equal(found, labels[84:166, 184:276])


@pytest.mark.usefixtures("_large")
def test_an_image_without_marks_is_read_in_the_middle(folder, monkeypatch):
    monkeypatch.setattr(excerpts, "UNMARKED", 100)
    (folder / "points" / "a.csv").unlink()
    sample = read_dataset(folder).samples["a"]
    assert sample.image.shape == (1, 100, 100)
    assert not sample.annotations


@pytest.mark.usefixtures("_large")
def test_where_too_much_is_marked_all_is_read(folder, monkeypatch):
    monkeypatch.setattr(excerpts, "MOST_PIXELS", 1000)
    sample = read_dataset(folder).samples["a"]
    assert sample.excerpt is None
    assert sample.image.shape == (1, *SHAPE)


@pytest.mark.usefixtures("_large")
def test_a_part_is_never_written_as_the_whole(folder):
    before = (folder / "points" / "a.csv").read_text()
    with pytest.raises(TopiaryError, match="copy its files"):
        write_dataset(folder, read_dataset(folder))
    assert (folder / "points" / "a.csv").read_text() == before


@pytest.mark.usefixtures("_large")
def test_what_is_at_hand_is_cut_like_what_lies_in_files(folder):
    write(folder / "regions" / "a.csv", finished())
    task = read_dataset(folder).task
    (large,) = large_images.open_large(folder / "images" / "a.tif")
    points = Points(PLACES, ("virus",) * 4)
    sample = Sample(large, (points, finished()), name="a").read_marked(task)
    known = read_dataset(folder).samples["a"]
    np.testing.assert_array_equal(sample.image, known.image)
    assert sample.excerpt.windows == known.excerpt.windows
    assert sample.fingerprint == known.fingerprint


@pytest.mark.usefixtures("_large")
def test_an_image_is_the_same_whatever_more_is_marked(folder):
    before = read_dataset(folder).samples["a"].fingerprint
    write(folder / "regions" / "a.csv", finished())
    assert read_dataset(folder).samples["a"].fingerprint == before


@pytest.mark.usefixtures("_large")
def test_more_than_can_be_learned_from_at_once_is_a_sentence(folder, monkeypatch):
    monkeypatch.setattr(excerpts, "MOST_PIXELS", 1000)
    (large,) = large_images.open_large(folder / "images" / "a.tif")
    sample = Sample(large, (Points(PLACES, ("virus",) * 4),), name="a")
    with pytest.raises(TopiaryError, match=r"a: What is marked .* finished areas"):
        sample.read_marked(read_dataset(folder).task)


@pytest.mark.usefixtures("_large")
def test_a_part_of_the_whole_is_the_same_part_of_a_cut_out(folder, image):
    write(folder / "regions" / "a.csv", finished())
    dataset = read_dataset(folder)
    sample = dataset.samples["a"]
    whole = Sample(image[None], (Points(PLACES, ("virus",) * 4), finished()))
    box = 0, 350, 60, 460
    looks = [
        on_working_grid(one, 1.0, dataset.task, Normalisation())
        for one in (sample, whole)
    ]
    for part, known in zip(*(one.divided(box) for one in looks), strict=True):
        assert (part.field.target >= 0).sum() == (known.field.target >= 0).sum()
        assert len(part.points) == len(known.points)
    assert sample.inside(box).sum() == sum(
        max(0, min(b, 350) - max(a, 0)) * max(0, min(d, 460) - max(c, 60))
        for a, b, c, d in sample.excerpt.windows
    )
    for axis in (0, 1):
        np.testing.assert_array_equal(*(one.marked_along(axis) for one in looks))
    # The judge looks at the rectangle of the cut-out that the part lies in.
    held = looks[0].divided(box)[1]
    top, bottom, left, right = held.own_box
    assert not sample.inside(box)[bottom:].any()
    assert sample.inside(box)[top:bottom, left:right].sum() == sample.inside(box).sum()
