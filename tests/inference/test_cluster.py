"""Several workers say what one machine says, also when one of them is lost."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import zarr
from scipy import ndimage as ndi

from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import PredictConfig
from napari_topiary.errors import TopiaryError
from napari_topiary.inference.cluster import Cluster, engine_for
from napari_topiary.inference.engine import Engine
from napari_topiary.inference.large import running
from napari_topiary.inference.large.running import predict_large
from napari_topiary.inference.large.writing import ResultFiles
from napari_topiary.inference.predict import predict
from napari_topiary.io.formats import RawImage
from napari_topiary.io.large_images import LargeImage
from napari_topiary.networks import build_network
from napari_topiary.types import Progress, Task, run

SIDE = 256
HERE = PredictConfig(tile=32, device="cpu", backend="torch")


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    torch.manual_seed(0)
    sizes = {"base": 4, "levels": 2}
    network = build_network("unet", sizes, 1, 2)
    # Reduced precision is taken where the first tile of a worker allows it. Of so steep
    # a network none does: workers compute alike, whatever they begin with.
    with torch.no_grad():
        for values in network.get_submodule("output").parameters():
            values.mul_(40)
    task = Task("segment", ("background", "light"))
    state = {name: t.detach().clone() for name, t in network.state_dict().items()}
    return Checkpoint(
        network="unet", sizes=sizes, in_channels=1, task=task, state=state
    )


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    values = np.random.default_rng(7).normal(size=(1, SIDE, SIDE))
    values = ndi.gaussian_filter(values, (0, 3, 3))
    return np.rint(40 * values / values.std() + 120).clip(1, 255).astype(np.uint8)


@pytest.fixture
def scheduler() -> Iterator[str]:
    """A real cluster of two processes on this machine."""
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=True,
        dashboard_address=None,
        silence_logs=50,
    ) as cluster:
        yield str(cluster.scheduler_address)


def lose_one(engine: Cluster) -> None:
    """End one of the workers as a machine that is switched off would."""
    client = engine.workers._client
    if client is not None:
        pids = list(client.run(os.getpid).values())
    else:
        pids = list(engine.workers._executor._processes)  # type: ignore[attr-defined]
    assert len(pids) == 2
    os.kill(pids[0], getattr(signal, "SIGKILL", signal.SIGTERM))


def in_parts(
    checkpoint: Checkpoint,
    image: np.ndarray,
    folder: Path,
    config: PredictConfig,
    *,
    lose: bool = False,
) -> tuple[list[np.ndarray], list[Progress]]:
    folder.mkdir()
    seen: list[Progress] = []
    with engine_for(checkpoint, config) as engine:

        def told(progress: Progress) -> None:
            begun = [one for one in seen if one.fraction > 0.1]
            seen.append(progress)
            if lose and isinstance(engine, Cluster) and not begun:
                if progress.fraction > 0.1:
                    lose_one(engine)

        job = predict_large(
            LargeImage(raw=RawImage(image, "cyx", 2.0)),
            checkpoint,
            config,
            scale=2.0,
            engine=engine,
            into=ResultFiles(folder=folder, stem="big"),
        )
        found = run(job, told)
    assert found.complete
    assert not list(folder.glob(".unfinished*"))
    arrays = (folder / f"big_{what}.zarr" / "0" for what in ("probability", "labels"))
    return [np.asarray(zarr.open_array(array)) for array in arrays], seen


def several(place: str, request: pytest.FixtureRequest) -> PredictConfig:
    if place == "processes":
        return replace(HERE, workers=2)
    return replace(HERE, scheduler=request.getfixturevalue("scheduler"))


@pytest.mark.slow
@pytest.mark.parametrize("place", ["processes", "dask"])
def test_with_a_worker_lost_midway_the_result_is_that_of_one_machine(
    checkpoint: Checkpoint,
    image: np.ndarray,
    tmp_path: Path,
    place: str,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(running, "SIDE", 96)
    monkeypatch.setattr(running, "SMALLEST_SIDE", 64)
    config = several(place, request)
    expected, _ = in_parts(checkpoint, image, tmp_path / "one", HERE)
    assert len(np.unique(expected[1])) == 2
    found, seen = in_parts(checkpoint, image, tmp_path / "two", config, lose=True)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert any("on 2 workers" in progress.message for progress in seen)
    # The same workers, an image at once, and Stop.
    with engine_for(checkpoint, config) as engine:
        whole = run(predict(image, checkpoint, config, network=engine))
        here = run(predict(image, checkpoint, HERE))
        np.testing.assert_array_equal(whole.probability, here.probability)
        assert whole.backend == "torch"
        job = predict(image, checkpoint, config, network=engine)
        part = run(job, should_stop=lambda: True)
    assert part.done is not None
    assert not part.done.all()
    assert part.probability.shape == here.probability.shape
    kept = part.probability[:, part.done]
    np.testing.assert_array_equal(kept, here.probability[:, part.done])


def test_one_machine_needs_no_workers(checkpoint: Checkpoint) -> None:
    with engine_for(checkpoint, HERE) as engine:
        assert isinstance(engine, Engine)
    both = replace(HERE, workers=2, scheduler="tcp://node1:8786")
    with pytest.raises(TopiaryError, match="one of both"), engine_for(checkpoint, both):
        pass
