"""The membrane classifier for SEM whose loss-based pruning was published.

Roels et al. 2017: a 32×32 grey patch, three convolutions of 7×7, 5×5 and 3×3 pixels,
each with 2×2 max-pooling, then 200 units; 236,977 weights. Its pruned versions N1..N7
are presets: N1 loses 10/0/10/50 maps, N2..N5 each change one more layer of N1, N6
combines them, and N7 is the extreme.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from napari_topiary.networks.base import NetworkKind, networks
from napari_topiary.networks.patch_classifier import PooledSizes, maps_row, units_row


@dataclass(frozen=True)
class MembraneSizes(PooledSizes):
    """How many maps each layer of a membrane classifier has."""

    network: ClassVar[str] = "membrane_cnn"
    patch: ClassVar[int] = 32
    kernels: ClassVar[tuple[int, int, int, int]] = (7, 5, 3, 1)
    conv1: Annotated[
        int, maps_row(1, "How many patterns of 7×7 pixels are looked for.")
    ] = 100
    conv2: Annotated[
        int, maps_row(2, "How many combinations of those, about 16 pixels wide.")
    ] = 75
    conv3: Annotated[
        int, maps_row(3, "How many combinations of those, about 26 pixels wide.")
    ] = 50
    fc: Annotated[int, units_row("Units that weigh the whole patch.")] = 200


RECIPE = {
    "optimizer": "sgd",
    "learning_rate": 1e-2,
    "schedule": "linear",
    "weight_decay": 5e-4,
    "batch": 128,
    "dice_weight": 0.0,
    "balance": "classes",
}
"""SGD with a linear decay and balanced classes is the paper's; its values are not
public, these are usual ones."""

PRESETS = {
    "N": (100, 75, 50, 200),
    "N1": (90, 75, 40, 150),
    "N2": (65, 75, 40, 150),
    "N3": (90, 60, 40, 150),
    "N4": (90, 75, 30, 150),
    "N5": (90, 75, 40, 110),
    "N6": (65, 60, 30, 110),
    "N7": (30, 20, 10, 10),
}
"""Maps of the published networks, layer by layer."""

networks.register("membrane_cnn")(
    NetworkKind(
        build=MembraneSizes.build,
        presets={
            name: dict(zip(("conv1", "conv2", "conv3", "fc"), maps, strict=True))
            for name, maps in PRESETS.items()
        },
        default_preset="N",
        sizes=MembraneSizes,
        title="By patch: membranes in SEM",
        tip="Looks at 32 × 32 pixels around each pixel and says what the middle one "
        "is. Made for\nmembranes in electron microscopy; slower than a U-Net, and it "
        "sees less far.",
        place=2,
        recipe=RECIPE,
    )
)
