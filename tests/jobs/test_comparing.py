"""Two networks on one image, each held against what it has learned."""

from __future__ import annotations

import torch

from napari_topiary import Points, Task, evaluate, run
from napari_topiary.checkpoint import Checkpoint
from napari_topiary.io.dataset import Sample
from napari_topiary.jobs.comparing import Side, comparing
from napari_topiary.jobs.predicting import ProjectImage
from napari_topiary.networks import build_network
from napari_topiary.types import BACKGROUND

SIZES = {"base": 4, "multiplier": 2.0, "levels": 1}


def test_each_side_is_held_against_particles_as_large_as_it_learned(virions):
    task = Task("detect", (BACKGROUND, "virion"), radius_nm={"virion": 12.0})
    torch.manual_seed(0)
    usual = Checkpoint(
        network="unet",
        sizes=SIZES,
        in_channels=1,
        task=task,
        state=dict(build_network("unet", SIZES, 1, 2).state_dict()),
        pixel_size_nm=2.0,
        thresholds={"virion": 0.5},
    )
    zones = {"certain": 0.3, "ignore": 0.4, "negative_weight": 4.0}
    small = usual.replaced(annotations_summary={"zones": zones})
    made = virions(3, count=6)
    marks = Points(made.centres, ("virion",) * 6)
    subject = ProjectImage(
        name="one", image=made.image, scale=made.scale, annotations=(marks,)
    )
    match = run(comparing(subject, Side("a", usual), Side("b", small)))
    assert match is not None and match.comparison.metrics is not None
    dice = {
        side: match.comparison.metrics[side]["as_shown"]["pixels"]["dice"]
        for side in "ab"
    }
    sample = Sample(made.image, (marks,), made.scale, "one")
    for side, checkpoint in (("a", usual), ("b", small)):
        assert dice[side] == run(evaluate(checkpoint, [sample]))["pixels"]["dice"]
    assert dice["a"] != dice["b"]
