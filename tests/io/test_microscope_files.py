"""Images as electron microscopes' own programs write them: MRC, DM3, DM4, EMD."""

from __future__ import annotations

import bz2
import gzip
import struct
import tracemalloc
from pathlib import Path

import h5py
import mrcfile
import numpy as np
import pytest
from rsciio.emd import file_writer as write_emd

from napari_topiary.errors import TopiaryError
from napari_topiary.io.formats.mrc import IMOD_STAMP
from napari_topiary.io.images import read_image, read_slices

FILES = Path(__file__).with_name("files")
"""nion_ref_F_*.dm3/dm4: nion-software/nionswift-io, commit b201f2c457, Apache-2.0."""
RNG = np.random.default_rng(3)
FLOATS = RNG.normal(size=(5, 7)).astype(np.float32)


def mrc(path, data, angstrom=None):
    with mrcfile.new(path) as file:
        file.set_data(data)
        if angstrom is not None:
            file.voxel_size = angstrom
    return path


@pytest.mark.parametrize("kind", ["int8", "int16", "uint16", "float32", "float16"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_every_mode_and_byte_order_gives_its_values(tmp_path, kind, order):
    values = RNG.integers(0, 120, (5, 7)).astype(kind)
    data = values.astype(values.dtype.newbyteorder(order))
    image = read_image(mrc(tmp_path / "a.mrc", data, 4.6))
    np.testing.assert_array_equal(image.data, values[None])
    assert image.data.dtype == values.dtype
    assert image.data.dtype.isnative
    assert image.scale == pytest.approx(0.46)
    assert image.notes == ()


@pytest.mark.parametrize("name", ["a.mrc", "a.MRC", "a.map", "a.rec", "a.st"])
def test_the_usual_endings(tmp_path, name):
    np.testing.assert_array_equal(
        read_image(mrc(tmp_path / name, FLOATS)).data[0], FLOATS
    )


@pytest.mark.parametrize(("ending", "pack"), [("gz", gzip), ("bz2", bz2)])
def test_packed_files(tmp_path, ending, pack):
    plain = mrc(tmp_path / "a.mrc", FLOATS, 2.0).read_bytes()
    (tmp_path / f"b.mrc.{ending}").write_bytes(pack.compress(plain))
    image = read_image(tmp_path / f"b.mrc.{ending}")
    np.testing.assert_array_equal(image.data[0], FLOATS)
    assert image.scale == pytest.approx(0.2)
    (tmp_path / f"c.mrc.{ending}").write_bytes(pack.compress(plain)[:-30])
    with pytest.raises(TopiaryError, match=f"c.mrc.{ending} "):
        read_image(tmp_path / f"c.mrc.{ending}")


@pytest.mark.parametrize(("ending", "pack"), [("gz", gzip), ("bz2", bz2)])
def test_no_more_is_unpacked_than_there_are_pixels(tmp_path, ending, pack):
    content = mrc(tmp_path / "a.mrc", FLOATS).read_bytes() + bytes(30_000_000)
    packed = tmp_path / f"a.mrc.{ending}"
    packed.write_bytes(pack.compress(content))
    del content
    tracemalloc.start()
    try:
        image = read_image(packed)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(image.data[0], FLOATS)


def test_a_volume_is_slices(tmp_path):
    volume = RNG.integers(-9, 9, (3, 5, 7)).astype(np.int16)
    slices = list(read_slices(mrc(tmp_path / "a.rec", volume)))
    np.testing.assert_array_equal(np.stack([one.data[0] for one in slices]), volume)


def test_a_cell_of_zero_is_an_unknown_pixel_size(tmp_path):
    assert read_image(mrc(tmp_path / "a.mrc", FLOATS)).scale is None


def test_a_pixel_of_exactly_one_angstrom_is_doubted_aloud(tmp_path):
    image = read_image(mrc(tmp_path / "a.mrc", FLOATS, 1.0))
    assert image.scale == pytest.approx(0.1)
    assert "exactly 1 angstrom" in image.notes[0]


@pytest.mark.parametrize(
    ("stamp", "flags", "top", "is_signed"),
    [
        (None, 0, 100, True),  # the standard
        (None, 0, 200, False),  # a header whose range does not fit signed bytes
        (IMOD_STAMP, 0, 100, False),
        (IMOD_STAMP, 1, 100, True),
    ],
)
def test_bytes_are_signed_where_the_file_says_so(
    tmp_path, stamp, flags, top, is_signed
):
    stored = np.array([[0, 100, 200]], dtype=np.uint8)
    path = mrc(tmp_path / "a.mrc", stored.view(np.int8))
    with mrcfile.open(path, mode="r+") as file:
        file.header.dmin, file.header.dmax = 0, top
    content = bytearray(path.read_bytes())
    if stamp is not None:
        content[152:160] = np.array([stamp, flags], dtype="<i4").tobytes()
    path.write_bytes(content)
    expected = stored.view(np.int8) if is_signed else stored
    np.testing.assert_array_equal(read_image(path).data[0], expected)


def damaged(change):
    def make(path):
        content = bytearray(mrc(path, FLOATS).read_bytes())
        return path.write_bytes(change(content))

    return make


def put(at, number):
    def change(content):
        content[at : at + 4] = np.array(number, "<i4").tobytes()
        return content

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda content: content[:-40], "is cut short"),
        (lambda content: content[:500], "is cut short"),
        (put(92, 1_700_000_000), "is cut short"),
        (lambda content: b"hello" * 300, "MRC file"),
        (lambda content: b"", "is empty"),
        (put(0, 100_000), "is cut short"),
        (put(0, -4), "header is damaged"),
        (put(12, 4), "holds complex numbers"),
        (put(12, 77), "holds values of mode 77"),
    ],
)
def test_a_damaged_file_is_one_sentence(tmp_path, change, words):
    damaged(change)(tmp_path / "a.mrc")
    with pytest.raises(TopiaryError, match=words) as fault:
        read_image(tmp_path / "a.mrc")
    assert str(fault.value).startswith("a.mrc")


