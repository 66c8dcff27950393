from __future__ import annotations

import pytest

pytest.importorskip("qtpy")

from napari_topiary._napari.prune.tabs import LayerBars
from napari_topiary._napari.prune.versions import TradeOffPlot, Version, smallest_good
from napari_topiary._napari.widgets.plot import MOST_POINTS, CurvePlot, PlotColours
from napari_topiary.evaluation.quality import Quality
from napari_topiary.pruning import LayerKept
from napari_topiary.training import TrainReport


def report(step, *, quality=None):
    return TrainReport(
        step=step, seconds=step / 10, loss=1.0 / (1 + step), quality=quality
    )


@pytest.fixture
def curves(qtbot):
    plot = CurvePlot()
    qtbot.addWidget(plot)
    return plot


def test_curves_follow_a_training(curves):
    for step in range(20):
        quality = (
            Quality(value=step / 20, name="F1", loss=0.3) if step % 10 == 9 else None
        )
        curves.follow(report(step, quality=quality))
    curves.redraw()
    assert len(curves.losses) == 20
    assert curves.qualities == [(0.9, 9 / 20), (1.9, 19 / 20)]
    x, y = curves._loss.getData()
    assert len(x) == 20 and y[0] == 1.0
    assert curves.getPlotItem().getAxis("right").labelText == "F1"


def test_nothing_held_out_draws_no_quality(curves):
    curves.follow(report(1, quality=Quality(value=0.0, name="none", loss=float("nan"))))
    curves.redraw()
    assert curves.qualities == []


def test_the_loss_at_the_very_start_does_not_flatten_the_rest(curves):
    curves.add_loss(0.0, 100.0)
    for step in range(1, 100):
        curves.add_loss(step, 1.0)
    curves.redraw()
    assert curves.getPlotItem().vb.viewRange()[1][1] < 2


def test_long_curves_are_thinned_and_keep_their_ends(curves):
    for step in range(10 * MOST_POINTS):
        curves.add_loss(step, 1.0)
    assert len(curves.losses) <= MOST_POINTS
    assert curves.losses[0][0] == 0.0
    assert curves.losses[-1][0] == 10 * MOST_POINTS - 1


def test_reset_forgets_everything(curves):
    curves.follow(report(1, quality=Quality(value=0.5, name="Dice", loss=0.3)))
    curves.redraw()
    curves.reset()
    assert curves.losses == [] and curves.qualities == []
    x, _ = curves._loss.getData()
    assert x is None or len(x) == 0


def test_plots_take_over_colours(curves):
    curves.restyle(PlotColours(first="#123456", text="#abcdef"))
    assert curves._loss.opts["pen"].color().name() == "#123456"
    assert curves.getPlotItem().getAxis("left").textPen().color().name() == "#abcdef"


@pytest.mark.parametrize(
    ("versions", "expected"),
    [
        ([("all", 1000, 0.90), ("half", 500, 0.895), ("tenth", 100, 0.88)], "half"),
        ([("all", 1000, 0.90), ("half", 500, 0.95), ("tenth", 100, 0.93)], "half"),
        ([("all", 1000, 0.90), ("tenth", 100, 0.89)], "tenth"),
        ([("all", 1000, None), ("tenth", 100, 0.5)], "tenth"),
        ([("one", 100, 0.90), ("other", 100, 0.905)], "other"),
    ],
)
def test_the_smallest_within_one_percent(versions, expected):
    found = smallest_good([Version(*one) for one in versions])
    assert found is not None and found.name == expected


def test_without_qualities_nothing_is_recommended():
    assert smallest_good([]) is None
    assert smallest_good([Version("all", 10, None)]) is None


def test_versions_become_points_and_clicking_one_chooses_it(qtbot):
    plot = TradeOffPlot()
    qtbot.addWidget(plot)
    versions = [
        Version("all", 120_000, 0.96),
        Version("small", 12_000, 0.955),
        Version("unknown", 60_000, None),
    ]
    plot.set_versions(versions, active="all", quality_name="F1")
    points = plot._points.points()
    assert sorted(p.data() for p in points) == ["all", "small"]
    star = next(p for p in points if p.symbol() == "star")
    assert star.data() == "small"
    ticks = plot.getPlotItem().getAxis("bottom")._tickLevels[0]
    assert [text.replace("\N{NO-BREAK SPACE}", " ") for _, text in ticks] == [
        "10 k",
        "20 k",
        "50 k",
        "100 k",
    ]
    with qtbot.waitSignal(plot.chosen) as chosen:
        plot._on_clicked(plot._points, [star])
    assert chosen.args == ["small"]


def test_bars_show_shares_and_name_their_layers(qtbot):
    bars = LayerBars()
    qtbot.addWidget(bars)
    bars.set_bars(
        [LayerKept("down0.conv1", 2, 8), LayerKept("up0.conv2", 16, 16)], "maps"
    )
    assert list(bars._kept.opts["height"]) == [25.0, 100.0]
    assert bars.describe(0) == "down0.conv1: 2 of 8 maps stay"
    bars.set_bars([LayerKept("only", 0, 0)], "weights")
    assert list(bars._kept.opts["height"]) == [100.0]


def test_a_plot_asks_for_no_more_than_its_height_before_it_is_shown(curves):
    """A plot in a tab that was never in front made the page of Prune scroll."""
    assert curves.sizeHint().height() == curves.minimumHeight() < 200


def test_the_highest_number_of_an_empty_plot_is_not_cut(curves):
    low, high = curves.getPlotItem().vb.viewRange()[1]
    assert low == 0 and high > 1.02


def test_a_number_at_the_very_top_of_an_axis_is_whole(curves):
    """A loss just below 0.8 made 0.8 the highest number, and cut it in half."""
    curves.resize(300, curves.height())
    curves.show()
    curves.add_loss(1.0, 0.77)
    curves.redraw()
    curves.grab()
    box = curves.getPlotItem().vb
    above = box.mapRectToScene(box.rect()).top() - curves.sceneRect().top()
    assert above >= curves.fontMetrics().height() / 2
