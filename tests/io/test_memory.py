"""Sizes are known, and judged by the free memory, before anything is read."""

import bz2
import gzip
import json
import lzma
import os
import struct
import sys
import zlib

import numcodecs
import numpy as np
import psutil
import pytest
import tifffile
import zarr
from google_crc32c import value as crc32c
from hypothesis import given
from hypothesis import strategies as st
from numcodecs import blosc, lz4, zstd
from PIL import Image as Picture
from zarr.codecs import BloscCodec

from napari_topiary.checkpoint import load_checkpoint
from napari_topiary.data.working_grid import to_working
from napari_topiary.errors import TopiaryError
from napari_topiary.io import memory, zarr_unpacking
from napari_topiary.io.formats.zarr_arrays import Zarr
from napari_topiary.io.images import read_image, read_slices
from napari_topiary.io.large_images import open_lazily
from napari_topiary.io.memory import check_fits, free_memory, in_words
from napari_topiary.io.tables import read_table

GREY = np.random.default_rng(0).integers(0, 255, (33, 47), dtype=np.uint8)


@pytest.fixture
def little_memory(monkeypatch):
    monkeypatch.setattr(memory, "free_memory", lambda: 3_000)


def png(folder, *, height, width):
    def chunk(kind, content):
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(2000))
    path = folder / "a.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", pixels)
        + chunk(b"IEND", b"")
    )
    return path


def tiff(folder, *, height, width):
    """A small TIFF whose tags have been changed."""
    path = folder / "a.tif"
    tifffile.imwrite(path, GREY)
    content = bytearray(path.read_bytes())
    (start,) = struct.unpack_from("<I", content, 4)
    (tags,) = struct.unpack_from("<H", content, start)
    wanted = {256: width, 257: height, 278: height}
    for place in range(start + 2, start + 2 + 12 * tags, 12):
        (code,) = struct.unpack_from("<H", content, place)
        if code in wanted:
            struct.pack_into("<HHII", content, place, code, 4, 1, wanted[code])
    path.write_bytes(content)
    return path


def blank_zarr(folder, *, height, width, chunks=(1000, 1000)):
    path = folder / "a.zarr"
    path.mkdir()
    about = {
        "zarr_format": 2,
        "shape": [height, width],
        "chunks": list(chunks),
        "dtype": "|u1",
        "compressor": None,
        "filters": None,
        "fill_value": 0,
        "order": "C",
    }
    (path / ".zarray").write_text(json.dumps(about))
    return path


def test_pages_in_a_circle_come_to_an_end(tmp_path):
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as file:
        for _ in range(3):
            file.write(np.eye(8, dtype=np.uint8), contiguous=False)
    with tifffile.TiffFile(path) as file:
        pages = [page.offset for page in file.pages]
        count = len(file.pages[2].tags)
    content = bytearray(path.read_bytes())
    end = pages[2] + 2 + 12 * count
    content[end : end + 4] = pages[1].to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(TopiaryError, match="in a circle"):
        read_image(path)


def test_a_part_of_a_picture_is_not_longer_than_its_file(tmp_path):
    path = tmp_path / "a.png"
    Picture.fromarray(np.eye(8, dtype=np.uint8)).save(path)
    content = path.read_bytes()
    at = content.index(b"IDAT")
    path.write_bytes(content[: at - 4] + b"\x7f\xff\xff\xff" + content[at:])
    with pytest.raises(TopiaryError, match=r"a part of it has 2\.1 GB"):
        read_image(path)


@pytest.mark.parametrize("make", [png, tiff, blank_zarr])
def test_more_pixels_than_the_file_can_hold_are_refused_unread(tmp_path, make):
    path = make(tmp_path, height=60_000, width=60_000)
    with pytest.raises(TopiaryError, match=r"incomplete, (get it|copy the whole)"):
        read_image(path)


@pytest.mark.parametrize("chunks", [(60_000, 60_000), (1, 1)])
def test_pieces_of_a_zarr_that_make_no_sense_are_refused(tmp_path, chunks):
    path = blank_zarr(tmp_path, height=2000, width=2000, chunks=chunks)
    with pytest.raises(TopiaryError, match="incomplete"):
        read_image(path)


def test_a_blank_zarr_of_usual_size_is_read(tmp_path):
    image = read_image(blank_zarr(tmp_path, height=2000, width=3000)).data
    assert image.shape == (1, 2000, 3000)
    assert not image.any()


