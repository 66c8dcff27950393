from __future__ import annotations

import pytest

pytest.importorskip("qtpy")

import itertools

from napari_topiary._napari.jobs.runner import JobRunner
from napari_topiary._napari.prune.card import BeforeAfter, Row
from napari_topiary._napari.prune.panel import (
    MOST,
    STEPS,
    CompressionSlider,
    place_of,
    share_at,
)
from napari_topiary._napari.prune.tabs import PruneTabs
from napari_topiary.config import COMPRESSION_MARKS


@pytest.fixture
def slider(qtbot):
    made = CompressionSlider()
    qtbot.addWidget(made)
    made.resize(340, 80)
    made.show()
    return made


def test_the_share_is_what_the_slider_says(slider):
    slider.set_share(0.8)
    assert slider.share == 0.8
    assert slider.number.value() == pytest.approx(80.0)
    assert slider.ratio.text() == "CR 5"


@pytest.mark.parametrize("ratio", COMPRESSION_MARKS)
def test_marks_are_exact_and_hold_the_slider(slider, ratio, qtbot):
    mark = 1 - 1 / ratio
    near = round(STEPS * place_of(mark)) + 3
    with qtbot.waitSignal(slider.changed) as changed:
        slider.slider.setValue(near)
    assert changed.args == [mark]
    assert slider.share == mark
    assert slider.ratio.text() == f"CR {ratio}"


def test_even_steps_are_even_steps_in_size():
    places = [place_of(1 - 1 / ratio) for ratio in (2, 4, 8, 16)]
    steps = {round(b - a, 9) for a, b in itertools.pairwise(places)}
    assert len(steps) == 1
    assert place_of(0.0) == 0 and place_of(MOST) == 1


def test_places_and_shares_are_each_others_inverse():
    for share in (0.0, 0.1, 0.33, 0.6, 0.91, 0.97, 0.99):
        assert share_at(place_of(share)) == pytest.approx(share)
    places = [share_at(step / 200) for step in range(201)]
    assert places == sorted(places)


def test_typing_a_number_finds_the_mark_it_stands_for(slider, qtbot):
    with qtbot.waitSignal(slider.changed) as changed:
        slider.number.setValue(93.8)
    assert changed.args == [0.9375]
    slider.number.setValue(60.0)
    assert slider.share == pytest.approx(0.6)


def test_setting_it_from_code_says_nothing(slider, qtbot):
    with qtbot.assertNotEmitted(slider.changed):
        slider.set_share(0.5)
        slider.set_share(2.0)
    assert slider.share == MOST


def test_clicking_a_mark_goes_there(slider, qtbot):
    from qtpy.QtCore import QPoint, Qt

    marks = slider.marks
    place = QPoint(round(marks.x_of(0.95)), marks.height() // 2)
    qtbot.mouseClick(marks, Qt.MouseButton.LeftButton, pos=place)
    assert slider.share == 0.95


def test_the_marks_do_not_overlap(slider):
    from qtpy.QtGui import QFontMetricsF

    marks = slider.marks
    metrics = QFontMetricsF(marks._small())
    ends = [
        (
            marks.x_of(share) - metrics.horizontalAdvance(text) / 2,
            marks.x_of(share) + metrics.horizontalAdvance(text) / 2,
        )
        for share, text in marks._marks
    ]
    for (_, right), (left, _) in itertools.pairwise(ends):
        assert right < left


def test_arrow_keys_move_it(slider, qtbot):
    from qtpy.QtCore import Qt

    slider.set_share(0.6)
    qtbot.keyClick(slider.slider, Qt.Key.Key_Right)
    assert 0.6 < slider.share < 0.61


def test_the_card_shows_rows_in_place(qtbot):
    card = BeforeAfter([Row("file", "File", "Its size."), Row("macs", "MACs", "")])
    qtbot.addWidget(card)
    card.set_row("file", before="4 MB", after="1 MB", change="÷ 4", role="good")
    assert card.text("file") == ("4 MB", "1 MB", "÷ 4")
    card.set_row("file", after="2 MB")
    assert card.text("file") == ("4 MB", "2 MB", "÷ 4")
    assert card.text("macs") == ("–", "–", "")


def test_what_each_layer_keeps_fills_its_tab(qtbot):
    """Another tab is higher: below the bars would be nothing."""
    tabs = PruneTabs(JobRunner(), lambda: None)
    qtbot.addWidget(tabs)
    tabs.resize(360, 420)
    tabs.show()
    for plot in (tabs.bars, tabs.curves):
        tabs.setCurrentWidget(plot)
        assert plot.height() > 350
