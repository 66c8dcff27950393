"""What every format of annotations keeps to, and each in its program's own form."""

import json
import zipfile

import numpy as np
import pytest

from napari_topiary.annotations.regions import filled
from napari_topiary.errors import TopiaryError
from napari_topiary.io.annotation_formats import (
    DrawnArea,
    annotation_formats,
    format_of,
    read_marks,
    writing_formats,
)
from napari_topiary.io.annotation_formats.base import marks

CBOX = """
data_global

_cbox_format_version 1.0

data_cryolo

loop_
_CoordinateX #1
_CoordinateY #2
_CoordinateZ #3
_Width #4
_Height #5
_Depth #6
_EstWidth #7
_EstHeight #8
_Confidence #9
_NumBoxes #10
_Angle #11
10.0 20.0 <NA> 8.0 8.0 <NA> 7.5 7.5 0.75 <NA> <NA>
30.5 40.0 <NA> 8.0 8.0 <NA> 7.5 7.5 0.5 <NA> <NA>


data_cryolo_include

loop_
_slice_index #1
0
"""
STAR_31 = """
# version 30001

data_optics

loop_
_rlnOpticsGroupName #1
_rlnOpticsGroup #2
_rlnMicrographPixelSize #3
_rlnVoltage #4
opticsGroup1 1 1.400000 300.0


# version 30001

data_particles

loop_
_rlnCoordinateX #1
_rlnCoordinateY #2
_rlnMicrographName #3
_rlnOpticsGroup #4
_rlnAutopickFigureOfMerit #5
  14.0   24.0 MotionCorr/job002/Movies/mic1.mrc 1 0.75
  34.5   44.0 MotionCorr/job002/Movies/mic2.mrc 1 0.5
"""
STAR_30 = """
data_

loop_
_rlnCoordinateX #1
_rlnCoordinateY #2
_rlnClassNumber #3
_rlnAnglePsi #4
   14.000000    24.000000        -999  -999.00000
   34.500000    44.000000        -999  -999.00000

"""
TUBES = """
data_

loop_
_rlnCoordinateX #1
_rlnCoordinateY #2
_rlnHelicalTubeID #3
_rlnHelicalTrackLengthAngst #4
3 30 1 20
2 20 1 10
1 10 1 0
50 5 2 0
60 6 2 10
"""
QUPATH = {
    "type": "FeatureCollection",
    "features": [
        {
            "type": "Feature",
            "id": "7c2a",
            "geometry": {"type": "Point", "coordinates": [14.5, 24.5]},
            "properties": {
                "objectType": "annotation",
                "classification": {"name": "Virus", "color": [200, 0, 0]},
            },
        },
        {
            "type": "Feature",
            "geometry": {
                "type": "MultiPoint",
                "coordinates": [[1.5, 2.5], [3.5, 4.5]],
            },
            "properties": {"classification": {"names": ["Other"]}},
        },
        {
            "type": "Feature",
            "geometry": {"type": "LineString", "coordinates": [[0.5, 0.5], [9.5, 0.5]]},
            "properties": {},
        },
        {
            "type": "Feature",
            "geometry": {
                "type": "Polygon",
                "coordinates": [
                    [[2, 1], [8, 1], [8, 6], [2, 6], [2, 1]],
                    [[4, 3], [5, 3], [5, 4], [4, 4], [4, 3]],
                ],
            },
            "properties": {"objectType": "annotation", "classification": None},
        },
    ],
}
IMAGESCOPE = """<?xml version="1.0" encoding="UTF-8"?>
<Annotations MicronsPerPixel="0.252">
 <Annotation Id="1" Name="Tumor" ReadOnly="0" LineColor="65280" Visible="1" Type="4">
  <Attributes><Attribute Name="Description" Id="0" Value="" /></Attributes>
  <Regions>
   <RegionAttributeHeaders />
   <Region Id="1" Type="0" Zoom="1" Text="" NegativeROA="0" Analyze="1">
    <Attributes />
    <Vertices><Vertex X="2" Y="1" Z="0" /><Vertex X="8" Y="1" Z="0" />
     <Vertex X="8" Y="6" Z="0" /><Vertex X="2" Y="6" Z="0" /></Vertices>
   </Region>
   <Region Id="2" Type="1" Text="" NegativeROA="1">
    <Vertices><Vertex X="4" Y="3" /><Vertex X="5" Y="4" /></Vertices>
   </Region>
   <Region Id="3" Type="2"><Vertices><Vertex X="10" Y="10" /><Vertex X="20" Y="16" />
    </Vertices></Region>
   <Region Id="4" Type="4"><Vertices><Vertex X="0.5" Y="0.5" />
    <Vertex X="9.5" Y="0.5" /></Vertices></Region>
  </Regions>
 </Annotation>
</Annotations>
"""
# Columns of a 4 x 5 image: 6 pixels outside, 2 inside, 1 outside, 3 inside, 8 outside.
RUNS = [6, 2, 1, 3, 8]
COCO = {
    "info": {"description": "cells"},
    "images": [
        {"id": 1, "file_name": "a.tif", "height": 4, "width": 5},
        {"id": 2, "file_name": "sub/b.tif", "height": 20, "width": 20},
    ],
    "annotations": [
        {
            "id": 1, "image_id": 1, "category_id": 3, "iscrowd": 1,
            "segmentation": {"counts": RUNS, "size": [4, 5]},
        },
        {
            "id": 2, "image_id": 1, "category_id": 3, "iscrowd": 0,
            "segmentation": {"counts": "62117", "size": [4, 5]},
        },
        {
            "id": 3, "image_id": 2, "category_id": 4, "iscrowd": 0,
            "segmentation": [[2, 1, 8, 1, 8, 6, 2, 6]], "bbox": [2, 1, 6, 5],
        },
        {"id": 4, "image_id": 2, "category_id": 3, "bbox": [10, 12, 4, 6]},
    ],
    "categories": [{"id": 3, "name": "cell"}, {"id": 4, "name": "rod"}],
}  # fmt: skip
LABELME = {
    "version": "5.0",
    "flags": {},
    "shapes": [
        {"label": "cell", "points": [[1, 2], [10, 2], [10, 12]]},
        {"label": "virus", "points": [[3, 4]], "shape_type": "point"},
        {"label": "box", "points": [[3, 4], [13, 24]], "shape_type": "rectangle"},
        {"label": "disc", "points": [[20, 20], [26, 28]], "shape_type": "circle"},
        {"label": "rod", "points": [[1, 1], [2, 5]], "shape_type": "linestrip"},
    ],
    "imagePath": "..\\images\\a.png",
    "imageData": None,
}
EXAMPLES = {
    "labelme": ("m.json", json.dumps(LABELME)),
    "box": ("m.box", "10\t20\t8\t8\n30\t40\t8\t8\n"),
    "cbox": ("m.cbox", CBOX),
    "coco": ("m.json", json.dumps(COCO)),
    "cryosparc": (
        "m.csv",
        "uid,location/micrograph_path,location/center_x_frac,location/center_y_frac\n"
        "1,J1/motioncorrected/mic1.mrc,0.25,0.5\n2,J1/motioncorrected/mic2.mrc,0.1,1\n",
    ),
    "csv": ("m.csv", "index,axis-0,axis-1,class\n0,24,14,a\n1,44,34.5,b\n"),
    "geojson": ("m.geojson", json.dumps(QUPATH)),
    "imagescope": ("m.xml", IMAGESCOPE),
    "star": ("m.star", STAR_31),
}


