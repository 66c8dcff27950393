"""Axes of the charts: limits, logarithms and guides."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from napari_topiary.story.axes import Axes, Frame, in_short
from napari_topiary.story.charts import Line, close_limits, save_chart


@pytest.mark.parametrize(
    ("values", "limits"),
    [
        ((0.81, 0.83), (0.81, 0.83)),
        ((0.7, 0.95), (0.7, 1.1)),
        ((0.5,), (0.5, 0.52)),
        ((), (0.0, 1.0)),
        ((0.1, float("nan"), 0.2), (0.1, 0.2)),
    ],
)
def test_limits_lie_close_around_the_values(values, limits):
    assert close_limits(values) == pytest.approx(limits)


def test_equal_factors_are_equal_steps():
    axes = Axes("", "weights", (0.0, 1.0), log_x=True)
    frame = Frame.around(axes, [(12_000, 0.5), (31e6, 0.8)])
    assert frame.x_limits == (10_000, 50_000_000)
    places = [frame.place(x, 0.0)[0] for x in (1e4, 1e5, 1e6, 1e7)]
    assert np.allclose(np.diff(places), places[1] - places[0])
    assert frame.place(0.0, 0.0)[0] == frame.left
    assert frame.place(1e9, 2.0)[0] == frame.right
    assert [in_short(n) for n in (500, 2e4, 1.5e6)] == ["500", "20 k", "1.5 M"]


def inked(path, colour):
    with Image.open(path) as picture:
        return int((np.array(picture) == colour).all(axis=2).sum())


def test_dots_spreads_and_guides_are_drawn(tmp_path):
    red, grey = (0xD0, 0x60, 0x00), (0x90, 0x90, 0x90)
    points = [(1, 0.2), (10, 0.9)]
    plain = Axes("", "CR", (0.0, 1.0), log_x=True)
    lines = [Line("a", points, "#d06000", joined=False)]
    save_chart(tmp_path / "dots.png", lines, plain)
    save_chart(tmp_path / "line.png", [Line("a", points, "#d06000")], plain)
    spread = [Line("a", points, "#d06000", joined=False, spread=(0.1, 0.1))]
    guides = Axes("", "CR", (0.0, 1.0), log_x=True, levels=[(0.5, "2 % lost")],
                  places=[(5, "published")])  # fmt: skip
    save_chart(tmp_path / "guides.png", spread, guides)
    dots, line, more = (
        inked(tmp_path / f"{name}.png", red) for name in ("dots", "line", "guides")
    )
    assert line > dots + 200
    assert dots + 40 < more < dots + 200
    assert inked(tmp_path / "dots.png", grey) < 20  # edges of letters
    assert inked(tmp_path / "guides.png", grey) > 800
