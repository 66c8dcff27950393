"""Images of every kind -> `(c, y, x)` and nm per pixel, or a sentence."""

import importlib.util
import io
import logging
import math
import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Picture
from PIL import ImageOps

from napari_topiary.errors import TopiaryError
from napari_topiary.io.formats import image_formats
from napari_topiary.io.formats.zarr_arrays import Zarr
from napari_topiary.io.images import (
    count_slices,
    holds_image,
    is_image,
    read_image,
    read_labels,
    read_slices,
    readable_suffixes,
    to_grey,
    write_image,
)
from napari_topiary.io.pixel_size import nm_per_unit

VENDOR = Path(__file__).parents[3] / "shared" / "data" / "vendor_formats"
RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 255, (33, 47), dtype=np.uint8)
DEEP = RNG.integers(0, 60000, (33, 47), dtype=np.uint16)
COLOUR = RNG.integers(0, 255, (33, 47, 3), dtype=np.uint8)


def planes(array):
    return np.moveaxis(array, -1, 0) if array.ndim == 3 else array[None]


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif", "A.TIFF", "a.PNG"])
@pytest.mark.parametrize("array", [GREY, COLOUR], ids=["grey", "colour"])
def test_lossless_pictures_are_read_as_they_are(tmp_path, name, array):
    Picture.fromarray(array).save(tmp_path / name)
    image = read_image(tmp_path / name)
    np.testing.assert_array_equal(image.data, planes(array))
    assert image.data.dtype == np.uint8
    assert image.scale is None


def test_jpeg_is_read(tmp_path):
    Picture.fromarray(np.full((20, 30), 77, np.uint8)).save(tmp_path / "a.jpg")
    assert read_image(tmp_path / "a.jpg").data.shape == (1, 20, 30)


@pytest.mark.parametrize("how", [{}, {"progressive": True}, {"optimize": True}])
@pytest.mark.parametrize("array", [GREY, COLOUR], ids=["grey", "colour"])
def test_a_jpeg_that_lacks_pixels_is_refused_and_a_grey_margin_is_not(
    tmp_path, array, how
):
    path, margin = tmp_path / "a.jpg", np.full_like(array, 128)
    margin[:20, :20] = array[:20, :20]
    Picture.fromarray(margin).save(path, **how)
    assert read_image(path).data.shape[1:] == GREY.shape
    Picture.fromarray(array).save(path, **how)
    said, packed = struct.pack(">HH", *GREY.shape), path.read_bytes()
    for height, width in ((64, 47), (33, 90), (400, 400)):
        path.write_bytes(packed.replace(said, struct.pack(">HH", height, width), 1))
        with pytest.raises(TopiaryError, match=f"it has {width} x {height} pixels, "):
            read_image(path)


def test_16_bit_stays_16_bit(tmp_path):
    Picture.fromarray(DEEP).save(tmp_path / "a.png")
    tifffile.imwrite(tmp_path / "a.tif", DEEP)
    for name in ("a.png", "a.tif"):
        image = read_image(tmp_path / name).data
        assert image.dtype == np.uint16
        np.testing.assert_array_equal(image[0], DEEP)


def test_transparency_is_dropped(tmp_path):
    Picture.fromarray(np.dstack([COLOUR, GREY])).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png").data, planes(COLOUR))
    Picture.fromarray(np.dstack([GREY, 255 - GREY])).save(tmp_path / "b.png")
    np.testing.assert_array_equal(read_image(tmp_path / "b.png").data, GREY[None])


def test_grey_saved_as_colour_is_grey(tmp_path):
    Picture.fromarray(np.dstack([GREY] * 3)).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png").data, GREY[None])


def test_black_and_white_is_zero_and_one(tmp_path):
    Picture.fromarray(GREY > 99).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png").data[0], GREY > 99)


@pytest.mark.parametrize("how", ["tiff_lzw", "packbits", "tiff_adobe_deflate"])
@pytest.mark.parametrize("array", [GREY, DEEP, COLOUR], ids=["8", "16", "colour"])
def test_compressed_tiff_needs_no_extra_library(tmp_path, how, array):
    Picture.fromarray(array).save(tmp_path / "a.tif", compression=how)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").data, planes(array))


@pytest.mark.parametrize(
    ("array", "tag"),
    [
        (GREY, 0),  # 0 means white: Pillow turns it over
        (GREY, 1),
        (DEEP, 0),
        (DEEP, 1),
        (DEEP.view(np.int16), 1),
        (DEEP.astype(np.uint32) * 65537, 1),
        (COLOUR, 2),
        (np.dstack([DEEP] * 3), 2),
    ],
    ids="white black white16 black16 signed uint32 colour colour16".split(),
)
def test_lzw_means_the_same_pixels_or_a_sentence(tmp_path, array, tag):
    path = _lzw_tiff(tmp_path / "lzw.tif", array, tag)
    plain = tmp_path / "plain.tif"
    words = {0: "miniswhite", 1: "minisblack", 2: "rgb"}[tag]
    tifffile.imwrite(plain, array, photometric=words, metadata=None)
    try:
        image = read_image(path).data
    except TopiaryError as error:
        assert "save it without compression" in str(error)
        assert array.itemsize == 2
        assert array.ndim == 3 or array.dtype == np.int16
    else:
        assert image.dtype == read_image(plain).data.dtype
        np.testing.assert_array_equal(image, read_image(plain).data)


@pytest.mark.parametrize("array", [DEEP, np.float32(DEEP) / 7], ids=["16", "float"])
def test_lzw_of_the_other_byte_order(tmp_path, array):
    path = _lzw_tiff(tmp_path / "a.tif", array, 1, order=">")
    if array.dtype.kind == "f":
        with pytest.raises(TopiaryError, match="save it without compression"):
            read_image(path)
    else:
        np.testing.assert_array_equal(read_image(path).data[0], array)


