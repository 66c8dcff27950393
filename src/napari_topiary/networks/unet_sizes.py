"""What a U-Net is made of, and how many weights that gives.

The annotations are read at run time (they make a form), so this module does not defer
their evaluation.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Any, Self

from napari_topiary.errors import TopiaryError

MOST_WEIGHTS = 1_000_000_000
"""More than this is a mistake (or a hostile file), not a network for a microscope."""


@dataclass(frozen=True)
class UNetSizes:
    """What a U-Net is made of.

    Parameters
    ----------
    base
        Maps at full resolution.
    multiplier
        Factor in maps from one level to the next; may be fractional.
    levels
        How often the image is halved.
    last
        Maps of the last two convolutions; None = as many as `base`.
    batch_norm
        Normalise between convolution and ReLU.
    """

    base: Annotated[
        int,
        {
            "label": "Maps at full size",
            "min": 1,
            "max": 512,
            "tooltip": "How many different patterns the finest level looks for.",
        },
    ] = 64
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
    last: Annotated[
        int | None,
        {
            "label": "Maps at the end",
            "min": 1,
            "max": 1024,
            "tooltip": "Maps of the last two convolutions; automatic: as at full size.",
        },
    ] = None
    batch_norm: Annotated[
        bool,
        {
            "label": "Batch normalisation",
            "tooltip": "Keep normalisation layers in the finished network. Training "
            "lends them in any case.",
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
                    f"A unet has no size called {name!r}: it has {', '.join(known)}."
                )
        made = cls(**sizes)
        problem = made.problem()
        if problem is not None:
            raise TopiaryError(problem)
        return made

    def problem(self) -> str | None:
        """Return what is impossible about these sizes, as a sentence."""
        last = 1 if self.last is None else self.last
        for words, value, low, high in (
            ("base maps", self.base, 1, 512),
            ("levels", self.levels, 0, 8),
            ("maps in the last two convolutions", last, 1, 1024),
        ):
            if type(value) is not int or not low <= value <= high:
                return (
                    f"A unet with {value!r} {words} is not possible: give a whole "
                    f"number from {low} to {high}."
                )
        factor = self.multiplier
        if type(factor) not in (int, float) or not 1 <= factor <= 4:
            return (
                f"A unet whose maps grow by {factor!r} from level to level is not "
                "possible: give a multiplier from 1 to 4."
            )
        if type(self.batch_norm) is not bool:
            return f"Batch normalisation is on or off, not {self.batch_norm!r}."
        weights = self.parameters(1, 2)
        if weights > MOST_WEIGHTS:
            return (
                f"This unet would have {weights / 1e9:.1f} billion weights: give fewer "
                "base maps, fewer levels or a smaller multiplier."
            )
        return None

    @property
    def maps(self) -> tuple[int, ...]:
        """Maps of each level, the finest first."""
        return tuple(
            round(self.base * self.multiplier**i) for i in range(self.levels + 1)
        )

    @property
    def decoder_maps(self) -> tuple[int, ...]:
        """Maps that leave each level on the way up, the finest first."""
        if self.last is None or self.levels == 0:
            return self.maps
        return (self.last, *self.maps[1:])

    def parameters(self, in_channels: int, n_classes: int) -> int:
        """Count the weights without building anything.

        Parameters
        ----------
        in_channels
            Channels of the image.
        n_classes
            Maps of the output.
        """
        c, o = self.maps, self.decoder_maps
        norm = 2 if self.batch_norm else 0

        def pair(into: int, out: int) -> int:
            return (9 * into + 1 + norm) * out + (9 * out + 1 + norm) * out

        total = sum(pair(i, n) for i, n in zip((in_channels, *c), c, strict=False))
        for i in range(self.levels):
            total += (4 * o[i + 1] + 1) * c[i] + pair(2 * c[i], o[i])
        return total + (o[0] + 1) * n_classes
