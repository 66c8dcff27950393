"""Grow, prune and trust small neural networks for microscopy.

Every public name is here and loaded when first used: importing the package alone
loads neither torch nor Qt, so that napari can list the plugin in no time.
"""

from __future__ import annotations

import os
from importlib import import_module

TYPE_CHECKING = False  # without typing: whoever presses Ctrl-C now is not heard yet

# Read when torch is loaded. Threads that spin for long while they wait take the core
# that somebody else needs: on a busy laptop training was measured three times slower
# so, and a window beside it stutters. Threads that sleep at once are woken late: alone
# on two cores, a small network then learns a quarter slower. So: spin for microseconds.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
# Linux hands out fresh memory in pages of 4 kB, and a layer's maps are fresh memory:
# for small networks that costs as much as the arithmetic. With pages of 2 MB they run
# 1.3 to 1.6 times faster.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

if TYPE_CHECKING:
    from napari_topiary.annotations import (
        Centerlines,
        Labels,
        Points,
        Regions,
        TargetConfig,
        annotation_kinds,
        build_target,
    )
    from napari_topiary.checkpoint import Checkpoint, load_checkpoint
    from napari_topiary.config import (
        DetectConfig,
        PredictConfig,
        PruneConfig,
        TrainConfig,
    )
    from napari_topiary.errors import TopiaryError
    from napari_topiary.evaluation import Comparison, compare, evaluate
    from napari_topiary.export import export_network
    from napari_topiary.inference.predict import predict
    from napari_topiary.inference.results import write_prediction
    from napari_topiary.io.dataset import (
        Dataset,
        Sample,
        read_dataset,
        sample_dataset,
        sample_folder,
    )
    from napari_topiary.io.dataset_writing import write_dataset
    from napari_topiary.io.images import read_image, write_image
    from napari_topiary.io.importing.virus_folder import import_virus_folder
    from napari_topiary.networks import build_network
    from napari_topiary.normalisation import Normalisation
    from napari_topiary.postprocessing.interpret import interpret
    from napari_topiary.pruning import (
        PruningPlan,
        make_plan,
        prune,
        pruning_schedule,
        recalibrate,
    )
    from napari_topiary.session import Session
    from napari_topiary.studies import run_study
    from napari_topiary.training import PreviewRequest, fit
    from napari_topiary.training.learning_curve import LearningCurve, learning_curve
    from napari_topiary.types import (
        Detections,
        Job,
        Prediction,
        Progress,
        Stop,
        Task,
        run,
    )

_HOMES = {
    "annotations": (
        "Centerlines",
        "Labels",
        "Points",
        "Regions",
        "TargetConfig",
        "annotation_kinds",
        "build_target",
    ),
    "checkpoint": ("Checkpoint", "load_checkpoint"),
    "normalisation": ("Normalisation",),
    "config": ("DetectConfig", "PredictConfig", "PruneConfig", "TrainConfig"),
    "errors": ("TopiaryError",),
    "evaluation": ("Comparison", "compare", "evaluate"),
    "export": ("export_network",),
    "io.dataset": (
        "Dataset",
        "Sample",
        "read_dataset",
        "sample_dataset",
        "sample_folder",
    ),
    "io.dataset_writing": ("write_dataset",),
    "io.images": ("read_image", "write_image"),
    "io.importing.virus_folder": ("import_virus_folder",),
    "networks": ("build_network",),
    "postprocessing.interpret": ("interpret",),
    "inference.predict": ("predict",),
    "inference.results": ("write_prediction",),
    "pruning": ("PruningPlan", "make_plan", "prune", "recalibrate", "pruning_schedule"),
    "session": ("Session",),
    "studies": ("run_study",),
    "training": ("PreviewRequest", "fit"),
    "training.learning_curve": ("LearningCurve", "learning_curve"),
    "types": ("Detections", "Job", "Prediction", "Progress", "Stop", "Task", "run"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [  # noqa: RUF022 - in the order of the work: data, train, prune, look
    "Task",
    "Sample",
    "Dataset",
    "read_dataset",
    "write_dataset",
    "read_image",
    "write_image",
    "sample_dataset",
    "sample_folder",
    "import_virus_folder",
    "Points",
    "Centerlines",
    "Labels",
    "Regions",
    "annotation_kinds",
    "TargetConfig",
    "build_target",
    "build_network",
    "TrainConfig",
    "fit",
    "PreviewRequest",
    "Checkpoint",
    "Normalisation",
    "load_checkpoint",
    "PruneConfig",
    "PruningPlan",
    "make_plan",
    "prune",
    "recalibrate",
    "pruning_schedule",
    "PredictConfig",
    "DetectConfig",
    "predict",
    "interpret",
    "write_prediction",
    "Detections",
    "Prediction",
    "evaluate",
    "Comparison",
    "compare",
    "export_network",
    "LearningCurve",
    "learning_curve",
    "run_study",
    "Session",
    "Job",
    "Progress",
    "Stop",
    "run",
    "TopiaryError",
]


def __getattr__(name: str) -> object:
    """Load a public name from the module that it lives in."""
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    thing: object = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = thing
    return thing


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return sorted(__all__)
