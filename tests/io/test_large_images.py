"""Large images are opened at once and read part by part, whatever holds them."""

from pathlib import Path

import mrcfile
import numpy as np
import pytest
import tifffile
import zarr

from napari_topiary.errors import TopiaryError
from napari_topiary.io import image_area, large_images, pyramids
from napari_topiary.io.formats.tiff import Tiff
from napari_topiary.io.images import read_image, read_slices
from napari_topiary.io.large_images import _Pieces, open_large, open_lazily
from napari_topiary.io.ome_zarr import OmeZarr
from napari_topiary.io.pyramids import needs_reading, reading_on, views
from napari_topiary.types import run

SHAPE = (300, 410)


@pytest.fixture(autouse=True)
def _large(monkeypatch):
    monkeypatch.setattr(large_images, "LARGE", 1000)


@pytest.fixture
def image(rng):
    return rng.integers(0, 60_000, SHAPE, dtype=np.uint16)


def ome(path, image):
    written = OmeZarr(path, shape=SHAPE, dtype=image.dtype, scale=3.0, about={})
    written.write(image, (0, 0))


def micrograph(path, image):
    with mrcfile.new(path, data=image) as file:
        file.voxel_size = 1.3


def test_big_endian_mrc_with_an_extended_header(tmp_path, image):
    path = tmp_path / "a.mrc"
    with mrcfile.new(path, data=np.stack([image, image // 2])) as file:
        file.set_extended_header(np.zeros(100, np.uint8))
    head = np.frombuffer(path.read_bytes()[:1024], mrcfile.dtypes.HEADER_DTYPE)
    swapped = head.astype(mrcfile.dtypes.HEADER_DTYPE.newbyteorder(">"))
    swapped["machst"] = [0x11, 0x11, 0, 0]
    body = np.frombuffer(path.read_bytes()[1024 + 100 :], "<u2").astype(">u2")
    path.write_bytes(swapped.tobytes() + bytes(100) + body.tobytes())
    first, second = open_large(path)
    np.testing.assert_array_equal(first.read()[0], image)
    np.testing.assert_array_equal(
        second.read((5, 9, 7, 20))[0], (image // 2)[5:9, 7:20]
    )
    np.testing.assert_array_equal(next(iter(read_slices(path))).data[0], image)


WRITERS = {
    "ome.zarr": ome,
    "cube.zarr": lambda p, a: zarr.create_array(
        p, data=a[None, None], chunks=(1, 1, 64, 50), dimension_names=tuple("zcyx")
    ),
    "tiled.tif": lambda p, a: tifffile.imwrite(p, a, tile=(64, 48), compression="zlib"),
    "strips.tif": lambda p, a: tifffile.imwrite(p, a, rowsperstrip=7, compression=8),
    "plain.tif": lambda p, a: tifffile.imwrite(p, a, byteorder=">"),
    "white.tif": lambda p, a: tifffile.imwrite(
        p, a, tile=(64, 48), photometric="miniswhite"
    ),
    "colour.tif": lambda p, a: tifffile.imwrite(
        p, np.stack([a, a // 2, a // 3], axis=-1), tile=(32, 32), photometric="rgb"
    ),
    "micrograph.mrc": lambda p, a: micrograph(p, a.astype(np.uint16)),
    "float.mrc": lambda p, a: micrograph(p, a.astype(np.float32)),
    "bytes.map": lambda p, a: micrograph(p, (a // 300).astype(np.int8)),
    "slide.scn": lambda p, a: tifffile.imwrite(p, a, tile=(64, 48)),
    "planes.tif": lambda p, a: tifffile.imwrite(
        p, np.stack([a, a // 2, a // 3]), planarconfig="separate", photometric="rgb"
    ),
}


@pytest.mark.parametrize("name", WRITERS)
def test_parts_are_those_of_the_whole(tmp_path, image, name):
    path = tmp_path / name
    WRITERS[name](path, image)
    whole = read_image(path)
    (large,) = open_large(path)
    assert large.shape == whole.data.shape
    assert large.scale == whole.scale
    for window in [(0, 300, 0, 410), (37, 201, 64, 66), (299, 300, 1, 409)]:
        top, bottom, left, right = window
        part = whole.data[:, top:bottom, left:right]
        for step in (1, 3):
            found = large.read(window, step)
            assert found.dtype == whole.data.dtype
            np.testing.assert_array_equal(found, part[:, ::step, ::step])


def test_small_and_packed_images_are_read_whole(tmp_path, image, monkeypatch):
    tifffile.imwrite(tmp_path / "one.tif", image, rowsperstrip=300, compression=8)
    monkeypatch.setattr("napari_topiary.io.formats.tiff.LARGEST_PIECE", 1000)
    assert open_large(tmp_path / "one.tif") is None
    tifffile.imwrite(tmp_path / "small.tif", image[:10, :10])
    assert open_large(tmp_path / "small.tif") is None


def test_a_stack_is_its_slices(tmp_path, image):
    stack = np.stack([image, image // 2])
    zarr.create_array(tmp_path / "s.zarr", data=stack, dimension_names=tuple("zyx"))
    first, second = open_large(tmp_path / "s.zarr")
    np.testing.assert_array_equal(second.read()[0], image // 2)
    assert first.shape == (1, *SHAPE)


def test_thinning_leaves_out_rows_and_columns(tmp_path, image, monkeypatch):
    monkeypatch.setattr(image_area, "LARGE", 1000)
    monkeypatch.setattr(image_area, "THIN_PIXELS", 5000)
    monkeypatch.setattr(large_images, "BAND_PIXELS", 20_000)
    WRITERS["tiled.tif"](tmp_path / "a.tif", image)
    thin, step = open_large(tmp_path / "a.tif")[0].thinned()
    assert thin.size <= 5000
    np.testing.assert_array_equal(thin[0], image[::step, ::step])


@pytest.mark.parametrize("pyramid", [True, False])
def test_windows_see_coarser_copies(tmp_path, image, monkeypatch, pyramid):
    monkeypatch.setattr("napari_topiary.io.ome_zarr.SMALLEST", 128)
    monkeypatch.setattr(pyramids, "GLANCE", 120)
    monkeypatch.setattr(large_images, "GLANCE", 120)
    monkeypatch.setattr(image_area, "LARGE", 1000)
    monkeypatch.setattr(image_area, "THIN_PIXELS", 1500)
    monkeypatch.setattr(large_images, "BAND_PIXELS", 20_000)
    path = tmp_path / ("ome.zarr" if pyramid else "plain.tif")
    WRITERS[path.name](path, image)
    (large,) = open_large(path)
    levels = views(large)
    np.testing.assert_array_equal(levels[0][5:9, 400:], image[5:9, 400:])
    assert needs_reading(large) is not pyramid
    if pyramid:
        assert [one.shape for one in levels[:3]] == [SHAPE, (150, 205), (75, 103)]
        np.testing.assert_array_equal(large.glance()[0], np.asarray(levels[-1]))
        return
    step = large.thin.step
    assert step == 10
    assert [one.shape for one in levels] == [SHAPE, (75, 103), (30, 41)]
    np.testing.assert_array_equal(levels[1][3:7, 2:3], image[12:28:4, 8:9])
    # What was not gone through yet is 0.
    large.thin.read_more()
    assert not np.asarray(levels[-1])[-1].any()
    np.testing.assert_array_equal(levels[-1][:1], image[:1, ::step])
    run(reading_on(large))
    np.testing.assert_array_equal(np.asarray(levels[-1]), image[::step, ::step])
    np.testing.assert_array_equal(large.glance()[0], image[::step, ::step])


def test_grey_saved_as_colour_is_opened_as_grey(tmp_path, image, monkeypatch):
    monkeypatch.setattr(large_images, "WHOLE_PIXELS", 1000)
    pictures = {
        "grey": np.stack([image] * 3, axis=-1),
        "blank": np.full((*SHAPE, 3), 200, np.uint16),
        "colour": np.stack([image, image, image // 2], axis=-1),
    }
    found = {}
    for name, picture in pictures.items():
        path = tmp_path / f"{name}.tif"
        tifffile.imwrite(path, picture, tile=(64, 64), photometric="rgb")
        found[name] = open_lazily(path).shape[0]
    assert found == {"grey": 1, "blank": 3, "colour": 3}


def test_colours_of_16_bit_are_shown_with_8(tmp_path, image):
    path = tmp_path / "colour.tif"
    WRITERS["colour.tif"](path, image)
    (level,) = views(open_large(path)[0], (0.0, 60_000.0))
    assert (level.dtype, level.shape) == (np.uint8, (*SHAPE, 3))
    red = np.asarray(level)[..., 0].astype(float)
    np.testing.assert_allclose(red, image / 60_000 * 255, atol=1)


@pytest.mark.parametrize(
    ("dtype", "settings"),
    [
        ("u1", {"tile": (64, 64)}),
        ("u2", {"rowsperstrip": 17}),
        ("u2", {"tile": (64, 80), "predictor": True}),
        (">u2", {"tile": (64, 64), "byteorder": ">"}),
        ("f4", {"tile": (32, 48)}),
        ("colour", {"tile": (64, 80), "photometric": "rgb"}),
        ("planes", {"tile": (64, 80), "planarconfig": "separate"}),
        ("stack", {"tile": (64, 80)}),
    ],
)
def test_pieces_of_a_tiff_are_the_pixels_of_the_whole(tmp_path, dtype, settings):
    shape = {"colour": (130, 150, 3), "planes": (3, 130, 150), "stack": (3, 130, 150)}
    values = np.random.default_rng(5).integers(0, 250, shape.get(dtype, (130, 150)))
    array = values.astype("u1" if dtype in shape else dtype)
    settings = {"photometric": "minisblack", **settings}
    if dtype == "planes":
        settings["photometric"] = "rgb"
    tifffile.imwrite(tmp_path / "a.tif", array, compression="zlib", **settings)
    opened = Tiff.open(tmp_path / "a.tif")
    assert opened is not None
    pieces = _Pieces(opened.array)
    for part in (np.s_[:, :, :], np.s_[1:, 5:131:3, 2:], np.s_[:, 64:128, 70:75]):
        index = tuple(
            slice(*one.indices(n))
            for one, n in zip(part[-array.ndim :], array.shape, strict=True)
        )
        np.testing.assert_array_equal(pieces[index], array[index])


@pytest.mark.parametrize("name", ["nion_ref_F_0_2.dm4", "nion_ref_F_1_2.dm3"])
def test_images_of_gatan_are_read_part_by_part(monkeypatch, name):
    monkeypatch.setattr(large_images, "LARGE", 1)
    path = Path(__file__).with_name("files") / name
    opened, slices = open_large(path), list(read_slices(path))
    assert opened is not None and len(opened) == len(slices)
    for large, whole in zip(opened, slices, strict=True):
        np.testing.assert_array_equal(large.read(), whole.data)
        np.testing.assert_array_equal(large.read((0, 2, 1, 2)), whole.data[:, :2, 1:2])
        assert large.scale == whole.scale


def test_a_zarr_may_leave_out_all_that_is_blank_but_not_be_without_end(tmp_path):
    for name, side in (("sparse.zarr", 142_000), ("endless.zarr", 10**9)):
        made = zarr.create_array(
            str(tmp_path / name), shape=(side, side), chunks=(1024, 1024), dtype="u1"
        )
        made[70_000:70_004, 70_000:70_004] = 7
    image = open_lazily(tmp_path / "sparse.zarr")
    assert image.shape == (1, 142_000, 142_000)
    assert (image.read((70_000, 70_004, 70_000, 70_004)) == 7).all()
    assert open_large(tmp_path / "endless.zarr") is None
    with pytest.raises(TopiaryError, match=r"only 1 of them are there: it is incom"):
        read_image(tmp_path / "endless.zarr")
