"""What the readers make of damaged files: a table of reader by outcome.

    python benchmarks/fuzz.py [--files 500] [--seed 0] [--readers png table ...]

Small good files of every kind are damaged (bytes, numbers in headers, words, values of
JSON) and read in a process of their own, which may take 2 GB and 20 seconds a file.
The same seed damages in the same way. *read* and *sentence* are right; the last four
columns must be 0, and what is in them is named on stderr with its number (`--only`).
"""

from __future__ import annotations

import argparse
import bz2
import copy
import gzip
import json
import queue
import random
import re
import runpy
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import Image as Picture

from napari_topiary.errors import TopiaryError
from napari_topiary.io import large_images, memory
from napari_topiary.io.annotation_formats import (
    read_marks,
    writing_formats,
)
from napari_topiary.io.annotation_formats.base import marks
from napari_topiary.io.dataset import read_dataset
from napari_topiary.io.images import read_labels, read_slices
from napari_topiary.io.importing.reviewing import import_reviewed, review_folder
from napari_topiary.io.importing.virus_files import read_positions, read_tags
from napari_topiary.io.large_images import open_large
from napari_topiary.io.run_crate import Run, write_crate
from napari_topiary.types import run

OUTCOMES = ("read", "sentence", "other", "crash", "hang", "> 2 GB")
MEMORY, SECONDS = 2_000_000_000, 20.0
NUMBERS = (0, 1, 2, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
VALUES = (
    None, True, -1, 0, 1, 0.5, 2**31, 2**63, 10**30, 10**400, 1e-300, 1e300,
    float("inf"), float("nan"), "", "\0", "é", "a" * 10_000, "../../a", [], {}, [None],
)  # fmt: skip
WORDS = (
    "", "-1", "0", "nan", "inf", "1e400", "-1e300", "0x10", "9" * 5000, "a" * 200_000,
    "\0", '"', ",", ";", "\n", "\t", "é", "\ufeff", "[" * 100_000, "{", "1,5", "null",
)  # fmt: skip
RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 255, (33, 47), dtype=np.uint8)
COLOUR = RNG.integers(0, 255, (33, 47, 3), dtype=np.uint8)


