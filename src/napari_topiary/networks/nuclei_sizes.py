"""What a nuclei segmenter is made of.

The annotations are read at run time (they make a form), so this module does not defer
their evaluation.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Any, Self

from napari_topiary.errors import TopiaryError
from napari_topiary.networks.unet_sizes import UNetSizes


@dataclass(frozen=True)
class NucleiSizes:
    """What a nuclei segmenter is made of.

    Parameters
    ----------
    base
        Maps at full resolution, of each branch.
    multiplier
        Factor in maps from one level to the next; may be fractional.
    levels
        How often the image is halved.
    shared_encoder
        One encoder for both branches, with twice as many maps at its end.
    dropout
        Leave some values out while training, as published.
    """

    base: Annotated[
        int,
        {
            "label": "Maps at full size",
            "min": 1,
            "max": 512,
            "tooltip": "How many different patterns the finest level of each branch "
            "looks for.",
        },
    ] = 16
    multiplier: Annotated[
        float,
        {
            "label": "Growth by level",
            "min": 1.0,
            "max": 4.0,
            "step": 0.1,
            "tooltip": "Factor in maps from one level to the next coarser one.",
        },
    ] = 2.0
    levels: Annotated[
        int,
        {
            "label": "Levels",
            "min": 0,
            "max": 8,
            "tooltip": "How often the image is halved: each level sees twice as far.",
        },
    ] = 4
    shared_encoder: Annotated[
        bool,
        {
            "label": "One encoder for both",
            "tooltip": "Both branches read the same maps: one network with two ends.",
        },
    ] = False
    dropout: Annotated[
        bool,
        {
            "label": "Dropout",
            "tooltip": "Leave a tenth to a third of the values out while training, as "
            "published. Short trainings are better without.",
        },
    ] = False

    @classmethod
    def from_mapping(cls, sizes: Mapping[str, Any]) -> Self:
        """Check sizes that came from a form, a command line or a file.

        Parameters
        ----------
        sizes
            Field name -> value; absent fields have their defaults.
        """
        known = [field.name for field in fields(cls)]
        for name in sizes:
            if name not in known:
                raise TopiaryError(
                    f"A nuclei network has no size called {name!r}: it has "
                    f"{', '.join(known)}."
                )
        made = cls(**sizes)
        problem = made.problem()
        if problem is not None:
            raise TopiaryError(problem)
        return made

    def problem(self) -> str | None:
        """Return what is impossible about these sizes, as a sentence."""
        for words, value in (
            ("One encoder for both branches", self.shared_encoder),
            ("Dropout", self.dropout),
        ):
            if type(value) is not bool:
                return f"{words} is on or off, not {value!r}."
        problem = self.branch.problem()
        return None if problem is None else problem.replace("unet", "nuclei network")

    @property
    def branch(self) -> UNetSizes:
        """Sizes of one branch as a U-Net of its own."""
        return UNetSizes(self.base, self.multiplier, self.levels)

    def parameters(self, in_channels: int, n_classes: int) -> int:
        """Count the weights without building anything.

        Parameters
        ----------
        in_channels
            Channels of the image.
        n_classes
            Classes, background included.
        """
        branch = self.branch
        whole = branch.parameters(in_channels, n_classes - 1)
        both = whole + branch.parameters(in_channels, 1)
        if not self.shared_encoder:
            return both
        maps, c = (in_channels, *branch.maps), branch.maps
        encoder = sum(
            (9 * into + 1) * out + (9 * out + 1) * out
            for into, out in zip(maps, c, strict=False)
        )
        # The last convolution has twice as many maps, which both decoders read.
        wider = (9 * c[-1] + 1) * c[-1]
        wider += 2 * (4 * c[-1] * c[-2] if self.levels else n_classes * c[-1] // 2)
        return both - encoder + wider
