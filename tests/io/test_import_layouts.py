"""Folders as published sets and other programs lay them out."""

import json

import numpy as np
import pytest
import tifffile
from PIL import Image as Picture

from napari_topiary.errors import TopiaryError
from napari_topiary.io.dataset import read_dataset
from napari_topiary.io.importing.meaning import ImportConfig
from napari_topiary.io.importing.reviewing import import_reviewed, review_folder
from napari_topiary.types import run

GREY = np.random.default_rng(0).integers(0, 255, (40, 50)).astype(np.uint8)
OBJECTS = np.zeros(GREY.shape, np.uint8)
for number, (y, x) in enumerate(((3, 3), (3, 20), (20, 5), (25, 30)), start=1):
    OBJECTS[y : y + 8, x : x + 8] = number
AREA = [[10, 10], [20, 10], [20, 20], [10, 10]]


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".tif":
        tifffile.imwrite(path, array)
    else:
        Picture.fromarray(array).save(path)


def save_objects(folder, stem):
    for value in (2, 1, 4, 3):
        save(folder / stem.format(value), (OBJECTS == value).astype(np.uint8) * 255)


def reviewed(folder, **config):
    return run(review_folder(folder, ImportConfig(**config)))


def pairs(folder):
    return {(row["image"], row["annotation"]) for row in reviewed(folder).table()}


@pytest.mark.parametrize(
    ("image", "masks", "shown"),
    [
        ("t/7f/images/7f.png", "t/7f/masks/{}e9a.png", "t/7f/masks"),
        ("a.png", "masks/a_{:03}.png", "masks"),
        ("a.png", "masks/a_obj{}.png", "masks"),
        ("a.png", "a-mask ({}).png", "a-mask (1).png"),
    ],
)
def test_a_mask_for_each_object(tmp_path, image, masks, shown):
    save(tmp_path / image, GREY)
    place, _, stem = masks.rpartition("/")
    save_objects(tmp_path / place, stem)
    if not place:  # in a folder of labels, as masks are looked for
        (tmp_path / "labels").mkdir()
        for path in tmp_path.glob("a-mask*"):
            path.rename(tmp_path / "labels" / path.name)
        shown = "labels"
    review = reviewed(tmp_path)
    (row,) = review.used
    assert (review.table()[0]["annotation"], row.count) == (shown, 4)
    assert row.pair.reason == "4 masks, one for each object"
    run(import_reviewed(review, tmp_path / "out"))
    (sample,) = read_dataset(tmp_path / "out").samples.values()
    found = sample.annotations[0].labels
    assert np.array_equal(found > 0, OBJECTS > 0)
    assert len(np.unique(np.stack([found, OBJECTS])[:, OBJECTS > 0], axis=1).T) == 4


def test_masks_of_classes_are_not_taken_for_objects(tmp_path):
    save(tmp_path / "a.png", GREY)
    for value in (0, 1):
        part = ((OBJECTS > 0) & (np.arange(50) % 4 // 2 == value)).astype(np.uint8)
        save(tmp_path / "masks" / f"a_{value}.png", part)
    (row,) = reviewed(tmp_path).rows
    assert (
        row.pair.confidence == "refused" and "number for each class" in row.pair.reason
    )
    save(tmp_path / "masks" / "a_0.png", OBJECTS)
    assert "more than one number" in reviewed(tmp_path).rows[0].pair.reason


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("imagesTr/a_0000.png", "labelsTr/a.png"),
        ("Slide_01/01_1.png", "GT_01/01_1.png"),
        ("train_images/a.png", "train_masks/a.png"),
        ("mask project/images/a.png", "mask project/maskPNG/a.png"),
        ("a.tif", "a_Object Identities.tif"),
        ("s1/image.png", "s1/mask.png"),
        ("cell segmentation/a.png", "cell segmentation/a_mask.png"),
        ("01/t007.tif", "01_GT/SEG/man_seg007.tif"),
    ],
)
def test_label_images_of_other_layouts(tmp_path, image, mask):
    save(tmp_path / image, GREY)
    save(tmp_path / mask, OBJECTS)
    if image.startswith("01/"):
        save(tmp_path / "02" / "t007.tif", GREY)
    assert pairs(tmp_path) == {(image, mask)}


@pytest.mark.parametrize(
    ("image", "table"),
    [
        ("s1/image.tif", "s1/points.csv"),
        ("a.tif", "Points.csv"),
        ("a.tif", "a.tif - Series 0.geojson"),
        ("a.tif", "Results_a.csv"),
        ("a.tif", "a.tif_points.csv"),
        ("a.tif", "a.tif.points.csv"),
    ],
)
def test_tables_of_other_layouts(tmp_path, image, table):
    save(tmp_path / image, GREY)
    text = "y,x\n3,4\n"
    if table.endswith("geojson"):
        area = {"type": "Polygon", "coordinates": [AREA]}
        text = json.dumps([{"type": "Feature", "geometry": area, "properties": {}}])
    (tmp_path / table).write_text(text)
    assert pairs(tmp_path) == {(image, table)}


def test_further_channels_are_said_not_to_be_taken(tmp_path):
    for channel in range(2):
        save(tmp_path / "imagesTr" / f"a_000{channel}.png", GREY)
    save(tmp_path / "labelsTr" / "a.png", OBJECTS)
    (one,) = reviewed(tmp_path).unused
    assert one.path.name == "a_0001.png" and one.reason.startswith("another channel")


def test_a_bare_name_means_no_image_among_several(tmp_path):
    for name in ("a", "b"):
        save(tmp_path / f"{name}.tif", GREY)
    (tmp_path / "Points.csv").write_text("y,x\n3,4\n")
    assert not reviewed(tmp_path).rows


