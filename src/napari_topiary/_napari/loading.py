"""What takes seconds to load is loaded when the window is there already."""

from __future__ import annotations

import gc
from functools import cache, partial
from importlib import import_module
from typing import Any

import pint
from napari.utils.colormaps import label_colormap

from napari_topiary._napari.jobs.runner import JobRunner
from napari_topiary.types import Job, Progress

AHEAD = (
    "napari_topiary.training",
    "napari_topiary.jobs.pruning",
    "napari_topiary.jobs.comparing",
    "napari_topiary.jobs.predicting",
    "napari_topiary.jobs.network_cost",
    "torch._dynamo",  # counting a network's values loads it: 100,000 objects
    "pyqtgraph",  # its widgets are made in the main thread
)
"""What the pages after the first compute with: torch alone takes seconds to load."""
FOR_LAYERS = ("scipy.ndimage", "pandas")
"""What napari imports when it makes its first image and its first points."""
_under_way: list[JobRunner] = []


def load_behind(pages: tuple[str, ...]) -> None:
    """Begin to load in a thread, unless that was done; `pages`: modules of theirs."""
    runner = JobRunner()
    runner.finished.connect(partial(_under_way.remove, runner))
    _under_way.append(runner)
    runner.start(
        partial(_loading, pages),
        title="Loading",
        on_progress=lambda progress: use_ahead(progress.report),
    )


def is_loading() -> bool:
    """Whether what a page needs may still be on its way."""
    return bool(_under_way)


def _loading(pages: tuple[str, ...]) -> Job[None]:
    yield Progress(0, 0, "Loading", report=units_ahead())
    load_ahead(pages)


def units_ahead() -> pint.UnitRegistry[Any] | None:
    """Read all units, in a thread; None where some are in use already.

    napari would read them for the first image with a unit, and stand still for a
    second; for what else it needs for its first layers, too.
    """
    units = pint.UnitRegistry() if _no_units() else None
    for name in FOR_LAYERS:
        import_module(name)
    label_colormap()
    return units


def use_ahead(registry: pint.UnitRegistry[Any] | None) -> None:
    """Let napari use units that were read, unless others are in use."""
    if registry is not None and _no_units():
        pint.set_application_registry(registry)


def _no_units() -> bool:
    known = pint.get_application_registry()
    return isinstance(known.get(), pint.registry.LazyRegistry)


@cache
def load_ahead(pages: tuple[str, ...]) -> None:
    """Load what pages compute with, before one is opened; in a thread.

    Python searches for garbage ever again while so much is loaded, and the window
    stands still meanwhile; napari does so whenever a layer leaves. What was loaded is
    no garbage: it need not be searched every time, which takes longer than all the
    rest. `close_down` lets it be searched again, so that a window that closes is freed.
    """
    gc.disable()
    try:
        for name in (*pages[:2], *AHEAD, *pages[2:]):  # the first are wanted first
            import_module(name)
        from napari_topiary.jobs.network_cost import preset_weights, traits_of
        from napari_topiary.networks import networks

        for name in networks:
            preset_weights(name)
            traits_of(name)
    finally:
        gc.freeze()
        gc.enable()
