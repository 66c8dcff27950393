"""A network as one ONNX file, which many programs run."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
import torch
from numpy.typing import NDArray

from napari_topiary.export.base import (
    AnsweringNetwork,
    Check,
    Exportable,
    Exported,
    ExportFormat,
    export_formats,
)
from napari_topiary.export.description import after, before, description
from napari_topiary.inference.backends.onnx import PACKAGE, converted
from napari_topiary.io.own_files import WRITER
from napari_topiary.registry import program_version
from napari_topiary.types import Job, Progress, Stop

AXES = {0: "b", 2: "y", 3: "x"}


def onnx_bytes(model: Exportable) -> bytes:
    """Return a network as ONNX: `image` `(b, c, y, x)` -> `probability`.

    Its `metadata_props` say, as JSON texts, what `description` does.
    """
    import onnx

    image = torch.from_numpy(model.probes()[0])
    plain = converted(
        AnsweringNetwork(model.network),
        (image,),
        input_names=["image"],
        output_name="probability",
        dynamic_axes={"image": AXES, "probability": AXES},
    )
    made = onnx.load_model_from_string(plain)
    made.producer_name, made.producer_version = WRITER, program_version()
    made.doc_string = " ".join([*before(model), *after(model)])
    about = {
        key: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for key, value in description(model).items()
    }
    onnx.helper.set_model_props(made, about)
    onnx.checker.check_model(made)
    return bytes(made.SerializeToString(deterministic=True))


def check(model: Exportable, content: bytes) -> Check:
    """Compare a network in ONNX with torch, where there is something to run it."""
    if find_spec("onnxruntime") is None:
        return Check(by="structure")
    off = model.largest_difference(_in_runtime(content))
    return Check(by="onnxruntime", largest_difference=off)


def _in_runtime(content: bytes) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])

    def run(images: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(session.run(None, {"image": images})[0])

    return run


def _make(model: Exportable) -> Job[Exported | None]:
    content = onnx_bytes(model)
    if (yield Progress(1, 2, "Checking the converted network")) is Stop:
        return None
    checked = check(model, content)
    return Exported(
        model=model, content=content, checks=(checked,), notes=notes_on(checked)
    )


def notes_on(checked: Check) -> tuple[str, ...]:
    """Say it where a converted network could not be run."""
    if checked.largest_difference is not None:
        return ()
    return (
        "Only the structure of the ONNX network was checked: after pip install "
        "onnxruntime its answers are compared with those of torch as well.",
    )


export_formats.register("onnx")(
    ExportFormat(make=_make, title="ONNX", ending=".onnx", packages=(PACKAGE,))
)
