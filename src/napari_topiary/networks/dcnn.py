"""The DCNN that tells cells from background in H&E stains (Götz et al. 2022).

Götz et al. 2022, after Xing et al. 2016: a 55×55 patch, three convolutions of 4×4, 5×5
and 6×6 pixels, each with 2×2 max-pooling, then 1024 units; 916,959 weights on colour
images with two classes. Pruned, it keeps n − floor(δ·n) of each convolution's n maps.

The annotations of the sizes are read at run time (they make a form), so their
evaluation is not deferred.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from napari_topiary.networks.base import Network, NetworkKind, Sizes, networks
from napari_topiary.networks.patch_classifier import PooledClassifier, pooled_parameters

PATCH = 55
KERNELS = (4, 5, 6, 3)


@dataclass(frozen=True)
class DcnnSizes(Sizes):
    """How many maps each layer of a DCNN has.

    Parameters
    ----------
    conv1, conv2, conv3
        Maps of the convolutions.
    fc
        Units of the fully connected layer.
    """

    network: ClassVar[str] = "dcnn"
    conv1: Annotated[
        int,
        {
            "label": "Maps of layer 1",
            "min": 1,
            "max": 512,
            "tooltip": "How many patterns of 4×4 pixels are looked for.",
        },
    ] = 25
    conv2: Annotated[
        int,
        {
            "label": "Maps of layer 2",
            "min": 1,
            "max": 512,
            "tooltip": "How many combinations of those, about 13 pixels wide.",
        },
    ] = 50
    conv3: Annotated[
        int,
        {
            "label": "Maps of layer 3",
            "min": 1,
            "max": 512,
            "tooltip": "How many combinations of those, about 35 pixels wide.",
        },
    ] = 80
    fc: Annotated[
        int,
        {
            "label": "Fully connected units",
            "min": 1,
            "max": 8192,
            "tooltip": "Units that weigh the whole patch; most weights are here.",
        },
    ] = 1024

    def parameters(self, in_channels: int, n_classes: int) -> int:
        """Count the weights without building anything."""
        return pooled_parameters(
            (in_channels, self.conv1, self.conv2, self.conv3, self.fc, n_classes),
            KERNELS,
        )


def build_dcnn(sizes: Mapping[str, Any], in_channels: int, n_classes: int) -> Network:
    """Build a DCNN.

    Parameters
    ----------
    sizes
        Fields of `DcnnSizes`.
    in_channels
        Channels of the image.
    n_classes
        Outputs.
    """
    made = DcnnSizes.from_mapping(sizes)
    return PooledClassifier(
        (made.conv1, made.conv2, made.conv3, made.fc),
        KERNELS,
        patch=PATCH,
        in_channels=in_channels,
        n_classes=n_classes,
    )


RECIPE = {
    "optimizer": "adam",
    "learning_rate": 1e-3,
    "weight_decay": 0.0,
    "batch": 256,
    "dice_weight": 0.0,
    "balance": "natural",
}
"""The paper gives neither optimizer nor rate nor batch; natural sampling is its."""

networks.register("dcnn")(
    NetworkKind(
        build=build_dcnn,
        presets={
            "published": {},
            "half": {"conv1": 13, "conv2": 25, "conv3": 40},
            "small": {"conv1": 8, "conv2": 12, "conv3": 16, "fc": 32},
        },
        preset_titles={"published": "as published", "half": "half as wide"},
        default_preset="published",
        sizes=DcnnSizes,
        title="By patch: cells in H&E",
        tip="Looks at 55 × 55 pixels around each pixel and says what the middle one "
        "is. Made for\ncells in H&E stains (published as DCNN).",
        place=3,
        recipe=RECIPE,
    )
)