def read(tmp_path, name, text):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return annotation_formats[format_of(path)].read(path)


def pixels(area, shape=(20, 20)):
    if area.mask is not None:
        return area.mask
    box, mask = filled(area.rings, shape)
    whole = np.zeros(shape, bool)
    whole[box] = mask
    return whole


@pytest.fixture
def roi_file(tmp_path):
    roifile = pytest.importorskip("roifile")

    def write(name, places, kind):
        roi = roifile.ImagejRoi.frompoints(np.array(places, np.float32), name=name)
        roi.roitype = kind
        return roi.tobytes()

    kinds, path = roifile.ROI_TYPE, tmp_path / "RoiSet.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("0024-0014.roi", write("0024-0014", [[14, 24]], kinds.POINT))
        many = [[1, 2], [3.5, 4]]
        archive.writestr("virus-2.roi", write("virus-2", many, kinds.POINT))
        archive.writestr("l.roi", write("l", [[0, 0], [9, 0]], kinds.POLYLINE))
        corners = [[2, 1], [8, 1], [8, 6], [2, 6]]
        archive.writestr("cell.roi", write("cell", corners, kinds.POLYGON))
    return path


# ---- laws


@pytest.mark.parametrize("name", [n for n in annotation_formats if n != "roi"])
def test_a_format_is_known_by_its_beginning(tmp_path, name):
    file, text = EXAMPLES[name]
    (tmp_path / file).write_text(text, encoding="utf-8")
    assert format_of(tmp_path / file) == name
    assert sum(map(len, annotation_formats[name].read(tmp_path / file)))


