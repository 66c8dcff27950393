"""Where to compute, and what that place is good at."""

from __future__ import annotations

import torch

from napari_topiary.errors import TopiaryError

_OUT_OF_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    "cublas_status_alloc_failed",
    "cudnn_status_alloc_failed",
)


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

    Parameters
    ----------
    device
        Where the network runs.
    """
    kind = torch.device(device).type
    if kind == "cuda":
        good = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if good else None
    if kind == "cpu" and torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return torch.bfloat16 if _cpu_has_bfloat16() else None
    return None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that less at a time could work.

    Parameters
    ----------
    error
        What was raised; torch's CPU allocator raises a plain `RuntimeError`.
    """
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    if not isinstance(error, RuntimeError):
        return False
    words = str(error).lower()
    return any(phrase in words for phrase in _OUT_OF_MEMORY)


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
