"""Open napari with the workbench, for the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import napari
from napari.settings import get_settings

from napari_topiary._napari.state import unwrap
from napari_topiary._napari.workbench import Workbench

if TYPE_CHECKING:
    import napari.viewer


def open_workbench(
    viewer: napari.viewer.Viewer, sample: str | None = None
) -> Workbench:
    """Dock the workbench into a viewer."""
    workbench = Workbench(viewer)
    viewer.window.add_dock_widget(workbench, name="Topiary", area="right")
    if sample is not None:
        workbench.open_sample(sample)
    return workbench


def workbench_of(viewer: napari.viewer.Viewer) -> Workbench:
    """Return the workbench of a viewer; it is docked if there is none yet."""
    docked = viewer.window.dock_widgets.values()
    there = (one for one in docked if isinstance(one, Workbench))
    return next(there, None) or open_workbench(viewer)


def launch(sample: str | None = None, notice: str = "") -> int:
    """Open napari with the workbench and stay until the window is closed."""
    viewer = napari.Viewer(title="Topiary", show_welcome_screen=sample is None)
    first = get_settings().application.window_size is None
    workbench = open_workbench(viewer, sample)
    if notice:
        workbench.page("Data").refuse(notice)
    if first:  # napari remembers from then on how a person wants it
        unwrap(viewer).window._qt_window.showMaximized()
    napari.run()
    return 0
