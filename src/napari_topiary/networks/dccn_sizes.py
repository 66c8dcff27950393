"""What a DCCN is made of, and how many weights that gives.

The annotations are read at run time (they make a form), so this module does not defer
their evaluation.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from napari_topiary.networks.sizes import Sizes


@dataclass(frozen=True)
class DccnSizes(Sizes):
    """Widths and depths of a truncated DenseNet.

    Parameters
    ----------
    stem
        Maps of the first convolution.
    growth, bottleneck
        Maps that every dense layer adds, and maps inside it.
    layers1, layers2, layers3
        Dense layers of the three blocks.
    transition1, transition2, transition3
        Maps that leave each block.
    published_loss
        The published values of the loss fit a softmax cross-entropy on top of sigmoid
        outputs, which confines it to 0.313 and more. To compare losses
        with the paper's, answer with sigmoids; to learn well, do not.
    """

    network: ClassVar[str] = "dccn"
    stem: Annotated[
        int,
        {
            "label": "Maps at the start",
            "min": 1,
            "max": 1024,
            "tooltip": "How many patterns of 7×7 pixels are looked for.",
        },
    ] = 64
    growth: Annotated[
        int,
        {
            "label": "Maps that a layer adds",
            "min": 1,
            "max": 512,
            "tooltip": "Every layer of a block adds so many maps to all before it.",
        },
    ] = 32
    bottleneck: Annotated[
        int,
        {
            "label": "Maps inside a layer",
            "min": 1,
            "max": 2048,
            "tooltip": "Mixtures of all earlier maps that a layer makes first.",
        },
    ] = 128
    layers1: Annotated[
        int,
        {
            "label": "Layers of block 1",
            "min": 0,
            "max": 64,
            "tooltip": "Layers where maps have a quarter of the patch's side.",
        },
    ] = 6
    layers2: Annotated[
        int,
        {
            "label": "Layers of block 2",
            "min": 0,
            "max": 64,
            "tooltip": "Layers where maps have an eighth of the patch's side.",
        },
    ] = 12
    layers3: Annotated[
        int,
        {
            "label": "Layers of block 3",
            "min": 0,
            "max": 64,
            "tooltip": "Layers where maps have a sixteenth of the patch's side.",
        },
    ] = 24
    transition1: Annotated[
        int,
        {
            "label": "Maps after block 1",
            "min": 1,
            "max": 4096,
            "tooltip": "Published: half of what the block ends with.",
        },
    ] = 128
    transition2: Annotated[
        int,
        {
            "label": "Maps after block 2",
            "min": 1,
            "max": 4096,
            "tooltip": "Published: half of what the block ends with.",
        },
    ] = 256
    transition3: Annotated[
        int,
        {
            "label": "Maps after block 3",
            "min": 1,
            "max": 4096,
            "tooltip": "Published: half of what the block ends with.",
        },
    ] = 512
    published_loss: Annotated[
        bool,
        {
            "label": "Loss as published",
            "tooltip": "Confine the outputs to 0..1: losses compare with "
            "the paper's, learning is slower.",
        },
    ] = False

    @property
    def blocks(self) -> tuple[tuple[int, int], ...]:
        """Layers of each block, and maps that leave it."""
        return (
            (self.layers1, self.transition1),
            (self.layers2, self.transition2),
            (self.layers3, self.transition3),
        )

    def parameters(self, in_channels: int, n_classes: int) -> int:
        """Count the weights without building anything.

        Parameters
        ----------
        in_channels
            Channels of the image.
        n_classes
            Classes, background included.
        """
        total = (49 * in_channels + 2) * self.stem
        into = self.stem
        for depth, out in self.blocks:
            for _ in range(depth):
                total += (2 + self.bottleneck) * into
                total += (2 + 9 * self.growth) * self.bottleneck
                into += self.growth
            total += (2 + out) * into
            into = out
        return total + (into + 1) * n_classes
