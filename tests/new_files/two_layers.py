"""A network of two convolutions."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from torch import nn

from napari_topiary.networks.base import Network, NetworkKind, Sizes, networks


@dataclass(frozen=True)
class TwoSizes(Sizes):
    """How wide it is."""

    network: ClassVar[str] = "two layers"
    maps: Annotated[int, {"label": "Maps", "min": 1, "max": 64}] = 6


class TwoLayers(Network):
    """A convolution, ReLU, and one of single pixels."""

    stride, halo, output_layers = 1, 2, ("output",)

    def __init__(self, sizes, in_channels, n_classes):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, sizes.maps, 5, padding=2)
        self.output = nn.Conv2d(sizes.maps, n_classes, 1)

    def forward(self, image):
        return self.output(self.conv(image).relu())


def build(sizes, in_channels, n_classes):
    return TwoLayers(TwoSizes.from_mapping(sizes), in_channels, n_classes)


networks.register("two_layers")(
    NetworkKind(
        build=build,
        presets={"plain": {}, "wide": {"maps": 12}},
        default_preset="plain",
        sizes=TwoSizes,
        recipe={"learning_rate": 0.02},
        tasks=("segment",),
        title="Two layers: for a try",
        tip="Sees two pixels around each pixel.",
    )
)
