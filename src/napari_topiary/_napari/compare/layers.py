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
from napari_topiary._napari.compare.look import (
    SMALLEST_LIMIT,
    STATUSES,
    disagreement_colours,
    diverging,
)
from napari_topiary._napari.state import unwrap
from napari_topiary.types import Prediction

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
    "things-b": "changes (B)",
}
"""What a layer shows -> how it is called; in the order in which they are stacked."""
UNKNOWN_RADIUS = 8.0
OUTLINE = 3
"""Labels that differ are outlined with this many pixels."""


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
        for what in which or KINDS:
            remove_layer(self.viewer, key(what, self.name))

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

    def put_difference(self) -> float:
        """Show B minus A of everything that is no background.

        Returns
        -------
        float
            The difference that has full colour.
        """
        difference = -self.match.comparison.difference[0]
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

    def put_things(self, what: str = "things") -> None:
        """Mark what was kept, lost and gained.

        Parameters
        ----------
        what
            "things", or "things-b" for a second set.
        """
        things = self.match.comparison.things
        if not len(things):
            self.remove(what)
            return
        looks = [STATUSES[status] for status in things.status]
        self.put(
            what,
            things.coordinates,
            "points",
            features={
                "status": list(things.status),
                "score A": things.score_a,
                "score B": things.score_b,
            },
            size=self._sizes(),
            border_color=[look.colour for look in looks],
            symbol=[look.symbol for look in looks],
            face_color="transparent",
            border_width=0.12,
            border_width_is_relative=True,
        )

    def put_lines(self) -> None:
        """Draw filaments in the colours of kept, lost and gained."""
        lines, comparison = self.match.comparison.lines, self.match.comparison
        if not lines.lines:
            self.remove("lines")
            return
        radii = [
            comparison.task.radius(comparison.task.classes[i], comparison.scale)
            or UNKNOWN_RADIUS
            for i in lines.line_class
        ]
        self.put(
            "lines",
            list(lines.lines),
            "shapes",
            shape_type="path",
            features={"status": list(lines.status)},
            edge_width=[max(1.0, 0.5 * radius) for radius in radii],
            edge_color=[STATUSES[status].colour for status in lines.status],
            face_color="transparent",
        )

    def put_labels(self) -> None:
        """Outline where the labels differ."""
        differs = self.match.comparison.disagreement
        if not differs.any():
            self.remove("labels")
            return
        layer = self.put(
            "labels",
            self._which_labels(differs),
            "labels",
            opacity=0.9,
            colormap=disagreement_colours(),
        )
        if layer is not None:
            layer.contour = OUTLINE if max(differs.shape) > 300 else 1

    def _which_labels(self, differs: NDArray[np.bool_]) -> NDArray[np.uint8]:
        """1 where only A has something, 2 where only B has, 3 where both differ."""
        from_a, from_b = _has(self.match.a), _has(self.match.b)
        which = np.where(from_a & from_b, 3, np.where(from_a, 1, 2))
        return np.where(differs, which, 0).astype(np.uint8)

    def _sizes(self) -> list[float]:
        comparison = self.match.comparison
        things, task = comparison.things, comparison.task
        if task.kind == "instances":
            return [max(6.0, float(1.2 * np.sqrt(size))) for size in things.size]
        radii = [
            task.radius(n, comparison.scale) or UNKNOWN_RADIUS for n in task.classes
        ]
        return [2 * radii[index] for index in things.class_index]


def _has(prediction: Prediction) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = prediction.labels > 0
    return found
