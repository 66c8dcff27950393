"""The membrane study: the published networks and what its pages hold."""

from __future__ import annotations

import pytest

from napari_topiary.networks import activation_bytes, build_network, networks
from napari_topiary.studies import studies
from napari_topiary.studies.base import CellResult, published
from napari_topiary.studies.membrane import lost_maps, widths
from napari_topiary.types import Task

TASK = Task("segment", ("background", "membrane"))
STUDY = studies["membrane"]()


def memory_kb(net):
    sizes = networks["membrane_cnn"].presets[net]
    return activation_bytes(build_network("membrane_cnn", sizes, 1, 2)) / 1024


@pytest.mark.parametrize("row", published("membrane"), ids=lambda row: row["net"])
def test_memory_and_maps_are_the_published_ones(row):
    maps = widths(row["net"])
    assert maps == tuple(row[name] for name in ("conv1", "conv2", "conv3", "fc"))
    assert memory_kb(row["net"]) == pytest.approx(row["memory_kb"], abs=0.55)


def test_n_loses_what_the_published_networks_lack():
    assert lost_maps("N1") == {"conv1": 10, "conv2": 0, "conv3": 10, "fc1": 50}
    assert lost_maps("N7") == {"conv1": 70, "conv2": 55, "conv3": 40, "fc1": 190}
    assert memory_kb("N") == pytest.approx(653.6, abs=0.05)
    assert memory_kb("N7") == pytest.approx(196.6, abs=0.05)


def test_the_grid_is_n_and_seven_networks_in_two_ways():
    grid = STUDY.grid(quick=False)
    assert len(grid) == 15
    assert grid[0] == {"net": "N", "criterion": "none"}
    assert {cell["net"] for cell in STUDY.grid(quick=True)} == {"N", "N6", "N7"}


def results():
    found = []
    for cell in STUDY.grid(quick=False):
        gain = {"loss": 0.01, "magnitude": 0.0, "none": 0.02}[cell["criterion"]]
        measured = {
            "accuracy": 0.9 + gain,
            "slice_seconds": 1.5,
            "pruned_percent": 49.08,
            "memory_kb": memory_kb(cell["net"]),
            "parameters": 120_672,
        }
        if cell["net"] == "N":
            measured["curves"] = {"conv1": [[0, 0.2], [50, 0.3], [90, 0.7]]}
        found.append(CellResult(cell, 0, measured))
    return found


def test_the_table_has_a_row_for_each_network():
    (table,) = STUDY.tables(results(), TASK)
    heads = [column.name for column in table.columns]
    assert len(set(heads)) == len(heads)
    rows = {row[0]: dict(zip(heads, row, strict=True)) for row in table.rows}
    assert list(rows) == ["N", *(f"N{i}" for i in range(1, 8))]
    n, n6 = rows["N"], rows["N6"]
    assert n["accuracy by loss"] == n["accuracy by magnitude"] == pytest.approx(0.92)
    assert n["accuracy by loss, published"] == 0.9318
    assert n6["accuracy by loss"] == pytest.approx(0.91)
    assert n6["accuracy by magnitude"] == pytest.approx(0.9)
    assert n6["accuracy by magnitude, published"] == 0.93
    assert (n6["pruned %, published"], n6["weights, published"]) == (49.1, 120_672)
    assert n6["s per slice, published"] == 69.9
    assert rows["N7"]["kB"] == pytest.approx(196.6, abs=0.05)


def test_plots_and_sentence(tmp_path):
    (sentence,) = STUDY.sentences(results(), TASK)
    assert "7 of 7 networks" in sentence
    assert "+1.00 points" in sentence
    assert STUDY.sentences(results()[:1], TASK) == ()
    pytest.importorskip("matplotlib")
    assert STUDY.draw(results(), TASK, tmp_path) == (
        "accuracy.png",
        "loss_by_layer.png",
    )
