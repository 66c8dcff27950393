"""Everything that runs a finished network runs here: what is fastest is chosen once.

The choice depends on the network, the device and the first tiles of the image, and
never shows in the result: a faster way is taken only where it says the same.
"""

from __future__ import annotations

import hashlib
import json
import logging
import platform
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from napari_topiary.checkpoint import Checkpoint
from napari_topiary.errors import TopiaryError
from napari_topiary.inference.backends import (
    Backend,
    BackendKind,
    backend_kind,
    backends,
    same_labels,
)
from napari_topiary.inference.backends.pytorch import TorchBackend, folded
from napari_topiary.inference.devices import Threads, autocast_dtype, pick_device
from napari_topiary.inference.int8 import Ranges, quantised
from napari_topiary.io.atomic import writing
from napari_topiary.io.own_files import cache_folder
from napari_topiary.networks.base import Network

logger = logging.getLogger(__name__)

Tile = tuple[NDArray[np.float32], slice, slice]
Precision = Literal["checked", "reduced", "float32"]
"""Reduced where the labels of the first tile stay; reduced wherever that is faster, as
in training; or never reduced."""
AUTO = "auto"
INT8, WITH_INT8 = "int8", ", int8"
PATIENCE_S = 2.0
"""A network that runs for less is not converted: it would be over before."""
FASTER = 0.9
"""Another back end has to need less than this share of torch's time."""
SETTLED_S = 0.5
"""Sooner, the number of threads is not chosen by the clock."""
MOST_REMEMBERED = 200


