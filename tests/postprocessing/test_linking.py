"""Numbers of objects through a stack."""

import numpy as np

from napari_topiary.postprocessing import Numbering


def square(labels, number, y, x, side=6):
    labels[y : y + side, x : x + side] = number


def test_every_object_of_every_slice_has_its_own_number():
    labels = np.zeros((20, 20), np.uint8)
    square(labels, 1, 1, 1)
    square(labels, 2, 10, 10)
    numbering = Numbering(linked=False)
    first, second = (numbering.objects(labels) for _ in range(2))
    assert set(np.unique(first)) == {0, 1, 2}
    assert set(np.unique(second)) == {0, 3, 4}
    assert numbering.count == 4


def test_objects_that_overlap_have_one_number():
    first, second, third = np.zeros((3, 30, 30), np.uint16)
    square(first, 1, 2, 2)
    square(first, 2, 2, 12)
    square(second, 1, 3, 13)  # the second one goes on
    square(second, 2, 20, 20)  # a new one
    square(second, 3, 6, 6)  # overlaps the first by 4 of 68 pixels: another one
    square(third, 5, 20, 20, side=3)  # two halves of the new one
    square(third, 9, 20, 23, side=3)
    numbering = Numbering(linked=True)
    a, b, c = map(numbering.objects, (first, second, third))
    assert b[5, 15] == a[5, 15] == 2
    assert b[22, 22] == 3 or b[7, 7] == 3
    assert len({b[22, 22], b[7, 7], 1, 2}) == 4
    assert sorted([c[21, 21] == b[21, 21], c[21, 24] == b[21, 21]]) == [False, True]
    assert numbering.count == 5
    assert not numbering.objects(np.zeros((30, 30), np.uint16)).any()


def test_particles_of_one_class_that_are_near_have_one_number():
    numbering = Numbering(linked=True)
    radii = np.full(3, 5.0)
    places = np.array([[10.0, 10], [10, 30], [40, 40]])
    first = numbering.particles(places, np.array([1, 1, 2]), radii)
    second = numbering.particles(places[::-1] + 3, np.array([1, 1, 1]), radii)
    assert first.tolist() == [1, 2, 3]
    assert second.tolist() == [4, 2, 1]
    assert numbering.particles(np.zeros((0, 2)), np.zeros(0, int), radii[:0]).size == 0
    third = numbering.particles(places[:1], np.array([1]), radii[:1])
    assert third.tolist() == [5]
