"""Two networks on one image, each held against what it has learned."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tifffile
import torch

from napari_topiary import Points, Regions, Task, evaluate, run
from napari_topiary.checkpoint import Checkpoint
from napari_topiary.errors import TopiaryError
from napari_topiary.io.dataset import Sample
from napari_topiary.io.large_images import open_lazily
from napari_topiary.jobs.comparing import Side, comparing
from napari_topiary.jobs.predicting import ProjectImage
from napari_topiary.networks import build_network
from napari_topiary.types import BACKGROUND

SIZES = {"base": 4, "multiplier": 2.0, "levels": 1}


TASK = Task("detect", (BACKGROUND, "virion"), radius_nm={"virion": 12.0})


def network(seed):
    """One that is not trained."""
    torch.manual_seed(seed)
    return Checkpoint(
        network="unet",
        sizes=SIZES,
        in_channels=1,
        task=TASK,
        state=dict(build_network("unet", SIZES, 1, 2).state_dict()),
        pixel_size_nm=2.0,
        thresholds={"virion": 0.5},
    )


def test_each_side_is_held_against_particles_as_large_as_it_learned(virions):
    usual = network(0)
    zones = {"certain": 0.3, "ignore": 0.4, "negative_weight": 4.0}
    made = virions(3, count=6)
    marks = Points(made.centres, ("virion",) * 6)
    seen = Sample(made.image, name="under another name").fingerprint
    about = {"zones": zones, "learned": [{"pixels": seen}]}
    small = usual.replaced(annotations_summary=about)
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
    (note,) = [one for one in match.notes if "learned" in one]
    assert note.startswith("b: This image was learned from, in whole or in part")


@pytest.fixture
def slide(tmp_path, monkeypatch, virions):
    """The same image at hand, and as one that is read part by part; marked."""
    monkeypatch.setattr("napari_topiary.io.large_images.LARGE", 1000)
    monkeypatch.setattr("napari_topiary.io.large_images.WHOLE_PIXELS", 1000)
    monkeypatch.setattr("napari_topiary.jobs.comparing.MARGIN", 32)
    made = virions(3, count=6)
    image = np.tile(made.image, (1, 2, 2))
    tifffile.imwrite(tmp_path / "slide.tif", image[0], tile=(64, 64))
    large = open_lazily(tmp_path / "slide.tif")
    assert large is not None
    size = made.image.shape[1]
    marks = Points(
        np.concatenate([made.centres, made.centres + size]), ("virion",) * 12
    )
    border = np.array([[0, 0], [0, size], [size, size], [size, 0]]) + size - 0.5
    areas = Regions((border,), ("rectangle",))
    at_hand = ProjectImage(
        name="slide", image=image, scale=made.scale, annotations=(marks, areas)
    )
    window = (size, 2 * size, size, 2 * size)
    return replace(at_hand, image=large, window=window), replace(at_hand, window=window)


def test_a_part_of_a_large_image_is_compared_as_if_it_were_at_hand(slide):
    large, at_hand = slide
    sides = Side("a", network(0)), Side("b", network(1))
    part, whole = (run(comparing(one, *sides, at="common")) for one in (large, at_hand))
    assert part.subject is large and part.corner == (large.window[0] - 32,) * 2
    assert any("on the screen is compared" in note for note in part.notes)
    ours, theirs = part.comparison, whole.comparison
    assert ours.things.status == theirs.things.status and len(ours.things)
    np.testing.assert_allclose(ours.things.coordinates, theirs.things.coordinates)
    np.testing.assert_allclose([p.y for p in ours.places], [p.y for p in theirs.places])
    for side in "ab":
        own, other = (one.metrics[side]["as_shown"] for one in (ours, theirs))
        assert own["n_true"] == other["n_true"] == 6
        assert own["pixels"]["dice"] == pytest.approx(other["pixels"]["dice"])
    y, x = (int(at) for at in part.corner)
    height, width = ours.difference.shape[1:]
    np.testing.assert_allclose(
        ours.difference, theirs.difference[:, y : y + height, x : x + width], atol=1e-5
    )


def test_of_a_large_image_no_more_is_compared_than_fits_into_memory(slide, monkeypatch):
    monkeypatch.setattr("napari_topiary.jobs.comparing.LARGEST_SIDE", 40)
    sides = Side("a", network(0)), Side("b", network(1))
    with pytest.raises(TopiaryError, match="zoom in until at most 40 x 40"):
        run(comparing(slide[0], *sides))


def test_where_nothing_is_finished_nothing_is_judged(slide):
    large, _ = slide
    elsewhere = replace(large, window=(0, 48, 0, 48))
    found = run(comparing(elsewhere, Side("a", network(0)), Side("b", network(1))))
    assert found.comparison.metrics is None
