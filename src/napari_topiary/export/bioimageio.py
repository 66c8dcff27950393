"""A network as a model of bioimage.io: one archive that many programs open.

Its weights are TorchScript, and ONNX where that can be written here. The same
checkpoint gives the same bytes whenever the command is run, on one version of torch.
"""

from __future__ import annotations

import hashlib
import io
import json
import tempfile
import warnings
import zipfile
from copy import deepcopy
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from numpy.typing import NDArray

from napari_topiary.errors import TopiaryError
from napari_topiary.export.base import (
    AnsweringNetwork,
    Check,
    Exportable,
    Exported,
    ExportFormat,
    drawn,
    export_formats,
)
from napari_topiary.export.description import description, differences, readme, summary
from napari_topiary.export.onnx import check, notes_on, onnx_bytes
from napari_topiary.inference.backends.onnx import OPSET, PACKAGE
from napari_topiary.io.own_files import WRITER
from napari_topiary.normalisation.intensities import TAILS
from napari_topiary.report.pictures import panel, probability_panel, save_row
from napari_topiary.types import Job, Progress, Stop

FORMAT_VERSION = "0.5.4"
JOINTLY = ["channel", "y", "x"]
"""Axes of one image that are normalised together."""
TIMELESS = (1980, 1, 1, 0, 0, 0)
"""Of all parts of the archive: the same content is the same bytes."""
LETTERS = frozenset(
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-() "
)
"""Of a name; others become underscores."""
OUTPUT = "Probability of each class, 0 to 1; how to read it is in README.md"
WITH_VALUES = "; then the distance from the edge of an object"
EPSILON = 1e-6
"""Added by readers to what they divide by."""


def _torchscript_bytes(model: Exportable) -> bytes:
    """Return a network as TorchScript, for images of any size and number."""
    network = AnsweringNetwork(deepcopy(model.network)).eval()
    image, file = torch.from_numpy(model.probes()[0]), io.BytesIO()
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # that it is not the newest way
        traced = torch.jit.trace(  # type: ignore[no-untyped-call]
            network, image, check_trace=False
        )
        torch.jit.save(traced, file)
    # Left out is where on this computer the code lies that was traced.
    with zipfile.ZipFile(file) as whole:
        names = [n for n in whole.namelist() if not n.endswith(".debug_pkl")]
        return _archive({name: whole.read(name) for name in names})


