"""What cutting single layers costs: the loss of networks that were really cut so."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

import numpy as np
import pytest
import torch

from napari_topiary.annotations import Labels
from napari_topiary.checkpoint import Checkpoint
from napari_topiary.errors import TopiaryError
from napari_topiary.io.dataset import Sample
from napari_topiary.pruning import counts_job, filter_counts, sensitivity
from napari_topiary.types import Progress, run

calibration_module = import_module("napari_topiary.pruning.search.calibration")


@pytest.fixture(autouse=True)
def _small_patches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration_module, "SIDE", 16)
    monkeypatch.setattr(calibration_module, "CENTRES", 8)


def sample() -> Sample:
    """Three classes that the image shows."""
    truth = np.zeros((48, 48), int)
    truth[4:24, 8:30], truth[28:, :20] = 1, 2
    noise = np.random.default_rng(0).normal(0, 0.3, (1, 48, 48))
    labels = Labels(truth, instances=False)
    return Sample((noise + truth).astype(np.float32), (labels,), None, "made up")


@pytest.mark.parametrize("case", ["membrane", "thin", "unet-norm", "residual", "flat"])
def test_it_is_the_loss_of_the_cut_network(
    fresh: Callable[..., Checkpoint], case: str
) -> None:
    checkpoint = fresh(case)
    found = run(sensitivity(checkpoint, [sample()], device="cpu"))
    sizes = filter_counts(checkpoint)
    assert found.layers == tuple(sizes)
    assert found.shares == (0.25, 0.5, 0.75)
    assert found.rise.shape == found.removed.shape == (len(sizes), 3)
    calibration = calibration_module.draw_calibration(
        checkpoint, [sample()], batches=10, seed=0, device=torch.device("cpu")
    )

    def loss(network_of: Checkpoint) -> float:
        with torch.no_grad():
            logits = network_of.build().on_patches(calibration.image)
        return float(calibration.losses(logits, slice(None), 1)[0])

    assert found.base == pytest.approx(loss(checkpoint), rel=1e-5)
    for row, (layer, size) in enumerate(sizes.items()):
        assert found.removed[row, 1] == min(size - 1, int(size / 2 + 0.5))
        for count, rise in zip(found.removed[row], found.rise[row], strict=True):
            cut = run(counts_job(checkpoint, {layer: int(count)}))
            assert rise == pytest.approx(loss(cut) - found.base, rel=1e-3, abs=1e-5)


def test_nothing_costs_nothing_and_one_filter_stays(
    fresh: Callable[..., Checkpoint],
) -> None:
    checkpoint = fresh("membrane")
    found = run(sensitivity(checkpoint, [sample()], shares=(0.0, 1.0)))
    assert found.rise[:, 0] == pytest.approx(np.zeros(3), abs=1e-6)
    assert found.removed[:, 1].tolist() == [9, 6, 11]
    assert np.abs(found.rise[:, 1]).min() > 1e-4


def test_progress_and_stop(fresh: Callable[..., Checkpoint]) -> None:
    seen: list[Progress] = []
    job = sensitivity(fresh("membrane"), [sample()])
    part = run(job, seen.append, lambda: len(seen) == 3)
    assert np.isfinite(part.rise[:2]).all()
    assert np.isnan(part.rise[2:]).all()
    assert "conv2" in seen[-1].message
    assert 0 < seen[-1].fraction < 1


def test_sentences(fresh: Callable[..., Checkpoint]) -> None:
    checkpoint = fresh("membrane")
    with pytest.raises(TopiaryError, match="annotate one"):
        run(sensitivity(checkpoint, []))
    for criterion in ("loss", "magnitude"):
        with pytest.raises(TopiaryError, match="use l1"):
            run(sensitivity(checkpoint, [sample()], criterion=criterion))
