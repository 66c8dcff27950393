"""A network is prepared for whole numbers where it pays, and what it costs is said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_topiary.annotations import Labels
from napari_topiary.checkpoint import Checkpoint, load_checkpoint
from napari_topiary.errors import TopiaryError
from napari_topiary.evaluation.validate import HoldOut
from napari_topiary.inference import engine as engine_module
from napari_topiary.inference.backends import BackendKind, backends
from napari_topiary.inference.backends.pytorch import TorchBackend
from napari_topiary.inference.engine import Engine
from napari_topiary.inference.predict import predict
from napari_topiary.io.dataset import Sample
from napari_topiary.jobs import int8
from napari_topiary.jobs.int8 import int8_problem, on_int8, prepared_for_int8
from napari_topiary.networks import Network, build_network
from napari_topiary.types import Job, Progress, Task, run

TASK = Task("segment", ("background", "light"))


def checkpoint() -> Checkpoint:
    torch.manual_seed(0)
    sizes = {"base": 4, "levels": 2, "batch_norm": True}
    network = build_network("unet", sizes, 1, 2)
    state = {name: t.detach().clone() for name, t in network.state_dict().items()}
    return Checkpoint(
        network="unet", sizes=sizes, in_channels=1, task=TASK, state=state
    )


def sample(seed: int) -> Sample:
    image = np.random.default_rng(seed).normal(100, 20, (1, 96, 96)).astype(np.float32)
    labels = Labels((image[0] > 100).astype(np.int64), instances=False)
    return Sample(image=image, annotations=(labels,), scale=None, name=str(seed))


@pytest.fixture
def hold_out() -> HoldOut:
    return HoldOut([sample(0)], [sample(1)], device="cpu")


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Only torch is installed."""
    monkeypatch.setenv("NAPARI_TOPIARY_HOME", str(tmp_path))
    for name in backends:
        if name != "torch":
            monkeypatch.delitem(backends._things, name)


@pytest.fixture
def abacus(monkeypatch: pytest.MonkeyPatch, alone: None) -> None:
    """A back end that computes with whole numbers and nothing else, and fast."""

    def make(network: Network, device: torch.device, *, exact: bool) -> TorchBackend:
        if not any(hasattr(module, "zeros") for module in network.modules()):
            raise RuntimeError("only whole numbers")
        return TorchBackend(network, device)

    kind = BackendKind(make=make, title="Abacus", packages=("torch",))
    monkeypatch.setitem(backends._things, "abacus", kind)
    monkeypatch.setattr(engine_module, "FASTER", 1e3)


@pytest.fixture
def takes(monkeypatch: pytest.MonkeyPatch) -> Callable[[float, float], None]:
    """Milliseconds per megapixel, whatever the clock says."""

    def set_speeds(before: float, after: float) -> None:
        def measured(engines: dict[str, Engine], **_: object) -> Job[dict[str, float]]:
            for engine in engines.values():
                engine.settle(np.zeros((1, 32, 32), np.float32))
            yield Progress(1, 1)
            return dict(zip(engines, (before, after), strict=True))

        monkeypatch.setattr(int8, "measure_speed", measured)

    return set_speeds


@pytest.mark.usefixtures("abacus")
def test_what_is_faster_is_kept_with_its_price(
    hold_out: HoldOut, takes: Callable[[float, float], None], tmp_path: Path
) -> None:
    takes(200.0, 80.0)
    before = checkpoint()
    made = run(prepared_for_int8(before, hold_out))
    names = set(made.int8)
    assert names
    assert "output" not in names
    first = next(name for name in before.state if name.endswith(".weight"))
    assert first.removesuffix(".weight") not in names
    about = made.provenance["int8"]
    assert (about["ms_per_megapixel_before"], about["ms_per_megapixel"]) == (200, 80)
    assert about["quality"] == pytest.approx(about["quality_before"], abs=0.05)
    (note,) = on_int8(made)
    assert note.startswith("int8: 200 -> 80 ms per megapixel here, Dice 0.")
    made.save(tmp_path / "a.safetensors")
    again = load_checkpoint(tmp_path / "a.safetensors")
    assert again.int8 == made.int8
    assert again.hash == made.hash

    engine = Engine.of(again, "cpu")
    image = sample(2).image / 20 - 5
    engine.settle(image)
    assert (engine.backend, engine.precision) == ("abacus", "int8")
    whole = slice(0, 96), slice(0, 96)
    exact = Engine.of(before, "cpu", backend="torch")(image, *whole)
    found = engine(image, *whole)
    assert 0 < np.abs(found - exact).max() < 0.1
    asked = Engine.of(again, "cpu", backend="abacus")
    asked(image, *whole)
    assert (asked.backend, asked.precision) == ("abacus", "int8")


@pytest.mark.usefixtures("abacus")
def test_other_weights_are_not_prepared(
    hold_out: HoldOut, takes: Callable[[float, float], None]
) -> None:
    takes(200.0, 80.0)
    made = run(prepared_for_int8(checkpoint(), hold_out))
    changed = {name: tensor + 1 for name, tensor in made.state.items()}
    assert made.replaced(state=changed).int8 == {}
    broken = {**made.provenance["int8"], "ranges": {"output": ["a", None]}}
    assert made.replaced(provenance={"int8": broken}).int8 == {}


@pytest.mark.usefixtures("abacus")
def test_what_is_not_faster_is_left_out(
    hold_out: HoldOut, takes: Callable[[float, float], None]
) -> None:
    takes(200.0, 2e5)
    made = run(prepared_for_int8(checkpoint(), hold_out))
    assert made.int8 == {}
    assert on_int8(made) == (
        "int8 was left out: on this machine it is not faster for this network.",
    )


@pytest.mark.usefixtures("abacus")
def test_stop_leaves_it_as_it_was(
    hold_out: HoldOut, takes: Callable[[float, float], None]
) -> None:
    takes(200.0, 80.0)
    before = checkpoint()
    made = run(prepared_for_int8(before, hold_out), should_stop=lambda: True)
    assert made is before


@pytest.mark.usefixtures("abacus")
def test_without_images_there_is_a_sentence() -> None:
    nothing = HoldOut((), (), device="cpu")
    with pytest.raises(TopiaryError, match="images like those"):
        run(prepared_for_int8(checkpoint(), nothing))


@pytest.mark.usefixtures("alone")
def test_without_a_back_end_there_is_a_sentence(hold_out: HoldOut) -> None:
    with pytest.raises(TopiaryError, match=r"napari-topiary\[fast\]"):
        run(prepared_for_int8(checkpoint(), hold_out))
    assert int8_problem("cpu") is not None
    plain = checkpoint()
    about = {"weights": plain.weights_hash, "ranges": {"output": [-1.0, 1.0]}}
    prepared = plain.replaced(provenance={"int8": about})
    found = run(predict(sample(0).image, prepared))
    assert any("needs OpenVINO or ONNX Runtime" in note for note in found.notes)
    same = run(predict(sample(0).image, plain))
    np.testing.assert_array_equal(found.probability, same.probability)