@pytest.mark.parametrize("white", [0, 1])
@pytest.mark.parametrize("bits", [2, 4])
def test_numbers_of_few_bits_in_lzw_are_not_spread(tmp_path, bits, white):
    labels = (np.arange(64) % 2**bits).reshape(4, 16).astype(np.uint8)
    path = _lzw_tiff(tmp_path / "a.tif", labels, white, bits=bits)
    np.testing.assert_array_equal(read_labels(path), labels)


def test_slices_and_the_largest_image_of_a_compressed_tiff(tmp_path):
    pages = [Picture.fromarray(GREY + n) for n in range(3)]
    settings = {"compression": "tiff_lzw", "save_all": True}
    pages[0].save(tmp_path / "s.tif", append_images=pages[1:], **settings)
    slices = [s.data[0] for s in read_slices(tmp_path / "s.tif")]
    np.testing.assert_array_equal(slices, [GREY, GREY + 1, GREY + 2])
    small = Picture.fromarray(GREY[::4, ::4])
    small.save(tmp_path / "t.tif", append_images=pages[:1], **settings)
    np.testing.assert_array_equal(read_image(tmp_path / "t.tif").data[0], GREY)


def _lzw_tiff(path, array, photometric, *, order="<", bits=0):
    """A TIFF compressed by literals only, cleared before the codes grow."""
    data = array.astype(array.dtype.newbyteorder(order)).tobytes()
    if bits:  # so many of each value alone
        data = np.packbits(
            np.unpackbits(array[..., None], axis=-1)[..., -bits:]
        ).tobytes()
    bits = bits or 8 * array.itemsize
    samples = array.shape[2] if array.ndim == 3 else 1
    codes = [c for i in range(0, len(data), 250) for c in (256, *data[i : i + 250])]
    text = "".join(f"{code:09b}" for code in [*codes, 257])
    size = -(-len(text) // 8)
    strip = int(text.ljust(size * 8, "0"), 2).to_bytes(size, "big")
    sign = {"u": 1, "i": 2, "f": 3}[array.dtype.kind]
    tags = [
        (256, 4, 1, array.shape[1]),
        (257, 4, 1, array.shape[0]),
        (258, 3, samples, bits if samples == 1 else 8),
        (259, 3, 1, 5),
        (262, 3, 1, photometric),
        (273, 4, 1, 16),
        (277, 3, 1, samples),
        (278, 4, 1, array.shape[0]),
        (279, 4, 1, size),
        (339, 3, 1, sign),
    ]
    about = (b"II" if order == "<" else b"MM", 42, 16 + size, bits, bits, bits, 0)
    content = struct.pack(f"{order}2sHI4H", *about) + strip
    content += struct.pack(f"{order}H", len(tags))
    for *tag, value in tags:
        form = "H2x" if tag[1:] == [3, 1] else "I"
        content += struct.pack(f"{order}HHI{form}", *tag, value)
    content += bytes(4)
    path.write_bytes(content)
    return path


def test_colour_planes_of_a_tiff(tmp_path):
    tifffile.imwrite(
        tmp_path / "a.tif", planes(COLOUR), photometric="rgb", planarconfig="separate"
    )
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").data, planes(COLOUR))


@pytest.mark.parametrize(
    ("settings", "nm"),
    [
        (
            {"imagej": True, "resolution": (1 / 4.6,) * 2, "metadata": {"unit": "nm"}},
            4.6,
        ),
        ({"imagej": True, "resolution": (250, 250), "metadata": {"unit": "um"}}, 4),
        ({"imagej": True, "resolution": (250, 250), "metadata": {"unit": "micron"}}, 4),
        (
            {
                "imagej": True,
                "resolution": (250,) * 2,
                "metadata": {"unit": "\\u00B5m"},
            },
            4,
        ),
        ({"imagej": True, "resolution": (72, 72), "metadata": {"unit": "inch"}}, None),
        ({"imagej": True, "resolution": (1, 1), "metadata": {"unit": "pixel"}}, None),
        ({"imagej": True, "metadata": {"unit": "nm"}}, 1.0),
        ({"resolution": (2e6, 2e6), "resolutionunit": "CENTIMETER"}, 5.0),
        ({"resolution": (254000, 254000), "resolutionunit": "INCH"}, 100.0),
        ({"resolution": (300, 300), "resolutionunit": "INCH"}, None),
        ({"resolution": (118, 118), "resolutionunit": "CENTIMETER"}, None),
        ({"resolution": (1, 1), "resolutionunit": "NONE"}, None),
        (
            {"metadata": {"axes": "YX", "PhysicalSizeX": 0.25, "PhysicalSizeY": 0.25}},
            250,
        ),
        (
            {
                "metadata": {
                    "axes": "YX",
                    "PhysicalSizeX": 0.46,
                    "PhysicalSizeXUnit": "nm",
                    "PhysicalSizeY": 0.46,
                    "PhysicalSizeYUnit": "nm",
                }
            },
            0.46,
        ),
        ({"metadata": {"axes": "YX"}}, None),
    ],
)
def test_the_pixel_size_of_a_tiff(tmp_path, settings, nm):
    is_ome = "axes" in settings.get("metadata", {})
    path = tmp_path / ("a.ome.tif" if is_ome else "a.tif")
    tifffile.imwrite(path, GREY, **settings)
    assert read_image(path).scale == (None if nm is None else pytest.approx(nm))


@pytest.mark.parametrize(
    ("words", "nm"),
    [
        (b"MPP = 0.26", 260.0),
        (b"MPP = 0,26|\xb5\xff", 260.0),
        (b"MPP = 0.26|AppMag = 40|MPP = 0.260", 260.0),
        (b"AppMag = 20", None),
    ],
)
def test_the_pixel_size_of_a_slide(tmp_path, words, nm):
    words = b"Aperio Image Library\r\n33x47|" + words
    settings = {"description": words, "metadata": None, "tile": (16, 16)}
    tifffile.imwrite(tmp_path / "a.svs", COLOUR, photometric="rgb", **settings)
    assert read_image(tmp_path / "a.svs").scale == nm


def test_a_slide_of_two_pixel_sizes_has_none(tmp_path):
    words = "Aperio Image Library\r\n33x47|MPP = 0.5|AppMag = 20|MPP = 0,25"
    settings = {"description": words, "metadata": None, "tile": (16, 16)}
    # Nor is the plain resolution believed then: it repeats one of the two.
    settings |= {"resolution": (40_000, 40_000), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(tmp_path / "a.svs", COLOUR, photometric="rgb", **settings)
    found = read_image(tmp_path / "a.svs")
    assert found.scale is None
    assert found.notes == (
        "a.svs says MPP = 0.5 and MPP = 0.25: the pixel size is unknown.",
    )


def test_pixels_that_are_not_square_are_noted(tmp_path):
    settings = {"imagej": True, "metadata": {"unit": "um"}}
    tifffile.imwrite(tmp_path / "a.tif", GREY, resolution=(250, 200), **settings)
    image = read_image(tmp_path / "a.tif")
    assert image.scale == 4.0
    assert "not square (5 nm high, 4 nm wide)" in image.notes[0]


@given(
    scale=st.none() | st.floats(0.01, 4000),
    dtype=st.sampled_from(
        "uint8 int8 uint16 int16 uint32 int32 float16 float32 float64".split()
    ),
    channels=st.integers(1, 5),
)
def test_what_is_written_as_tiff_comes_back(tmp_path_factory, scale, dtype, channels):
    path = tmp_path_factory.mktemp("tiff") / "a.tif"
    image = RNG.integers(0, 99, (channels, 9, 12)).astype(dtype)
    write_image(path, image, scale=scale)
    again = read_image(path)
    np.testing.assert_array_equal(again.data, image)
    assert again.data.dtype == image.dtype
    assert again.scale == (None if scale is None else pytest.approx(scale, rel=1e-6))
    assert holds_image(path, image, scale=scale)
    assert not holds_image(path, image + 1, scale=scale)
    assert not holds_image(path, image, scale=2.0 * (scale or 1.0))
    assert [p.name for p in path.parent.iterdir()] == ["a.tif"]


def test_png_holds_8_and_16_bit_and_nothing_else(tmp_path):
    for array in (GREY[None], DEEP[None], planes(COLOUR)):
        write_image(tmp_path / "a.png", array)
        np.testing.assert_array_equal(read_image(tmp_path / "a.png").data, array)
    before = (tmp_path / "a.png").read_bytes()
    with pytest.raises(TopiaryError, match=r"write it as \.tif"):
        write_image(tmp_path / "a.png", GREY.astype(float))
    assert (tmp_path / "a.png").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_a_stack_is_refused_and_can_be_read_slice_by_slice(tmp_path, n):
    stack = RNG.integers(0, 99, (n, 20, 30), dtype=np.uint8)
    settings = {"photometric": "minisblack"}
    tifffile.imwrite(tmp_path / "a.tif", stack, **settings)
    with pytest.raises(TopiaryError, match=f"stack of {n} images.*slice-wise"):
        read_image(tmp_path / "a.tif")
    slices = list(read_slices(tmp_path / "a.tif"))
    np.testing.assert_array_equal(np.concatenate([s.data for s in slices]), stack)


@pytest.mark.parametrize("n", [2, 3, 4, 30])
def test_planes_that_nobody_has_named_are_slices_of_a_stack(tmp_path, n):
    stack = RNG.integers(0, 99, (n, 20, 30), dtype=np.uint8)
    settings = {"photometric": "minisblack", "imagej": True}
    tifffile.imwrite(tmp_path / "a.tif", stack, **settings)
    slices = list(read_slices(tmp_path / "a.tif"))
    assert count_slices(tmp_path / "a.tif") == len(slices) == n
    np.testing.assert_array_equal(np.concatenate([s.data for s in slices]), stack)
    assert "taken as slices of a stack. If they are one image" in slices[0].notes[0]


@pytest.mark.parametrize("n", [2, 3, 4, 30])
def test_channels_belong_together_unless_there_are_too_many(tmp_path, n):
    stack = RNG.integers(0, 99, (n, 20, 30), dtype=np.uint8)
    write_image(tmp_path / "own.tif", stack[:4])
    assert read_image(tmp_path / "own.tif").data.shape[0] == min(n, 4)
    ome = {"axes": "CYX", "Channel": {"Name": [f"c{i}" for i in range(n)]}}
    for name, about, said in (("a", {}, "looked at together"), ("named", ome, "")):
        file = tmp_path / f"{name}.ome.tif"
        tifffile.imwrite(file, stack, metadata=about, photometric="minisblack")
        slices = list(read_slices(file))
        assert len(slices) == (n if n > 8 else 1)
        notes = " ".join(slices[0].notes)
        assert ("30 channels: they are taken as slices" if n > 8 else said) in notes
        assert bool(notes) == (n > 8 or bool(said))


def test_slices_keep_channels_and_pixel_size(tmp_path):
    stack = RNG.integers(0, 99, (4, 2, 20, 30), dtype=np.uint8)
    settings = {"metadata": {"axes": "ZCYX", "unit": "um"}, "resolution": (10, 10)}
    tifffile.imwrite(tmp_path / "a.tif", stack, imagej=True, **settings)
    slices = list(read_slices(tmp_path / "a.tif"))
    assert [s.data.shape for s in slices] == [(2, 20, 30)] * 4
    assert {s.scale for s in slices} == {100.0}
    Picture.fromarray(GREY).save(tmp_path / "a.png")
    assert [s.data.shape for s in read_slices(tmp_path / "a.png")] == [(1, 33, 47)]


def test_the_largest_image_of_a_tiff_is_read(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(GREY[:10, :10])
        file.write(DEEP)
        file.write(GREY[:5, :5])
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").data[0], DEEP)


def test_zarr_arrays(tmp_path):
    zarr.save_array(tmp_path / "a.zarr", GREY)
    np.testing.assert_array_equal(read_image(tmp_path / "a.zarr").data[0], GREY)
    zarr.save_array(tmp_path / "c.zarr", COLOUR)
    np.testing.assert_array_equal(read_image(tmp_path / "c.zarr").data, planes(COLOUR))
    zarr.save_array(tmp_path / "s.zarr", np.stack([DEEP] * 6))
    with pytest.raises(TopiaryError, match="stack of 6 images"):
        read_image(tmp_path / "s.zarr")
    assert len(list(read_slices(tmp_path / "s.zarr"))) == 6
    zarr.save_array(tmp_path / "one.zarr", GREY[0])
    with pytest.raises(TopiaryError, match="is not an image"):
        read_image(tmp_path / "one.zarr")


def test_zarr_groups(tmp_path):
    group = zarr.open_group(tmp_path / "g.zarr", mode="w")
    with pytest.raises(TopiaryError, match="holds 0 arrays"):
        read_image(tmp_path / "g.zarr")
    group.create_array("x", data=GREY)
    np.testing.assert_array_equal(read_image(tmp_path / "g.zarr").data[0], GREY)
    group.create_array("y", data=DEEP)
    with pytest.raises(TopiaryError, match=r"the one to open \(g.zarr/x, g.zarr/y\)"):
        read_image(tmp_path / "g.zarr")
    np.testing.assert_array_equal(read_image(tmp_path / "g.zarr" / "y").data[0], DEEP)


def test_ome_zarr_is_read_at_full_resolution_with_its_pixel_size(tmp_path):
    group = zarr.open_group(tmp_path / "o.zarr", mode="w")
    group.create_array("0", data=GREY)
    group.create_array("1", data=GREY[::2, ::2])
    axes = [{"name": n, "type": "space", "unit": "micrometer"} for n in "yx"]
    levels = [
        {
            "path": str(level),
            "coordinateTransformations": [{"type": "scale", "scale": [size, size]}],
        }
        for level, size in ((0, 0.0046), (1, 0.0092))
    ]
    image = {"axes": axes, "datasets": levels}
    group.attrs["ome"] = {"version": "0.5", "multiscales": [image]}
    loaded = read_image(tmp_path / "o.zarr")
    np.testing.assert_array_equal(loaded.data[0], GREY)
    assert loaded.scale == 4.6


def ome_zarr(folder, array, *, image=1.0, levels=(1.0, 2.0), unit=None, form=2):
    """An OME-Zarr image with scales of the whole and of each level."""
    group = zarr.open_group(folder, mode="w", zarr_format=form)
    names = "tczyx"[-array.ndim :]
    datasets = []
    for number, factor in enumerate(levels):
        step = (..., slice(None, None, 2**number), slice(None, None, 2**number))
        small = group.create_array(
            str(number), shape=array[step].shape, dtype=array.dtype
        )
        small[...] = array[step]
        scale = {"type": "scale", "scale": [1.0] * (array.ndim - 2) + [factor] * 2}
        datasets.append({"path": str(number), "coordinateTransformations": [scale]})
    axes = [{"name": n, **({"unit": unit} if unit else {})} for n in names]
    whole = {"type": "scale", "scale": [1.0] * (array.ndim - 2) + [image] * 2}
    about = {
        "axes": axes,
        "datasets": datasets,
        "coordinateTransformations": [whole],
    }
    if form == 3:
        group.attrs["ome"] = {"version": "0.5", "multiscales": [about]}
    else:
        group.attrs["multiscales"] = [{"version": "0.4", **about}]
    return group


@pytest.mark.parametrize("form", [2, 3], ids=["0.4", "0.5"])
def test_scales_of_ome_zarr_multiply(tmp_path, form):
    array = DEEP.astype(">u2")[None, None, None]
    path = tmp_path / "o.zarr"
    ome_zarr(path, array, image=0.5, levels=(4.0, 8.0), unit="nanometer", form=form)
    loaded = read_image(path)
    assert loaded.scale == 2.0
    assert loaded.data.dtype == np.uint16
    assert loaded.data.dtype.isnative
    np.testing.assert_array_equal(loaded.data[0], DEEP)
    # One of its levels alone knows its own pixel size.
    assert read_image(path / "0").scale == 2.0
    assert read_image(path / "1").scale == 4.0
    np.testing.assert_array_equal(read_image(path / "1").data[0], DEEP[::2, ::2])


def test_a_scale_without_a_unit_is_unknown_and_said(tmp_path):
    ome_zarr(tmp_path / "o.zarr", GREY, image=0.5, levels=(4.0,))
    loaded = read_image(tmp_path / "o.zarr")
    assert loaded.scale is None
    assert "no unit of length" in loaded.notes[0]
    ome_zarr(tmp_path / "p.zarr", GREY, levels=(1.0,))
    assert read_image(tmp_path / "p.zarr").notes == ()


@pytest.mark.parametrize(
    ("size", "unit", "said"),
    [
        (0.0, "nanometer", "a scale of 0 along y, which no pixel can have"),
        (-4.0, "nanometer", "a scale of -4 along y, which no pixel can have"),
        (math.nan, "nanometer", "a scale of nan along y, which no pixel can have"),
        (1.0, "parsec", "a scale in parsec, which is not known as a unit of length"),
    ],
)
def test_a_scale_that_no_pixel_has_is_unknown_and_said(tmp_path, size, unit, said):
    group = ome_zarr(tmp_path / "o.zarr", GREY, levels=(1.0,), unit=unit)
    about = group.attrs["multiscales"]
    # Along one axis only: the other one is not believed either.
    about[0]["coordinateTransformations"][0]["scale"] = [size, 4.0]
    group.attrs["multiscales"] = about
    loaded = read_image(tmp_path / "o.zarr")
    assert loaded.scale is None
    assert loaded.notes == (f"o.zarr has {said}: the pixel size is unknown.",)


def test_levels_of_ome_zarr_may_be_listed_smallest_first(tmp_path):
    path = tmp_path / "o.zarr"
    group = ome_zarr(path, GREY, levels=(4.0, 8.0, 16.0), unit="nanometer")
    about = group.attrs["multiscales"]
    about[0]["datasets"].reverse()
    group.attrs["multiscales"] = about
    loaded = read_image(path)
    assert loaded.scale == 4.0
    np.testing.assert_array_equal(loaded.data[0], GREY)
    opened = Zarr.open(path)
    assert [level.shape for level in opened.smaller] == [
        group[name].shape for name in "12"
    ]
    # A level that is given by its name is that one.
    assert read_image(path / "2").scale == 16.0
    shutil.rmtree(path / "0")
    with pytest.raises(TopiaryError, match="full resolution, the folder 0: it is inc"):
        read_image(path)


@pytest.mark.parametrize("with_list", [True, False])
def test_bioformats2raw_opens_or_lists_its_series(tmp_path, with_list):
    for count in (1, 2):
        root = tmp_path / f"{count}.zarr"
        zarr.open_group(root, mode="w", zarr_format=2).attrs[
            "bioformats2raw.layout"
        ] = 3
        for number in range(count):
            ome_zarr(
                root / str(number),
                GREY[None, None, None] + np.uint8(number),
                levels=(0.01,),
                unit="micrometer",
            )
        if with_list:
            names = [str(number) for number in range(count)]
            zarr.open_group(root / "OME", mode="w", zarr_format=2).attrs["series"] = (
                names
            )
    loaded = read_image(tmp_path / "1.zarr")
    np.testing.assert_array_equal(loaded.data[0], GREY)
    assert loaded.scale == 10.0
    with pytest.raises(TopiaryError, match=r"2 images .*2\.zarr/0, 2\.zarr/1"):
        read_image(tmp_path / "2.zarr")
    assert read_image(tmp_path / "2.zarr" / "1").data[0, 0, 0] == GREY[0, 0] + 1
    assert is_image(tmp_path / "2.zarr" / "1")
    assert not is_image(tmp_path)


@pytest.mark.parametrize("array", [GREY, DEEP, GREY.astype(np.float32) / 9])
def test_white_at_0_is_turned_over_in_images_and_not_in_labels(tmp_path, array):
    path = tmp_path / "w.tif"
    tifffile.imwrite(path, array, photometric="miniswhite")
    seen = read_image(path).data[0]
    assert seen.dtype == array.dtype
    if array.dtype.kind == "u":
        np.testing.assert_array_equal(seen, ~array)
        np.testing.assert_array_equal(read_labels(path), array)
    else:
        np.testing.assert_allclose(seen, array.max() + array.min() - array, rtol=1e-5)


@pytest.mark.parametrize("kept", [0.4, 0.64, 0.9, 0.96])
@pytest.mark.parametrize("how", ["imagej", "plain", "pages"])
def test_a_torn_stack_is_not_one_image(tmp_path, how, kept):
    path, stack = tmp_path / "s.tif", RNG.integers(0, 255, (3, 60, 60), np.uint8)
    if how == "pages":
        pages = [Picture.fromarray(one) for one in stack]
        pages[0].save(path, save_all=True, append_images=pages[1:])
    else:
        settings = {"metadata": {"axes": "ZYX"}, "imagej": how == "imagej"}
        tifffile.imwrite(path, stack, photometric="minisblack", **settings)
    assert len(list(read_slices(path))) == 3
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(TopiaryError, match=r"cut short|cannot be read|damaged"):
        list(read_slices(path))
    with pytest.raises(TopiaryError, match=r"cut short|cannot be read|damaged"):
        read_image(path)


def broken(name):
    """Half of a good file."""

    def make(folder):
        (tifffile.imwrite if name.endswith("tif") else _save)(folder / name, GREY)
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])
        return folder / name

    return make


def _save(path, array):
    Picture.fromarray(array).save(path)


def file(name, content=b""):
    def make(folder):
        (folder / name).write_bytes(content)
        return folder / name

    return make


def folder(name):
    def make(place):
        (place / name).mkdir()
        return place / name

    return make


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: folder / "none.tif", "There is no file"),
        (file("a.tif"), r"a\.tif is empty \(0 bytes\): copy it again"),
        (file("a.png"), r"a\.png is empty \(0 bytes\): copy it again"),
        (file("a.png", b"\x89PNG junk"), "cannot be read"),
        (file("a.tif", b"II*\0junkjunk"), "holds no image"),
        (broken("a.tif"), "cannot be read"),
        (broken("a.png"), "cannot be read"),
        (broken("a.jpg"), "cannot be read"),
        (file("a.czi"), "light microscope's own program .* save it as OME-TIFF"),
        (file("a.xlsx"), r"a spreadsheet program.* save it there as CSV"),
        (file("a.mrxs"), "slide of a scanner's own kind .* QuPath"),
        (file("a_seg.npy"), "can start programs .* save the masks as PNG or TIFF"),
        (file("a.h5"), "file of arrays .* as TIFF"),
        (file("a.nii.gz"), "volume of a medical .* save it as TIFF"),
        (file("a.zarr.zip"), "archive .* unpack it"),
        (file("a.txt", b"hello"), "is a .txt file that cannot be read as an image"),
        (file("a", b"hello"), "is a file that cannot be read as an image"),
        (folder("a"), "is a folder that cannot be read as an image"),
        (folder("a.tif"), "is a folder that cannot be read as an image"),
        (folder("a.zarr"), "cannot be read"),
        (file("a.zarr"), "is not a folder"),
    ],
)
def test_what_cannot_be_read_is_refused_in_a_sentence(
    tmp_path, make, words, caplog, capfd
):
    caplog.set_level(logging.CRITICAL, "tifffile")
    with pytest.raises(TopiaryError, match=words) as fault:
        read_image(make(tmp_path))
    assert str(fault.value).endswith(".")
    assert capfd.readouterr() == ("", "")


