"""What training asks of the machine."""

import sys

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from training.machine import for_training, keep_freed_memory


def blas_threads():
    np.ones((2, 2)) @ np.ones((2, 2))
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


def test_numpy_takes_one_thread_within_the_block_alone():
    before = blas_threads()
    with for_training():
        assert blas_threads() == {1}
    assert blas_threads() == before


@pytest.mark.skipif(sys.platform != "linux", reason="glibc alone can be told")
def test_glibc_is_told_to_keep_what_is_freed():
    assert keep_freed_memory()