def test_gatan_files():
    stack = list(read_slices(FILES / "nion_ref_F_1_2.dm3"))
    assert [one.data.shape for one in stack] == [(1, 3, 2)] * 4
    image = read_image(FILES / "nion_ref_F_0_2.dm4")
    assert (image.data.shape, image.data.dtype) == ((1, 3, 2), np.float32)
    assert image.scale is None  # its unit is none that anybody knows


def test_a_torn_gatan_file_is_one_sentence(tmp_path):
    content = (FILES / "nion_ref_F_0_2.dm4").read_bytes()
    for end in (0, 10, 300, 900):
        (tmp_path / "a.dm4").write_bytes(content[:end])
        with pytest.raises(TopiaryError, match=r"a\.dm4 (is empty|cannot be read)"):
            read_image(tmp_path / "a.dm4")


@pytest.mark.parametrize("names", ["YX", "xy", "zyx", "xyz"])
def test_emd_files_of_ncem_lie_as_their_axes_are_named(tmp_path, names):
    shape = {"x": 7, "y": 5, "z": 3}
    with h5py.File(tmp_path / "a.emd", "w") as file:
        file.attrs["version_major"], file.attrs["version_minor"] = 0, 2
        group = file.create_group("data/image")
        group.attrs["emd_group_type"] = 1
        group["data"] = np.zeros([shape[name.lower()] for name in names], np.float32)
        for number, name in enumerate(names, start=1):
            places = 0.5 * np.arange(shape[name.lower()])
            axis = group.create_dataset(f"dim{number}", data=places)
            axis.attrs["name"], axis.attrs["units"] = name, "[n_m]"
    slices = list(read_slices(tmp_path / "a.emd"))
    assert [one.data.shape for one in slices] == [(1, 5, 7)] * (
        3 if "z" in names else 1
    )
    assert slices[0].scale == pytest.approx(0.5)


def test_an_emd_file_that_lies_about_its_size_is_refused_before_it_is_laid_out(
    tmp_path,
):
    with h5py.File(tmp_path / "a.emd", "w") as file:
        file.attrs["version_major"], file.attrs["version_minor"] = 0, 2
        group = file.create_group("data/image")
        group.attrs["emd_group_type"] = 1
        group.create_dataset("data", (10**9, 10**9), np.float32, chunks=(64, 64))
        for name in ("dim1", "dim2"):
            group[name] = [0.0, 1.0]
    with pytest.raises(TopiaryError, match=r"a\.emd says that it holds 1,000,000"):
        read_image(tmp_path / "a.emd")