@dataclass(frozen=True)
class Reader:
    """Good files of one kind, and who reads them.

    Parameters
    ----------
    make
        Writes good files or folders below a folder.
    read
        Reads one of them.
    damaged
        Which files of a folder are damaged: endings of their paths; none = all.
    """

    make: Callable[[Path], None]
    read: Callable[[Path], object]
    damaged: tuple[str, ...] = ()


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=500, help="damaged files a reader")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--readers", nargs="+", choices=list(READERS), default=READERS)
    parser.add_argument("--only", type=int, metavar="N", help="file N, with traceback")
    parser.add_argument("--work", nargs=2, type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only is not None:
        with tempfile.TemporaryDirectory() as folder:
            name = next(iter(options.readers))
            path = damaged(
                READERS[name], Path(folder), f"{options.seed}/{options.only}"
            )
            print(READERS[name].read(path))
        return 0
    if options.work is not None:
        return _work(options.readers[0], options.seed, *options.work)
    print(" | ".join(("reader", *OUTCOMES)))
    bad = 0
    for name in options.readers:
        counts: Counter[str] = Counter()
        for number, outcome, words in _outcomes(name, options.files, options.seed):
            counts[outcome] += 1
            if outcome in OUTCOMES[2:]:
                bad += 1
                print(f"{name} --only {number}: {outcome} {words}", file=sys.stderr)
        print(" | ".join((name, *(str(counts[one]) for one in OUTCOMES))), flush=True)
    return 1 if bad else 0


def damaged(reader: Reader, folder: Path, seed: str) -> Path:
    """Make good files, damage one of them, and return what is to be read.

    Parameters
    ----------
    reader
        Of which kind.
    folder
        Kept from one call to the next: good files are made once.
    seed
        The same one damages in the same way.
    """
    rng = random.Random(seed)
    good, bad = folder / "good", folder / "bad"
    if not good.exists():
        good.mkdir()
        reader.make(good)
    shutil.rmtree(bad, ignore_errors=True)
    bad.mkdir()
    chosen = rng.choice(sorted(good.iterdir()))
    target = bad / chosen.name
    if chosen.is_file():
        shutil.copyfile(chosen, target)
        files = [target]
    else:
        shutil.copytree(chosen, target)
        files = [p for p in sorted(target.rglob("*")) if p.is_file()]
        files = [p for p in files if str(p).endswith(reader.damaged or "")]
    file = rng.choice(files)
    file.write_bytes(_damaged(rng, file.name, file.read_bytes()))
    return target


def outcome_of(read: Callable[[Path], object], path: Path) -> tuple[str, str]:
    """Read a damaged file; return what came of it, and words about what is wrong.

    Parameters
    ----------
    read
        Reads the file.
    path
        The file.
    """
    try:
        read(path)
    except TopiaryError as error:
        return ("> 2 GB", str(error)) if _is_memory(error) else ("sentence", "")
    except Exception as error:
        words = f"{type(error).__name__}: {str(error)[:200]}"
        return ("> 2 GB" if _is_memory(error) else "other"), words
    return "read", ""


def _is_memory(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, MemoryError) or "allocate memory" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def _outcomes(name: str, files: int, seed: int) -> Iterator[tuple[int, str, str]]:
    """Read in another process; where that ends or hangs, go on after the file."""
    number = 0
    while number < files:
        command = [sys.executable, __file__, "--readers", name, "--seed", str(seed)]
        worker = subprocess.Popen(
            [*command, "--work", str(number), str(files)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=_listen, args=(worker, lines), daemon=True).start()
        patience = 120.0  # the first file waits for the imports
        while number < files:
            try:
                line = lines.get(timeout=patience)
            except queue.Empty:
                yield number, "hang", ""
            else:
                if line:
                    yield (number, *json.loads(line))
                    number, patience = number + 1, SECONDS
                    continue
                yield number, "crash", f"(status {worker.wait()})"
            number += 1
            break
        worker.kill()
        worker.wait()


def _listen(worker: subprocess.Popen[str], lines: queue.Queue[str]) -> None:
    assert worker.stdout is not None
    for line in worker.stdout:
        lines.put(line)
    lines.put("")


def _work(name: str, seed: int, first: int, end: int) -> int:
    out = sys.stdout
    sys.stdout = sys.stderr
    with tempfile.TemporaryDirectory() as folder:
        reader, place = READERS[name], Path(folder)
        reader.read(
            damaged(reader, place, "0") and sorted((place / "good").iterdir())[0]
        )
        _limit_memory()
        for number in range(first, end):
            path = damaged(reader, place, f"{seed}/{number}")
            print(json.dumps(outcome_of(reader.read, path)), file=out, flush=True)
    return 0


def _limit_memory() -> None:
    """Let the process take 2 GB more, without its own checks knowing of that."""
    try:
        import resource
    except ImportError:
        return
    import psutil

    memory._left_in_shell = lambda: sys.maxsize  # what would be asked for counts
    most = psutil.Process().memory_info().vms + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))


# Damage.


def _damaged(rng: random.Random, name: str, content: bytes) -> bytes:
    ways: list[Callable[[random.Random, bytes], bytes]] = [_bytes_damaged] * 2
    if name.endswith(".safetensors"):
        ways += [_description_damaged] * 4
    elif name.endswith(".png"):
        ways += [lambda r, c: _checked_png(_bytes_damaged(r, c))] * 4
    elif name.endswith((".json", ".geojson", ".zarray", ".zattrs", ".zgroup")):
        ways += [_json_damaged] * 4 + [_words_damaged] * 2
    elif name.endswith((".csv", ".txt", ".star", ".cbox", ".box", ".xml", ".coords")):
        ways += [_words_damaged] * 4
    elif name.endswith(".tif"):
        ways += [_tags_damaged] * 4
    return rng.choice(ways)(rng, content)


