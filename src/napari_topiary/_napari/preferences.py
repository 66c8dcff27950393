"""What a person set under Preferences › Plugin settings, as one value.

The manifest declares the same settings with the same defaults (a test compares them).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from napari_topiary.config import Device

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