def test_hdf5_of_others_is_a_sentence(tmp_path):
    with h5py.File(tmp_path / "a.emd", "w") as file:
        file["stuff"] = FLOATS
    with pytest.raises(TopiaryError, match="not an EMD file as Velox or NCEM"):
        read_image(tmp_path / "a.emd")


def test_columns_may_be_any_axis_of_the_map(tmp_path):
    path = mrc(tmp_path / "a.mrc", FLOATS)
    with mrcfile.mmap(path, mode="r+") as file:
        file.header.mapc, file.header.mapr, file.header.maps = 3, 2, 1
        file.header.cella.x, file.header.cella.y, file.header.cella.z = 99, 10, 14
        file.header.mx, file.header.my, file.header.mz = 1, 5, 7
    assert read_image(path).scale == pytest.approx(0.2)


def test_a_pixel_size_may_be_in_what_fei_adds_to_the_header(tmp_path):
    with mrcfile.new(tmp_path / "a.mrc") as file:
        file.set_data(FLOATS)
        own = np.zeros(1, mrcfile.dtypes.get_ext_header_dtype(b"FEI1"))
        own["Pixel size X"] = own["Pixel size Y"] = 1.5e-10
        file.set_extended_header(own)
        file.header.exttyp = b"FEI1"
    image = read_image(tmp_path / "a.mrc")
    assert image.scale == pytest.approx(0.15)
    np.testing.assert_array_equal(image.data[0], FLOATS)


def test_emd_files(tmp_path):
    axes = [
        {
            "name": name,
            "size": size,
            "scale": 0.5,
            "offset": 0.0,
            "units": "nm",
            "navigate": False,
            "index_in_array": at,
        }
        for at, (name, size) in enumerate([("y", 5), ("x", 7)])
    ]
    signal = {
        "data": FLOATS,
        "axes": axes,
        "metadata": {"General": {"title": "a"}, "Signal": {}},
        "original_metadata": {},
    }
    write_emd(str(tmp_path / "a.emd"), signal)
    image = read_image(tmp_path / "a.emd")
    np.testing.assert_array_equal(image.data[0], FLOATS)
    assert image.scale == pytest.approx(0.5)


def test_a_missing_reader_is_named_with_its_pip_line(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    (tmp_path / "a.emd").write_bytes(b"x")
    with pytest.raises(TopiaryError, match=r"pip install 'napari-topiary\[formats\]'"):
        read_image(tmp_path / "a.emd")


def series(path, *, kind, count):
    """A series of TIA, of pictures of 5 x 7 pixels (0x4122) or curves (0x4120)."""
    head = struct.pack("<HHHIIII", 0x4949, 0x0197, 0x0210, kind, 0x4152, count, count)
    axis = struct.pack("<Iddi", count, 0.0, 1.0, 0)
    axis += struct.pack("<I6sI", 6, b"Number", 0)
    at = len(head) + 8 + len(axis)
    first = at + 8 * count
    about = struct.pack("<ddi", 0.0, 2e-9, 0)
    if kind == 0x4122:
        one = 2 * about + struct.pack("<hii", 2, 7, 5) + bytes(2 * 35)
    else:
        one = about + struct.pack("<hi", 2, 35) + bytes(2 * 35)
    places = [first + i * len(one) for i in range(count)]
    tags = [first + count * len(one) + i * 8 for i in range(count)]
    content = head + struct.pack("<II", at, 1) + axis
    content += struct.pack(f"<{2 * count}I", *places, *tags)
    path.write_bytes(content + one * count + b"\x52\x41" + bytes(8 * count))
    return path


@pytest.mark.parametrize("count", [1, 3])
def test_series_of_pictures_are_read_and_of_curves_refused(tmp_path, count):
    slices = list(read_slices(series(tmp_path / "a.ser", kind=0x4122, count=count)))
    assert [one.data.shape for one in slices] == [(1, 5, 7)] * count
    assert slices[0].scale == pytest.approx(2.0)
    with pytest.raises(TopiaryError, match="only curves such as spectra"):
        read_image(series(tmp_path / "b.ser", kind=0x4120, count=count))
