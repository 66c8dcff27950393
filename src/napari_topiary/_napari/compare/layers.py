"""The layers of a comparison: A, B, the difference, what was kept, lost and gained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_topiary._napari.canvas.layers import (
    image_layer,
    layer_for,
    put_layer,
    remove_layer,
)
from napari_topiary._napari.canvas.result_layers import probability_picture
from napari_topiary._napari.compare.comparing import Match
from napari_topiary._napari.compare.look import SMALLEST_LIMIT, diverging
from napari_topiary._napari.state import unwrap

if TYPE_CHECKING:
    import napari.viewer
    from napari.layers import Layer

KINDS = {
    "a": "A",
    "b": "B",
    "difference": "B minus A",
    "labels": "other label",
    "lines": "lines",
    "things": "changes",
    "line": "curtain",
    "place": "disagreement",
    "image-b": "copy for B",
    "labels-b": "other label (B)",
    "things-b": "changes (B)",
}
"""What a layer shows -> how it is called; in the order in which they are stacked."""


def key(what: str, image_name: str) -> tuple[str, str]:
    """Key of one of the layers.

    Parameters
    ----------
    what
        A key of `KINDS`.
    image_name
        Of the image.
    """
    return f"compare-{what}", image_name


class ComparisonLayers:
    """Makes, finds and removes the layers of one comparison.

    Parameters
    ----------
    viewer
        Where.
    match
        What is shown.
    colours
        Class name -> `#rrggbb`.
    """

    def __init__(
        self, viewer: napari.viewer.Viewer, match: Match, colours: Mapping[str, str]
    ) -> None:
        self.viewer, self.match = viewer, match
        self.name = match.subject.name
        self.colours = dict(colours)
        self.pictures = [
            probability_picture(side, colours) for side in (match.a, match.b)
        ]

    @property
    def image(self) -> Layer | None:
        """The layer of the image; None if it is not shown."""
        return image_layer(self.viewer, self.name)

    def layer(self, what: str) -> Layer | None:
        """One of the layers, None if there is none.

        Parameters
        ----------
        what
            A key of `KINDS`.
        """
        return layer_for(self.viewer, key(what, self.name))

    def stack(self) -> None:
        """Bring the marks above what they are marks on."""
        layers = unwrap(self.viewer).layers
        own = [one for what in KINDS if (one := self.layer(what)) is not None]
        if [one for one in layers if one in own] == own:
            return
        for one in own:
            layers.move(layers.index(one), len(layers))

    def remove(self, *which: str) -> None:
        """Take layers away; all of them when none is named.

        Parameters
        ----------
        *which
            Keys of `KINDS`.
        """
        remove_layer(self.viewer, *(key(what, self.name) for what in which or KINDS))

    def put(self, what: str, data: Any, layer_type: str, **visual: Any) -> Layer | None:
        """Show one of the layers, in place of what it showed; None without image.

        Parameters
        ----------
        what
            A key of `KINDS`.
        data, layer_type, **visual
            As for `put_layer`.
        """
        image = self.image
        if image is None:
            return None
        layer = put_layer(
            self.viewer,
            key(what, self.name),
            data,
            layer_type,
            like=image,
            name=f"{self.name} · {KINDS[what]}",
            **visual,
        )
        if not layer.visible:
            layer.visible = True
        return layer

    def put_side(self, what: str, picture: NDArray[np.uint8] | None = None) -> None:
        """Show the probability of A or B.

        Parameters
        ----------
        what
            "a" or "b".
        picture
            Shown instead of the whole, with the same shape.
        """
        whole, factor = self.pictures["ab".index(what)]
        self.put(
            what,
            whole if picture is None else picture,
            "image",
            rgb=True,
            interpolation2d="linear",
            grid_factor=factor,
        )

    def put_difference(self, class_index: int = 0) -> float:
        """Show B minus A.

        Parameters
        ----------
        class_index
            Of one class; 0 = everything that is no background.

        Returns
        -------
        float
            The difference that has full colour.
        """
        maps = self.match.comparison.difference
        difference = maps[class_index] if class_index else -maps[0]
        limit = max(SMALLEST_LIMIT, float(np.abs(difference).max(initial=0.0)))
        layer = self.put(
            "difference",
            difference,
            "image",
            colormap=diverging(),
            blending="translucent_no_depth",
            contrast_limits=(-limit, limit),
        )
        if layer is not None:
            layer.contrast_limits_range = (-1.0, 1.0)
            layer.contrast_limits = (-limit, limit)
        return limit
