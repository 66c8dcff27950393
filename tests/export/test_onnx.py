"""A network as ONNX answers as it does in torch, and says how it is used."""

from __future__ import annotations

import json

import numpy as np
import pytest

from napari_topiary.checkpoint import load_checkpoint
from napari_topiary.cli import main
from napari_topiary.export import export_network
from napari_topiary.io.own_files import written_by_topiary
from napari_topiary.types import run

onnx = pytest.importorskip("onnx")


@pytest.mark.parametrize(
    ("network", "more"),
    [
        ("unet", {"masked": True}),
        ("unet", {"in_channels": 3}),
        ("nuclei", {}),
        ("dcnn", {}),
    ],
)
def test_the_file_says_what_torch_says(small, tmp_path, network, more):
    path = tmp_path / "a.onnx"
    made = run(export_network(small(network, **more), path, "onnx"))
    model = made.model
    assert path.read_bytes() == made.content
    assert written_by_topiary(path)
    found = onnx.load(path)
    about = {one.key: one.value for one in found.metadata_props}
    assert json.loads(about["maps"]) == model.maps
    assert json.loads(about["thresholds"]) == {"virion": 0.4, "common": 0.5}
    assert json.loads(about["working_pixel_size_nm"]) == 3.0
    axes = found.graph.input[0].type.tensor_type.shape.dim
    assert [one.dim_param for one in axes] == ["b", "", "y", "x"]
    runtime = pytest.importorskip("onnxruntime")
    assert made.largest_difference < 1e-5
    session = runtime.InferenceSession(made.content)
    image = model.probes()[1]
    (answer,) = session.run(["probability"], {"image": image})
    assert np.allclose(answer, model.answer(image), atol=1e-5)


def test_the_command_writes_it_and_says_how_far_it_is_off(small, tmp_path):
    small().save(tmp_path / "net.safetensors")
    out, report = tmp_path / "net.onnx", tmp_path / "net.json"
    call = ["export", str(tmp_path / "net.safetensors"), "--format", "onnx"]
    assert main([*call, "--out", str(out), "--json", str(report)]) == 0
    said = json.loads(report.read_text(encoding="utf-8"))
    assert said["file_bytes"] == out.stat().st_size
    assert said["maps"] == ["background", "virion"]
    assert said["checks"][0]["by"] in ("onnxruntime", "structure")
    before = out.read_bytes()
    assert main([*call, "--out", str(out)]) == 0  # its own file is replaced
    assert out.read_bytes() == before
    load_checkpoint(tmp_path / "net.safetensors")
