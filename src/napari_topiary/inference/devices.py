"""Where to compute, and what that place is good at."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Self

import torch

from napari_topiary.errors import TopiaryError

TRIALS = 3
"""Steps that are timed with every number of threads before one is chosen."""
SECONDS_BETWEEN_TRIALS = 20.0
SECONDS_BETWEEN_LOOKS = 2.0
"""Whether a machine has become busy is asked so often."""


def pick_device(name: str | torch.device = "auto") -> torch.device:
    """Find the device that is asked for.

    Parameters
    ----------
    name
        `auto` (the fastest there is), `cuda`, `cuda:1`, `mps` or `cpu`.

    Raises
    ------
    TopiaryError
        If this computer does not have it.
    """
    if isinstance(name, torch.device):
        return name
    if name == "auto":
        return torch.device(_available()[0])
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cuda", "mps", "cpu"):
        raise TopiaryError(
            f"There is no device called {name!r}: choose auto, {_choices()}."
        )
    there = device.type in _available()
    if there and device.type == "cuda" and device.index is not None:
        there = device.index < torch.cuda.device_count()
    if not there:
        raise TopiaryError(
            f"This computer has no {name} device that torch can use: choose auto, "
            f"{_choices()}."
        )
    return device


def device_label(name: str | torch.device = "auto") -> str:
    """Name a device in a few words: "CPU · 2 cores", "CUDA · H200".

    Parameters
    ----------
    name
        As for `pick_device`.
    """
    device = pick_device(name)
    if device.type == "cuda":
        model = torch.cuda.get_device_name(device).removeprefix("NVIDIA ")
        return f"CUDA · {model}"
    if device.type == "mps":
        return "MPS · Apple GPU"
    cores = torch.get_num_threads()
    return f"CPU · {cores} core{'s' if cores != 1 else ''}"


def autocast_dtype(device: torch.device | str) -> torch.dtype | None:
    """Reduced precision that makes this device faster; None where it does not.

    Processors without bfloat16 instructions emulate it, slower than float32.
    """
    kind = torch.device(device).type
    if kind == "cuda":
        good = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if good else None
    if kind == "cpu" and torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return torch.bfloat16 if _cpu_has_bfloat16() else None
    return None


class Threads:
    """How many threads of the CPU steps of work are computed with, by the clock.

    Threads wait for one another many times in every step. Where other programs keep the
    cores busy this costs more than it brings, and one thread is faster than several. So
    both are timed on the first steps, and now and then again; the number from before
    comes back at the end.

    Parameters
    ----------
    choose
        Whether to choose; otherwise the number stays as it is.
    clock
        Tells the time in seconds.
    patience
        Seconds of work before any are timed.
    by_steps
        Whether the number from before comes back after every step already, and steps
        are timed only while the machine does more than this: for work that has no end
        of its own.
    """

    def __init__(
        self,
        *,
        choose: bool = True,
        clock: Callable[[], float] = time.perf_counter,
        patience: float = 0.0,
        by_steps: bool = False,
    ) -> None:
        self._usual = self._number = torch.get_num_threads()
        self._choose = choose and self._usual > 1
        self._clock, self._patience, self._by_steps = clock, patience, by_steps
        # The very first step also sets the work up: it says nothing about the rest.
        self._waiting = [self._usual]
        self._took: dict[int, list[float]] = {}
        self._due, self._spent = -float("inf"), 0.0

    def __enter__(self) -> Self:
        """Work begins."""
        return self

    def __exit__(self, *_: object) -> None:
        """Work ends: as many threads as before."""
        if self._choose:
            torch.set_num_threads(self._usual)

    @contextmanager
    def step(self, size: float = 1.0) -> Iterator[None]:
        """Do one step of the work inside.

        Parameters
        ----------
        size
            How much there is to do in it, against other steps.
        """
        if not self._choose:
            yield
            return
        begun, before = self._clock(), torch.get_num_threads()
        if not self._waiting and begun >= self._due and self._spent >= self._patience:
            self._begin(begun)
        timed = bool(self._waiting)
        number = self._waiting.pop(0) if timed else self._number
        torch.set_num_threads(number)
        try:
            yield
        finally:
            if self._by_steps:
                torch.set_num_threads(before)
        now = self._clock()
        self._spent += now - begun
        if not timed or not self._took:
            return
        self._took[number].append((now - begun) / size)
        if not self._waiting:
            known = {n: took for n, took in self._took.items() if took}
            middle = {n: statistics.median(took) for n, took in known.items()}
            self._number = min(middle, key=lambda n: (middle[n], n))
            if not self._by_steps:
                torch.set_num_threads(self._number)
            self._due = now + SECONDS_BETWEEN_TRIALS

    def _begin(self, now: float) -> None:
        """Begin to time steps, or put that off where there is no reason for it."""
        if self._by_steps and self._number == self._usual and not self._is_busy():
            self._due = now + SECONDS_BETWEEN_LOOKS
            return
        self._waiting = [self._usual, 1] * TRIALS
        self._took = {self._usual: [], 1: []}

    def _is_busy(self) -> bool:
        """Whether more is done on this machine than all threads of this work."""
        try:
            return os.getloadavg()[0] > self._usual + 0.5
        except (AttributeError, OSError):  # some systems do not count
            return True


def _available() -> list[str]:
    """Kinds of device that can be used, the fastest first."""
    kinds = ["cuda"] if torch.cuda.is_available() else []
    if torch.backends.mps.is_available():  # type: ignore[no-untyped-call]
        kinds.append("mps")
    return [*kinds, "cpu"]


def _choices() -> str:
    return " or ".join(_available())


def _cpu_has_bfloat16() -> bool:
    # Public since torch 2.11; before that only as private functions.
    capabilities = getattr(torch.cpu, "get_capabilities", None)
    if capabilities is not None:
        found = capabilities()
        return bool(found.get("avx512_bf16") or found.get("amx_bf16"))
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name, bool)() for name in names)