def test_a_jpeg_that_lies_about_its_size_is_refused(tmp_path):
    for progressive in (False, True):
        buffer = io.BytesIO()
        Picture.fromarray(GREY).save(buffer, "JPEG", progressive=progressive)
        content = bytearray(buffer.getvalue())
        at = content.index(b"\xff\xc2" if progressive else b"\xff\xc0") + 5
        content[at : at + 4] = struct.pack(">HH", 9000, 9000)
        (tmp_path / "a.jpg").write_bytes(content)
        with pytest.raises(TopiaryError, match="says that it holds 9,000 x 9,000"):
            read_image(tmp_path / "a.jpg")
    # Blank ones are packed closest.
    Picture.fromarray(np.full((3000, 3000, 3), 7, np.uint8)).save(
        tmp_path / "b.jpg", quality=1, progressive=True, subsampling="4:2:0"
    )
    assert read_image(tmp_path / "b.jpg").data.shape[1:] == (3000, 3000)


def test_complex_numbers_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", GREY.astype(np.complex64))
    with pytest.raises(TopiaryError, match="complex64 values, which are not grey"):
        read_image(tmp_path / "a.tif")


def test_labels_must_be_one_channel(tmp_path):
    write_image(tmp_path / "a.tif", DEEP)
    np.testing.assert_array_equal(read_labels(tmp_path / "a.tif"), DEEP)
    write_image(tmp_path / "b.png", planes(COLOUR))
    with pytest.raises(TopiaryError, match="is a colour picture, not a label image"):
        read_labels(tmp_path / "b.png")


