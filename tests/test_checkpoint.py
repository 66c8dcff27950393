"""The checkpoint: bit-equal round trips, exact sizes, and files that are refused."""

from __future__ import annotations

import json
import pickle
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from napari_topiary.checkpoint import Checkpoint, load_checkpoint
from napari_topiary.errors import TopiaryError
from napari_topiary.networks import build_network, count_parameters
from napari_topiary.normalisation import Normalisation
from napari_topiary.types import Task

TASK = Task("detect", ("background", "virüs", "rod"), {"virüs": 15.5}, {"rod": 3.0})
SIZES = {"base": 4, "multiplier": 1.5, "levels": 2, "batch_norm": True}


def grown(seed: int = 0, **fields: Any) -> Checkpoint:
    """A checkpoint with every field filled."""
    torch.manual_seed(seed)
    network = build_network("unet", SIZES, 1, 3)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            module.num_batches_tracked += 7
    made = Checkpoint(
        network="unet",
        sizes=SIZES,
        in_channels=1,
        task=TASK,
        state={name: t.detach().clone() for name, t in network.state_dict().items()},
        normalisation=Normalisation(
            kind="percentile", per_image=False, low=3, high=200.5
        ),
        pixel_size_nm=0.48,
        working_factor=2.875,
        unpruned_parameters=count_parameters(network),
        pruning=({"kind": "weights", "asked": 0.5, "layers": {"output": [1, 2]}},),
        thresholds={"virüs": 0.25, "rod": 0.5, "common": 0.375},
        metrics={"quality": 0.96, "curve": [[0.0, 1.5], [1.0, 0.5]]},
        annotations_summary={"points": {"virüs": 31}},
        provenance={"name": "Tobacco mosaic — “first”", "seed": 0, "notes": []},
    )
    return replace(made, **fields)


def masked(share: float, seed: int = 0) -> Checkpoint:
    """Weights removed at random, the rest kept."""
    whole = grown(seed)
    masks = {
        name: torch.rand(tensor.shape) >= share
        for name, tensor in whole.state.items()
        if name.endswith("weight") and tensor.ndim > 1
    }
    state = {
        name: tensor * masks[name] if name in masks else tensor
        for name, tensor in whole.state.items()
    }
    return replace(whole, state=state, masks=masks)


def narrow() -> Checkpoint:
    """One map less in the first convolution."""
    whole = grown()
    state = dict(whole.state)
    for name in ("weight", "bias"):
        state[f"down0.conv1.{name}"] = state[f"down0.conv1.{name}"][1:]
    for name in ("weight", "bias", "running_mean", "running_var"):
        state[f"down0.norm1.{name}"] = state[f"down0.norm1.{name}"][1:]
    state["down0.conv2.weight"] = state["down0.conv2.weight"][:, 1:]
    widths = {
        "down0.conv1": (3, 1),
        "down0.norm1": (3, 3),
        "down0.conv2": (4, 3),
    }
    return replace(whole, state=state, widths=widths)


def output(checkpoint: Checkpoint) -> torch.Tensor:
    torch.manual_seed(1)
    with torch.inference_mode():
        return checkpoint.build()(torch.randn(1, 1, 16, 24))


EXAMPLES: dict[str, Callable[[], Checkpoint]] = {
    "dense": grown,
    "half": lambda: masked(0.5),
    "nearly empty": lambda: masked(0.99),
    "nearly full": lambda: masked(0.005),
    "nothing masked": lambda: masked(0.0),
    "all masked": lambda: masked(1.1),
    "narrow": narrow,
}


@pytest.fixture(params=list(EXAMPLES))
def checkpoint(request: pytest.FixtureRequest) -> Checkpoint:
    """One of each kind."""
    return EXAMPLES[request.param]()