@pytest.mark.parametrize("name", list(annotation_formats))
@pytest.mark.parametrize("damage", ["cut", "zeros", "words", "nan"])
def test_what_is_damaged_is_a_sentence_or_less(tmp_path, roi_file, name, damage):
    file, text = EXAMPLES.get(name, ("m.zip", None))
    content = roi_file.read_bytes() if text is None else text.encode()
    half = len(content) // 2
    content = {
        "cut": content[:half],
        "zeros": content[:half] + bytes(20) + content[half + 20 :],
        "words": content.replace(b"1", b"what").replace(b"2", b"?"),
        "nan": content.replace(b"10", b"nan").replace(b"14", b"inf"),
    }[damage]
    (tmp_path / file).write_bytes(content)
    try:
        found = annotation_formats[name].read(tmp_path / file)
    except TopiaryError as error:
        assert file in str(error)
    else:
        for one in found:
            assert np.isfinite(one.places).all()


@pytest.mark.parametrize("name", list(writing_formats()))
@pytest.mark.parametrize("what", ["all", "places", "nothing"])
def test_what_is_written_is_read(tmp_path, name, what):
    if name == "roi":
        pytest.importorskip("roifile")
    writer = writing_formats()[name]
    places = [[24, 14], [44, 34]] if what != "nothing" else []
    lines = (np.array([[1.0, 2], [5, 6], [9, 4]]),) if what == "all" else ()
    ring = np.array([[0.5, 1.5], [0.5, 7.5], [5.5, 7.5], [5.5, 1.5]])
    areas = (
        (DrawnArea((ring,), "rod"),) if what == "all" and not writer.only_places else ()
    )
    drawn = marks(
        places,
        ["virus", "rod"][: len(places)],
        scores=(0.75, 0.5)[: len(places)],
        radius=(4.0, 4.0)[: len(places)],
        lines=lines,
        line_classes=("rod",) * len(lines),
        areas=areas,
        image="mic1.tif",
    )
    path = tmp_path / f"mic1{writer.ending}"
    writer.write(path, drawn)
    (again,) = annotation_formats[format_of(path)].read(path)
    assert np.array_equal(again.places, drawn.places)
    assert len(again.lines) == len(lines) and len(again.areas) == len(areas)
    for ours, theirs in zip(lines, again.lines, strict=True):
        assert np.allclose(ours, theirs)
    for area in again.areas:
        assert np.array_equal(pixels(area), pixels(areas[0])) and area.name == "rod"
    if name in ("star", "geojson", "roi") and what != "nothing":
        assert again.classes == drawn.classes
    if name in ("star", "geojson", "cbox") and what != "nothing":
        assert again.scores == drawn.scores
    if name in ("box", "cbox") and what != "nothing":
        assert again.radius == drawn.radius


# ---- each in the form of its program


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("m.box", "10\t20\t8\t8\n30.5\t40\t8\t8\n"),
        ("m.box", "14 24\n34.5 44\n"),
        ("m.coords", "14 24\n34.5 44\n"),
        ("m.coords", "14,0\t24,0\n34,5\t44,0\n"),
        ("m.coords", "14, 24\n34.5, 44\n"),
        ("m.box", "y x h w\n20 10 8 8\n40 30.5 8 8\n"),
        ("m.cbox", CBOX),
        ("m.cbox", "10 20 8 8 0.75 7 7\n30.5 40 8 8 0.5 7 7\n"),
        ("m_autopick.star", STAR_30),
        ("m.csv", "index,axis-0,axis-1\n0,24,14\n1,44,34.5\n"),
        ("m.csv", "axis-0,axis-1\n24,14\n44,34.5\n"),
        ("m.csv", "\ufeffx;y\n14;24\n34,5;44\n"),
        ("m.csv", " ,DrawnArea,Mean,X,Y\n1,5,9,14,24\n2,5,9,34.5,44\n"),
        ("m.txt", "x_coord\ty_coord\n14\t24\n34.5\t44\n"),
    ],
)
def test_centres(tmp_path, name, text):
    (found,) = read(tmp_path, name, text)
    assert np.array_equal(found.places, [[24, 14], [44, 34.5]])
    assert found.unit == "pixel" and not found.lines and not found.areas