def test_colour_becomes_grey_by_brightness():
    assert to_grey(GREY[None]) is not None
    np.testing.assert_array_equal(to_grey(GREY[None]), GREY[None])
    same = np.repeat(GREY[None], 3, axis=0)
    np.testing.assert_array_equal(to_grey(same), GREY[None])
    green = np.zeros((3, 2, 2), np.uint8)
    green[1] = 200
    assert to_grey(green).dtype == np.uint8
    assert (to_grey(green) == 143).all()
    assert to_grey(RNG.random((2, 4, 5)).astype(np.float32)).shape == (1, 4, 5)


@pytest.mark.parametrize("name", list(image_formats))
def test_every_format_has_endings_of_its_own(name):
    suffixes = image_formats[name].suffixes
    assert suffixes
    assert all(s.startswith(".") and s == s.lower() for s in suffixes)
    everything = [s for other in image_formats for s in image_formats[other].suffixes]
    assert sorted(everything) == list(readable_suffixes())


@pytest.mark.skipif(not VENDOR.is_dir(), reason="The vendors' files are not here.")
@pytest.mark.parametrize(
    ("name", "shape", "nm"),
    [
        ("gpl3/fei_helios_sem_16bit.tif", (1, 471, 512), 3372.4),
        ("gpl3/gatan_dm_exported.tif", (1, 68, 68), 168.675),
        ("gpl3/imagej_float32_um.tif", (1, 68, 68), 168.675),
        ("gpl3/olympus_sis.tif", (1, 101, 112), 0.023928),
        ("gpl3/zeiss_sem_512.tif", (1, 384, 512), 11.65),
        ("permissive/cmu_1_small_region.svs", (3, 2967, 2220), 499.0),
    ],
)
def test_pixel_sizes_of_makers(name, shape, nm):
    image = read_image(VENDOR / name)
    assert image.data.shape == shape
    assert image.scale == pytest.approx(nm, rel=1e-4)


