from __future__ import annotations

import pytest

from napari_topiary import words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (words.count(12), "12"),
        (words.count(999.6), "1 k"),
        (words.count(120_834), "121 k"),
        (words.count(1_943_000), "1.94 M"),
        (words.count(31_031_000), "31.0 M"),
        (words.file_size(53_200), "53.2 kB"),
        (words.file_size(484_000), "0.48 MB"),
        (words.file_size(500_000), "0.5 MB"),
        (words.file_size(124_000_000), "124 MB"),
        (words.milliseconds(0.62), "0.6 ms"),
        (words.milliseconds(9.96), "10 ms"),
        (words.milliseconds(236), "236 ms"),
        (words.milliseconds(1240), "1.24 s"),
        (words.percent(0.8), "80 %"),
        (words.percent(0.9375), "93.8 %"),
        (words.percent(0.5512), "55 %"),
        (words.percent(0.999), "99.9 %"),
        (words.ratio(5.0), "5"),
        (words.ratio(3.94), "3.9"),
        (words.ratio(20.3), "20"),
        (words.quality(0.9641), "0.96"),
        (words.quality(0.9641, 3), "0.964"),
        (words.quality(0.69), "0.69"),
        (words.figure({}), ""),
        (words.figure({"quality": 0.9641, "quality_name": "Dice"}), "Dice 0.96"),
        (
            words.figure(
                {
                    "quality": 1.0,
                    "quality_name": "F1",
                    "n_objects": 3,
                    "n_right": 3,
                    "n_wrong": 0,
                }
            ),
            "F1 1.00: 3 of 3 found, 0 wrong",
        ),
        (words.plural(1, "image"), "1 image"),
        (words.plural(3, "image"), "3 images"),
        (words.plural(2, "painted image"), "2 painted images"),
    ],
)
def test_numbers_read_well(text, expected):
    assert text.replace("\N{NO-BREAK SPACE}", " ") == expected


def test_thresholds_are_said_alike_everywhere():
    assert words.thresholds([0.4]) == words.thresholds([0.401, 0.4]) == "0.40"
    assert words.thresholds([0.441, 0.17, 0.3]) == "0.17–0.44"
    assert words.thresholds([]) == "0.50"
