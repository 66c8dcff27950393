"""What a comparison looks like on the image: one of four modes, with marks on top."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from qtpy.compat import isalive
from qtpy.QtCore import QObject, QTimer, Signal

from napari_topiary._napari.canvas.layers import layer_for
from napari_topiary._napari.canvas.overlay import Aside
from napari_topiary._napari.canvas.shown_image import look_at, move_to, visible_window
from napari_topiary._napari.canvas.turns import turns_of
from napari_topiary._napari.compare.curtain import Curtain
from napari_topiary._napari.compare.layers import (
    KINDS,
    ComparisonLayers,
    put_labels,
    put_lines,
    put_things,
)
from napari_topiary._napari.compare.side_by_side import SideBySide
from napari_topiary._napari.state import unwrap
from napari_topiary.annotations import annotation_kinds
from napari_topiary.evaluation.disagreements import Place
from napari_topiary.jobs.comparing import Match

if TYPE_CHECKING:
    import napari.viewer

PERIOD_MS = 600

OWNER = "compare"
ALL = ("a", "b", "difference")
MODES = ("curtain", "flicker", "side", "difference")
IN_THE_WAY = (
    "probability",
    "result-labels",
    "distance",
    "detections",
    "lines",
    "preview",
    "preview-labels",
    "preview-detections",
    "review",
)
"""Topiary's other layers of an image, beside what is drawn: put aside while two
networks are compared."""
AROUND = 3.0
"""A disagreement is shown with this many times its size around it."""
SMALLEST_VIEW = 60.0
"""But never less than this many pixels of the image."""


class Flicker(QObject):
    """Shows one of the two overlays at a time."""

    flipped = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.layers: ComparisonLayers | None = None
        self.shown = "a"
        self._timer = QTimer(self)
        self._timer.setInterval(PERIOD_MS)
        self._timer.timeout.connect(self.flip)

    @property
    def active(self) -> bool:
        """Whether there is anything to flip."""
        return self.layers is not None

    def open(self, layers: ComparisonLayers) -> None:
        """Show A."""
        self.layers = layers
        for what in "ab":
            layers.put_side(what)
        self.show("a")

    def close(self) -> None:
        """Flip no more."""
        if isalive(self._timer):  # not so at the very end of the program
            self._timer.stop()
        self.layers = None

    def play(self, on: bool) -> None:
        """Flip again and again, or no longer."""
        if on and self.active:
            self._timer.start()
        else:
            self._timer.stop()

    def flip(self) -> None:
        """Show the other one."""
        if self.active:
            self.show("b" if self.shown == "a" else "a")

    def show(self, which: str) -> None:
        """Show one of the two."""
        if self.layers is None:
            return
        self.shown = which
        for what in "ab":
            layer = self.layers.layer(what)
            if layer is not None:
                layer.visible = what == which
        self.flipped.emit(which)


class ComparisonView(QObject):
    """Draws a match in the current mode, and takes everything away again."""

    drawn = Signal()

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self.viewer = unwrap(viewer)
        self.mode = "curtain"
        self.things, self.labels = True, False
        self.limit = 1.0
        self.class_index = 0
        self.layers: ComparisonLayers | None = None
        self.curtain = Curtain(viewer)
        self.flicker = Flicker()
        self.side_by_side = SideBySide(viewer)
        self._aside, self.turns = Aside(), turns_of(viewer)

    def open(self, match: Match, colours: Mapping[str, str]) -> None:
        """Show a match."""
        self.close()
        layers = ComparisonLayers(self.viewer, match, colours)
        if layers.image is None:
            return
        kinds = (*IN_THE_WAY, *annotation_kinds)
        others = [layer_for(self.viewer, (kind, layers.name)) for kind in kinds]
        self._aside.hide(layer for layer in others if layer is not None)
        self.layers = layers
        if self.class_index >= len(match.comparison.task.classes):
            self.class_index = 0
        self._draw()

    def close(self) -> None:
        """Take everything away; what was visible before is visible again."""
        self.turns.drop(OWNER)
        if self.layers is None:
            return
        self.turns.hold_painting()
        for step in self._steps_out(keep=ALL):
            step()
        self.layers.remove(*KINDS)
        self.layers = None
        self._aside.restore()

    def set_mode(self, mode: str) -> None:
        """Look at it in another way."""
        self.mode = mode
        if self.layers is not None:
            # napari takes long to remove a layer: A and B stay for the next mode.
            keep = () if mode == "difference" else ("a", "b")
            self._draw(first=self._steps_out(keep=keep))

    def set_class(self, index: int) -> None:
        """Show the difference of one class."""
        self.turns.finish()
        self.class_index = index
        if self.layers is not None and self.mode == "difference":
            self.limit = self.layers.put_difference(index)
            self.layers.stack()

    def show_things(self, on: bool) -> None:
        """Mark what was kept, lost and gained, or no longer."""
        self.turns.finish()
        self.things = on
        self._draw_marks()
        self._stack()
        self.side_by_side.show_things(on)

    def show_labels(self, on: bool) -> None:
        """Outline where the labels differ, or no longer."""
        self.turns.finish()
        self.labels = on
        self._draw_marks()
        self._stack()
        self.side_by_side.show_labels(on)

    def look_at(self, place: Place) -> None:
        """Bring a disagreement to the middle of the view, and frame it."""
        layers = self.layers
        if layers is None or layers.image is None:
            return
        image = layers.image
        side = max(SMALLEST_VIEW, AROUND * place.size)
        top, bottom, _, _ = visible_window(image, layers.match.subject.image.shape[1:])
        if not side / 2 < bottom - top < 2 * side:
            half = side / 2
            area = (place.y - half, place.y + half, place.x - half, place.x + half)
            look_at(self.viewer, image, area)
        move_to(self.viewer, image, (place.y, place.x))
        layers.put(
            "place",
            np.array([[place.y, place.x]]),
            "points",
            size=0.9 * place.size,
            symbol="square",
            face_color="transparent",
            border_color="white",
            border_width=0.03,
        )

    def _draw(self, first: Sequence[Callable[[], object]] = ()) -> None:
        layers = self.layers
        if layers is None:
            return
        steps = list(first)
        if self.mode in ("curtain", "flicker"):
            steps += [partial(layers.make_side, what) for what in "ab"]
        if self.mode == "curtain":
            steps += [lambda: self.curtain.open(layers), self.curtain.show_line]
        elif self.mode == "flicker":
            steps.append(lambda: self.flicker.open(layers))
        elif self.mode == "difference":
            steps.append(self._draw_difference)
        steps += [*self._mark_steps(), layers.stack]
        if self.mode == "side":
            steps += self.side_by_side.steps(
                layers, things=self.things, labels=self.labels
            )
        steps.append(self.drawn.emit)
        self.turns.take(OWNER, steps)

    def _draw_difference(self) -> None:
        if self.layers is not None:
            self.limit = self.layers.put_difference(self.class_index)

    def _stack(self) -> None:
        if self.layers is not None and not self.side_by_side.active:
            self.layers.stack()

    def _draw_marks(self) -> None:
        for step in self._mark_steps():
            step()

    def _mark_steps(self) -> list[Callable[[], object]]:
        """What shows, or takes away, the marks: one layer after the other."""
        layers = self.layers
        if layers is None or layers.image is None:
            return []
        wanted = {
            "labels": (self.labels, put_labels),
            "lines": (self.things, put_lines),
            "things": (self.things, put_things),
        }
        return [
            partial(put, layers) if on else partial(layers.remove, what)
            for what, (on, put) in wanted.items()
        ]

    def _steps_out(self, *, keep: Sequence[str]) -> list[Callable[[], object]]:
        """What ends the present mode; only some of the maps stay."""
        if self.layers is None:
            return []
        gone = [what for what in ALL if what not in keep]
        return [
            self.curtain.close,
            self.flicker.close,
            self.side_by_side.close,
            partial(self.layers.remove, *gone),
        ]