@pytest.mark.skipif(not VENDOR.is_dir(), reason="The vendors' files are not here.")
@pytest.mark.parametrize("name", ["fibsem_crop.ome.tif", "fibsem_crop.ome.zarr"])
def test_ome_stacks_of_others(name):
    slices = list(read_slices(VENDOR / "permissive" / name))
    assert len(slices) == 32
    assert slices[0].data.shape == (1, 192, 192)
    assert slices[0].scale == 10.0


def test_printing_inks_become_colours(tmp_path):
    inks = np.zeros((4, 5, 4), np.uint8)
    inks[0] = (255, 0, 0, 0)  # cyan
    inks[1] = (0, 0, 0, 255)  # black
    tifffile.imwrite(tmp_path / "he.tif", inks, photometric="separated")
    found = read_image(tmp_path / "he.tif").data
    assert found.shape == (3, 4, 5) and found.dtype == np.uint8
    assert found[:, 0, 0].tolist() == [0, 255, 255]
    assert not found[:, 1].any() and (found[:, 2] == 255).all()


def tvips_header(size_nm):
    """A header of EM-MENU with a pixel size."""
    parts = []
    for fields, values in (
        (tifffile.TIFF.TVIPS_HEADER_V1, {"Version": 2}),
        (
            tifffile.TIFF.TVIPS_HEADER_V2,
            {"Magic": 0xAAAAAAAA, "PixelSizeX": size_nm, "PixelSizeY": size_nm},
        ),
    ):
        record = np.zeros(1, np.dtype(fields))
        for name, value in values.items():
            record[name] = value
        parts.append(record.tobytes())
    return b"".join(parts)