def _check_torchscript(model: Exportable, content: bytes) -> Check:
    """Compare TorchScript with the network that it was made of."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.load(  # type: ignore[no-untyped-call]
            io.BytesIO(content)
        )

    def run(images: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            return np.asarray(traced(torch.from_numpy(images)).numpy())

    off = model.largest_difference(run)
    return Check(by="torchscript", largest_difference=off)


def _make(model: Exportable) -> Job[Exported | None]:
    problem = _licence_problem(model.licence)
    if problem is not None:
        raise TopiaryError(problem)
    steps = ["Checking the TorchScript", "Converting to ONNX", "Describing the network"]
    weights = {"torchscript": _torchscript_bytes(model)}
    if (yield Progress(1, 4, steps[0])) is Stop:
        return None
    checks = [_check_torchscript(model, weights["torchscript"])]
    notes = differences(model)
    if (yield Progress(2, 4, steps[1])) is Stop:
        return None
    if find_spec(PACKAGE) is None:
        notes += (
            "The network is in the archive as TorchScript, not as ONNX: that needs pip "
            "install onnx.",
        )
    else:
        weights["onnx"] = onnx_bytes(model)
        checks.append(check(model, weights["onnx"]))
        notes += notes_on(checks[-1])
    if (yield Progress(3, 4, steps[2])) is Stop:
        return None
    content = _archive(_parts(model, weights), comment=WRITER.encode())
    return Exported(model=model, content=content, checks=tuple(checks), notes=notes)


def _parts(model: Exportable, weights: dict[str, bytes]) -> dict[str, bytes]:
    """Everything that is in the archive, by name."""
    image = _test_image(model)
    answer = model.answer(_prepared(model, image))
    parts = {
        "README.md": readme(model).encode(),
        "cover.png": _cover(model, image[0], answer[0]),
        "test_input.npy": _npy(image),
        "test_output.npy": _npy(answer),
    }
    endings = {"torchscript": "pt", "onnx": "onnx"}
    named = {kind: f"weights.{endings[kind]}" for kind in weights}
    parts |= {named[kind]: weights[kind] for kind in weights}

    def file(name: str) -> dict[str, str]:
        digest = hashlib.sha256(parts[name]).hexdigest()
        return {"source": name, "sha256": digest}

    version = torch.__version__.partition("+")[0]
    about: dict[str, dict[str, Any]] = {
        "torchscript": {"pytorch_version": version},
        "onnx": {"opset_version": OPSET, "parent": "torchscript"},
    }
    record = _record(model)
    record["documentation"] = file("README.md")
    record["covers"] = [file("cover.png")]
    record["weights"] = {kind: file(named[kind]) | about[kind] for kind in weights}
    record["inputs"] = [_input(model) | {"test_tensor": file("test_input.npy")}]
    record["outputs"] = [_output(model) | {"test_tensor": file("test_output.npy")}]
    text = yaml.safe_dump(record, sort_keys=False, allow_unicode=True)
    return {"rdf.yaml": text.encode(), **parts}


def _record(model: Exportable) -> dict[str, Any]:
    """Everything that is said of the network beside its files."""
    checkpoint = model.checkpoint
    task = {
        "detect": "semantic-segmentation",
        "segment": "semantic-segmentation",
        "instances": "instance-segmentation",
    }[checkpoint.task.kind]
    name = "".join(c if c in LETTERS else "_" for c in checkpoint.name).strip()
    if len(name) < 5:
        name = f"{WRITER} {name or checkpoint.network}"
    record = {
        "type": "model",
        "format_version": FORMAT_VERSION,
        "name": name[:64],
        "description": summary(model)[:512],
        "authors": [{"name": model.author.replace("/", "-") or "unknown"}],
        "tags": [WRITER, "2d", "pytorch", checkpoint.network, task],
        "config": {WRITER.replace("-", "_"): json.loads(_json(description(model)))},
    }
    if model.licence:
        record["license"] = model.licence
    created = checkpoint.provenance.get("created")
    if created:
        record["timestamp"] = str(created)
    return record


def _input(model: Exportable) -> dict[str, Any]:
    """The image, and how it is brought to the range of the network."""
    channels = ["red", "green", "blue"]
    number = model.checkpoint.in_channels
    if number != 3:
        channels = [f"channel{i}" if i else "image" for i in range(number)]
    size = {"min": model.smallest_side, "step": model.stride}
    spaces = [_space(model, axis) | {"size": size.copy()} for axis in "yx"]
    return {
        "id": "image",
        "description": "Image at the pixel size that the network was trained at.",
        "axes": [
            {"type": "batch"},
            {"type": "channel", "channel_names": channels},
            *spaces,
        ],
        "data": {"type": "float32"},
        "preprocessing": _preprocessing(model),
    }


def _output(model: Exportable) -> dict[str, Any]:
    """What the network answers, of the same size."""
    spaces: list[dict[str, Any]] = [_space(model, axis) for axis in "yx"]
    for space in spaces:
        space["size"] = {"tensor_id": "image", "axis_id": space["id"]}
        if model.network.halo:
            space["halo"] = model.network.halo
    return {
        "id": "probability",
        "description": OUTPUT + WITH_VALUES * bool(model.network.regressions),
        "axes": [
            {"type": "batch"},
            {"type": "channel", "channel_names": model.maps},
            *spaces,
        ],
        "data": {"type": "float32"},
    }


def _space(model: Exportable, axis: str) -> dict[str, Any]:
    space: dict[str, Any] = {"type": "space", "id": axis}
    if model.pixel_size_nm is not None:
        space |= {"unit": "micrometer", "scale": model.pixel_size_nm / 1000}
    return space


def _preprocessing(model: Exportable) -> list[dict[str, Any]]:
    """Our normalisation as closely as readers know one."""
    how = model.checkpoint.normalisation
    if how.kind == "none":
        return []
    ends = {"min_percentile": 1.0, "max_percentile": 99.0}
    by_percentiles = {"id": "scale_range", "kwargs": {"axes": JOINTLY.copy(), **ends}}
    if how.kind == "percentile":
        if how.per_image:
            return [by_percentiles]
        return _linear(how.low, how.high - how.low)
    if how.kind == "robust" and how.shared is not None:
        low, high = how.shared.brought_percentiles
        clip = {"id": "clip", "kwargs": {"min": -TAILS, "max": 1 + TAILS}}
        brought = {"gain": high - low, "offset": low}
        return [by_percentiles, clip, {"id": "scale_linear", "kwargs": brought}]
    if how.per_image or how.kind == "robust":
        kind = "zero_mean_unit_variance"
        return [{"id": kind, "kwargs": {"axes": JOINTLY.copy()}}]
    return _linear(how.mean, how.std)


def _linear(offset: float, spread: float) -> list[dict[str, Any]]:
    """Subtract and divide, by numbers that are the same for all images."""
    gain = 1 / spread if spread > 0 else 1.0
    if gain == 1 and offset == 0:
        return []
    kwargs = {"gain": gain, "offset": -offset * gain}
    return [{"id": "scale_linear", "kwargs": kwargs}]


def _prepared(model: Exportable, image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Do to an image `(1, c, y, x)` what `_preprocessing` says."""
    values = image.astype(np.float64)
    for step in _preprocessing(model):
        with_what = step["kwargs"]
        if step["id"] == "clip":
            values = values.clip(with_what["min"], with_what["max"])
        elif step["id"] == "scale_linear":
            values = values * with_what["gain"] + with_what["offset"]
        elif step["id"] == "scale_range":
            low, high = np.percentile(values, (1, 99))
            values = (values - low) / (high - low + EPSILON)
        else:
            values = (values - values.mean()) / (values.std() + EPSILON)
    return values.astype(np.float32)