def _bytes_damaged(rng: random.Random, content: bytes) -> bytes:
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        reach = len(data) if rng.random() < 0.5 else min(len(data), 256)
        at, to = sorted((rng.randrange(reach + 1), rng.randrange(reach + 1)))
        way = rng.randrange(8)
        if way <= 2 and reach:
            data[min(at, reach - 1)] = rng.randrange(256)
        elif way == 3:
            number, size = rng.choice(NUMBERS), rng.choice((2, 4))
            order = rng.choice(("little", "big"))
            piece = (number & (256**size - 1)).to_bytes(size, order)
            data[at : at + size] = piece
        elif way == 4 and rng.random() < 0.5:
            del data[to:]
        elif way == 5:
            del data[at:to]
        elif way == 6:
            data[at:at] = data[at:to][:1000]
        else:
            data[at:to] = bytes(to - at)
    return bytes(data)


def _tags_damaged(rng: random.Random, content: bytes) -> bytes:
    """Another number, type or count in one tag of the first page of a TIFF."""
    order = "<" if content[:2] == b"II" else ">"
    if len(content) < 8 or content[2:4] not in (b"*\0", b"\0*"):
        return _bytes_damaged(rng, content)
    data = bytearray(content)
    (start,) = struct.unpack_from(f"{order}I", data, 4)
    (tags,) = struct.unpack_from(f"{order}H", data, start)
    for _ in range(rng.choice((1, 1, 2, 3))):
        place = start + 2 + 12 * rng.randrange(tags)
        if rng.random() < 0.8:
            number = rng.choice((*NUMBERS, 3, 5, 7, 8, 16, 32, 64, 60_000, 34_712))
            struct.pack_into(f"{order}I", data, place + 8, number)
        elif rng.random() < 0.5:
            struct.pack_into(f"{order}H", data, place + 2, rng.randrange(20))
        else:
            struct.pack_into(f"{order}I", data, place + 4, rng.choice(NUMBERS))
    return bytes(data)


def _words_damaged(rng: random.Random, content: bytes) -> bytes:
    text = content.decode("utf-8", errors="replace")
    for _ in range(rng.choice((1, 1, 2, 5))):
        pieces = re.split(r"([\w.+-]+)", text)
        at = rng.randrange(len(pieces))
        pieces[at] = rng.choice(WORDS)
        text = "".join(pieces)
    return text.encode(rng.choice(("utf-8", "utf-8", "utf-16")))


def _json_damaged(rng: random.Random, content: bytes) -> bytes:
    """Another value at one or two places."""
    whole = json.loads(content)
    for _ in range(rng.choice((1, 1, 2))):
        node: Any = whole
        while True:
            if not node or not isinstance(node, dict | list):
                break
            key = rng.choice(list(node) if isinstance(node, dict) else range(len(node)))
            inner = node[key]
            if not isinstance(inner, dict | list) or not inner or rng.random() < 0.3:
                if rng.random() < 0.15:
                    del node[key]
                else:
                    node[key] = copy.deepcopy(rng.choice(VALUES))
                break
            node = inner
    return json.dumps(whole).encode()


def _description_damaged(rng: random.Random, content: bytes) -> bytes:
    """Another value in the words of a checkpoint, or in the list of its tensors."""
    (length,) = struct.unpack_from("<Q", content)
    header = json.loads(content[8 : 8 + length])
    words = header["__metadata__"]
    if rng.random() < 0.6:
        key = next(iter(words))
        words[key] = _json_damaged(rng, words[key].encode()).decode()
        text = json.dumps(header).encode()
    else:
        text = _json_damaged(rng, json.dumps(header).encode())
    return struct.pack("<Q", len(text)) + text + content[8 + length :]


def _checked_png(content: bytes) -> bytes:
    """Correct the sums of a PNG, so that a reader looks further."""
    data, place = bytearray(content), 8
    while place + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, place)
        end = place + 8 + length
        if end + 4 > len(data):
            break
        struct.pack_into(">I", data, end, zlib.crc32(data[place + 4 : end]))
        place = end + 4
    return bytes(data)


# Good files.