def test_sizes_and_scores_of_boxes(tmp_path):
    (boxes,) = read(tmp_path, "m.box", "10 20 8 8\n30 40 8 8\n")
    assert boxes.radius == (4, 4)
    (boxes,) = read(tmp_path, "m.cbox", CBOX)
    assert boxes.radius == (4, 4) and boxes.scores == (0.75, 0.5)
    (nothing,) = read(tmp_path, "m.box", "")
    assert len(nothing) == 0


def test_helices_of_eman(tmp_path):
    text = "0 0 10 10 -1\n20 30 10 10 -2\n20 30 10 10 -1\n50 30 10 10 -2\n7 7 10 10 0\n"
    (found,) = read(tmp_path, "m.box", text)
    (line,) = found.lines
    assert np.array_equal(line, [[5, 5], [35, 25], [35, 55]])
    assert np.array_equal(found.places, [[12, 12]])


def test_many_micrographs_in_one_star_file(tmp_path):
    one, two = read(tmp_path, "particles.star", STAR_31)
    assert (one.image_stem, two.image_stem) == ("mic1", "mic2")
    assert np.array_equal(one.places, [[24, 14]])
    assert one.scores == (0.75,)
    assert one.scale == pytest.approx(0.14)


def test_every_table_of_a_star_file_counts(tmp_path):
    columns = "loop_\n_rlnMicrographName\n_rlnCoordinateX #2\n_rlnCoordinateY #3\n"
    for name in ("", "particles"):
        text = f"data_{name}\n{columns}_a.mrc 14 24\ndata_{name}\n{columns}b 5 6\n"
        one, two = read(tmp_path, "all.star", text)
        assert (one.image_stem, two.image_stem) == ("_a", "b")
        assert (one.places.tolist(), two.places.tolist()) == ([[24, 14]], [[6, 5]])
    bare = "loop_\n_rlnCoordinateX\n_rlnCoordinateY\n1 2\n"
    one, two = read(tmp_path, "all.star", f"data_a\n{bare}data_b\n{bare}")
    assert (one.image, two.image) == ("a", "b")
    counted = "loop_\n_rlnCoordinateX 1\n_rlnCoordinateY 2\n_rlnAnglePsi 3\n7 8 9\n"
    (one,) = read(tmp_path, "all.star", f"data_\n{counted}")
    assert one.places.tolist() == [[8, 7]]


def test_each_optics_group_of_star_has_its_pixel_size(tmp_path):
    text = (
        "data_optics\nloop_\n_rlnOpticsGroup\n_rlnMicrographPixelSize\n1 10.0\n2 5.0\n"
        "data_particles\nloop_\n_rlnMicrographName\n_rlnCoordinateX\n_rlnCoordinateY\n"
        "_rlnOpticsGroup\na.mrc 1 2 1\nb.mrc 1 2 2\nc.mrc 1 2 1\nc.mrc 3 4 2\n"
    )
    assert [one.scale for one in read(tmp_path, "p.star", text)] == [1.0, 0.5, None]


def test_tubes_are_lines_along_their_track(tmp_path):
    (found,) = read(tmp_path, "m.star", TUBES)
    first, second = found.lines
    assert np.array_equal(first, [[10, 1], [20, 2], [30, 3]])
    assert np.array_equal(second, [[5, 50], [6, 60]])
    assert not len(found.places)


def test_topaz_holds_many_images(tmp_path):
    text = "image_name\tx_coord\ty_coord\tscore\nm.1\t14\t24\t3.5\nm.2\t1\t2\t-1\n"
    one, two = read(tmp_path, "topaz.txt", text)
    assert (one.image_stem, two.image_stem) == ("m.1", "m.2")
    assert np.array_equal(one.places, [[24, 14]]) and one.scores == (3.5,)