def test_round_trip_is_bit_equal(checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    checkpoint.save(path)
    read = load_checkpoint(path)
    assert torch.equal(output(read), output(checkpoint))
    assert read.state.keys() == checkpoint.state.keys()
    for name, tensor in checkpoint.state.items():
        assert torch.equal(read.state[name], tensor)
        assert read.state[name].dtype == tensor.dtype
    assert read.masks.keys() == checkpoint.masks.keys()
    for name, mask in checkpoint.masks.items():
        assert torch.equal(read.masks[name], mask)
    for field in (
        "network sizes in_channels task widths normalisation pixel_size_nm "
        "working_factor unpruned_parameters pruning thresholds metrics "
        "annotations_summary provenance"
    ).split():
        assert getattr(read, field) == getattr(checkpoint, field), field
    assert read.hash == checkpoint.hash
    assert list(tmp_path.iterdir()) == [path]


def test_size_is_known_without_writing(checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    checkpoint.save(path)
    assert checkpoint.file_bytes() == path.stat().st_size


@given(st.floats(0, 1), st.text(max_size=20), st.integers(0, 3))
def test_size_and_words_whatever_they_are(
    tmp_path_factory: pytest.TempPathFactory, share: float, name: str, seed: int
) -> None:
    path = tmp_path_factory.mktemp("any") / "a.safetensors"
    made = masked(share, seed).replaced(provenance={"name": name})
    made.save(path)
    assert made.file_bytes() == path.stat().st_size
    read = load_checkpoint(path)
    assert read.name == name
    assert read.hash == made.hash
    assert torch.equal(output(read), output(made))


def test_file_shrinks_with_sparsity(tmp_path: Path) -> None:
    sizes = [masked(share).file_bytes() for share in (0.0, 0.5, 0.9, 0.99)]
    assert sizes == sorted(sizes, reverse=True)
    weights = sum(mask.numel() for mask in masked(0.9).masks.values())
    saved = masked(0.0).file_bytes() - masked(0.9).file_bytes()
    # One bit per weight stays, and a few words about each tensor.
    assert 0.9 - 1 / 32 - 0.07 < saved / (4 * weights) < 0.9 - 1 / 32
    assert narrow().file_bytes() < grown().file_bytes()


def test_counts() -> None:
    whole = grown()
    assert whole.parameters == count_parameters(whole.build())
    assert whole.parameters == whole.unpruned_parameters == whole.parameters_nonzero
    assert whole.sparsity == 0
    half = masked(0.5)
    removed = sum(int((~mask).sum()) for mask in half.masks.values())
    assert half.parameters == whole.parameters
    assert half.parameters_nonzero == whole.parameters - removed
    assert half.sparsity == pytest.approx(removed / whole.parameters)
    cut = narrow()
    gone = (9 + 1) + 2 + 4 * 9  # a filter, its normalisation, what reads it
    assert cut.parameters == cut.parameters_nonzero == whole.parameters - gone
    assert cut.sparsity == pytest.approx(gone / whole.parameters)


def test_hash_sees_weights_and_words() -> None:
    whole = grown()
    changed = dict(whole.state)
    changed["output.bias"] = changed["output.bias"] + 1e-3
    others = [
        whole.replaced(state=changed),
        whole.replaced(thresholds={}),
        whole.replaced(provenance={}),
        masked(0.5),
        grown(seed=1),
    ]
    hashes = {whole.hash, *(other.hash for other in others)}
    assert len(hashes) == 6
    assert grown().hash == whole.hash


def test_images_are_brought_to_the_pixel_size_of_training() -> None:
    made = replace(grown(), working_factor=2.0, pixel_size_nm=3.0)
    assert made.factor_for(3.0) == 2.0
    assert made.factor_for(1.5) == 4.0
    assert made.factor_for(None) == 2.0
    assert replace(made, pixel_size_nm=None).factor_for(1.5) == 2.0


def test_name_comes_from_provenance() -> None:
    assert grown().name == "Tobacco mosaic — “first”"
    assert grown(provenance={}).name == ""
    assert grown(provenance={"name": None}).name == ""


def test_a_built_network_is_independent_and_ready() -> None:
    made = masked(0.5)
    before = {name: tensor.clone() for name, tensor in made.state.items()}
    network = made.build()
    assert not network.training
    assert all(p.requires_grad and p.is_leaf for p in network.parameters())
    for tensor in network.state_dict().values():
        tensor.add_(1)
    for name, tensor in made.state.items():
        assert torch.equal(tensor, before[name])


def test_building_applies_masks_and_draws_no_random_numbers() -> None:
    dirty = masked(0.5).replaced(state=grown().state)
    torch.manual_seed(5)
    network = dirty.build()
    after = torch.rand(3)
    torch.manual_seed(5)
    assert torch.equal(after, torch.rand(3))
    for name, mask in dirty.masks.items():
        assert (network.get_parameter(name)[~mask] == 0).all()
    assert torch.equal(output(dirty), output(masked(0.5)))


def test_weights_of_another_network_are_a_sentence() -> None:
    state = {name: t for name, t in grown().state.items() if name != "output.bias"}
    with pytest.raises(TopiaryError, match=r"output\.bias is missing"):
        grown(state=state).build()


def test_numbers_are_stored_in_float32(tmp_path: Path) -> None:
    state = {
        name: t.double() if t.is_floating_point() else t
        for name, t in grown().state.items()
    }
    grown(state=state).save(tmp_path / "a.safetensors")
    read = load_checkpoint(tmp_path / "a.safetensors")
    assert {t.dtype for t in read.state.values()} == {torch.float32, torch.int64}


def test_channels_last_tensors_are_stored(tmp_path: Path) -> None:
    network = grown().build().to(memory_format=torch.channels_last)
    made = grown(state=dict(network.state_dict()))
    made.save(tmp_path / "a.safetensors")
    assert made.hash == grown().hash
    assert load_checkpoint(tmp_path / "a.safetensors").hash == grown().hash


def test_words_are_made_plain(tmp_path: Path) -> None:
    metrics = {
        "dice": np.float32(0.5),
        "loss": float("nan"),
        "counts": np.arange(3),
        "pair": (1, np.inf),
        7: Path("folder"),
    }
    grown(metrics=metrics).save(tmp_path / "a.safetensors")
    assert load_checkpoint(tmp_path / "a.safetensors").metrics == {
        "dice": 0.5,
        "loss": None,
        "counts": [0, 1, 2],
        "pair": [1, None],
        "7": "folder",
    }
    with pytest.raises(TypeError, match="cannot hold a Tensor"):
        grown(metrics={"loss": torch.zeros(1)}).save(tmp_path / "b.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]


# --- files that are refused -----------------------------------------------------------


def parts(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Tensors and words of a file."""
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    words = json.loads(content[8 : 8 + length])["__metadata__"]["napari_topiary"]
    return load_file(path), json.loads(words)


@pytest.fixture
def forged(tmp_path: Path) -> Callable[..., Path]:
    """`forged(change)` writes a checkpoint whose tensors and words were changed."""

    def forge(
        change: Callable[[dict[str, np.ndarray], dict[str, Any]], object],
        checkpoint: Checkpoint | None = None,
    ) -> Path:
        path = tmp_path / "forged.safetensors"
        (checkpoint or grown()).save(path)
        tensors, words = parts(path)
        changed = change(tensors, words)
        text = changed if isinstance(changed, str) else json.dumps(words)
        save_file(tensors, path, metadata={"napari_topiary": text})
        return path

    return forge


def test_forging_nothing_changes_nothing(forged: Callable[..., Path]) -> None:
    assert load_checkpoint(forged(lambda tensors, words: None)).hash == grown().hash


WRONG_WORDS = {
    "newer": ({"format": 2}, "format 2 and this version .* reads format 1: update"),
    "format": ({"format": "1"}, "format"),
    "network": ({"network": 3}, "its network is missing or makes no sense"),
    "unknown network": ({"network": "resnet"}, "no network called 'resnet'"),
    "sizes": ({"sizes": [1]}, "its sizes is"),
    "size": ({"sizes": {"depth": 1}}, "no size called 'depth'"),
    "huge": (
        {"sizes": {"base": 512, "levels": 8, "multiplier": 4}},
        "billion weights",
    ),
    "text size": ({"sizes": {"base": "8"}}, "Maps at full size '8'"),
    "channels": ({"in_channels": 1.0}, "its in channels"),
    "negative channels": ({"in_channels": -1}, "its in channels"),
    "many channels": ({"in_channels": 10**9}, "its in channels"),
    "yes channels": ({"in_channels": True}, "its in channels"),
    "task": ({"task": None}, "its task"),
    "task kind": ({"task": {"kind": "conquer"}}, "its task"),
    "widths": ({"widths": {"down0.conv1": [0, 1]}}, "its widths"),
    "three widths": ({"widths": {"down0.conv1": [1, 1, 1]}}, "its widths"),
    "no layer": ({"widths": {"down9.conv1": [1, 1]}}, "cannot be built"),
    "wide": ({"widths": {"down0.conv1": [1000000, 1000000]}}, "another shape"),
    "wider": ({"widths": {"down0.conv1": [10**30, 1]}}, "its widths"),
    "normalisation": ({"normalisation": {"kind": "eval"}}, "its normalisation"),
    "pixel size": ({"pixel_size_nm": 0}, "its pixel size nm"),
    "no pixel size": ({"pixel_size_nm": 1e-300}, "its pixel size nm"),
    "endless factor": ({"working_factor": 1e300}, "its working factor"),
    "pixel text": ({"pixel_size_nm": "1e400"}, "its pixel size nm"),
    "factor": ({"working_factor": None}, "its working factor"),
    "count": ({"unpruned_parameters": -1}, "its unpruned parameters"),
    "history": ({"pruning": [1]}, "its pruning"),
    "threshold": ({"thresholds": {"rod": 1.5}}, "its thresholds"),
    "metrics": ({"metrics": []}, "its metrics"),
    "provenance": ({"provenance": "mine"}, "its provenance"),
}


@pytest.mark.parametrize("case", WRONG_WORDS)
def test_wrong_words_are_refused(forged: Callable[..., Path], case: str) -> None:
    change, sentence = WRONG_WORDS[case]
    path = forged(lambda tensors, words: words.update(change))
    with pytest.raises(TopiaryError, match=sentence) as caught:
        load_checkpoint(path)
    assert str(caught.value).startswith("forged.safetensors cannot be used: ")


@pytest.mark.parametrize("field", "classes radius_nm radius_px".split())
def test_wrong_tasks_are_refused(forged: Callable[..., Path], field: str) -> None:
    wrong = {"classes": ["a", "a", "b"], "radius_nm": {"virüs": -1}, "radius_px": [3]}
    path = forged(lambda tensors, words: words["task"].update({field: wrong[field]}))
    with pytest.raises(TopiaryError, match="its task"):
        load_checkpoint(path)


@pytest.mark.parametrize("field", ["network", "task", "thresholds", "format"])
def test_missing_words_are_refused(forged: Callable[..., Path], field: str) -> None:
    path = forged(lambda tensors, words: words.pop(field) and None)
    with pytest.raises(TopiaryError, match=r"makes no sense|no format version"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "[" * 100_000,
        '{"format": NaN}',
        '{"format": 1, "working_factor": Infinity}',
        '{"format": ' + "9" * 10_000 + "}",
        "__import__('os').system('true')",
    ],
)
def test_hostile_words_are_refused(forged: Callable[..., Path], text: str) -> None:
    path = forged(lambda tensors, words: text)
    with pytest.raises(TopiaryError, match="cannot be used"):
        load_checkpoint(path)


def drop(tensors: dict[str, np.ndarray], words: dict[str, Any]) -> None:
    del tensors["output.bias"]


def add(tensors: dict[str, np.ndarray], words: dict[str, Any]) -> None:
    tensors["output.extra"] = np.zeros(3, np.float32)


def reshape(tensors: dict[str, np.ndarray], words: dict[str, Any]) -> None:
    tensors["output.bias"] = np.zeros((3, 1), np.float32)


def retype(tensors: dict[str, np.ndarray], words: dict[str, Any]) -> None:
    tensors["output.bias"] = np.zeros(3, np.float64)


def spoil(tensors: dict[str, np.ndarray], words: dict[str, Any]) -> None:
    tensors["output.bias"] = np.full(3, np.nan, np.float32)


def twice(tensors: dict[str, np.ndarray], words: dict[str, Any]) -> None:
    tensors["output.weight"] = np.zeros((3, 4, 1, 1), np.float32)


def short_mask(tensors: dict[str, np.ndarray], words: dict[str, Any]) -> None:
    tensors["output.weight//mask"] = tensors["output.weight//mask"][:-1]


def other_mask(tensors: dict[str, np.ndarray], words: dict[str, Any]) -> None:
    tensors["output.weight//mask"] = ~tensors["output.weight//mask"]
    tensors["output.weight//mask"][0] = 255


def no_mask(tensors: dict[str, np.ndarray], words: dict[str, Any]) -> None:
    del tensors["output.weight//mask"]


def no_kept(tensors: dict[str, np.ndarray], words: dict[str, Any]) -> None:
    del tensors["output.weight//kept"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (drop, "missing"),
        (add, "output.extra is not part of the network"),
        (reshape, "another shape"),
        (retype, "another"),
        (spoil, "not all numbers"),
        (twice, "missing or there twice"),
        (short_mask, "another shape"),
        (other_mask, "mask of output.weight does not fit"),
        (no_mask, "missing or there twice"),
        (no_kept, "missing or there twice"),
    ],
)
def test_wrong_tensors_are_refused(
    forged: Callable[..., Path],
    change: Callable[[dict[str, np.ndarray], dict[str, Any]], None],
    words: str,
) -> None:
    path = forged(change, masked(0.6))
    with pytest.raises(TopiaryError, match=words):
        load_checkpoint(path)


def test_truncated_files_are_refused(tmp_path: Path) -> None:
    whole = tmp_path / "whole.safetensors"
    masked(0.5).save(whole)
    content = whole.read_bytes()
    path = tmp_path / "cut.safetensors"
    for length in [*range(0, len(content), len(content) // 23), len(content) - 1]:
        path.write_bytes(content[:length])
        with pytest.raises(TopiaryError, match="damaged, incomplete"):
            load_checkpoint(path)


@given(st.binary(max_size=200))
def test_garbage_is_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.mktemp("any") / "garbage.safetensors"
    path.write_bytes(content)
    with pytest.raises(TopiaryError, match="cannot be used"):
        load_checkpoint(path)


@given(st.integers(0, 6000), st.integers(0, 255))
def test_a_changed_byte_is_refused_or_harmless(
    tmp_path_factory: pytest.TempPathFactory, place: int, value: int
) -> None:
    path = tmp_path_factory.mktemp("any") / "bit.safetensors"
    masked(0.5).save(path)
    content = bytearray(path.read_bytes())
    content[place] = value
    path.write_bytes(content)
    try:
        read = load_checkpoint(path)
    except TopiaryError:
        return
    assert output(read).shape == (1, 3, 16, 24)


def test_nothing_is_ever_unpickled(tmp_path: Path) -> None:
    opened = tmp_path / "opened"

    class Bomb:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (opened,))

    path = tmp_path / "bomb.safetensors"
    path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(TopiaryError, match="damaged"):
        load_checkpoint(path)
    torch.save({"state": 1}, path)
    with pytest.raises(TopiaryError, match="damaged"):
        load_checkpoint(path)
    assert not opened.exists()


def test_other_safetensors_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"weight": np.zeros(3)}, path)
    with pytest.raises(TopiaryError, match="not written by napari-topiary"):
        load_checkpoint(path)


@pytest.mark.parametrize("name", ["model.pt", "model.pth", "model.onnx"])
def test_networks_of_other_programs_are_a_sentence(tmp_path: Path, name: str) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "unpickled",)

    torch.save(Bomb(), tmp_path / name)
    with pytest.raises(TopiaryError, match=r"give a \.safetensors file"):
        load_checkpoint(tmp_path / name)
    assert not (tmp_path / "unpickled").exists()


def test_missing_files_and_folders_are_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(TopiaryError, match=r"nothing\.safetensors .* no such file"):
        load_checkpoint(tmp_path / "nothing.safetensors")
    with pytest.raises(TopiaryError, match="is a folder, not a checkpoint"):
        load_checkpoint(tmp_path)


def test_a_failed_save_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    grown().save(path)
    before = path.read_bytes()
    with pytest.raises(TypeError):
        grown(metrics={"bad": object()}).save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