PHENOM = (
    '<?xml version="1.0"?><FeiImage><pixelWidth unit="um">0.004</pixelWidth>'
    '<pixelHeight unit="um">0.004</pixelHeight></FeiImage>'
)
JEOL = (
    "<TemReporter><Eos><EosMode>eosTEM</EosMode></Eos><ImageFormingSystem>"
    "<ModeString>{}</ModeString><SelectorValue>5000</SelectorValue>"
    "</ImageFormingSystem></TemReporter>"
)
TAGS = {
    "FEI": ([(34682, b"[User]\r\nUser=a\r\n[EScan]\r\nPixelWidth=4e-009\r\n"
              b"PixelHeight=4e-009\r\n")], {}),
    "FEI ion beam": ([(34682, b"[IScan]\r\nPixelWidth=4e-9\r\nPixelHeight=4e-9\r\n")],
                     {}),
    "Phenom": ([], {"description": PHENOM}),
    "Zeiss width": ([(34118, b"\r\nAP_WIDTH\r\nWidth = 188.0 nm\r\nAP_PIXEL_SIZE\r\n"
                      b"Pixel Size = 8.0 nm\r\n")], {}),
    "Zeiss image size": ([(34118, b"\r\nAP_PIXEL_SIZE\r\nPixel Size = 8.0 nm\r\n"
                           b"AP_IMAGE_PIXEL_SIZE\r\nImage Pixel Size = 4000 pm\r\n")],
                         {}),
    "Zeiss micron": ([(34118, b"\r\nAP_PIXEL_SIZE\r\nPixel Size = 0.004 \xb5m\r\n")],
                     {}),
    "TVIPS": ([(37706, tvips_header(4.0))], {}),
    "JEOL": ([(271, b"JEOL Ltd.")],
             {"description": JEOL.format("MAG"), "resolution": (500, 500),
              "resolutionunit": "CENTIMETER"}),
}  # fmt: skip