def test_cryosparc_gives_shares_of_the_image(tmp_path):
    one, two = read(tmp_path, *EXAMPLES["cryosparc"])
    assert one.unit == "fraction" and one.image_stem == "mic1"
    assert np.array_equal(one.places, [[0.5, 0.25]])
    assert np.array_equal(two.places, [[1, 0.1]])
    array = np.array(
        [(1, b"S1/mic1.mrc", 0.25, 0.5)],
        dtype=[
            ("uid", "<u8"),
            ("location/micrograph_path", "S20"),
            ("location/center_x_frac", "<f4"),
            ("location/center_y_frac", "<f4"),
        ],
    )
    with (tmp_path / "p.cs").open("wb") as file:
        np.save(file, array)
    (own,) = annotation_formats[format_of(tmp_path / "p.cs")].read(tmp_path / "p.cs")
    assert np.array_equal(own.places, one.places) and own.image_stem == "mic1"


@pytest.mark.parametrize(
    "text",
    [
        "y_nm,x_nm\n24,14\n",
        "X [µm],Y [µm]\n0.014,0.024\n",
        "X (um);Y (um)\n0,014;0,024\n",
        "x (Å),y (Å)\n140,240\n",
        "X_angst\tY_angst\n140\t240\n",
    ],
)
def test_columns_with_a_unit(tmp_path, text):
    (found,) = read(tmp_path, "m.csv", text)
    assert found.unit == "nm"
    assert np.allclose(found.places, [[24, 14]])


def test_shapes_of_napari(tmp_path):
    text = (
        "index,shape-type,vertex-index,axis-0,axis-1\n0,path,0,1,2\n0,path,1,3,4\n"
        "1,rectangle,0,0,0\n1,rectangle,1,0,4\n1,rectangle,2,2,4\n1,rectangle,3,2,0\n"
    )
    (found,) = read(tmp_path, "m.csv", text)
    assert np.array_equal(found.lines[0], [[1, 2], [3, 4]])
    assert pixels(found.areas[0]).sum() == 15


def test_qupath(tmp_path):
    (found,) = read(tmp_path, "m.geojson", json.dumps(QUPATH))
    assert np.array_equal(found.places, [[24, 14], [2, 1], [4, 3]])
    assert found.classes == ("Virus", "Other", "Other")
    assert np.array_equal(found.lines[0], [[0, 0], [0, 9]])
    (area,) = found.areas
    expected = np.zeros((20, 20), bool)
    expected[1:6, 2:8] = True
    expected[3, 4] = False
    assert np.array_equal(pixels(area), expected)
    (bare,) = read(tmp_path, "m.json", json.dumps(QUPATH["features"]))
    assert len(bare) == len(found)


def test_imagej(roi_file):
    (found,) = annotation_formats["roi"].read(roi_file)
    assert np.array_equal(found.places, [[24, 14], [2, 1], [4, 3.5]])
    assert found.classes == ("", "virus", "virus")
    assert np.array_equal(found.lines[0], [[0, 0], [0, 9]])
    expected = np.zeros((20, 20), bool)
    expected[1:6, 2:8] = True
    assert np.array_equal(pixels(found.areas[0]), expected)
    assert found.areas[0].name == "cell"


def test_without_the_library_for_rois(tmp_path, monkeypatch):
    import importlib.util

    usual = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda n, *a: None if n == "roifile" else usual(n)
    )
    (tmp_path / "m.roi").write_bytes(b"Iout" + bytes(100))
    with pytest.raises(TopiaryError, match=r"pip install 'napari-topiary\[formats\]'"):
        annotation_formats["roi"].read(tmp_path / "m.roi")


def test_imagescope(tmp_path):
    (found,) = read(tmp_path, "m.xml", IMAGESCOPE)
    assert found.scale == pytest.approx(252)
    tumor, ellipse, cut = found.areas
    assert (tumor.name, cut.name) == ("Tumor", "background")
    assert pixels(tumor)[1:6, 2:8].all() and pixels(tumor).sum() == 30
    assert np.argwhere(pixels(cut)).tolist() == [[3, 4]]
    assert pixels(ellipse)[12, 14] and not pixels(ellipse)[10, 10]
    assert np.array_equal(found.lines[0], [[0, 0], [0, 9]])
    hostile = '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>' + IMAGESCOPE[38:]
    with pytest.raises(TopiaryError, match="defines entities"):
        read(tmp_path, "h.xml", hostile)


