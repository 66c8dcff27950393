"""The DCNN that tells cells from background in H&E stains (Götz et al. 2022).

Götz et al. 2022, after Xing et al. 2016: a 55×55 patch, three convolutions of 4×4, 5×5
and 6×6 pixels, each with 2×2 max-pooling, then 1024 units; 916,959 weights on colour
images with two classes. Pruned, it keeps n − floor(δ·n) of each convolution's n maps.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from napari_topiary.networks.base import NetworkKind, networks
from napari_topiary.networks.patch_classifier import PooledSizes, maps_row, units_row


@dataclass(frozen=True)
class DcnnSizes(PooledSizes):
    """How many maps each layer of a DCNN has."""

    network: ClassVar[str] = "dcnn"
    patch: ClassVar[int] = 55
    kernels: ClassVar[tuple[int, int, int, int]] = (4, 5, 6, 3)
    conv1: Annotated[
        int, maps_row(1, "How many patterns of 4×4 pixels are looked for.")
    ] = 25
    conv2: Annotated[
        int, maps_row(2, "How many combinations of those, about 13 pixels wide.")
    ] = 50
    conv3: Annotated[
        int, maps_row(3, "How many combinations of those, about 35 pixels wide.")
    ] = 80
    fc: Annotated[
        int, units_row("Units that weigh the whole patch; most weights are here.")
    ] = 1024


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
        build=DcnnSizes.build,
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