def _make_tiffs(folder: Path) -> None:
    tifffile.imwrite(folder / "grey.tif", GREY)
    tifffile.imwrite(folder / "deflate.tif", GREY.astype("u2"), compression="zlib")
    tifffile.imwrite(folder / "tiles.tif", COLOUR, tile=(16, 16), photometric="rgb")
    imagej = {"imagej": True, "resolution": (0.2, 0.2)}
    tifffile.imwrite(
        folder / "imagej.tif", np.stack([GREY] * 3), metadata={"unit": "nm"}, **imagej
    )
    ome = {"axes": "CYX", "PhysicalSizeX": 0.3, "PhysicalSizeY": 0.3}
    tifffile.imwrite(folder / "a.ome.tif", np.stack([GREY] * 2), metadata=ome)
    tifffile.imwrite(folder / "big.tif", GREY.astype("f4"), bigtiff=True)
    words = "Aperio Image Library v11\n33x47|AppMag = 20|MPP = 0.26"
    tifffile.imwrite(
        folder / "aperio.tif", COLOUR, description=words, metadata=None, tile=(16, 16)
    )
    pages = [Picture.fromarray(GREY) for _ in range(2)]
    pages[0].save(
        folder / "lzw.tif", compression="tiff_lzw", save_all=True,
        append_images=pages[1:],
    )  # fmt: skip