def test_classes_that_fill_the_image_are_no_objects(tmp_path):
    for name in ("a", "b"):
        save(tmp_path / f"{name}.tif", GREY)
    save(tmp_path / "a_Simple Segmentation.tif", (OBJECTS > 0).astype(np.uint8) + 1)
    save(tmp_path / "b_Simple Segmentation.tif", (OBJECTS > 3).astype(np.uint8) + 1)
    assert reviewed(tmp_path).meaning.task.kind == "segment"


def test_a_description_of_nnunet_is_no_data_set(tmp_path):
    save(tmp_path / "in" / "imagesTr" / "a_0000.png", GREY)
    save(tmp_path / "in" / "labelsTr" / "a.png", OBJECTS)
    (tmp_path / "in" / "dataset.json").write_text('{"labels": {"cell": 1}}')
    assert len(pairs(tmp_path)) == 1
    (tmp_path / "in" / "dataset.json").write_text('{"task": "segment"}')
    assert not pairs(tmp_path)
    with pytest.raises(TopiaryError, match="is a data set already"):
        reviewed(tmp_path / "in")


@pytest.mark.parametrize("out", [".", "images"])
def test_a_data_set_is_not_made_among_what_it_is_made_from(tmp_path, out):
    save(tmp_path / "images" / "a.png", GREY)
    save(tmp_path / "masks" / "a.png", OBJECTS)
    with pytest.raises(TopiaryError, match="the name of a new folder"):
        run(review_folder(tmp_path, without=tmp_path / out))


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("via.csv", "filename,region_shape_attributes\n", "COCO format."),
        ("a.mod", "IMODV1.2", "model2point into a .txt file."),
        ("a_seg.npy", "", "(File > Save masks)."),
        ("t.csv", "ImageId,EncodedPixels\na,1 2\n", "a PNG for each object."),
        ("c.nii.gz", "", "open it in Fiji and save it as TIFF."),
        ("b.csv", "y,x\n1,2\n", "or names its images in a table."),
    ],
)
def test_a_folder_without_pairs_says_first_what_helps(tmp_path, file, text, said):
    save(tmp_path / "a.tif", GREY)
    (tmp_path / file).write_text(text)
    problem = reviewed(tmp_path).problem
    assert problem.endswith(said) and problem.count(file) == 1


def test_what_fiji_saves_in_a_tiff(tmp_path):
    roifile = pytest.importorskip("roifile")
    rois = []
    for x in (10, 20):
        roi = roifile.ImagejRoi.frompoints(np.array([[x, 7]], np.float32))
        roi.roitype = roifile.ROI_TYPE.POINT
        rois.append(roi.tobytes())
    more = {"metadata": {"Overlays": rois, "ROI": rois[0]}}
    tifffile.imwrite(tmp_path / "a.tif", GREY, imagej=True, **more)
    save(tmp_path / "b.tif", GREY)
    review = reviewed(tmp_path, radius_px={"": 3.0})
    (row,) = review.used
    assert row.pair.marks.places.tolist() == [[7, 10], [7, 20]]
    assert review.meaning.task.classes == ("background", "particle")
    assert [one.path.name for one in review.unused] == ["b.tif"]


@pytest.mark.parametrize("program", ["labelme", "coco"])
def test_what_was_drawn_on_another_size_is_not_taken_as_it_is(tmp_path, program):
    save(tmp_path / "a.tif", GREY)
    outline = [[10, 10], [60, 10], [60, 60]]

    def write(height, width):
        size = {"height": height, "width": width}
        flat = [value for place in outline for value in place]
        about = {
            "coco": {
                "images": [{"id": 1, "file_name": "a.tif", **size}],
                "annotations": [
                    {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [flat]}
                ],
                "categories": [{"id": 1, "name": "cell"}],
            },
            "labelme": {
                "shapes": [{"label": "cell", "points": outline}],
                "imagePath": "a.tif",
                "imageHeight": height,
                "imageWidth": width,
            },
        }
        (tmp_path / "a.json").write_text(json.dumps(about[program]))

    write(80, 100)
    (row,) = reviewed(tmp_path).rows
    assert row.pair.reason.endswith("has 40 x 50 (height x width): give --bin 2.")
    (row,) = reviewed(tmp_path, binned=2.0).used
    assert row.pair.marks.areas[0].rings[0].max() < 30
    write(80, 50)
    assert reviewed(tmp_path).rows[0].pair.reason.endswith("that it was drawn on.")
    write(*GREY.shape)
    assert len(reviewed(tmp_path).used) == 1


def test_files_are_chosen_by_their_place_too(tmp_path):
    save(tmp_path / "images" / "a.png", GREY)
    for folder in ("label masks", "mask binary"):
        save(tmp_path / folder / "a.png", OBJECTS)
    (row,) = reviewed(tmp_path, only="label masks/*").used
    assert row.pair.annotation.parent.name == "label masks"


@pytest.mark.parametrize("place", ["{}/x.png", "C:\\data\\{}\\x.tif"])
def test_a_table_says_in_which_folder_an_image_lies(tmp_path, place):
    rows = ["image,x,y"]
    for folder, x in (("one", 5), ("two", 9)):
        save(tmp_path / folder / "x.png", GREY)
        rows.append(f"{place.format(folder)},{x},4")
    (tmp_path / "all.csv").write_text("\n".join(rows))
    found = reviewed(tmp_path, radius_px={"": 3.0}).used
    assert [(row.name, row.pair.marks.places.tolist()) for row in found] == [
        ("one_x", [[4, 5]]), ("two_x", [[4, 9]])
    ]  # fmt: skip