def test_coco(tmp_path):
    one, two = read(tmp_path, "instances.json", json.dumps(COCO))
    assert (one.image_stem, two.image_stem) == ("a", "b")
    flat = np.zeros(20, bool)
    flat[6:8] = flat[9:12] = True
    expected = flat.reshape(5, 4).T
    plain, packed = one.areas
    assert np.array_equal(plain.mask, expected) and plain.name == "cell"
    assert np.array_equal(packed.mask, expected)
    assert pixels(two.areas[0]).sum() == 30 and two.areas[0].name == "rod"
    assert np.array_equal(two.places, [[14.5, 11.5]]) and two.radius == (2.5,)


def test_an_archive_that_would_grow_without_end_is_refused(tmp_path):
    pytest.importorskip("roifile")
    with zipfile.ZipFile(tmp_path / "b.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.roi", bytes(65 << 20))
    with pytest.raises(TopiaryError, match="more than any drawing"):
        annotation_formats["roi"].read(tmp_path / "b.zip")


# ---- variations


@pytest.mark.parametrize(
    "text",
    [
        "# picked by hand\n10 20 8 8\n30.5 40 8 8\n",
        "x y w h\n10 20 8 8\n30.5 40 8 8\n",
    ],
    ids=["remark", "names"],
)
def test_what_is_above_the_rows_of_boxes(tmp_path, text):
    (found,) = read(tmp_path, "m.box", text)
    assert np.array_equal(found.places, [[24, 14], [44, 34.5]])


def test_helices_of_eman2(tmp_path):
    text = (
        "#micrograph: a.mrc\n#segment length: 8\n#helix: (10.0, 20.0),(50.5, 60.0),8\n"
        "10\t20\n12\t22\n"
    )
    (found,) = read(tmp_path, "m.box", text)
    assert np.array_equal(found.lines, [[[20, 10], [60, 50.5]]])
    assert not len(found.places)


def test_picks_by_hand_have_no_score_in_star(tmp_path):
    columns = "_rlnCoordinateX\n_rlnCoordinateY\n_rlnAutopickFigureOfMerit\n"
    (found,) = read(tmp_path, "m.star", f"data_\nloop_\n{columns}1 2 -999.0\n3 4 0.5\n")
    assert len(found.places) == 2 and found.scores is None


def test_classes_of_qupath_may_be_a_list(tmp_path):
    point = {"type": "Point", "coordinates": [3, 4]}
    for given in (["Tumor", "Positive"], {"names": ["Tumor", "Positive"]}):
        feature = {"type": "Feature", "geometry": point}
        feature["properties"] = {"classification": given}
        (found,) = read(tmp_path, "m.geojson", json.dumps(feature))
        assert found.classes == ("Tumor Positive",)


@pytest.mark.parametrize("kind", ["RECT", "OVAL"])
def test_boxes_between_pixels(tmp_path, kind):
    roifile = pytest.importorskip("roifile")
    roi = roifile.ImagejRoi(
        roitype=roifile.ROI_TYPE[kind],
        version=228,
        options=roifile.ROI_OPTIONS.SUB_PIXEL_RESOLUTION,
    )
    roi.xd, roi.yd, roi.widthd, roi.heightd = 10.25, 20.75, 6, 4
    roi.tofile(tmp_path / "a.roi")
    (area,) = read_marks(tmp_path / "a.roi")[0].areas
    assert area.rings[0].min(axis=0) == pytest.approx([20.25, 9.75], abs=0.1)
    assert area.rings[0].max(axis=0) == pytest.approx([24.25, 15.75], abs=0.1)


def test_a_group_of_rois_is_a_class(tmp_path):
    roifile = pytest.importorskip("roifile")
    roi = roifile.ImagejRoi.frompoints(np.eye(3, 2, dtype=np.float32), name="0001-0002")
    roi.roitype, roi.group = roifile.ROI_TYPE.POLYGON, 2
    (tmp_path / "a.roi").write_bytes(roi.tobytes())
    (found,) = annotation_formats["roi"].read(tmp_path / "a.roi")
    assert found.areas[0].name == "group 2"


@pytest.mark.parametrize(
    "names",
    ["Centroid X px,Centroid Y px", "XM,YM", "Location_Center_X,Location_Center_Y"],
)
def test_what_other_programs_call_x_and_y(tmp_path, names):
    (found,) = read(tmp_path, "m.csv", f"Area,{names}\n5,14,24\n")
    assert np.array_equal(found.places, [[24, 14]]) and found.unit == "pixel"


