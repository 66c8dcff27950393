"""What tests of prediction share."""

from __future__ import annotations

import pytest
import torch

from napari_topiary.inference import engine
from napari_topiary.inference.backends import pytorch


@pytest.fixture
def with_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that gains from it; here it is emulated."""
    for module in (engine, pytorch):
        monkeypatch.setattr(module, "autocast_dtype", lambda _: torch.bfloat16)
