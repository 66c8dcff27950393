"""Which device is taken, what it is called, and which errors mean "less at a time"."""

from __future__ import annotations

import pytest
import torch

from napari_topiary.errors import TopiaryError, is_out_of_memory
from napari_topiary.inference.devices import (
    SECONDS_BETWEEN_LOOKS,
    SECONDS_BETWEEN_TRIALS,
    TRIALS,
    Threads,
    autocast_dtype,
    device_label,
    pick_device,
)

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


class Machine:
    """A clock that goes on by what a step takes with the threads that are set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, usual: int = 4) -> None:
        self.now, self.threads = 0.0, usual
        self.takes = {1: 0.1, usual: 0.05}
        self.computed, self.share = 0.0, 1.0
        monkeypatch.setattr(torch, "get_num_threads", lambda: self.threads)
        monkeypatch.setattr(torch, "set_num_threads", self.set_threads)

    def set_threads(self, number: int) -> None:
        self.threads = number

    def clock(self) -> float:
        return self.now

    def worked(self) -> float:
        return self.computed

    def steps(self, threads: Threads, count: int) -> list[int]:
        numbers = []
        for _ in range(count):
            with threads.step():
                numbers.append(self.threads)
                self.now += self.takes[self.threads]
                self.computed += self.share * self.threads * self.takes[self.threads]
        return numbers


def test_the_faster_number_of_threads_is_chosen_again_and_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine = Machine(monkeypatch)
    with Threads(clock=machine.clock) as threads:
        trials = [4] + [4, 1] * TRIALS
        assert machine.steps(threads, len(trials)) == trials
        assert machine.steps(threads, 5) == [4] * 5
        machine.takes = {1: 0.1, 4: 0.2}  # other programs have begun
        machine.now += SECONDS_BETWEEN_TRIALS
        assert machine.steps(threads, 2 * TRIALS) == [4, 1] * TRIALS
        assert machine.steps(threads, 5) == [1] * 5
        machine.now += SECONDS_BETWEEN_TRIALS
        assert machine.steps(threads, 5) == [4, 1, 1, 1, 1]  # much slower: once will do
        machine.takes = {1: 0.1, 4: 0.05}  # and have ended
        machine.now += SECONDS_BETWEEN_TRIALS
        machine.steps(threads, 2 * TRIALS)
        assert machine.steps(threads, 5) == [4] * 5
        machine.takes = {1: 0.1, 4: 0.095}
        machine.now += SECONDS_BETWEEN_TRIALS
        machine.steps(threads, 2 * TRIALS)
        assert machine.steps(threads, 5) == [1] * 5
    assert machine.threads == 4


def test_work_without_an_end_of_its_own_leaves_the_number_as_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine = Machine(monkeypatch)
    threads = Threads(
        clock=machine.clock, worked=machine.worked, patience=0.5, by_steps=True
    )

    def used(count: int) -> list[int]:
        numbers = machine.steps(threads, count)
        assert machine.threads == 4
        return numbers

    assert used(20) == [4] * 20  # nobody else is there: nothing is tried
    machine.share, machine.takes = 0.5, {1: 0.1, 4: 0.2}
    machine.now += SECONDS_BETWEEN_LOOKS
    assert used(1) == [4]  # which shows that cores are shared
    machine.now += SECONDS_BETWEEN_LOOKS
    assert used(2 * TRIALS + 3) == [4, 1] * TRIALS + [1] * 3
    machine.share, machine.takes = 1.0, {1: 0.1, 4: 0.05}
    machine.now += SECONDS_BETWEEN_TRIALS
    assert used(2 * TRIALS + 3) == [4, 1] * TRIALS + [4] * 3


def test_what_is_made_where_one_thread_computes_uses_all_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine = Machine(monkeypatch)
    machine.threads = 1
    threads = Threads(clock=machine.clock, by_steps=True)
    assert machine.steps(threads, 2) == [1, 1]
    machine.threads = 4
    assert machine.steps(threads, 2) == [4, 4]
    assert machine.threads == 4


def test_threads_come_back_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    with pytest.raises(ZeroDivisionError), Threads(clock=machine.clock) as threads:
        machine.steps(threads, 2)
        with threads.step():
            assert machine.threads == 1
            raise ZeroDivisionError
    assert machine.threads == 4


@pytest.mark.parametrize(("usual", "choose"), [(1, True), (4, False)])
def test_nothing_is_chosen_where_there_is_no_choice(
    monkeypatch: pytest.MonkeyPatch, usual: int, choose: bool
) -> None:
    machine = Machine(monkeypatch, usual)
    with Threads(choose=choose, clock=machine.clock) as threads:
        assert machine.steps(threads, 20) == [usual] * 20
    assert machine.threads == usual
