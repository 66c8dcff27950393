"""Made-up micrographs whose truth is known, and what every test has to keep to."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from numpy.typing import NDArray

# Before anything reads them: no test may see or write a person's own settings.
_HOME = tempfile.TemporaryDirectory(prefix="topiary-tests-")
os.environ["HOME"] = os.environ["USERPROFILE"] = _HOME.name
for _kind in ("CONFIG", "DATA", "CACHE", "STATE"):
    os.environ[f"XDG_{_kind}_HOME"] = str(Path(_HOME.name) / _kind.lower())
# napari then keeps no settings of its own, which it writes at every step of a window.
os.environ["NAPARI_CONFIG"] = ""

# A machine that does other work at the same time is no reason to fail.
settings.register_profile(
    "topiary",
    deadline=None,
    derandomize=True,
    max_examples=25,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("topiary")


@dataclass(frozen=True)
class Micrograph:
    """A synthetic electron micrograph and the truth that it was drawn from.

    `image` `(1, y, x)` uint8 · `centres` `(n, 2)` y, x in px · `lines` paths `(v, 2)`
    · `labels` `(y, x)`: 0 background, 1 virion, 2 filament · `instances` `(y, x)`:
    0 background, 1..n virions · `scale` nm per px.
    """

    image: NDArray[np.uint8]
    centres: NDArray[np.float64]
    lines: tuple[NDArray[np.float64], ...]
    labels: NDArray[np.uint8]
    instances: NDArray[np.uint16]
    radius: float
    half_width: float
    scale: float


def draw_virions(
    seed: int = 0,
    *,
    size: int = 96,
    count: int = 8,
    radius: float = 6.0,
    filaments: int = 0,
    noise: float = 0.06,
    scale: float = 2.0,
) -> Micrograph:
    """Draw dark-rimmed round particles and pale filaments on a noisy, uneven ground."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.mgrid[:size, :size]).astype(float)
    half_width = max(1.5, radius / 3)
    picture = 0.6 + 0.1 * np.sin(grid[0] / size * 3) * np.cos(grid[1] / size * 2)
    labels = np.zeros((size, size), np.uint8)
    instances = np.zeros((size, size), np.uint16)

    lines = []
    for _ in range(filaments):
        along = np.linspace(0, 1, 40)
        start, end = rng.uniform(half_width + 1, size - half_width - 2, (2, 2))
        bend = rng.uniform(-0.15, 0.15) * size * np.sin(np.pi * along)
        path = start + along[:, None] * (end - start) + bend[:, None] * [[1.0, -1.0]]
        lines.append(np.clip(path, half_width + 1, size - half_width - 2))
        far = np.min([np.hypot(*(grid - p[:, None, None])) for p in lines[-1]], axis=0)
        picture = np.where(far <= half_width, 0.9, picture)
        labels[far <= half_width] = 2

    centres: list[NDArray[np.float64]] = []
    for _ in range(200 * count):
        if len(centres) == count:
            break
        place = rng.uniform(radius + 1, size - radius - 2, 2)
        if any(np.hypot(*(place - c)) < 2.4 * radius for c in centres):
            continue
        centres.append(place)
        far = np.hypot(*(grid - place[:, None, None]))
        picture = np.where(
            far <= radius, np.where(far > 0.6 * radius, 0.15, 0.45), picture
        )
        labels[far <= radius] = 1
        instances[far <= radius] = len(centres)
    if len(centres) < count:
        raise ValueError(
            f"{count} virions of radius {radius} do not fit into {size} px."
        )

    picture = np.clip(picture + rng.normal(0, noise, picture.shape), 0, 1)
    return Micrograph(
        image=np.rint(picture * 255).astype(np.uint8)[None],
        centres=np.array(centres).reshape(-1, 2),
        lines=tuple(lines),
        labels=labels,
        instances=instances,
        radius=radius,
        half_width=half_width,
        scale=scale,
    )


@pytest.fixture(scope="session")
def virions() -> Callable[..., Micrograph]:
    """`virions(seed, size=96, count=8, ...)` draws a micrograph with known truth."""
    return draw_virions


@pytest.fixture(scope="session")
def trained(
    tmp_path_factory: pytest.TempPathFactory, virions: Callable[..., Micrograph]
) -> Path:
    """A folder with a small dataset, `data`, and `net.safetensors`, trained on it.

    Shared by many tests: not to be written into.
    """
    from napari_topiary.annotations import Points
    from napari_topiary.cli import main
    from napari_topiary.io.dataset import Dataset, Sample
    from napari_topiary.io.dataset_writing import write_dataset
    from napari_topiary.types import Task

    home = tmp_path_factory.mktemp("trained")
    samples = {}
    for seed in range(2):
        drawn = virions(seed, size=72, count=4)
        points = Points(drawn.centres, ("virion",) * len(drawn.centres))
        samples[f"m{seed}"] = Sample(drawn.image, (points,), 2.0, f"m{seed}")
    task = Task("detect", ("background", "virion"), {"virion": 12.0})
    split = {"train": ("m0",), "val": ("m1",)}
    write_dataset(home / "data", Dataset("made up", task, samples, split))
    small = "--base 4 --levels 1 --patch 48 --batch 4 --working-factor 1 --epochs 4"
    out = home / "net.safetensors"
    words = ["train", str(home / "data"), *small.split(), "--out", str(out)]
    assert main(words) == 0
    return home


@pytest.fixture
def new_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Put a file of `new_files/` into a room, as whoever adds something does.

    `new_file(room, register, name)`: what it registers is forgotten after the test.
    """
    from napari_topiary.registry import find_members

    def put(room: ModuleType, register: Any, name: str) -> None:
        folder = tmp_path / "new"
        folder.mkdir(exist_ok=True)
        shutil.copy(Path(__file__).parent / "new_files" / f"{name}.py", folder)
        monkeypatch.setattr(room, "__path__", [*room.__path__, str(folder)])
        monkeypatch.setattr(register, "_things", dict(register._things))
        find_members(room.__name__, room.__path__)
        del sys.modules[f"{room.__name__}.{name}"]

    return put


@pytest.fixture
def rng() -> np.random.Generator:
    """Random numbers that are the same in every run."""
    return np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compute alike on every processor: one with bfloat16 rounds, one without does not.

    Reduced precision has tests of its own, which emulate it.
    """
    monkeypatch.setattr("torch.cpu.get_capabilities", dict, raising=False)


@pytest.fixture(autouse=True)
def _strict(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Refuse the network, and hold every test to the folder that it started in."""
    connect = socket.socket.connect

    def connect_here(self: socket.socket, address: object) -> None:
        host = address[0] if isinstance(address, tuple) else None
        if host not in (None, "localhost", "127.0.0.1", "::1"):
            raise RuntimeError(f"A test tried to reach {address}.")
        connect(self, address)  # type: ignore[arg-type]

    monkeypatch.setattr(socket.socket, "connect", connect_here)
    here = Path.cwd()
    yield
    assert Path.cwd() == here, "The test changed the working directory."