class Engine:
    """Runs a network that does not change any more, on one device.

    A faster way is looked for while the exact one in torch already works: reduced
    precision on the first tile; other back ends, where they are installed, once the
    network has run for a while. They are converted beside the tiles, and have to be
    faster on one of them. What was found is remembered for the machine and network.

    Parameters
    ----------
    network
        In evaluation mode; moved to the device.
    device
        Where to compute.
    backend
        Name of one that has to be used, or `auto`.
    precision
        Whether reduced precision is taken.
    int8
        What each layer reads, where the network may be computed with whole numbers; how
        good it is then somebody has looked at before.

    Raises
    ------
    TopiaryError
        With a sentence if the back end is not installed or does not suit.
    """

    at_once = 1
    """Parts of a large image that are worth being under way together."""

    def __init__(
        self,
        network: Network,
        device: torch.device | str = "auto",
        *,
        backend: str = AUTO,
        precision: Precision = "checked",
        int8: Ranges = MappingProxyType({}),
    ) -> None:
        wanted = backend in backends and backends[backend]
        if wanted and wanted.processor_only and device == "auto":
            device = "cpu"
        self.network, self.device = network, pick_device(device)
        self.backend = "torch"  # what runs the network now
        self._ready = folded(network)
        self._in_full = precision == "float32"
        reduced = None if self._in_full else autocast_dtype(self.device)
        self._exact = TorchBackend(
            self._ready, self.device, reduced if precision == "reduced" else None
        )
        self._run: Backend = self._exact
        on_processor = self.device.type == "cpu"
        self._threads = Threads(choose=on_processor, patience=SETTLED_S, by_steps=True)
        self._int8 = quantised(self._ready, int8) if int8 else None
        self.note = ""  # for the user
        self._next: list[tuple[str, BackendKind]] = []
        if backend != AUTO:
            kind = backend_kind(backend, network, self.device)
            self._next.append((backend, kind))
        elif precision == "checked" and reduced is not None:
            self._next.append(("torch", backends["torch"]))
        self._search = None
        if backend == AUTO:
            self._search = _Search(
                self._ready, self.device, self._int8, exact=self._in_full
            )
            if self._int8 is not None and not self._search.converts:
                self.note = (
                    "This network is prepared for int8, which needs OpenVINO or ONNX "
                    "Runtime on a processor: it is computed in full here. "
                    "pip install 'napari-topiary[fast]'"
                )

    @property
    def checked_precision(self) -> Precision:
        """What networks like this one can compute in on the same image, unchecked.

        For many in a row, such as positions of pruning: a check takes as long as the
        exact answer.
        """
        return "float32" if self.precision == "float32" else "reduced"

    @property
    def precision(self) -> str:
        """What the network computes in."""
        return self._run.precision

    def __call__(
        self, image: NDArray[np.float32], rows: slice, columns: slice
    ) -> NDArray[np.float32]:
        """Probabilities, then values, `(k + r, rows, columns)` of a tile `(c, y, x)`.

        The tile has context; `rows` and `columns` of it are wanted, with both ends.
        """
        tile = (image, rows, columns)
        begun = time.perf_counter()
        in_torch = self.backend == "torch"
        with self._threads.step(image.size) if in_torch else nullcontext():
            maps = self._answer(tile)
        seconds = time.perf_counter() - begun
        if self._next:
            maps = self._replace(tile, maps)
        elif self._search is not None:
            self._listen(self._search, tile, maps, seconds)
        return maps

    @classmethod
    def of(
        cls,
        checkpoint: Checkpoint,
        device: torch.device | str = "auto",
        *,
        backend: str = AUTO,
    ) -> Engine:
        """Return what runs a checkpoint's network, with all that is known of it."""
        return cls(checkpoint.build(), device, backend=backend, int8=checkpoint.int8)

    def on_patches(self, patches: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities `(b, k)` of the middles of patches `(b, c, y, x)`."""
        return self._exact.on_patches(patches)

    def settle(self, image: NDArray[np.float32]) -> None:
        """Choose at once what runs the network, as a large image would in time.

        For measuring, on a tile `(c, y, x)`: nothing is converted beside the work.
        """
        tile = (image, slice(0, image.shape[1]), slice(0, image.shape[2]))
        self(*tile)
        if self._search is None:
            return
        self._search.convert_now()
        while self._search is not None and self._search.under_way:
            self(*tile)

    def _answer(self, tile: Tile) -> NDArray[np.float32]:
        if self.backend == "torch":
            return self._run(*tile)
        try:
            return self._run(*tile)
        except Exception as reason:  # each package has errors of its own
            logger.warning("%s failed (%s): back to torch", self.backend, reason)
            self._run, self.backend = self._exact, "torch"
            return self._run(*tile)

    def _replace(self, tile: Tile, maps: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take what was asked for, if the labels stay; in float32 if need be.

        Returns what it says of the tile: the first one is not to differ from the rest.
        """
        name, kind = self._next.pop()
        for exact in (True,) if self._in_full else (False, True):
            try:
                whole = self._int8 if kind.processor_only else None
                other = kind.make(whole or self._ready, self.device, exact=exact)
                if whole is not None:
                    other.precision = INT8
                if other.precision == self._run.precision and name == self.backend:
                    return maps
                again = other(*tile)
            except Exception as reason:
                if name == "torch":
                    raise
                raise TopiaryError(
                    f"{kind.title} cannot run this network ({reason}): choose the "
                    "backend torch or auto."
                ) from reason
            if other.precision == INT8 or same_labels(maps, again, self.network):
                self._run, self.backend = other, name
                return again
        logger.warning("%s changes labels: the network stays in torch", kind.title)
        return maps

    def _listen(
        self, search: _Search, tile: Tile, maps: NDArray[np.float32], seconds: float
    ) -> None:
        """Let the converted back ends compete on a tile, once there are any."""
        found = search.found_after(seconds)
        if found is None:
            return
        self._search = None
        if self.precision != self._exact.precision:
            maps = self._exact(*tile)
        times = {self.backend: seconds}
        for name, other in found.items():
            try:
                again = other(*tile)
                if other.precision == INT8:
                    if not np.isfinite(again).all():
                        continue
                elif not same_labels(maps, again, self.network):
                    continue
                begun = time.perf_counter()
                other(*tile)
                times[name] = (time.perf_counter() - begun) / FASTER
            except Exception as reason:  # each package has errors of its own
                logger.warning("%s cannot be used: %s", name, reason)
        best = min(times, key=lambda name: times[name])
        search.remember(best)
        if best != self.backend:
            self._run, self.backend = found[best], best.removesuffix(WITH_INT8)


class _Search:
    """Converts a network for other back ends, beside what runs meanwhile."""

    def __init__(
        self,
        network: Network,
        device: torch.device,
        int8: Network | None,
        *,
        exact: bool,
    ) -> None:
        self._network, self._device, self._spent = network, device, 0.0
        self._int8, self._exact = int8, exact
        self._names = [
            name
            for name in backends
            if device.type == "cpu"
            and backends[name].processor_only
            and backends[name].installed
            and backends[name].suits(network)
        ]
        if int8 is not None:
            self._names += [name + WITH_INT8 for name in self._names]
        self._waiting: Future[dict[str, Backend]] | None = None

    def found_after(self, seconds: float) -> dict[str, Backend] | None:
        """What was converted, once it has run `seconds` more; None = nothing yet."""
        self._spent += seconds
        if self._waiting is not None:
            return self._waiting.result() if self._waiting.done() else None
        if self._names and (self._known() or self._spent >= PATIENCE_S):
            self._begin()
        return None

    @property
    def converts(self) -> bool:
        """Whether there is another back end to convert for."""
        return bool(self._names)

    def convert_now(self) -> None:
        """Convert and wait for it, if there is anything to convert."""
        if self._names and self._waiting is None:
            self._begin()
        if self._waiting is not None:
            self._waiting.result()

    @property
    def under_way(self) -> bool:
        """Whether something is converted, or has been."""
        return self._waiting is not None

    def _begin(self) -> None:
        known = self._known()
        if known is not None:
            self._names = [name for name in self._names if name == known]
        if self._names:
            thread = ThreadPoolExecutor(1)
            self._waiting = thread.submit(self._convert)
            thread.shutdown(wait=False)

    def remember(self, name: str) -> None:
        """Write down which back end was fastest; what cannot be written is no loss."""
        path = _verdicts()
        try:
            known = _read(path)
            known.pop(self._key, None)
            kept = list(known.items())[-MOST_REMEMBERED:]
            with writing(path) as beside:
                text = json.dumps({**dict(kept), self._key: name}, indent=0)
                beside.write_text(text, encoding="utf-8")
        except (OSError, TopiaryError) as reason:
            logger.info("the fastest back end is not remembered: %s", reason)

    def _known(self) -> str | None:
        """The fastest back end, if it was found out before."""
        return _read(_verdicts()).get(self._key)

    @cached_property
    def _key(self) -> str:
        """Stands for the network, this machine and the versions of what takes part.

        How fast a network runs depends on its shapes, not on its weights: what was
        found out about one holds after more training.
        """
        digest = hashlib.sha256()
        for name, tensor in self._network.state_dict().items():
            digest.update(f"{name} {tuple(tensor.shape)}".encode())
        kinds = [backends[name.removesuffix(WITH_INT8)] for name in self._names]
        packages = {"torch", *(package for kind in kinds for package in kind.packages)}
        about = [
            platform.node(),
            str(torch.get_num_threads()),
            type(self._network).__name__,
            *(INT8 for _ in (self._int8,) if self._int8 is not None),
            *(f"{name} {version(name)}" for name in sorted(packages)),
        ]
        digest.update("\n".join(about).encode())
        return digest.hexdigest()

    def _convert(self) -> dict[str, Backend]:
        """Convert for every back end that can; runs in a thread of its own."""
        made: dict[str, Backend] = {}
        for name in self._names:
            kind = backends[name.removesuffix(WITH_INT8)]
            rounded = self._int8 if name.endswith(WITH_INT8) else None
            try:
                asked = rounded or self._network
                made[name] = kind.make(asked, self._device, exact=self._exact)
            except Exception as reason:  # whatever ails another package: torch goes on
                logger.warning("%s cannot be used: %s", kind.title, reason)
                continue
            if rounded is not None:
                made[name].precision = INT8
        return made


def _verdicts() -> Path:
    return cache_folder() / "fastest_backends.json"


def _read(path: Path) -> dict[str, str]:
    """What is remembered; nothing from a file that is not ours."""
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}
