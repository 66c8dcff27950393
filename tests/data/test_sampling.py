"""Patches: balanced over classes and areas, reproducible, right at the border."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_topiary.data.batches import Augmentation
from napari_topiary.data.centre_sampling import CentreSampler
from napari_topiary.data.sampling import Batch, Field, PatchSampler
from napari_topiary.errors import TopiaryError


def coded_field(height, width):
    """An image whose value at each pixel is its flat index, target likewise coded."""
    image = np.arange(height * width, dtype=np.float32).reshape(1, height, width)
    target = np.zeros((height, width), np.int16)
    return Field(image, target, np.ones((height, width), np.float32))


@settings(max_examples=40, deadline=None)
@given(
    height=st.integers(5, 60),
    width=st.integers(5, 60),
    patch=st.sampled_from([8, 16, 32]),
)
def test_a_patch_is_cut_from_one_place_in_all_three_arrays(height, width, patch):
    field = coded_field(height, width)
    field.target[:] = (field.image[0] % 3).astype(np.int16)
    field.weight[:] = field.image[0]
    batch = PatchSampler([field], patch=patch, seed=1).draw(3)
    assert batch.image.shape == (3, 1, patch, patch)
    known = batch.target >= 0
    assert known.any()
    value = batch.image[:, 0][known]
    assert torch.equal((value % 3).long(), batch.target[known])
    assert torch.equal(value, batch.weight[known])


def test_a_rare_class_is_drawn_as_often_as_a_common_one():
    field = coded_field(256, 256)
    field.target[100:104, 100:104] = 1
    batch = PatchSampler([field], patch=32, seed=0).draw(200)
    share = (batch.target == 1).flatten(1).any(dim=1).float().mean()
    assert 0.4 < float(share) < 0.7


def test_unknown_areas_are_never_the_reason_for_a_patch():
    field = coded_field(200, 200)
    field.target[:] = -1
    field.target[20:30, 20:30] = 0
    batch = PatchSampler([field], patch=16, seed=0).draw(50)
    assert bool((batch.target >= 0).flatten(1).any(dim=1).all())


def test_the_same_seed_draws_the_same_patches():
    field = coded_field(64, 64)
    one, two = (PatchSampler([field], patch=16, seed=7).draw(4) for _ in range(2))
    other = PatchSampler([field], patch=16, seed=8).draw(4)
    assert torch.equal(one.image, two.image)
    assert not torch.equal(one.image, other.image)


def test_no_annotation_at_all_is_refused():
    field = coded_field(32, 32)
    field.target[:] = -1
    with pytest.raises(TopiaryError, match="nothing to learn from"):
        PatchSampler([field], patch=16, seed=0)


def test_augmentation_moves_image_and_target_together():
    torch.manual_seed(0)
    target = torch.zeros(16, 64, 64, dtype=torch.int64)
    target[:, 10:30, 12:20] = 1
    image = target[:, None].float() * 40 - 20  # far above any change of intensity
    out = Augmentation(1)(Batch(image, target, torch.ones(16, 64, 64)))
    known = out.target >= 0
    assert known.float().mean() > 0.8
    bright = out.image[:, 0] > 0
    agree = (bright == (out.target == 1))[known].float().mean()
    assert float(agree) > 0.97
    assert set(out.target.unique().tolist()) <= {-1, 0, 1}


def test_augmentation_keeps_the_unknown_unknown():
    torch.manual_seed(1)
    target = torch.full((8, 32, 32), -1)
    out = Augmentation(3)(
        Batch(torch.randn(8, 3, 32, 32), target, torch.zeros(8, 32, 32))
    )
    assert bool((out.target == -1).all())
    assert torch.isfinite(out.image).all()


def test_a_pupil_gives_the_teachers_answer_under_any_contrast():
    torch.manual_seed(0)
    image = torch.rand(8, 1, 32, 32)
    batch = Batch(
        image,
        (image[:, 0] * 100).long(),
        torch.ones(8, 32, 32),
        teacher=torch.cat([image, 1 - image], dim=1),
    )
    out = Augmentation(1)(batch)
    assert out.teacher is not None
    # What is known is turned with the image, and otherwise as it was.
    said = out.teacher[:, 0]
    assert torch.equal(out.target, (said * 100).long())
    assert not torch.equal(said, image[:, 0])
    assert torch.equal(said.flatten(1).sort().values, image.flatten(1).sort().values)
    # The image lies as they do, in another contrast.
    assert (out.image[:, 0] - said).abs().mean() > 0.05
    seen = torch.stack([out.image[:, 0].flatten(1), said.flatten(1)], dim=1)
    assert min(torch.corrcoef(pair)[0, 1] for pair in seen) > 0.85


@pytest.mark.parametrize("by_centre", [False, True])
def test_patches_are_also_shown_as_parts_by_themselves_look(by_centre):
    torch.manual_seed(0)
    field = replace(coded_field(64, 64), as_part=(100.0, 20.0))
    other = coded_field(48, 48)
    sampler = (
        CentreSampler([field, other], patch=16, seed=0)
        if by_centre
        else PatchSampler([field, other], patch=16, seed=0)
    )
    batch = sampler.draw(400)
    out = Augmentation(1, geometry=False)(batch)
    middles = batch.image.mean(dim=(1, 2, 3))
    moved = (out.image.mean(dim=(1, 2, 3)) - middles).abs() > 0.5 * middles
    alone = batch.as_part[:, 0] == 100
    assert 0.4 < alone.float().mean() < 0.9
    assert not moved[~alone].any()
    assert 0.4 < moved[alone].float().mean() < 0.6
