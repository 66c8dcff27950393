"""The nuclei segmenter: published counts, two branches, one answer."""

from __future__ import annotations

import pytest
import torch

from napari_topiary.errors import TopiaryError
from napari_topiary.networks import build_network, count_parameters, resolve_sizes
from napari_topiary.networks.nuclei import NucleiNet, NucleiSizes


def weights(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_published_counts() -> None:
    """Mahbod et al. 2022: 1,941,105 a branch; 3,555,666 with one encoder."""
    two = build_network("nuclei", resolve_sizes("nuclei"), 3, 2)
    for branch in two.branches:
        assert weights(two.get_submodule(branch)) == 1_941_105
        kernels = [p for p in two.get_submodule(branch).parameters() if p.ndim == 4]
        assert len(kernels) == 23
        assert sum(p.numel() for p in kernels) == 1_939_392
    assert count_parameters(two) == 3_882_210
    one = build_network("nuclei", resolve_sizes("nuclei", "shared"), 3, 2)
    assert count_parameters(one) == 3_555_666
    assert one.get_submodule("encoder.bottom.conv2").weight.shape[0] == 512


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("levels", [0, 1, 3])
def test_counting_without_building(shared: bool, levels: int) -> None:
    sizes = {"base": 5, "multiplier": 1.7, "levels": levels, "shared_encoder": shared}
    for channels, classes in ((1, 2), (3, 4)):
        made = build_network("nuclei", sizes, channels, classes)
        counted = NucleiSizes.from_mapping(sizes).parameters(channels, classes)
        assert count_parameters(made) == counted


@pytest.mark.parametrize("shared", [False, True])
def test_branches_answer_side_by_side(shared: bool) -> None:
    torch.manual_seed(0)
    sizes = {"base": 4, "levels": 2, "shared_encoder": shared}
    made = build_network("nuclei", sizes, 3, 2).eval()
    image = torch.randn(2, 3, 16, 24)
    with torch.inference_mode():
        before = made(image)
        assert before.shape == (2, 3, 16, 24)
        assert not before[:, 0].any()
        # A change of one branch leaves the other's maps as they are.
        made.get_submodule("distance.output").bias.add_(1.0)
        after = made(image)
    assert torch.equal(after[:, :2], before[:, :2])
    torch.testing.assert_close(after[:, 2], before[:, 2] + 1)


def test_dropout_is_as_published_and_only_while_training() -> None:
    sizes = resolve_sizes("nuclei", overrides={"dropout": True})
    made = build_network("nuclei", sizes, 3, 2)
    assert isinstance(made, NucleiNet)
    assert count_parameters(made) == 3_882_210

    def rate(name: str) -> float:
        return float(made.get_submodule(f"{name}.drop").p)

    down = [f"distance.down{i}" for i in range(4)]
    assert [rate(n) for n in [*down, "distance.bottom"]] == [0.1, 0.1, 0.2, 0.2, 0.3]
    assert [rate(f"distance.up{i}") for i in range(4)] == [0.1, 0.1, 0.2, 0.2]
    assert {rate(f"segmentation.up{i}") for i in range(4)} == {0.1}
    small = build_network(
        "nuclei", {"base": 4, "levels": 1, "dropout": True}, 1, 2
    ).eval()
    image = torch.randn(1, 1, 8, 8)
    with torch.inference_mode():
        assert torch.equal(small(image), small(image))
        small.train()
        assert not torch.equal(small(image), small(image))


@pytest.mark.parametrize(
    ("sizes", "words"),
    [
        ({"bass": 3}, "no size called 'bass'"),
        ({"levels": 12}, "Levels 12 "),
        ({"shared_encoder": 1}, "on or off, not 1"),
        ({"dropout": 0.1}, "Dropout is on or off, not 0.1"),
    ],
)
def test_impossible_sizes_are_a_sentence(sizes: dict[str, object], words: str) -> None:
    with pytest.raises(TopiaryError, match=words):
        build_network("nuclei", sizes, 3, 2)
