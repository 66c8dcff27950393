"""Lent normalisations change nothing when lent and nothing when folded away."""

import torch
from torch import nn

from napari_topiary.networks import build_network, count_parameters
from napari_topiary.training.normalising import LentNorms

SIZES = {"base": 4, "multiplier": 2.0, "levels": 2}


def network():
    torch.manual_seed(0)
    return build_network("unet", SIZES, 1, 2)


def test_lending_leaves_the_function_as_it_was():
    plain, image = network(), torch.randn(4, 1, 32, 32)
    plain.eval()
    before = plain(image)
    norms = LentNorms(plain, image).eval()
    assert torch.allclose(plain(image), before, atol=1e-4)
    norms.detach()
    assert torch.equal(plain(image), before)


def test_folding_gives_the_trained_function_without_a_trace():
    lent, image = network(), torch.randn(4, 1, 32, 32)
    norms = LentNorms(lent, image)
    optimizer = torch.optim.SGD([*lent.parameters(), *norms.parameters()], lr=0.05)
    for _ in range(5):
        lent.train()
        norms.train()
        loss = lent(torch.randn(4, 1, 32, 32)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    folded = norms.folded()
    lent.eval()
    norms.eval()
    assert torch.allclose(folded(image), lent(image), atol=1e-4)
    assert count_parameters(folded) == count_parameters(network())
    assert folded.state_dict().keys() == network().state_dict().keys()
    assert not any(module._forward_hooks for module in folded.modules())


def test_zeros_stay_zero_through_lending_and_folding():
    lent, image = network(), torch.randn(4, 1, 32, 32)
    weight = dict(lent.named_parameters())["down0.conv1.weight"]
    with torch.no_grad():
        weight[2:] = 0
    folded = LentNorms(lent, image).folded()
    assert torch.equal(
        dict(folded.named_parameters())["down0.conv1.weight"][2:],
        torch.zeros_like(weight[2:]),
    )


def test_a_network_with_norms_of_its_own_is_lent_none():
    own = build_network("unet", SIZES | {"batch_norm": True}, 1, 2)
    norms = LentNorms(own, torch.randn(2, 1, 32, 32))
    assert not list(norms.parameters())
    assert any(isinstance(m, nn.BatchNorm2d) for m in norms.folded().modules())