@pytest.mark.parametrize("name", ["b.png", "b.bmp", "b.tif"])
@pytest.mark.usefixtures("little_memory")
def test_an_image_must_fit_into_the_free_memory(tmp_path, name):
    Picture.fromarray(GREY).save(tmp_path / name)
    words = (
        r"b\.\w+ \(33 x 47.* needs 4\.7 kB of memory, but only 3\.0 kB are free: cut"
    )
    with pytest.raises(TopiaryError, match=words):
        read_image(tmp_path / name)


def test_pillow_does_not_decide_how_large_an_image_may_be(tmp_path, monkeypatch):
    monkeypatch.setattr(Picture, "MAX_IMAGE_PIXELS", 100)
    Picture.fromarray(GREY).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png").data[0], GREY)
    assert Picture.MAX_IMAGE_PIXELS == 100


@pytest.mark.usefixtures("little_memory")
def test_a_table_must_fit_into_the_free_memory(tmp_path):
    (tmp_path / "a.csv").write_text("axis-0,axis-1\n" + "1,2\n" * 1000)
    with pytest.raises(TopiaryError, match=r"The table a\.csv needs .* cut it"):
        read_table(tmp_path / "a.csv")


def test_a_working_grid_must_fit_into_the_free_memory(monkeypatch):
    monkeypatch.setattr(memory, "free_memory", lambda: 1_000_000_000)
    words = r"4,055 pixels\), needs .* GB of memory.*check the pixel size"
    with pytest.raises(TopiaryError, match=words.replace("4,055", "40,550")):
        to_working(np.zeros((1, 4055, 4055), np.uint8), 0.1)
    with pytest.raises(TopiaryError, match="cannot be enlarged"):
        to_working(np.zeros((1, 9, 9), np.uint8), 1e-320)
    assert to_working(GREY[None], 0.5).shape == (1, 66, 94)


def test_what_fits_passes_and_what_does_not_is_a_sentence(monkeypatch):
    monkeypatch.setattr(memory, "free_memory", lambda: 2_500_000_000)
    check_fits(2_500_000_000, "This", "do that")
    with pytest.raises(TopiaryError) as fault:
        check_fits(3_600_000_000, "This", "do that")
    assert str(fault.value) == (
        "This needs 3.6 GB of memory, but only 2.5 GB are free: do that."
    )
    assert [in_words(n) for n in (5, 8.2e4, 5e6)] == ["5 bytes", "82.0 kB", "5.0 MB"]


def test_the_free_memory_is_at_most_what_the_computer_has():
    assert 0 < free_memory() <= psutil.virtual_memory().total


def test_a_limit_of_a_container_counts(tmp_path, monkeypatch):
    (tmp_path / "memory.max").write_text("3000000\n")
    (tmp_path / "memory.current").write_text("1000000\n")
    (tmp_path / "memory.stat").write_text("anon 1\ninactive_file 200000\n")
    files = ((str(tmp_path), "memory.max", "memory.current"),)
    monkeypatch.setattr(memory, "_GROUP_FILES", files)
    assert free_memory() == 2_200_000
    (tmp_path / "memory.max").write_text("max\n")
    assert free_memory() > 2_200_000


@pytest.mark.skipif(sys.platform == "win32", reason="There are no pipes by name.")
@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("a.tif", read_image),
        ("a.png", read_image),
        ("a.csv", read_table),
        ("a.safetensors", load_checkpoint),
    ],
)
def test_pipes_folders_and_circles_of_links_are_refused(tmp_path, name, read):
    place = tmp_path / name
    os.mkfifo(place)
    with pytest.raises(TopiaryError, match="is a pipe or a device"):
        read(place)
    place.unlink()
    place.symlink_to(place)
    with pytest.raises(TopiaryError, match=r"cannot be opened|no such file"):
        read(place)
    place.unlink()
    place.mkdir()
    with pytest.raises(TopiaryError, match="is a folder"):
        read(place)


@pytest.mark.skipif(sys.platform == "win32", reason="There are no pipes by name.")
def test_a_pipe_in_a_zarr_is_refused(tmp_path):
    path = blank_zarr(tmp_path, height=9, width=9)
    os.mkfifo(path / "0.0")
    with pytest.raises(TopiaryError, match="is a pipe or a device"):
        read_image(path)