def _test_image(model: Exportable) -> NDArray[np.float32]:
    """Draw an image `(1, c, y, x)` with the intensities that the network knows."""
    side, channels = model.smallest_side, model.checkpoint.in_channels
    image = drawn((channels, side, side + model.stride))
    how = model.checkpoint.normalisation
    mean, deviation = 128.0, 32.0
    if how.kind == "none":
        mean, deviation = 0.0, 1.0
    elif not how.per_image:
        mean, deviation = how.mean, how.std
        if how.kind == "percentile":
            mean, deviation = (how.low + how.high) / 2, (how.high - how.low) / 4
    return np.asarray(image * deviation + mean, dtype=np.float32)[None]


def _cover(
    model: Exportable, image: NDArray[np.float32], answer: NDArray[np.float32]
) -> bytes:
    """Draw an image `(c, y, x)` and the answer `(k + r, y, x)` to it, side by side."""
    found = probability_panel(answer, ", ".join(model.checkpoint.task.classes[1:])[:50])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cover.png"
        save_row(path, [panel(image, "A drawn image"), found])
        return path.read_bytes()


def _licence_problem(licence: str) -> str | None:
    letters = licence.replace("-", "").replace(".", "").replace("+", "")
    if not licence or (letters.isascii() and letters.isalnum()):
        return None
    return (
        f"{licence!r} is not the short name of a licence: give one such as CC-BY-4.0, "
        "CC0-1.0, MIT or BSD-3-Clause."
    )


def _json(about: dict[str, Any]) -> str:
    """Plain lists and numbers, whatever the checkpoint had."""
    return json.dumps(about, default=float)


def _npy(array: NDArray[np.float32]) -> bytes:
    file = io.BytesIO()
    np.save(file, np.ascontiguousarray(array))
    return file.getvalue()


def _archive(parts: dict[str, bytes], *, comment: bytes = b"") -> bytes:
    """Return an archive, not compressed: weights hardly get smaller."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        archive.comment = comment
        for name, content in parts.items():
            archive.writestr(zipfile.ZipInfo(name, TIMELESS), content)
    return file.getvalue()


export_formats.register("bioimageio")(
    ExportFormat(make=_make, title="A model of bioimage.io", ending=".zip")
)