@pytest.mark.parametrize("name", TAGS)
def test_tags_of_makers(tmp_path, name):
    tags, settings = TAGS[name]
    extra = [
        (code, 2 if code != 37706 else 1, len(value) + (code != 37706), value, True)
        for code, value in tags
    ]
    tifffile.imwrite(
        tmp_path / "a.tif", GREY, extratags=extra, metadata=None, **settings
    )
    assert read_image(tmp_path / "a.tif").scale == pytest.approx(4.0, rel=1e-5)


def test_diffraction_has_no_pixel_size_in_nm(tmp_path):
    tifffile.imwrite(
        tmp_path / "a.tif",
        GREY,
        extratags=[(271, 2, 10, b"JEOL Ltd.", True)],
        description=JEOL.format("DIFF"),
        resolution=(100, 100),
        resolutionunit="CENTIMETER",
        metadata=None,
    )
    assert read_image(tmp_path / "a.tif").scale is None


@pytest.mark.parametrize(
    ("unit", "nm"),
    [
        ("micron", 1e3), ("Microns", 1e3), ("µm", 1e3), ("μm", 1e3), ("um", 1e3),
        ("\\u00B5m", 1e3), ("Âµm", 1e3), ("micrometre", 1e3), ("Micrometers", 1e3),
        ("mikrometer", 1e3), ("[u_m]", 1e3), ("n_m", 1.0), ("nanometres", 1.0),
        ("pm", 1e-3), ("picometer", 1e-3), ("A", 0.1), ("\u212b", 0.1),
        ("A\u030a", 0.1), ("\\u00C5", 0.1), ("\\u212b", 0.1), ("Ã…", 0.1),
        ("angstrom", 0.1), ("Ångström", 0.1), ("mm", 1e6), ("m", 1e9), ("cm", 1e7),
        ("pixel", None), ("inch", None), ("", None), ("µ", None), (None, None),
    ],
)  # fmt: skip
def test_units_in_all_spellings(unit, nm):
    assert nm_per_unit(unit) == nm


def test_one_micron_sharp_is_doubted_where_programs_make_it_up(tmp_path):
    for size, doubted in ((1.0, True), (0.25, False)):
        path = tmp_path / "a.ome.tif"
        about = {"axes": "YX", "PhysicalSizeX": size, "PhysicalSizeY": size}
        tifffile.imwrite(path, GREY, photometric="minisblack", metadata=about)
        image = read_image(path)
        assert image.scale == 1000 * size
        assert any("exactly 1 µm" in note for note in image.notes) == doubted


def test_the_two_axes_of_imagej_may_have_two_units(tmp_path):
    tifffile.imwrite(
        tmp_path / "a.tif",
        GREY,
        imagej=True,
        resolution=(250, 0.25),
        metadata={"unit": "um", "yunit": "nm"},
    )
    loaded = read_image(tmp_path / "a.tif")
    assert loaded.scale == 4.0
    assert loaded.notes == ()


def test_labels_in_two_channels_are_refused(tmp_path):
    labels = np.eye(20, 30, dtype=np.uint8)
    veiled = np.dstack([labels, np.full_like(labels, 255)])
    Picture.fromarray(veiled, "LA").save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_labels(tmp_path / "a.png"), labels)
    tifffile.imwrite(
        tmp_path / "b.tif",
        np.stack([1 - labels, labels]),
        photometric="minisblack",
        planarconfig="separate",
    )
    with pytest.raises(TopiaryError, match="has two channels"):
        read_labels(tmp_path / "b.tif")


def test_a_pixel_size_that_cannot_be_is_not_believed(tmp_path):
    write_image(tmp_path / "a.tif", np.eye(20, dtype=np.uint8), scale=25.4e6 / 300)
    found = read_image(tmp_path / "a.tif")
    assert found.scale is None
    assert "is not believed. 84,667 nm per pixel are 300 dots" in found.notes[0]


def png(path, array, bits, kind, *, samples=1):
    """Write a PNG of any bit depth and kind of colours, as its standard says."""

    def chunk(name, data):
        size, check = struct.pack(">I", len(data)), zlib.crc32(name + data)
        return size + name + data + struct.pack(">I", check)

    values = array.astype(">u2").view(np.uint8).reshape(*array.shape, 2)
    each = np.unpackbits(values, axis=-1)[..., 16 - bits :].reshape(len(array), -1)
    rows = np.packbits(each, axis=1)
    lines = b"".join(b"\0" + row.tobytes() for row in rows)
    height, width = array.shape[0], array.shape[1] // samples
    head = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + body)
    return path


@pytest.mark.parametrize(("bits", "most"), [(1, 1), (2, 3), (4, 15), (16, 60_000)])
def test_labels_in_a_grey_png_of_any_depth_are_their_numbers(tmp_path, bits, most):
    labels = np.zeros((5, 16), np.uint16)
    labels[1:3], labels[4] = most, most // 2
    np.testing.assert_array_equal(
        read_labels(png(tmp_path / "a.png", labels, bits, 0)), labels
    )


def test_what_is_read_with_fewer_bits_is_said_and_no_label(tmp_path):
    colour = png(tmp_path / "a.png", np.full((5, 12), 300), 16, 2, samples=3)
    assert "16 bit for each colour, of which 8 are read" in read_image(colour).notes[0]
    veiled = png(tmp_path / "b.png", np.full((5, 8), 300), 16, 4, samples=2)
    for path in (colour, veiled):
        with pytest.raises(TopiaryError, match="not quite those that were saved"):
            read_labels(path)


def test_a_jpeg_of_another_name_is_no_label_image(tmp_path):
    Picture.fromarray(GREY).save(tmp_path / "a.png", format="JPEG")
    with pytest.raises(TopiaryError, match="by JPEG"):
        read_labels(tmp_path / "a.png")


