"""CSV tables: what napari writes we read, and what we write napari reads."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_topiary.annotations import Centerlines, Points, Regions
from napari_topiary.errors import TopiaryError
from napari_topiary.io.tables import joined, read_table, write_table

POINTS = Points([[397.75, 573.75], [1 / 3, 1e-7]], ("a", "b"), (4.5, None))
LINES = Centerlines(
    ([[203, 294], [190.5, 297], [175, 301.1]], [[1, 2], [3, 4]]), ("a", "b")
)
AREAS = Regions(
    ([[1, 2], [1, 9], [8, 9], [8, 2]], [[0, 0], [10, 0.1], [3, 30]]),
    ("rectangle", "polygon"),
)


def test_napari_reads_our_points(tmp_path):
    from napari_builtins.io import csv_to_layer_data

    write_table(tmp_path / "p.csv", POINTS.to_table())
    data, meta, layer_type = csv_to_layer_data(str(tmp_path / "p.csv"), "points")
    assert layer_type == "points"
    np.testing.assert_array_equal(data, POINTS.coordinates)
    assert meta["properties"]["class"].tolist() == ["a", "b"]


@pytest.mark.parametrize("drawn", [LINES, AREAS], ids=["lines", "areas"])
def test_napari_reads_our_shapes(tmp_path, drawn):
    from napari_builtins.io import csv_to_layer_data

    write_table(tmp_path / "s.csv", drawn.to_table())
    data, meta, layer_type = csv_to_layer_data(str(tmp_path / "s.csv"), "shapes")
    assert layer_type == "shapes"
    shapes = drawn.paths if drawn is LINES else drawn.polygons
    types = ["path", "path"] if drawn is LINES else list(drawn.shape_types)
    for ours, theirs in zip(shapes, data, strict=True):
        np.testing.assert_allclose(theirs, ours, rtol=1e-6)
    assert list(meta["shape_type"]) == types


def test_we_read_what_napari_writes(tmp_path):
    from napari_builtins.io import napari_write_points, napari_write_shapes

    path = str(tmp_path / "p.csv")
    properties = {"class": np.array(POINTS.classes)}
    napari_write_points(path, POINTS.coordinates, {"properties": properties})
    again = Points.from_table(read_table(path))
    np.testing.assert_array_equal(again.coordinates, POINTS.coordinates)
    assert again.classes == POINTS.classes

    path = str(tmp_path / "s.csv")
    polygons = [np.array(polygon) for polygon in AREAS.polygons]
    napari_write_shapes(path, polygons, {"shape_type": list(AREAS.shape_types)})
    assert Regions.from_table(read_table(path)) == AREAS


@given(
    st.lists(
        st.tuples(
            st.floats(-1e6, 1e6),
            st.floats(-1e6, 1e6),
            st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]))
            .map(str.strip)
            .filter(lambda name: name and name.lower() not in ("nan", "none")),
            st.none() | st.floats(1e-3, 1e6),
        )
    )
)
def test_points_come_back_exactly(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("table") / "p.csv"
    points = Points(
        np.array([row[:2] for row in rows]).reshape(-1, 2),
        tuple(row[2] for row in rows),
        tuple(row[3] for row in rows),
    )
    write_table(path, points.to_table())
    assert Points.from_table(read_table(path)) == points


def test_tables_of_spreadsheet_programs(tmp_path):
    text = (
        "\ufeffindex;axis-0;axis-1;class;radius_nm\r\n0;1,5;2,25;a;\r\n1;3;4;b;7,5\r\n"
    )
    (tmp_path / "p.csv").write_bytes(text.encode())
    expected = Points([[1.5, 2.25], [3, 4]], ("a", "b"), (None, 7.5))
    assert Points.from_table(read_table(tmp_path / "p.csv")) == expected
    (tmp_path / "p.csv").write_text(text[1:].replace(";", "\t").replace("\r", ""))
    assert Points.from_table(read_table(tmp_path / "p.csv")) == expected


@pytest.mark.parametrize(
    "text",
    [
        " ,X,Y\n1,2.25,1.5\n2,4,3\n",
        "y,x\n1.5,2.25\n3,4\n",
        "Index,Axis-0,Axis-1\n0,1.5,2.25\n1,3,4\n",
        "sep=;\nindex;axis-0;axis-1\n0;1,5;2,25\n1;3;4\n",
        "index,axis-0,axis-1,,\n0,1.5,2.25,,\n1,3,4,,\n",
        'index,axis-0,axis-1\n0,"1,5","2,25"\n1,"3,0",4\n',
        "axis-0,axis-1,x,y\n1.5,2.25,9,9\n3,4,9,9\n",
        "Row\tColumn\n1.5\t2.25\n3\t4\n",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_tables_of_other_programs(tmp_path, text, encoding):
    (tmp_path / "p.csv").write_bytes(text.encode(encoding))
    table = read_table(tmp_path / "p.csv") | {"class": ["a", "b"]}
    assert Points.from_table(table) == Points([[1.5, 2.25], [3, 4]], ("a", "b"))


@pytest.mark.parametrize("head", ["y_nm,x_nm", "lat,lon", "x,y,X,Y"])
def test_what_could_mean_something_else_is_not_guessed(tmp_path, head):
    rows = ",".join("1" * len(head.split(",")))
    (tmp_path / "p.csv").write_text(f"{head}\n{rows}\n")
    with pytest.raises(TopiaryError, match="column 'axis-0' is missing: there are"):
        Points.from_table(read_table(tmp_path / "p.csv") | {"class": ["a"]})


def test_rows_of_shapes_may_be_shuffled_and_numbered_with_gaps(tmp_path):
    (tmp_path / "s.csv").write_text(
        "index,shape-type,vertex-index,axis-0,axis-1,class\n"
        "4.0,path,1,3,4,a\n9,line,0,5,6,b\n4.0,path,0,1,2,a\n9,line,1,7,8,b\n\n"
    )
    lines = Centerlines.from_table(read_table(tmp_path / "s.csv"))
    assert lines == Centerlines(([[1, 2], [3, 4]], [[5, 6], [7, 8]]), ("a", "b"))
    text = (tmp_path / "s.csv").read_text()
    (tmp_path / "s.csv").write_text(text.replace("4.0,", "1e300,"))
    assert Centerlines.from_table(read_table(tmp_path / "s.csv")) == lines


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("index,axis-0,class\n0,1,a\n", "column 'axis-1' is missing"),
        ("index,axis-0,axis-1\n0,1,2\n", "column 'class' is missing"),
        ("axis-0,axis-1,class\n1,x,a\n", "Row 1 has 'x' in column 'axis-1'"),
        ("axis-0,axis-1,class\n1,nan,a\n", "Row 1 has 'nan' in column 'axis-1'"),
        ("axis-0,axis-1,class\n1,2\n", "Line 2 of p.csv has 2 values for 3 columns"),
        ("axis-0,axis-0,class\n1,2,a\n", "two columns of the same name"),
        ("axis-0,axis-1,axis-2,class\n1,2,3,a\n", "3-D coordinates"),
        ("axis-0,axis-1,class,radius_nm\n1,2,a,big\n", "'big' in column 'radius_nm'"),
        ("axis-0,axis-1,class,radius_nm\n1,2,a,-4\n", "radius of -4 is not possible"),
        ("axis-0,axis-1,class\n1,2,\n", "1 of 1 points have no class"),
        (f"axis-0,axis-1,class\n1,2,{'a' * 200_000}\n", "p.csv is not a table"),
    ],
)
def test_faulty_tables_are_refused_in_a_sentence(tmp_path, text, words):
    (tmp_path / "p.csv").write_text(text)
    with pytest.raises(TopiaryError, match=words) as fault:
        Points.from_table(read_table(tmp_path / "p.csv"))
    assert str(fault.value).endswith(".")


def test_files_that_are_no_tables(tmp_path):
    with pytest.raises(TopiaryError, match="There is no table"):
        read_table(tmp_path / "none.csv")
    (tmp_path / "b.csv").write_bytes(b"\x80\x81\x00\x9f")
    with pytest.raises(TopiaryError, match="not a text table"):
        read_table(tmp_path / "b.csv")


def test_joined_tables_count_on_and_fill_gaps():
    more = Points([[9, 9]], ("background",))
    both = joined([POINTS.to_table(), more.to_table()])
    assert both["index"] == [0, 1, 2]
    assert Points.from_table(both) == Points(
        [*POINTS.coordinates, [9, 9]], ("a", "b", "background"), (4.5, None, None)
    )
    twice = Centerlines.from_table(joined([LINES.to_table()] * 2))
    assert twice == Centerlines(LINES.paths * 2, LINES.classes * 2)


def test_an_unchanged_table_is_not_written_again(tmp_path):
    write_table(tmp_path / "p.csv", POINTS.to_table())
    before = (tmp_path / "p.csv").stat()
    write_table(tmp_path / "p.csv", POINTS.to_table())
    assert (tmp_path / "p.csv").stat().st_ino == before.st_ino
    write_table(tmp_path / "p.csv", LINES.to_table())
    assert Centerlines.from_table(read_table(tmp_path / "p.csv")) == LINES


@pytest.mark.parametrize(
    "text",
    [
        "# made by X\n# on Monday\naxis-0,axis-1,class\n1.5,2,a\n3,4,b\n",
        "axis-0,axis-1,class\n1.5,2,a,,\n3,4,b,,\n",
        "axis-0,axis-1,class\r1.5,2,a\r3,4,b\r",
        "axis-0\taxis-1\tclass\n1,5\t2\ta\n3\t4\tb\n",
        "y,x,class\n1.5e0,2,a\n\n3,4,b\n\n",
        "x;y;class\n2;1,5;a\n4;3;b\n",
    ],
)
def test_tables_as_other_programs_leave_them(tmp_path, text):
    (tmp_path / "p.csv").write_bytes(text.encode())
    expected = Points([[1.5, 2], [3, 4]], ("a", "b"))
    assert Points.from_table(read_table(tmp_path / "p.csv")) == expected


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"1.5,2,a\n3,4,b\n", "no names of columns, its first line is '1.5,2,a'"),
        (b"0;7,5;9\n", "no names of columns"),
        ("axis-0,axis-1\n1,2\n".encode("utf-16-le"), "save it in UTF-8"),
    ],
)
def test_what_is_no_table_with_names_is_told(tmp_path, content, words):
    (tmp_path / "p.csv").write_bytes(content)
    with pytest.raises(TopiaryError, match=words):
        read_table(tmp_path / "p.csv")
