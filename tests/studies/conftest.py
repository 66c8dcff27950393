"""Tiny datasets to do studies on, and a study that costs nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from napari_topiary.annotations import Centerlines, Labels, Points
from napari_topiary.io.dataset import Dataset, Sample
from napari_topiary.io.dataset_writing import write_dataset
from napari_topiary.types import Task

SPLIT = {"train": ("m0", "m1"), "val": ("m2",), "test": ("m3",)}
TASKS = {
    "detect": Task("detect", ("background", "virion", "rod"), {"virion": 12, "rod": 4}),
    "segment": Task("segment", ("background", "virion")),
    "instances": Task("instances", ("background", "virion")),
}


@pytest.fixture(scope="session")
def tiny(virions: Callable[..., Any]) -> Callable[..., Dataset]:
    """`tiny("segment", size=48)`: four drawn images in three parts."""

    def make(kind: str, *, size: int = 48, colour: bool = False) -> Dataset:
        samples = {}
        for seed in range(4):
            drawn = virions(seed, size=size, count=4, radius=5.0, filaments=1)
            annotations: tuple[Any, ...] = (Labels((drawn.labels == 1).astype(int)),)
            if kind == "instances":
                annotations = (Labels(drawn.instances),)
            if kind == "detect":
                annotations = (
                    Points(drawn.centres, ("virion",) * len(drawn.centres)),
                    Centerlines(drawn.lines, ("rod",) * len(drawn.lines)),
                )
            image = drawn.image.repeat(3, axis=0) if colour else drawn.image
            samples[f"m{seed}"] = Sample(image, annotations, 2.0, f"m{seed}")
        return Dataset("made up", TASKS[kind], samples, dict(SPLIT))

    return make


@pytest.fixture(scope="session")
def tiny_folder(
    tiny: Callable[..., Dataset], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Any]:
    """`tiny_folder("segment")`: the same as a folder."""

    def make(kind: str, **how: Any) -> Any:
        folder = tmp_path_factory.mktemp(kind) / "data"
        write_dataset(folder, tiny(kind, **how))
        return folder

    return make