def test_key_points_of_coco_are_places(tmp_path):
    one = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 0, 0]}
    one["keypoints"] = [3, 4, 2, 0, 0, 0, 5, 6, 1]
    images = [{"id": 1, "file_name": "a.png"}]
    content = {"images": images, "annotations": [one], "categories": []}
    (found,) = read(tmp_path, "m.json", json.dumps(content))
    assert np.array_equal(found.places, [[4, 3], [6, 5]])
    one["image_id"] = 9
    with pytest.raises(TopiaryError, match="1 annotations of images that are not in"):
        read(tmp_path, "m.json", json.dumps(content))


SLICES = {
    "m.csv": "axis-0,axis-1,axis-2,axis-3\n0,2,3,1\n1,2,3,1\n",
    "n.csv": "slice,x,y\n1,2,3\nx,2,3\n2,2,3\n",
    "m.star": "data_\nloop_\n_rlnCoordinateX\n_rlnCoordinateY\n_rlnCoordinateZ\n"
    "1 2 3\n1 2 4\n",
    "m.cbox": CBOX.replace("20.0 <NA>", "20.0 1.0").replace("40.0 <NA>", "40.0 2.0"),
    "m.geojson": json.dumps(
        [
            {"type": "Point", "coordinates": [3, 4], "plane": {"z": z, "t": 0}}
            for z in (0, 1)
        ]
    ),
}


@pytest.mark.parametrize("name", SLICES)
def test_marks_on_several_slices_are_not_put_into_one_image(tmp_path, name):
    with pytest.raises(TopiaryError, match=r"slices of a stack|3-D|a slice, as"):
        read(tmp_path, name, SLICES[name])


@pytest.mark.parametrize(
    ("content", "slices"),
    [
        ("axis-0,axis-1,axis-2\n0,2,3\n4,2,3\n0,5,6\n", {0: 2, 4: 1}),
        ("axis-0,axis-1,axis-2\n7,2,3\n", {7: 1}),
        ("slice,x,y\n1,2,3\n2,2,3\n", {0: 1, 1: 1}),
        ("Slice,X,Y\n3,2,3\n3,2,3\n", {2: 2}),
        ("z,y,x\n0,2,3\n2,2,3\n", {0: 1, 2: 1}),
        ("y,x\n2,3\n", {None: 1}),
        ("slice,y,x\n,2,3\n,4,5\n", {None: 2}),
    ],
)
def test_a_table_says_on_which_slice_each_mark_is(tmp_path, content, slices):
    found = read(tmp_path, "m.csv", content)
    assert {one.slice: len(one.places) for one in found} == slices
    assert found[0].places[0].tolist() in ([2, 3], [3, 2])


def test_imagej_rois_on_slices(tmp_path):
    roifile = pytest.importorskip("roifile")
    with zipfile.ZipFile(tmp_path / "RoiSet.zip", "w") as archive:
        for number, at in enumerate((2, 2, 5)):
            roi = roifile.ImagejRoi.frompoints([[3.0 + number, 4.0]])
            roi.roitype, roi.position = roifile.ROI_TYPE.POINT, at
            archive.writestr(f"{number}.roi", roi.tobytes())
    found = read_marks(tmp_path / "RoiSet.zip")
    assert {one.slice: len(one.places) for one in found} == {1: 2, 4: 1}


OF_OTHERS = {
    "a.xml": "<ASAP_Annotations><Annotations></Annotations></ASAP_Annotations>",
    "b.xml": "<annotations><image id='0' name='a.png'></image></annotations>",
    "c.xml": "<?xml version='1.0'?><TrackMate version='7'></TrackMate>",
    "d.xml": "<annotation><filename>a.png</filename></annotation>",
    "b.json": '{"boxes": [[10, 20, "manual"]]}',
    "c.json": '[{"image_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}]',
    "d.json": '{"a.png1": {"regions": [{"shape_attributes": {"name": "rect"}}]}}',
    "a.txt": "0 0.5 0.5 0.1 0.2\n1 0.25 0.3 0.1 0.1\n",
}


