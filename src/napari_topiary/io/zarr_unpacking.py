"""Zarr arrays whose pieces are never unpacked to more than belongs there.

Whoever unpacks a piece makes room for what it says it holds, or for whatever comes: a
few damaged bytes ask for gigabytes. Apart from the reader of zarr, which is loaded
always: zarr takes its time.
"""

from __future__ import annotations

import asyncio
import bz2
import lzma
import math
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import zarr
from numcodecs import blosc, lz4, zstd
from numcodecs.abc import Codec
from zarr.abc.codec import ArrayArrayCodec, BytesBytesCodec
from zarr.codecs import BytesCodec, ShardingCodec

from napari_topiary.errors import TopiaryError
from napari_topiary.io.memory import in_words

SLACK = 1 << 20
"""Bytes that a piece may hold too many: what is packed twice is larger in between."""
WIDER = 8
"""Values may be so many times wider before they are made what the array says."""
FRAME, BLOCK = b"\x28\xb5\x2f\xfd", 1 << 17
"""How what Zstandard packs begins; bytes that a block of it holds at most."""
_HARMLESS = (
    "adler32 astype bitround crc32 crc32c delta fixedscaleoffset fletcher32 "
    "jenkins_lookup3 packbits quantize shuffle"
).split()
"""What makes bytes or values of as many others."""


def within_bounds(array: zarr.Array[Any], name: str) -> zarr.Array[Any]:
    """Return an array that refuses, with a sentence, to unpack more than belongs there.

    Parameters
    ----------
    array
        That is only read.
    name
        What it is called in sentences.
    """
    about: Any = array.metadata
    if about.zarr_format == 2:
        most = math.prod(array.chunks) * array.dtype.itemsize
        guard = _Guard(name, most * (WIDER if about.filters else 1))
        changed = replace(
            about,
            compressor=about.compressor and _guarded_v2(about.compressor, guard),
            filters=about.filters
            and tuple(_guarded_v2(one, guard) for one in about.filters),
        )
    else:
        changed = replace(about, codecs=_guarded_all(about.codecs, name))
    return zarr.Array(zarr.AsyncArray(changed, array.store_path))


@dataclass(frozen=True)
class _Guard:
    """Unpacks pieces of an array."""

    name: str  #: Of the array
    most: int = 0  #: Bytes that belong into a piece

    @property
    def limit(self) -> int:
        return 2 * self.most + SLACK

    def unpack(self, codec: str, about: Mapping[str, Any], packed: bytes) -> Any:
        way = _WAYS.get(codec)
        if way is None:
            raise self.refused(codec)
        return way(self, packed, about)

    def check(self, claimed: int) -> None:
        if claimed > self.limit:
            raise TopiaryError(
                f"{self.name}: a piece of it says that it holds {in_words(claimed)} "
                f"where {self._belongs}: {_CURE}"
            )

    def too_much(self) -> TopiaryError:
        return TopiaryError(
            f"{self.name}: a piece of it holds far more than the {self.most:,} bytes "
            f"that belong there: {_CURE}"
        )

    def cut_short(self) -> TopiaryError:
        return TopiaryError(f"{self.name}: a piece of it is cut short: {_CURE}")

    def refused(self, codec: str) -> TopiaryError:
        return TopiaryError(
            f"{self.name} is packed with {codec}, which cannot be read here: save it "
            f"with {', '.join(_WAYS)} or unpacked."
        )

    @property
    def _belongs(self) -> str:
        return f"{self.most:,} bytes belong"


_CURE = "it is damaged, copy the whole folder again."


def _streamed(
    start: Callable[..., Any], guard: _Guard, packed: bytes, about: Mapping[str, Any]
) -> bytes:
    """Unpack what does not say how much it holds."""
    parts, left = list[bytes](), guard.limit
    while packed:
        stream, rest = start(about), packed
        while not stream.eof:
            try:
                part = stream.decompress(rest, left + 1)
            except (zlib.error, OSError, lzma.LZMAError):
                if rest is packed and parts:  # what follows is not packed
                    return b"".join(parts)
                raise
            rest = getattr(stream, "unconsumed_tail", b"")
            left -= len(part)
            if left < 0:
                raise guard.too_much()
            if not part and not rest and not stream.eof:
                raise guard.cut_short()
            parts.append(part)
        packed = stream.unused_data
    return b"".join(parts)


def _inflating(_: Mapping[str, Any]) -> Any:
    return zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)  # of zlib and of gzip


def _unpacking_bz2(_: Mapping[str, Any]) -> Any:
    return bz2.BZ2Decompressor()


def _unpacking_lzma(about: Mapping[str, Any]) -> Any:
    kind = about.get("format", lzma.FORMAT_XZ)
    return lzma.LZMADecompressor(format=kind, filters=about.get("filters"))


def _by_blosc(guard: _Guard, packed: bytes, _: Mapping[str, Any]) -> bytes:
    # The library does not ask how long it is.
    if len(packed) < max(16, int.from_bytes(packed[12:16], "little")):
        raise guard.cut_short()
    guard.check(int.from_bytes(packed[4:8], "little"))
    unpacked: bytes = blosc.decompress(packed)
    return unpacked


