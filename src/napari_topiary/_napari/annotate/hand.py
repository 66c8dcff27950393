"""Which tool is in the hand: napari's active layer and its mode."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from napari_topiary._napari.annotate.tools import TOOLS
from napari_topiary._napari.state import unwrap
from napari_topiary.types import BACKGROUND

if TYPE_CHECKING:
    from napari_topiary._napari.drawing.drawing import Drawing


def take_tool(drawing: Drawing, name: str, class_name: str) -> None:
    """Put a tool into the hand: the right layer is made, active and in its mode.

    Parameters
    ----------
    drawing
        The drawing of the viewer.
    name
        A key of `TOOLS`.
    class_name
        The class that is drawn.
    """
    tool, viewer = TOOLS[name], drawing.viewer
    active = unwrap(viewer.layers.selection.active)
    if name == "select":
        layer = _selectable(drawing, active)
        mode = "pan_zoom" if layer is drawing.layer("labels") else "select"
    else:
        layer, mode = drawing.ensure(tool.kind), tool.mode
    if layer is None:
        return
    drawing.aim(BACKGROUND if name == "negative" else class_name)
    layer.visible = True
    viewer.layers.selection.active = layer
    layer.mode = mode


def _selectable(drawing: Drawing, active: object) -> object:
    """The layer to select in: the active one of ours, or one that has something."""
    kinds = ("points", "centerlines", "regions", "labels")
    layers = [drawing.layer(kind) for kind in kinds]
    if any(layer is active for layer in layers if layer is not None):
        return active
    return next(
        (layer for layer in layers if layer is not None and len(layer.data)), None
    )


def tool_in_hand(drawing: Drawing) -> str:
    """Name of the tool that napari's active layer and mode amount to; empty = none.

    Parameters
    ----------
    drawing
        The drawing of the viewer.
    """
    active = unwrap(drawing.viewer.layers.selection.active)
    for name, tool in TOOLS.items():
        kinds = (tool.kind,) if tool.kind else ("points", "centerlines", "regions")
        layers = [drawing.layer(kind) for kind in kinds]
        is_ours = active is not None and any(layer is active for layer in layers)
        negative = drawing.class_name == BACKGROUND
        if is_ours and str(active.mode) == tool.mode:
            if tool.kind == "points" and negative != (name == "negative"):
                continue
            return name
    return ""


def give_selected(drawing: Drawing, class_name: str) -> bool:
    """Give the marks that are selected another class.

    Parameters
    ----------
    drawing
        The drawing of the viewer.
    class_name
        Their new class.

    Returns
    -------
    bool
        Whether any were selected (with the tool for it, not just drawn).
    """
    layer = unwrap(drawing.viewer.layers.selection.active)
    kinds = [k for k in ("points", "centerlines") if drawing.layer(k) is layer]
    if layer is None or not kinds or str(layer.mode) != "select":
        return False
    chosen = sorted(layer.selected_data)
    drawing.gather()
    old = drawing.of_kind(kinds[0])
    if not chosen or old is None:
        return False
    classes = list(old.classes)
    for index in chosen:
        classes[index] = class_name
    drawing.replace_kind(kinds[0], replace(old, classes=tuple(classes)))
    return True