HUGE = (0x7FFFFFFF).to_bytes(4, "little")
CLAIMS = {
    "blosc 2": (2, "Blosc", lambda good: good[:4] + HUGE + good[8:]),
    "lz4 2": (2, "LZ4", lambda good: HUGE + good[4:]),
    "zstd 2": (2, "Zstd", lambda good: good[:4] + b"\xe0" + HUGE * 2 + good[9:]),
    "zstd 3": (3, "", lambda good: good[:4] + b"\xe0" + HUGE * 2 + good[9:]),
}


def test_a_piece_that_is_cut_short_is_refused(tmp_path):
    """Whoever unpacks it would read on, in memory that is not its own."""
    path = tmp_path / "a.zarr"
    zarr.create_array(path, data=GREY, chunks=GREY.shape, compressors=BloscCodec())
    piece = path / "c" / "0" / "0"
    piece.write_bytes(piece.read_bytes()[:-1])
    with pytest.raises(TopiaryError, match="is cut short"):
        read_image(path)


def test_a_piece_that_is_no_piece_of_the_array_is_not_read(tmp_path):
    path = tmp_path / "a.zarr"
    zarr.create_array(path, data=GREY, chunks=GREY.shape, compressors=None)
    with (path / "c" / "0" / "0").open("ab") as file:
        file.truncate(1 << 40)  # takes no room on the disk
    with pytest.raises(TopiaryError, match=r"a piece of it is of 1,099\.5 GB"):
        read_image(path)


def test_what_is_packed_in_an_unknown_way_is_refused(tmp_path):
    path = tmp_path / "a.zarr"
    how = {"zarr_format": 2, "filters": [numcodecs.Base64()], "compressors": None}
    zarr.create_array(path, data=GREY, **how)
    with pytest.raises(TopiaryError, match="packed with base64, which cannot be read"):
        read_image(path)


@pytest.mark.parametrize("name", CLAIMS)
def test_a_piece_that_asks_for_much_is_not_unpacked(tmp_path, name):
    form, codec, damage = CLAIMS[name]
    path = tmp_path / "a.zarr"
    how = {"compressors": getattr(numcodecs, codec)()} if codec else {}
    array = zarr.create_array(
        str(path), shape=(64, 64), chunks=(32, 32), dtype="u1", zarr_format=form, **how
    )
    array[:] = np.arange(4096).reshape(64, 64) % 7 + 1
    assert next(iter(read_slices(path))).data.max() == 7
    pieces = [p for p in path.rglob("*") if p.is_file() and p.name != "zarr.json"]
    piece = next(p for p in pieces if not p.name.startswith(".z"))
    piece.write_bytes(damage(piece.read_bytes()))
    for read in (lambda: list(read_slices(path)), lambda: Zarr.open(path).array[:40]):
        with pytest.raises(TopiaryError, match="says that it holds"):
            read()


PACKED = {
    "zlib": zlib.compress,
    "gzip": gzip.compress,
    "bz2": bz2.compress,
    "lzma": lzma.compress,
    "several": lambda content: (
        gzip.compress(content[:99]) + gzip.compress(content[99:])
    ),
}