def _by_lz4(guard: _Guard, packed: bytes, _: Mapping[str, Any]) -> bytes:
    guard.check(int.from_bytes(packed[:4], "little"))
    unpacked: bytes = lz4.decompress(packed)
    return unpacked


def _by_zstd(guard: _Guard, packed: bytes, _: Mapping[str, Any]) -> Any:
    said, at_most = _zstd_size(packed)
    guard.check(said)
    if at_most <= guard.limit:
        return zstd.decompress(packed)
    room = np.empty(guard.most, np.uint8)
    try:
        return zstd.decompress(packed, room)
    except RuntimeError as error:
        if "too small" in str(error):
            raise guard.too_much() from None
        raise


def _zstd_size(packed: bytes) -> tuple[int, int]:
    """Bytes that frames say they hold, and those that there can be at most.

    Where a frame does not say it, its blocks tell how much it cannot exceed.
    """
    said = at_most = at = 0
    while len(packed) >= at + 8:
        if packed[at + 1 : at + 4] == b"\x2a\x4d\x18":  # something beside the content
            at += 8 + int.from_bytes(packed[at + 4 : at + 8], "little")
            continue
        if packed[at : at + 4] != FRAME:
            break  # whoever unpacks it says so
        flags = packed[at + 4]
        single = flags >> 5 & 1
        size = (single, 2, 4, 8)[flags >> 6]
        at += 5 + (1 - single) + (0, 1, 2, 4)[flags & 3]
        claimed = int.from_bytes(packed[at : at + size], "little")
        claimed += 256 if size == 2 else 0
        at, held = _zstd_blocks(packed, at + size)
        at += 4 if flags >> 2 & 1 else 0
        said += claimed
        at_most += claimed if size else held
    return said, max(said, at_most)


def _zstd_blocks(packed: bytes, at: int) -> tuple[int, int]:
    """Where the blocks of a frame end, and the bytes that they hold at most."""
    held, is_last = 0, False
    while not is_last and len(packed) >= at + 3:
        head = int.from_bytes(packed[at : at + 3], "little")
        is_last, kind, size = bool(head & 1), head >> 1 & 3, head >> 3
        held += BLOCK if kind == 2 else size
        at += 3 + (1 if kind == 1 else size)
    return at, held


_WAYS: dict[str, Callable[[_Guard, bytes, Mapping[str, Any]], Any]] = {
    "gzip": partial(_streamed, _inflating),
    "zlib": partial(_streamed, _inflating),
    "bz2": partial(_streamed, _unpacking_bz2),
    "lzma": partial(_streamed, _unpacking_lzma),
    "zstd": _by_zstd,
    "blosc": _by_blosc,
    "lz4": _by_lz4,
}
"""What unpacks pieces, by what has packed them."""


class _GuardedV2(Codec):  # type: ignore[misc]
    """A way of packing of version 2 of zarr."""

    codec_id = ""

    def __init__(self, codec: Any, guard: _Guard) -> None:
        self.codec_id, self._about, self._guard = (
            codec.codec_id,
            codec.get_config(),
            guard,
        )

    def decode(self, buf: Any, out: Any = None) -> Any:
        packed = memoryview(buf).tobytes()
        return self._guard.unpack(self.codec_id, self._about, packed)

    def encode(self, buf: Any) -> Any:
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        return dict(self._about)


def _guarded_v2(codec: Any, guard: _Guard) -> Any:
    name = str(codec.codec_id)
    if name in _HARMLESS:
        return codec
    if name not in _WAYS:
        raise guard.refused(name)
    return _GuardedV2(codec, guard)


@dataclass(frozen=True)
class _GuardedV3(BytesBytesCodec):  # type: ignore[misc]
    """A way of packing of version 3 of zarr."""

    name: str
    about: Mapping[str, Any]
    array: str
    is_fixed_size = False

    async def _decode_single(self, chunk_data: Any, chunk_spec: Any) -> Any:
        itemsize = chunk_spec.dtype.to_native_dtype().itemsize
        guard = _Guard(self.array, math.prod(chunk_spec.shape) * itemsize)
        content = await asyncio.to_thread(
            guard.unpack, self.name, self.about, chunk_data.to_bytes()
        )
        return chunk_spec.prototype.buffer.from_bytes(content)

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: Any) -> int:
        raise NotImplementedError


def _guarded_all(codecs: tuple[Any, ...], array: str) -> tuple[Any, ...]:
    return tuple(_guarded_v3(one, array) for one in codecs)


def _guarded_v3(codec: Any, array: str) -> Any:
    if isinstance(codec, ShardingCodec):
        return replace(codec, codecs=_guarded_all(codec.codecs, array))
    if isinstance(codec, ArrayArrayCodec | BytesCodec):
        return codec
    said = codec.to_dict()
    name = str(said["name"]).removeprefix("numcodecs.")
    if name in _HARMLESS:
        return codec
    if name not in _WAYS:
        raise _Guard(array).refused(name)
    return _GuardedV3(name, said.get("configuration") or {}, array)
