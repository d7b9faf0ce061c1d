"""Two workers beside one: what the numbers of the benchmark say."""

import numpy as np
import pytest

from benchmarks.distributed import comparison

ONE = np.array([[10.0, 9.0, 8.0], [10.0, 9.2, 8.2]])


def test_workers_that_learn_nothing_have_a_gap_of_one() -> None:
    idle = np.repeat(ONE[:, :1], 3, axis=1)
    found = comparison(ONE, idle)
    assert found["fall"] == pytest.approx(1.9)
    assert found["gap"] == pytest.approx(1.0)
    assert comparison(ONE, ONE)["gap"] == 0.0


def test_the_interval_is_that_of_paired_seeds() -> None:
    found = comparison(ONE, ONE + np.array([[0.1], [0.3]]))
    gaps = np.array([0.1, 0.3]) / 1.9
    assert found["gap"] == pytest.approx(gaps.mean())
    half = 12.706 * gaps.std(ddof=1) / 2**0.5  # the t of one degree of freedom
    assert found["gap_high"] - found["gap"] == pytest.approx(half, rel=1e-3)
