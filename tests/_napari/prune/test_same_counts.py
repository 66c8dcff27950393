"""Predict, Prune and Compare count the same particles on the same image."""

from __future__ import annotations

import numpy as np
import pytest
import torch

pytest.importorskip("qtpy")

from napari_topiary._napari.prune.view import PruningPreview, PruningView, VisibleArea
from napari_topiary.checkpoint import Checkpoint
from napari_topiary.config import PruneConfig
from napari_topiary.inference.predict import predict
from napari_topiary.jobs.comparing import Side, comparing
from napari_topiary.jobs.predicting import ProjectImage
from napari_topiary.networks import build_network, count_parameters
from napari_topiary.pruning import plan_job
from napari_topiary.types import run

SIZES = {"base": 4, "multiplier": 2.0, "levels": 2}
SCALE = 2.0


@pytest.fixture
def checkpoint(task):
    """Knows its best threshold, and looks at coarser pixels than the image has."""
    torch.manual_seed(3)
    made = build_network("unet", SIZES, 1, 2)
    return Checkpoint(
        network="unet",
        sizes=SIZES,
        in_channels=1,
        task=task,
        state={n: t.detach().clone() for n, t in made.state_dict().items()},
        pixel_size_nm=2.7,
        unpruned_parameters=count_parameters(made),
        thresholds={"virion": 0.3},
    )


def previewed(plan, area, share):
    """What the Prune page sees: its overlay and its counts."""
    seen = []
    run(PruningView(plan, {}).look(area, share), lambda p: seen.append(p.report))
    return next(one for one in seen if isinstance(one, PruningPreview))


@pytest.mark.parametrize("window", [None, (31, 97, 12, 90)])
@pytest.mark.parametrize("share", [0.0, 0.5])
def test_the_same_particles_are_counted_everywhere(checkpoint, virions, window, share):
    image = virions(5, size=130, count=9).image
    plan = run(plan_job(checkpoint, PruneConfig(kind="weights", criterion="magnitude")))
    network = plan.checkpoint_at(share)
    found = run(predict(image, network, scale=SCALE, window=window)).detections
    assert len(found) > 4

    area = VisibleArea("grid", image, window or (0, 130, 0, 130), SCALE)
    preview = previewed(plan, area, share)
    places = [
        sorted(map(tuple, one.coordinates))
        for one in (preview.overlay.detections, found)
    ]
    np.testing.assert_allclose(*places, atol=1e-3)
    assert preview.same[2] == len(found)

    subject = ProjectImage(
        name="grid", image=image, scale=SCALE, annotations=(), window=window
    )
    match = run(comparing(subject, Side("a", checkpoint), Side("b", network)))
    np.testing.assert_allclose(match.b.detections.coordinates, found.coordinates)
    assert match.b.detections.score.tolist() == found.score.tolist()
