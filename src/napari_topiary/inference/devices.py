"""Where to compute, and what that place is good at."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Self

import torch

from napari_topiary.errors import TopiaryError
from napari_topiary.words import plural

TRIALS = 3
"""Steps that are timed with every number of threads before one is chosen."""
SECONDS_BETWEEN_TRIALS = 20.0
SECONDS_BETWEEN_LOOKS = 2.0
"""Whether a machine has become busy is asked so often."""
WORTH_IT = 0.9
"""Several threads have to need less than this share of the time of one: they take the
cores from others, and two times that differ by less are not told apart."""
MUCH_SLOWER = 1.5
"""Several threads that need this many times as long as the one that was chosen are not
tried again before the next time."""
ALONE = 0.75
"""Share of the threads' time that they get on a machine that does nothing else."""


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
    if device.type != "cuda":
        there = there and not device.index  # there is one of each
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
    return f"CPU · {plural(cores, 'core')}"


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
    comes back at the end. Where they are about as fast, it is one.

    Parameters
    ----------
    choose
        Whether to choose; otherwise the number stays as it is.
    clock, worked
        Tell the time, and how long this program has computed, in seconds.
    patience
        Seconds of work before any are timed.
    by_steps
        Whether the number from before comes back after every step already, and steps
        are timed only where the machine does more than this, which shows in how much
        of their time the threads could compute: for work that has no end of its own.
    """

    def __init__(
        self,
        *,
        choose: bool = True,
        clock: Callable[[], float] = time.perf_counter,
        worked: Callable[[], float] = time.process_time,
        patience: float = 0.0,
        by_steps: bool = False,
    ) -> None:
        self._usual = self._number = torch.get_num_threads()
        self._choose, self._clock, self._worked = choose, clock, worked
        self._patience, self._by_steps, self._disturbed = patience, by_steps, False
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
        before = torch.get_num_threads()
        if self._choose and before > self._usual:
            # It was made while something else computed with fewer.
            self._usual = self._number = before
            self._waiting = [before]
        if not self._choose or self._usual == 1:
            yield
            return
        begun, worked = self._clock(), self._worked()
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
        self._disturbed = self._worked() - worked < ALONE * number * (now - begun)
        if not timed or not self._took:
            return
        self._took[number].append((now - begun) / size)
        if all(self._took.values()):
            self._decide(now)

    def _begin(self, now: float) -> None:
        """Begin to time steps, or put that off where there is no reason for it."""
        if self._by_steps and self._number == self._usual and not self._disturbed:
            self._due = now + SECONDS_BETWEEN_LOOKS
            return
        self._waiting = [self._usual, 1] * TRIALS
        self._took = {self._usual: [], 1: []}

    def _decide(self, now: float) -> None:
        """Take the number that was faster, until it is tried again."""
        every, one = (statistics.median(self._took[n]) for n in (self._usual, 1))
        still_slower = self._number == 1 and every > MUCH_SLOWER * one
        if self._waiting and not still_slower:
            return
        self._waiting = []
        self._number = self._usual if every < WORTH_IT * one else 1
        if not self._by_steps:
            torch.set_num_threads(self._number)
        self._due = now + SECONDS_BETWEEN_TRIALS


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
