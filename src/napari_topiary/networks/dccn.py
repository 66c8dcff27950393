"""The DCCN that tells cells from background in H&E stains (Götz et al. 2022).

Götz et al. 2022: a DenseNet-121 that ends after its third transition, on a 55×55 patch,
of which it leaves 512 single values; 4,794,754 weights on colour images with two
classes. Pruned, it keeps n − floor(δ·n) maps of the stem, of every bottleneck, of every
growth convolution and of every transition.

There is no exact dense form. Every convolution pads its patch with zeros, so that a
value depends on where in the patch it is, and the zeros of 14×14 maps have crept to the
middle after six layers. An image is therefore answered patch by patch, in batches:
exactly, and slowly (a GPU is advised).
"""

from dataclasses import dataclass
from functools import partial
from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from torch import nn

from napari_topiary.networks.base import NetworkKind, Sizes, built_from, networks
from napari_topiary.networks.layers import initialise
from napari_topiary.networks.patch_classifier import PatchClassifier

PATCH = 55


@dataclass(frozen=True, kw_only=True)
class DccnSizes(Sizes):
    """Widths and depths of a truncated DenseNet."""

    network: ClassVar[str] = "dccn"
    #: Maps of the first convolution
    stem: Annotated[
        int,
        {
            "label": "Maps at the start",
            "min": 1,
            "max": 1024,
            "tooltip": "How many patterns of 7×7 pixels are looked for.",
        },
    ] = 64
    #: `growth`, `bottleneck`: maps that every dense layer adds, and maps inside it
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
    #: `layers1`, `layers2`, `layers3`: dense layers of the three blocks
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
    #: `transition1`, `transition2`, `transition3`: maps that leave each block
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
    #: The published values of the loss fit a softmax cross-entropy on top of sigmoid
    #: outputs, which confines it to 0.313 and more. To compare losses with the paper's,
    #: answer with sigmoids; to learn well, do not.
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
        """Count the weights without building anything."""
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


class _Layer(nn.Module):
    """A dense layer: a bottleneck and the maps that it adds to all before it."""

    def __init__(self, into: int, bottleneck: int, growth: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(into)
        self.bottleneck = nn.Conv2d(into, bottleneck, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(bottleneck)
        self.growth = nn.Conv2d(bottleneck, growth, 3, padding=1, bias=False)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """`(b, into, y, x)` -> `(b, into + growth, y, x)`."""
        narrow = self.bottleneck(F.relu_(self.norm1(maps)))
        return torch.cat([maps, self.growth(F.relu_(self.norm2(narrow)))], dim=1)


class _Transition(nn.Module):
    """Fewer maps, of half the size."""

    def __init__(self, into: int, out: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(into)
        self.conv = nn.Conv2d(into, out, 1, bias=False)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """`(b, into, y, x)` -> `(b, out, y // 2, x // 2)`."""
        return F.avg_pool2d(self.conv(F.relu_(self.norm(maps))), 2)


class Dccn(PatchClassifier):
    """Truncated DenseNet on patches; pruned copies differ only in their widths.

    Layers `stem`, `block1.0.bottleneck`, `block1.0.growth`, .., `transition1.conv`, ..,
    `output`.

    Parameters
    ----------
    sizes
        Widths and depths.
    in_channels
        Channels of the image.
    n_classes
        Outputs.
    """

    largest_side = 16

    def __init__(self, sizes: DccnSizes, in_channels: int, n_classes: int) -> None:
        super().__init__(PATCH)
        self.confined = sizes.published_loss
        self.stem = nn.Conv2d(
            in_channels, sizes.stem, 7, stride=2, padding=3, bias=False
        )
        self.stem_norm = nn.BatchNorm2d(sizes.stem)
        into = sizes.stem
        for number, (depth, out) in enumerate(sizes.blocks, start=1):
            block = nn.Sequential()
            for _ in range(depth):
                block.append(_Layer(into, sizes.bottleneck, sizes.growth))
                into += sizes.growth
            self.add_module(f"block{number}", block)
            self.add_module(f"transition{number}", _Transition(into, out))
            into = out
        self.output = nn.Conv2d(into, n_classes, 1)
        self.apply(partial(initialise, gain=2))

    def classify(self, patches: torch.Tensor) -> torch.Tensor:
        """Logits `(b, k)` of the centre pixels of patches `(b, c, 55, 55)`."""
        maps = F.relu_(self.stem_norm(self.stem(patches)))
        maps = F.max_pool2d(maps, 3, stride=2, padding=1)
        for number in (1, 2, 3):
            maps = self.get_submodule(f"block{number}")(maps)
            maps = self.get_submodule(f"transition{number}")(maps)
        logits: torch.Tensor = self.output(maps).flatten(1)
        return logits.sigmoid() if self.confined else logits


networks.register("dccn")(
    NetworkKind(
        build=built_from(Dccn, DccnSizes),
        presets={
            "published": {},
            "half": {
                "stem": 32,
                "growth": 16,
                "bottleneck": 64,
                "transition1": 64,
                "transition2": 128,
                "transition3": 256,
            },
            "small": {
                "stem": 12,
                "growth": 6,
                "bottleneck": 12,
                "layers1": 1,
                "layers2": 2,
                "layers3": 2,
                "transition1": 8,
                "transition2": 10,
                "transition3": 12,
            },
        },
        preset_titles={"published": "as published", "half": "half as wide"},
        default_preset="published",
        sizes=DccnSizes,
        title="By patch, deep: cells in H&E",
        tip="As the one before, with many densely connected layers (published as "
        "DCCN). It cannot be\ncomputed for a whole image at once: very slow without a "
        "graphics card.",
        place=4,
        recipe={
            "optimizer": "adam",
            "learning_rate": 1e-3,
            "weight_decay": 0.0,
            "batch": 256,
            "dice_weight": 0.0,
            "balance": "natural",
        },
    )
)