@pytest.mark.parametrize("name", OF_OTHERS)
def test_annotations_of_other_programs_are_refused_by_name(tmp_path, name):
    (tmp_path / name).write_text(OF_OTHERS[name])
    with pytest.raises(TopiaryError, match=f"{name} has annotations of .*: .*"):
        format_of(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("m.box", "10 20 -8 -8\n", "a box of -8 x -8"),
        ("m.box", "10 20 0.5\n", "a slice or a score, delete that column"),
        ("m.box", "#helix: 10, 20\n", "without its two ends"),
        ("m.box", "1 2 8 8 -1\n9 9 8 8 -1\n1 2 8 8 -2\n", "begin .* without an end"),
        ("m.box", "1 2 8 8 -2\n", "or the other way round"),
        ("m.geojson", '{"type": "Polygon", "coordinates": []}', "without its coord"),
    ],
)
def test_what_means_nothing_is_a_sentence(tmp_path, name, text, words):
    with pytest.raises(TopiaryError, match=words):
        read(tmp_path, name, text)


def test_labelme(tmp_path):
    (found,) = read(tmp_path, "m.json", json.dumps(LABELME))
    assert found.image_stem == "a"
    assert np.array_equal(found.places, [[3.5, 2.5]]) and found.classes == ("virus",)
    assert np.array_equal(found.lines, [[[0.5, 0.5], [4.5, 1.5]]])
    assert [area.name for area in found.areas] == ["cell", "box", "disc"]
    cell, box, disc = (pixels(area, (40, 40)) for area in found.areas)
    assert box.sum() == 10 * 20 and box[4:24, 3:13].all()
    assert disc.sum() == pytest.approx(np.pi * 100, rel=0.03)
    assert cell.sum() == pytest.approx(45, abs=8)


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ({"points": []}, "Shape 1 of m.json has no points"),
        ({"points": [["x", 2]]}, "where a number has to be"),
        ({"points": [[1, 2]], "shape_type": "circle"}, "needs two places"),
        ({"points": [[1, 2]], "shape_type": "mask"}, "is a mask, which is not read"),
    ],
)
def test_shapes_of_labelme_that_mean_nothing(tmp_path, shape, words):
    with pytest.raises(TopiaryError, match=words):
        read(tmp_path, "m.json", json.dumps({"flags": {}, "shapes": [shape]}))


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("xmin,ymin,xmax,ymax,label", "{l},{t},{r},{b},virus"),
        ("Label;X1;Y1;X2;Y2", "virus;{l};{t};{r};{b}"),
        ("class,bbox-0,bbox-1,bbox-2,bbox-3", "virus,{t},{l},{b},{r}"),
        ("x,y,w,h,class", "{l},{t},12,8,virus"),
        ("Index,Name,Type,X,Y,Width,Height", "1,virus,Oval,{l},{t},12,8"),
        ("Label,X,Y,BX,BY,Width,Height,class", "m.tif,1,1,{l},{t},12,8,virus"),
    ],
)
def test_boxes_of_tables_are_their_middles(tmp_path, header, row):
    rows = [
        row.format(t=y - 4, b=y + 4, l=x - 6, r=x + 6) for y, x in ((24, 14), (44, 34))
    ]
    (found,) = read(tmp_path, "m.csv", "\n".join([header, *rows, ""]))
    np.testing.assert_array_equal(found.places, [[24, 14], [44, 34]])
    assert (found.radius, found.classes) == ((5.0, 5.0), ("virus",) * 2)


@pytest.mark.parametrize(
    ("header", "first", "second"),
    [
        (" ,Label,X,Y", "1,m.tif:0001-0002,14,24", "2,m.tif:0007-0009,34,44"),
        (" ,Label,X,Y", "1,m:0001-0002,14,24", "2,m:0007-0009,34,44"),
        ("Micrograph Name,x,y", "C:\\d\\m.tif,14,24", "C:\\d\\m.tif,34,44"),
        ("Image Path,x,y", "d/m.ome.tif,14,24", "d/m.ome.tif,34,44"),
    ],
)
def test_a_table_may_name_its_image_in_many_ways(tmp_path, header, first, second):
    (found,) = read(tmp_path, "all.csv", f"{header}\n{first}\n{second}\n")
    assert (found.image_stem, found.classes) == ("m", ("", ""))
    np.testing.assert_array_equal(found.places, [[24, 14], [44, 34]])


def test_a_label_that_is_no_image_is_a_class(tmp_path):
    (found,) = read(tmp_path, "m.csv", "x,y,label\n14,24,virus\n34,44,ice\n")
    assert (found.image, found.classes) == ("", ("virus", "ice"))