@pytest.mark.parametrize("turn", range(1, 9))
def test_pictures_lie_as_their_camera_says(tmp_path, turn):
    array = np.repeat(np.repeat(GREY, 8, axis=0), 8, axis=1)
    exif = Picture.Exif()
    exif[274] = turn
    Picture.fromarray(array).save(tmp_path / "a.png", exif=exif)
    with Picture.open(tmp_path / "a.png") as picture:
        expected = np.asarray(ImageOps.exif_transpose(picture))
    loaded = read_image(tmp_path / "a.png")
    np.testing.assert_array_equal(loaded.data[0], expected)
    assert len(loaded.notes) == (turn > 1)
    np.testing.assert_array_equal(read_labels(tmp_path / "a.png"), array)


def test_printing_inks_of_a_jpeg_become_colours(tmp_path):
    red = np.zeros((16, 16, 3), np.uint8)
    red[..., 0] = 250
    Picture.fromarray(red).convert("CMYK").save(tmp_path / "a.jpg", quality=98)
    loaded = read_image(tmp_path / "a.jpg")
    assert loaded.data[:, 8, 8] == pytest.approx([250, 0, 0], abs=3)


def test_colour_planes_that_may_be_slices_are_said(tmp_path):
    four = np.stack([GREY, GREY, GREY, 255 - GREY])
    tifffile.imwrite(
        tmp_path / "a.tif", four, photometric="rgb", planarconfig="separate"
    )
    (note,) = read_image(tmp_path / "a.tif").notes
    assert note.startswith("a.tif calls its 4 planes the colours of one picture")
    assert "if they are slices of a stack" in note


OME = """<?xml version="1.0" encoding="UTF-8"?>
<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:{0}">
<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8"
SizeX="{x}" SizeY="{y}" SizeZ="2" SizeC="1" SizeT="1">
<Channel ID="Channel:0:0" SamplesPerPixel="1"/>
<TiffData FirstZ="0" IFD="0" PlaneCount="1">
<UUID FileName="a.ome.tif">urn:uuid:{0}</UUID></TiffData>{more}
</Pixels></Image></OME>"""
SECOND = """<TiffData FirstZ="1" IFD="0" PlaneCount="1">
<UUID FileName="b.ome.tif">urn:uuid:{0}</UUID></TiffData>"""


def test_a_part_of_an_ome_tiff_is_not_the_whole(tmp_path):
    height, width = GREY.shape
    first, second = (f"00000000-0000-0000-0000-00000000000{i}" for i in (1, 2))

    def write(more):
        text = OME.format(first, x=width, y=height, more=more)
        tifffile.imwrite(tmp_path / "a.ome.tif", GREY, description=text, metadata=None)

    write(SECOND.format(second))
    with pytest.raises(TopiaryError, match=r"the rest is in b\.ome\.tif"):
        list(read_slices(tmp_path / "a.ome.tif"))
    write("")
    slices = list(read_slices(tmp_path / "a.ome.tif"))
    assert len(slices) == 2
    assert "no pixels of 1 of its 2 slices" in slices[0].notes[0]


def test_bits_that_nothing_here_unpacks_are_a_sentence(tmp_path):
    loaded = importlib.util.find_spec("imagecodecs")
    packed_bits(tmp_path / "a.tif", bits=12)
    if loaded is None:
        with pytest.raises(TopiaryError, match="packs 12 bit into each value"):
            read_image(tmp_path / "a.tif")


def packed_bits(path, *, bits):
    """A TIFF of 4 x 8 zeros with `bits` each."""
    size = 4 * 8 * bits // 8
    tags = [
        *((256, 4, 1, 8), (257, 4, 1, 4), (258, 3, 1, bits), (259, 3, 1, 1)),
        *((262, 3, 1, 1), (273, 4, 1, 8), (277, 3, 1, 1), (278, 4, 1, 4)),
        (279, 4, 1, size),
    ]
    content = struct.pack("<2sHI", b"II", 42, 8 + size) + bytes(size)
    content += struct.pack("<H", len(tags))
    content += b"".join(struct.pack("<HHII", *tag) for tag in tags) + bytes(4)
    path.write_bytes(content)


def test_images_deep_in_a_zarr_folder_are_listed(tmp_path):
    root = zarr.open_group(tmp_path / "p.zarr", mode="w", zarr_format=2)
    image = root.create_group("A/1/0")
    image.create_array("0", data=GREY)
    image.attrs["multiscales"] = [
        {"axes": [{"name": "y"}, {"name": "x"}], "datasets": [{"path": "0"}]}
    ]
    with pytest.raises(TopiaryError, match=r"the one to open \(p\.zarr/A/1/0\)"):
        read_image(tmp_path / "p.zarr")
    inside = tmp_path / "p.zarr" / "A" / "1" / "0"
    np.testing.assert_array_equal(read_image(inside).data[0], GREY)
    shutil.rmtree(inside / "0")
    with pytest.raises(TopiaryError, match="lacks its full resolution"):
        read_image(inside)


@pytest.mark.parametrize(
    ("kind", "name", "right"),
    [
        ("PNG", "a.tif", "a.png"),
        ("JPEG", "a.tiff", "a.jpg"),
        ("TIFF", "a.png", "a.tif"),
    ],
)
def test_a_picture_of_another_kind_than_its_name_says_is_named(
    tmp_path, kind, name, right
):
    picture = Picture.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16))
    picture.save(tmp_path / name, format=kind)
    said = f"{name} is a {kind} inside, whatever its name says: rename it to {right}."
    with pytest.raises(TopiaryError) as refused:
        read_image(tmp_path / name)
    assert str(refused.value) == said
    (tmp_path / name).rename(tmp_path / right)
    assert read_image(tmp_path / right).data.shape == (1, 16, 16)
    picture.save(tmp_path / "b.png", format="BMP")  # pictures are read by what they are
    assert read_image(tmp_path / "b.png").data.shape == (1, 16, 16)