@given(
    content=st.binary(max_size=200),
    times=st.integers(0, 2000),
    most=st.integers(0, 100_000),
    way=st.sampled_from(sorted(PACKED)),
)
def test_what_holds_more_than_belongs_there_is_known(content, times, most, way):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory, "_SLACK", 1000)
        patch.setattr(memory, "_AT_A_TIME", 500)
        whole = content * times
        found = memory.inflates_beyond(PACKED[way](whole), most)
        assert found == (len(whole) > 2 * most + 1000)
        damaged = PACKED[way](whole)[: len(whole) // 3]
        memory.inflates_beyond(damaged, most)
        memory.inflates_beyond(content, most)


def _bomb(monkeypatch):
    monkeypatch.setattr(memory, "_SLACK", 10_000)
    return b"\0" * 500_000


def test_a_strip_that_unpacks_to_more_than_belongs_there_is_refused(
    tmp_path, monkeypatch
):
    path = tmp_path / "a.tif"
    noise = np.random.default_rng(1).integers(0, 255, (200, 200), dtype=np.uint8)
    tifffile.imwrite(path, noise, compression="zlib")
    assert np.array_equal(read_image(path).data[0], noise)
    packed = zlib.compress(_bomb(monkeypatch) + noise.tobytes())
    with tifffile.TiffFile(path) as file:
        (start,), (length,) = file.pages[0].dataoffsets, file.pages[0].databytecounts
    assert len(packed) > length > 30_000
    content = path.read_bytes()
    path.write_bytes(content[:start] + packed[:length] + content[start + length :])
    with pytest.raises(TopiaryError, match=r"holds far more than the 40\.0 kB"):
        read_image(path)


def rle(count):
    """What Zstandard makes of many zeros, in blocks of 1000, without their number."""
    blocks = [
        (1000 << 3 | 2 | (i == count - 1)).to_bytes(3, "little") for i in range(count)
    ]
    return b"\x28\xb5\x2f\xfd\0\x50" + b"".join(block + b"\0" for block in blocks)


PACKS = {
    "Zlib": zlib.compress,
    "GZip": gzip.compress,
    "BZ2": bz2.compress,
    "LZMA": lzma.compress,
    "Zstd": lambda content: rle(len(content) // 1000),
    "Zstd second": lambda content: zstd.compress(b"1" * 9) + rle(len(content) // 1000),
    "Blosc": lambda content: blosc.compress(content, b"lz4", 5, 1),
    "LZ4": lz4.compress,
}


def in_a_shard(piece):
    """A shard of 4 x 4 pieces, the first of which is given."""
    index = struct.pack("<QQ", 0, len(piece)) + b"\xff" * 240
    return piece + index + struct.pack("<I", crc32c(index))


@pytest.mark.filterwarnings("ignore:Numcodecs codecs are not")
@pytest.mark.parametrize("how", ["version 2", "version 3", "shard", "large"])
@pytest.mark.parametrize("name", PACKS)
def test_a_piece_that_unpacks_to_more_than_belongs_there_is_refused(
    tmp_path, monkeypatch, name, how
):
    monkeypatch.setattr(zarr_unpacking, "SLACK", 3000)
    codec, pack, path = name.split()[0], PACKS[name], tmp_path / "a.zarr"
    form, piece = (2, "0.0") if how in ("version 2", "large") else (3, "c/0/0")
    codecs = numcodecs if form == 2 else zarr.codecs.numcodecs
    zarr.create_array(
        path,
        shape=(20_000, 20_000) if how == "large" else (128, 128),
        dtype="u1",
        chunks=(32, 32),
        shards=(128, 128) if how == "shard" else None,
        zarr_format=form,
        compressors=getattr(codecs, codec)(),
    )
    (path / piece).parent.mkdir(parents=True, exist_ok=True)
    for size in (1024, 200_000):
        packed = pack(b"\0" * size)
        if size == 1024 and codec == "Zstd":
            packed = zstd.compress(b"\0" * size)
        (path / piece).write_bytes(in_a_shard(packed) if how == "shard" else packed)
        for read in (
            lambda: Zarr.open(path).array[:9, :9],
            lambda: (
                open_lazily(path).read((0, 9, 0, 9))
                if how == "large"
                else read_image(path)
            ),
        ):
            if size == 1024:
                read()
                continue
            with pytest.raises(TopiaryError, match=r"far more than|says that it holds"):
                read()


def test_what_is_cut_into_millions_of_pieces_is_refused(tmp_path):
    path = tmp_path / "a.zarr"
    how = {"chunks": (1, 1), "shards": (2048, 2048), "dtype": "u1"}
    zarr.create_array(path, shape=(2048, 2048), **how)
    (path / "c" / "0").mkdir(parents=True)
    (path / "c" / "0" / "0").write_bytes(b"\0" * 5000)
    with pytest.raises(TopiaryError, match="cut into 4,194,304 pieces"):
        read_image(path)


def test_planes_that_are_only_named_are_not_looked_for(tmp_path):
    path = tmp_path / "a.ome.tif"
    said = (
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="I">'
        '<Pixels ID="P" DimensionOrder="XYZCT" Type="uint8" SizeX="47" SizeY="33" '
        'SizeZ="100000000" SizeC="10" SizeT="1"><TiffData/></Pixels></Image></OME>'
    )
    tifffile.imwrite(path, GREY, description=said, metadata=None)
    with pytest.raises(TopiaryError, match="that it has 1,000,000,000 planes"):
        list(read_slices(path))
