"""The made-up micrographs are what they say."""

from __future__ import annotations

import socket

import numpy as np
import pytest


def test_virions_are_repeatable_and_true(virions):
    one = virions(3, size=80, count=6, radius=5, filaments=1)
    again = virions(3, size=80, count=6, radius=5, filaments=1)
    assert np.array_equal(one.image, again.image)
    assert one.image.shape == (1, 80, 80)
    assert one.centres.shape == (6, 2)
    for index, (y, x) in enumerate(one.centres, start=1):
        assert one.instances[round(y), round(x)] == index
        assert one.labels[round(y), round(x)] == 1
    assert set(np.unique(one.labels)) == {0, 1, 2}
    dark, ground = one.image[0][one.labels == 1], one.image[0][one.labels == 0]
    assert dark.mean() < ground.mean() - 40


def test_different_seeds_differ(virions):
    assert not np.array_equal(virions(0).image, virions(1).image)


def test_too_many_virions_are_refused(virions):
    with pytest.raises(ValueError, match="do not fit"):
        virions(0, size=40, count=50)


def test_no_test_reaches_the_network():
    with (
        socket.socket() as connection,
        pytest.raises(RuntimeError, match="tried to reach"),
    ):
        connection.connect(("192.0.2.1", 80))
