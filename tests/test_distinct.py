"""Distinct whole numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qianmian.distinct import distinct


@given(st.lists(st.integers(-50, 50)))
def test_distinct_values_are_those_of_a_set(values: list[int]) -> None:
    assert distinct(np.array(values, dtype=np.int64)).tolist() == sorted(set(values))


@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.uint64])
def test_their_type_stays(dtype: type[np.integer]) -> None:
    assert distinct(np.array([3, 1, 3], dtype=dtype)).dtype == dtype