def _make_pictures(ending: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        Picture.fromarray(GREY).save(folder / f"grey.{ending}")
        Picture.fromarray(COLOUR).save(folder / f"colour.{ending}")
        if ending != "jpg":
            palette = Picture.fromarray(COLOUR).quantize(16)
            palette.save(folder / f"palette.{ending}")
            Picture.fromarray(GREY > 99).save(folder / f"bits.{ending}")
        if ending == "png":
            Picture.fromarray(GREY.astype("u2") * 200).save(folder / "deep.png")
        if ending == "jpg":
            Picture.fromarray(COLOUR).convert("CMYK").save(folder / "ink.jpg")
            Picture.fromarray(GREY).save(folder / "steps.jpg", progressive=True)

    return make


def _make_mrcs(folder: Path) -> None:
    import mrcfile

    kinds = {"a.mrc": np.float32, "b.map": np.int8, "c.st": np.int16}
    for name, kind in kinds.items():
        with mrcfile.new(folder / name) as file:
            file.set_data((np.stack([GREY, GREY]) // 3).astype(kind))
            file.voxel_size = 4.6
    content = (folder / "a.mrc").read_bytes()
    (folder / "d.mrc.gz").write_bytes(gzip.compress(content))
    (folder / "e.mrc.bz2").write_bytes(bz2.compress(content))


def _make_gatan_files(folder: Path) -> None:
    for path in (Path(__file__).parents[1] / "tests/io/files").glob("*.dm?"):
        shutil.copy(path, folder)


def _make_emd_files(folder: Path) -> None:
    from rsciio.emd import file_writer

    rows = [
        {"name": name, "size": size, "scale": 0.5, "offset": 0.0, "units": "nm",
         "navigate": False, "index_in_array": at}
        for at, (name, size) in enumerate(zip("yx", GREY.shape, strict=True))
    ]  # fmt: skip
    about = {"General": {"title": "a"}, "Signal": {}}
    signal = {"data": GREY, "axes": rows, "metadata": about, "original_metadata": {}}
    file_writer(str(folder / "a.emd"), signal)


def _make_ser_files(folder: Path) -> None:
    """Image series of TIA: one image, and two."""
    height, width = GREY.shape
    one = struct.pack("<ddiddi", 0.0, 5e-10, 0, 0.0, 5e-10, 0)
    one += struct.pack("<hii", 1, width, height) + GREY.tobytes()
    for count in (1, 2):
        head = struct.pack(
            "<hhhiiii", 0x4949, 0x0197, 0x0210, 0x4122, 0x4152, *[count] * 2
        )
        row = (
            struct.pack("<iddii", count, 0.0, 1.0, 0, 6)
            + b"Number"
            + struct.pack("<i", 0)
        )
        table = len(head) + 8 + len(row)
        first = table + 8 * count
        tags = first + count * len(one)
        places = [first + i * len(one) for i in range(count)]
        places += [tags + i * 8 for i in range(count)]
        content = head + struct.pack("<ii", table, 1) + row
        content += struct.pack(f"<{2 * count}i", *places) + one * count
        content += struct.pack("<hhi", 0x4152, 0, 1_700_000_000) * count
        (folder / f"{count}.ser").write_bytes(content)


def _make_marks(folder: Path) -> None:
    tests = Path(__file__).parents[1] / "tests/io/test_annotation_formats.py"
    for name, (file, text) in runpy.run_path(str(tests))["EXAMPLES"].items():
        (folder / f"{name}-{file}").write_text(text, encoding="utf-8")
    rois = writing_formats()["roi"]
    drawn = marks([[24, 14], [44, 34]], ["virus", "rod"], image="mic1.tif")
    rois.write(folder / f"mic1{rois.ending}", drawn)


def _make_zarrs(folder: Path) -> None:
    import zarr

    for version in (2, 3):
        zarr.create_array(
            folder / f"v{version}.zarr", data=GREY, chunks=(16, 16), zarr_format=version
        )
        group = zarr.open_group(
            folder / f"ome{version}.zarr", mode="w", zarr_format=version
        )
        group.create_array("0", data=GREY)
        scale = {"type": "scale", "scale": [0.0046, 0.0046]}
        image = {
            "axes": [{"name": n, "type": "space", "unit": "micrometer"} for n in "yx"],
            "datasets": [{"path": "0", "coordinateTransformations": [scale]}],
        }
        group.attrs["multiscales"] = [image]


def _make_labels(folder: Path) -> None:
    tifffile.imwrite(folder / "a.tif", (GREY // 64).astype("u2"))
    tifffile.imwrite(folder / "b.tif", (GREY // 64).astype("i4"), compression="zlib")
    Picture.fromarray(GREY // 64).save(folder / "c.png")


def _make_dataset(folder: Path) -> None:
    home = folder / "set"
    for name in ("images", "points", "centerlines", "regions"):
        (home / name).mkdir(parents=True)
    about = {
        "name": "set",
        "task": "detect",
        "classes": ["background", "virus"],
        "radius_nm": {"virus": 12},
        "pixel_size_nm": 4.6,
        "pixel_sizes_nm": {"a": 4.6},
        "split": {"train": ["a"], "val": []},
    }
    (home / "dataset.json").write_text(json.dumps(about))
    tifffile.imwrite(home / "images" / "a.tif", GREY)
    (home / "points" / "a.csv").write_text(
        "index,axis-0,axis-1,class,radius_nm\n0,5.5,7,virus,12\n1,20,30,virus,\n"
    )
    shape = "index,shape-type,vertex-index,axis-0,axis-1"
    (home / "centerlines" / "a.csv").write_text(
        f"{shape},class,width_nm\n0,path,0,3,4,virus,9\n0,path,1,20,30,virus,9\n"
    )
    (home / "regions" / "a.csv").write_text(
        f"{shape}\n"
        + "".join(
            f"0,rectangle,{i},{y},{x}\n"
            for i, (y, x) in enumerate(((1, 1), (1, 40), (30, 40), (30, 1)))
        )
    )


def _make_project(folder: Path) -> None:
    _make_dataset(folder)
    home = folder / "set"
    (home / "session.json").write_text(
        json.dumps(
            {
                "format": 1,
                "name": "set",
                "task": "detect",
                "classes": ["background", "virus"],
                "radius_nm": {"virus": 12},
                "radius_px": {},
                "colours": {"virus": "#ff0000"},
                "scales": {"a": 4.6},
                "checkpoints": {"one": "one.safetensors"},
                "active": "one",
            }
        )
    )
    (home / "checkpoints").mkdir()
    _checkpoint().save(home / "checkpoints" / "one.safetensors")


def _checkpoint() -> Any:
    from napari_topiary.checkpoint import Checkpoint
    from napari_topiary.networks import build_network, count_parameters
    from napari_topiary.types import Task

    sizes = {"base": 2, "multiplier": 1.5, "levels": 1, "batch_norm": True}
    network = build_network("unet", sizes, 1, 2)
    state = {name: tensor.detach() for name, tensor in network.state_dict().items()}
    return Checkpoint(
        network="unet",
        sizes=sizes,
        in_channels=1,
        task=Task("detect", ("background", "virus"), {"virus": 12.0}),
        state=state,
        pixel_size_nm=4.6,
        unpruned_parameters=count_parameters(network),
        thresholds={"virus": 0.5},
    )


def _make_checkpoints(folder: Path) -> None:
    whole = _checkpoint()
    whole.save(folder / "whole.safetensors")
    masks = {
        name: tensor > 0 for name, tensor in whole.state.items() if tensor.ndim == 4
    }
    state = {
        name: tensor * masks[name] if name in masks else tensor
        for name, tensor in whole.state.items()
    }
    whole.replaced(state=state, masks=masks).save(folder / "masked.safetensors")


def _read_checkpoint(path: Path) -> object:
    from napari_topiary.checkpoint import load_checkpoint

    return load_checkpoint(path).build()


def _make_plan(folder: Path) -> None:
    from napari_topiary.config import PruneConfig
    from napari_topiary.pruning import make_plan

    (folder / "plan").mkdir()
    checkpoint = _checkpoint()
    checkpoint.save(folder / "plan" / "one.safetensors")
    text = make_plan(checkpoint, PruneConfig()).to_json()
    (folder / "plan" / "plan.json").write_text(text)


def _read_plan(path: Path) -> object:
    from napari_topiary.checkpoint import load_checkpoint
    from napari_topiary.io.plain_files import read_text
    from napari_topiary.pruning import plan_from_json

    checkpoint = load_checkpoint(path / "one.safetensors")
    return plan_from_json(read_text(path / "plan.json"), checkpoint)


def _read_project(path: Path) -> object:
    from napari_topiary.session import Session

    return Session.open(path)


def _make_virus_files(folder: Path) -> None:
    heading = "particleposition\nx;y\n----\n"
    (folder / "positions.txt").write_text(
        heading + "12.5;7\nparticleposition\n3;4\n20;30,5\n"
    )
    rows = ["height;33", "width;47", "a;b", "c;d", "e;f", "x;4,6", "y;4,6"]
    (folder / "tags.csv").write_text("\n".join(rows))


def _read_virus_file(path: Path) -> object:
    return (read_positions if path.suffix == ".txt" else read_tags)(path)


def _read_dataset(path: Path) -> object:
    return [dict(read_dataset(path).samples)]


def _make_large(folder: Path) -> None:
    _make_tiffs(folder)
    _make_zarrs(folder)


def _read_large(path: Path) -> object:
    """As a pyramid on the screen, whole but thin, and part by part."""
    with _all_are_large():
        opened = open_large(path)
        if opened is None:
            return read_slices(path)
        for image in opened:
            _, height, width = image.shape
            image.read((height // 3, height, 0, width))
            image.thinned()
            for level in image.levels():
                level.read(step=2)
        return opened


def _make_excerpts(folder: Path) -> None:
    _make_dataset(folder)
    tifffile.imwrite(folder / "set/images/a.tif", GREY, tile=(16, 16))
    (folder / "set/labels").mkdir()
    labels = (GREY > 250).astype("u1")
    tifffile.imwrite(folder / "set/labels/a.tif", labels, tile=(16, 16))


def _read_excerpts(path: Path) -> object:
    with _all_are_large():
        return _read_dataset(path)


@contextmanager
def _all_are_large() -> Iterator[None]:
    """Let small images be read as those that do not fit into memory."""
    usual, large_images.LARGE = large_images.LARGE, 100
    try:
        yield
    finally:
        large_images.LARGE = usual


def _make_stack(folder: Path) -> None:
    _make_dataset(folder)
    home = folder / "set"
    tifffile.imwrite(
        home / "images/a.tif", np.stack([GREY] * 3), photometric="minisblack"
    )
    (home / "points/a.csv").write_text(
        "index,axis-0,axis-1,axis-2,class\n0,0,5.5,7,virus\n1,2,20,30,virus\n"
    )
    for kind in ("centerlines", "regions"):
        shutil.rmtree(home / kind)


def _make_import(folder: Path) -> None:
    """A folder of another program: images beside masks and files of marks."""
    home = folder / "theirs"
    for name in ("images", "masks"):
        (home / name).mkdir(parents=True)
    y, x = np.indices(GREY.shape)
    apart = (y % 11 < 7) & (x % 12 < 8)
    objects = np.where(apart, y // 11 * 4 + x // 12 + 1, 0).astype("u2")
    for name in ("a", "b", "c"):
        Picture.fromarray(GREY).save(home / "images" / f"{name}.png")
    tifffile.imwrite(home / "masks" / "a_mask.tif", objects)
    places = "\n".join(f"{x}\t{y}\t10\t10" for x, y in ((3, 4), (12, 9)))
    (home / "images" / "b.box").write_text(places + "\n")
    (home / "images" / "c.csv").write_text("x,y\n4,5\n20,11\n")


def _read_import(path: Path) -> object:
    review = run(review_folder(path))
    out = path.parents[1] / "out"
    shutil.rmtree(out, ignore_errors=True)
    if review.problem:
        raise TopiaryError(review.problem)
    return run(import_reviewed(review, out))


def _make_crates(folder: Path) -> None:
    (folder / "results").mkdir()
    _write_crate(folder / "results")


def _write_crate(folder: Path) -> object:
    """Add a run to what is there; a crate of somebody else stays as it is."""
    told = {"command": "napari-topiary predict a.tif", "version": "1", "begun": 0.0}
    what = Run(**told, ended=1.0, inputs=(), outputs=(folder / "a.csv",))
    (folder / "a.csv").write_text("y,x\n1,2\n")
    return write_crate(folder, what)


def _make_interrupted(folder: Path) -> None:
    """A project whose save was cut off after its list of changes was written."""
    _make_project(folder)
    stage = folder / "set" / ".saving-0-ab"
    (stage / "new" / "points").mkdir(parents=True)
    (stage / "new" / "points" / "a.csv").write_text(
        "index,axis-0,axis-1,class\n0,5,7,virus\n"
    )
    changes = {
        "keep": {"points/a.csv": "versions/20260101-000000-000000/points/a.csv"},
        "move": {"regions/a.csv": "removed/regions/a.csv"},
        "put": ["points/a.csv"],
        "remove": ["centerlines/a.csv"],
    }
    (stage / "changes.json").write_text(json.dumps(changes))


def _read_interrupted(path: Path) -> object:
    """A copy, for opening it completes the save."""
    copy = path.parents[1] / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    return _read_project(shutil.copytree(path, copy))


READERS = {
    "tif": Reader(_make_tiffs, lambda path: list(read_slices(path))),
    **{
        ending: Reader(_make_pictures(ending), lambda path: list(read_slices(path)))
        for ending in ("png", "jpg", "bmp")
    },
    "mrc": Reader(_make_mrcs, lambda path: list(read_slices(path))),
    "dm": Reader(_make_gatan_files, lambda path: list(read_slices(path))),
    "emd": Reader(_make_emd_files, lambda path: list(read_slices(path))),
    "ser": Reader(_make_ser_files, lambda path: list(read_slices(path))),
    "zarr": Reader(_make_zarrs, lambda path: list(read_slices(path))),
    "labels": Reader(_make_labels, read_labels),
    "table": Reader(_make_dataset, _read_dataset, (".csv",)),
    "dataset": Reader(_make_dataset, _read_dataset, ("dataset.json",)),
    "checkpoint": Reader(_make_checkpoints, _read_checkpoint),
    "large": Reader(_make_large, _read_large),
    "excerpts": Reader(_make_excerpts, _read_excerpts, (".tif", ".csv")),
    "stack": Reader(_make_stack, _read_dataset, ("a.tif", "a.csv")),
    "import": Reader(_make_import, _read_import),
    "crate": Reader(_make_crates, _write_crate, (".json",)),
    "interrupted": Reader(_make_interrupted, _read_interrupted, ("changes.json",)),
    "plan": Reader(_make_plan, _read_plan, ("plan.json",)),
    "project": Reader(_make_project, _read_project, (".json",)),
    "marks": Reader(_make_marks, read_marks),
    "virus": Reader(_make_virus_files, _read_virus_file),
}

if __name__ == "__main__":
    sys.exit(main())
