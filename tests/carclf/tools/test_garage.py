"""Groups of cars by their look."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carclf.classifier.contract import unit
from carclf.tools.garage.groups import group
from carclf.tools.garage.vectors import nearest


def plain_group(vectors, apart):
    """Average linkage as the books have it: join the two nearest groups until none are near enough."""
    groups = [[number] for number in range(len(vectors))]
    distances = 1 - vectors @ vectors.T
    while len(groups) > 1:
        pairs = [
            (distances[np.ix_(one, other)].mean(), first, first + 1 + second)
            for first, one in enumerate(groups)
            for second, other in enumerate(groups[first + 1 :])
        ]
        least, one, other = min(pairs)
        if least >= apart:
            break
        groups[one] += groups.pop(other)
    return {frozenset(one) for one in groups}


@settings(deadline=None, max_examples=80)
@given(count=st.integers(1, 14), seed=st.integers(0, 10_000), apart=st.floats(0.05, 1.2))
def test_groups_are_those_of_average_linkage(count, seed, apart):
    vectors = unit(np.random.default_rng(seed).normal(size=(count, 3)))
    numbers = group(vectors, apart)
    assert {frozenset(np.flatnonzero(numbers == one).tolist()) for one in set(numbers)} == plain_group(vectors, apart)
    sizes = np.bincount(numbers)
    assert (np.diff(sizes) <= 0).all() and (sizes > 0).all(), "the largest first, and no gaps"


def test_nothing_and_copies_are_grouped():
    assert group(np.empty((0, 4), np.float32)).shape == (0,)
    assert group(np.tile(unit(np.ones((1, 4))), (5, 1))).tolist() == [0] * 5


def test_the_nearest_come_first_and_gaps_never():
    vectors = unit(np.array([[1, 0], [0, 1], [1, 1], [np.nan, np.nan]]))
    assert [place for place, _ in nearest(vectors, vectors[0], 9)] == [0, 2, 1]
    assert nearest(vectors, vectors[0], 2)[1] == (2, pytest.approx(0.5**0.5))
