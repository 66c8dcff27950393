"""Charts and heat maps: what is drawn, and where."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from napari_topiary.errors import TopiaryError
from napari_topiary.report import charts
from napari_topiary.report.charts import (
    Chart,
    HeatMap,
    Line,
    save_chart,
    save_heat_map,
    see_to_charts,
)

RED, GREY = (0xD0, 0x60, 0x00), (0x90, 0x90, 0x90)


def test_without_matplotlib_a_sentence_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr(charts.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(TopiaryError, match=r"pip install 'napari-topiary\[report\]'"):
        see_to_charts()
    with pytest.raises(TopiaryError, match="matplotlib"):
        save_chart(tmp_path / "a.png", Chart(title="", x=""), ())
    assert not list(tmp_path.iterdir())


def drawn(path, lines, **about):
    pytest.importorskip("matplotlib")
    save_chart(path, Chart(title="Quality", x="CR", **about), lines)
    with Image.open(path) as picture:
        assert min(picture.size) > 300
        return np.array(picture.convert("RGB"))


def inked(pixels, colour):
    return (pixels == colour).all(axis=2)


def line(points, **how):
    return Line(name="a", points=points, colour="#d06000", **how)


def test_a_chart_draws_its_lines_and_survives_having_none(tmp_path):
    some = drawn(tmp_path / "a.png", [line([(0, 0.9), (10, 0.1)], marks=True)])
    none = drawn(tmp_path / "b.png", [line([])])
    assert inked(some, RED).sum() > 300
    assert inked(none, RED).sum() == 0


def test_dots_spreads_and_guides_are_drawn(tmp_path):
    points = [(1, 0.2), (10, 0.9)]
    how = {"y_limits": (0.0, 1.0), "log_x": True}
    dots = drawn(tmp_path / "dots.png", [line(points, joined=False)], **how)
    joined = drawn(tmp_path / "line.png", [line(points)], **how)
    spread = [line(points, joined=False, spread=(0.1, 0.1))]
    guides = {"levels": [(0.5, "2 % lost")], "places": [(5, "published")]}
    more = drawn(tmp_path / "guides.png", spread, **how, **guides)
    assert inked(joined, RED).sum() > inked(dots, RED).sum() + 200
    assert inked(dots, RED).sum() + 40 < inked(more, RED).sum()
    assert inked(dots, GREY).sum() < 20  # edges of letters
    assert inked(more, GREY).any(axis=1).sum() > 250  # the place, from top to bottom
    assert inked(more, GREY).any(axis=0).sum() > 400  # the level, from side to side


def test_equal_factors_are_equal_steps(tmp_path):
    points = [(10.0**power, 0.5) for power in range(4, 8)]
    dots = drawn(
        tmp_path / "a.png", [line(points, joined=False)], log_x=True, y_limits=(0, 1)
    )
    # The last row with dots is that of the points; the key is above.
    row = inked(dots, RED)[120:].sum(axis=1).argmax() + 120
    columns = np.flatnonzero(inked(dots, RED)[row])
    centres = [group.mean() for group in np.split(
        columns, np.flatnonzero(np.diff(columns) > 1) + 1
    )]  # fmt: skip
    assert len(centres) == 4
    assert np.allclose(np.diff(centres), centres[1] - centres[0], atol=1.5)


def test_nearly_equal_values_are_drawn_as_nearly_equal(tmp_path):
    points = [(0, 0.8), (1, 0.801)]
    flat = drawn(tmp_path / "a.png", [line(points)], y_limits=(None, None))
    rows = np.flatnonzero(inked(flat, RED)[60:].any(axis=1))
    assert np.ptp(rows) < 40


def test_a_heat_map_has_a_field_for_every_value(tmp_path):
    pytest.importorskip("matplotlib")
    about = HeatMap(
        title="Accuracy", x="x", y="y", across=["a", "b"], down=["c", "d"],
        values=[[0.1, 0.9], [None, 0.5]], limits=(0.0, 1.0),
    )  # fmt: skip
    save_heat_map(tmp_path / "map.png", about)
    with Image.open(tmp_path / "map.png") as picture:
        pixels = np.array(picture.convert("RGB"))
    colours, counts = np.unique(pixels.reshape(-1, 3), axis=0, return_counts=True)
    large = {tuple(c) for c in colours[counts > pixels.size / 3 / 20].tolist()}
    large -= {(255, 255, 255)}
    assert len(large) == 4
    assert (0xE8, 0xE8, 0xE8) in large  # where nothing is known
    upper = pixels[pixels.shape[0] // 2 - 20]
    fields = [tuple(c) for c in upper.tolist() if tuple(c) in large]
    assert sum(fields[-1]) > sum(fields[0])  # the higher value is the brighter
