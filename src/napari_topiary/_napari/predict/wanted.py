"""What the Predict page is asked to look at, as values for the worker thread."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_topiary._napari.canvas.layers import current_image_name, image_layer
from napari_topiary._napari.canvas.visible import visible_window
from napari_topiary._napari.predict.predicting import Wanted
from napari_topiary.errors import TopiaryError

if TYPE_CHECKING:
    import napari.viewer

    from napari_topiary.session import Session


def wanted_in(
    viewer: napari.viewer.Viewer, session: Session, *, area: str
) -> list[Wanted]:
    """Images, or the part of one, that are to be predicted.

    Parameters
    ----------
    viewer
        Shows the image.
    session
        Has all images.
    area
        "visible", "image" or "all".
    """
    if area == "all":
        entries = list(session.images.values())
        return [Wanted(e.name, e.image, e.scale) for e in entries]
    name = current_image_name(viewer, session)
    if name is None:
        raise TopiaryError("No image is shown: choose one on the Data page first.")
    entry, window = session.images[name], None
    if area == "visible":
        layer = image_layer(viewer, name)
        if layer is None:
            raise TopiaryError(
                f"{name} is not shown any more: open it on the Data page, or "
                "choose This image."
            )
        window = visible_window(layer, entry.image.shape[1:])
    return [Wanted(name, entry.image, entry.scale, window)]
