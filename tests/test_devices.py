"""Which device is taken, what it is called, and which errors mean "less at a time"."""

from __future__ import annotations

import pytest
import torch

from napari_topiary.devices import (
    autocast_dtype,
    device_label,
    is_out_of_memory,
    pick_device,
)
from napari_topiary.errors import TopiaryError

cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


def test_cpu_is_always_there() -> None:
    assert pick_device("cpu") == torch.device("cpu")
    assert pick_device(torch.device("cpu")) == torch.device("cpu")
    assert device_label("cpu").startswith("CPU · ")


def test_cores_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert device_label("cpu") == "CPU · 2 cores"
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert device_label("cpu") == "CPU · 1 core"


@pytest.mark.parametrize(
    ("cuda_there", "mps_there", "taken"),
    [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")],
)
def test_auto_takes_the_fastest(
    monkeypatch: pytest.MonkeyPatch, cuda_there: bool, mps_there: bool, taken: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda_there)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps_there)
    assert pick_device("auto").type == taken
    assert pick_device().type == taken


def test_label_of_a_gpu_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H200")
    assert device_label("cuda") == "CUDA · H200"


def test_missing_devices_are_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(TopiaryError, match=r"no cuda device .* choose auto, cpu"):
        pick_device("cuda")
    with pytest.raises(TopiaryError, match="no mps device"):
        pick_device("mps")
    for unknown in ("abacus", "meta", ""):
        with pytest.raises(TopiaryError, match="no device called"):
            pick_device(unknown)


def test_a_gpu_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert pick_device("cuda:0").index == 0
    with pytest.raises(TopiaryError, match="cuda:3"):
        pick_device("cuda:3")


@pytest.mark.parametrize(
    ("capabilities", "dtype"),
    [
        ({"avx512_bf16": True}, torch.bfloat16),
        ({"amx_bf16": True, "avx512_bf16": False}, torch.bfloat16),
        ({"avx2": True, "avx512_bf16": False}, None),
        ({}, None),
    ],
)
def test_bfloat16_only_where_the_processor_has_it(
    monkeypatch: pytest.MonkeyPatch,
    capabilities: dict[str, bool],
    dtype: torch.dtype | None,
) -> None:
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    monkeypatch.setattr(
        torch.cpu, "get_capabilities", lambda: capabilities, raising=False
    )
    assert autocast_dtype("cpu") == dtype


def test_bfloat16_with_an_older_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda: False, raising=False)
    assert autocast_dtype("cpu") is None
    monkeypatch.setattr(
        torch.cpu, "_is_avx512_bf16_supported", lambda: True, raising=False
    )
    assert autocast_dtype("cpu") == torch.bfloat16


def test_other_devices_compute_in_full_precision() -> None:
    assert autocast_dtype("mps") is None


@pytest.mark.parametrize(
    ("error", "means"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), True),
        (MemoryError(), True),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
            True,
        ),
        (RuntimeError("MPS backend out of memory (MPS allocated: 8 GB)"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_out_of_memory(error: Exception, means: bool) -> None:
    assert is_out_of_memory(error) is means


@pytest.mark.gpu
@cuda
def test_real_gpu() -> None:
    device = pick_device("auto")
    assert device.type == "cuda"
    assert device_label().startswith("CUDA · ")
    with pytest.raises(torch.OutOfMemoryError) as caught:
        torch.empty(2**45, device=device)
    assert is_out_of_memory(caught.value)
