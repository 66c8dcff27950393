"""What belongs to one viewer: its session, its runner, the layers made for it.

Nothing is global: two viewers share nothing, and a closed viewer takes its state with
it (weak keys). The state holds no reference to the viewer or to layers.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from napari_topiary._napari.jobs.runner import JobRunner
from napari_topiary.config import Device

if TYPE_CHECKING:
    import napari.viewer
    from napari.layers import Layer

    from napari_topiary.io.large_images import AnyImage
    from napari_topiary.session import Session

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Preferences:
    """Settings that the forms start with."""

    device: Device = "auto"
    minutes: float = 1.0
    preset: str = "tiny"
    preview: bool = True
    autosave_seconds: int = 3


def preferences() -> Preferences:
    """Read the settings; the defaults where napari has none for this plugin."""
    try:
        from napari.settings import get_plugin_settings

        stored = get_plugin_settings("napari-topiary")
        return Preferences(
            device=stored.computing.device,
            minutes=stored.training.minutes,
            preset=stored.training.preset,
            preview=stored.training.preview,
            autosave_seconds=stored.saving.autosave_seconds,
        )
    except (ImportError, KeyError, AttributeError) as reason:
        # An older napari, or the plugin runs without being installed.
        _log.info("No plugin settings (%r): using the defaults.", reason)
        return Preferences()


@dataclass
class ViewerState:
    """State of one viewer."""

    session: Session  #: The project that is open in this viewer
    #: Runs one job at a time for all pages of this viewer
    runner: JobRunner = field(default_factory=JobRunner)
    #: Weak references to the layers that Topiary made or was given, by key
    layers: dict[Hashable, weakref.ref[Layer]] = field(default_factory=dict)
    #: Layers of the image before, by kind, to be used again for this one: removing and
    #: adding layers costs napari a quarter of a second each
    spare: dict[Hashable, weakref.ref[Layer]] = field(default_factory=dict)
    #: Layers that are hidden already and leave the viewer one after the other, by key
    leaving: dict[Hashable, weakref.ref[Layer]] = field(default_factory=dict)
    shown: str | None = None  #: Name of the image that is being worked on
    picture: AnyImage | None = None  #: That image, of which its layer was made
    #: Whether the image shown had a known pixel size, and so a scale bar
    scale_bar: bool = False
    #: The user's own layer that is to show the image that is added next
    brought: Layer | None = None
    #: Things of the pages that live as long as the viewer, by type
    parts: dict[type, Any] = field(default_factory=dict)


_states: WeakKeyDictionary[Any, ViewerState] = WeakKeyDictionary()


def unwrap(thing: Any) -> Any:
    """Return the napari object behind the proxy that plugins are handed."""
    return getattr(thing, "__wrapped__", thing)


def state_of(
    viewer: napari.viewer.Viewer, session: Session | None = None
) -> ViewerState:
    """State of a viewer, made when first asked for."""
    key = unwrap(viewer)
    state = _states.get(key)
    if state is None:
        if session is None:
            # Only now: a session brings the whole core with it.
            from napari_topiary.session import Session

            session = Session()
        state = _states[key] = ViewerState(session)
    elif session is not None:
        state.session = session
    return state
