"""Work spread over worker processes gives what one process gives."""

import os

import numpy as np
import pytest
import torch

from training import workers
from training.workers import by_all_cores, in_parts

MANY = 40


#: Of more workers than cores.
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")


@pytest.fixture(params=[1, 2, 3])
def cores(request, monkeypatch):
    monkeypatch.setattr(workers, "cores", lambda: request.param)
    return request.param


def test_results_come_in_order_as_they_were_made(cores):
    held = np.arange(MANY * 10).reshape(MANY, 10)
    found = list(by_all_cores(lambda some: held[some.start : some.stop] * 2, in_parts(MANY, 3)))
    assert all(isinstance(part, np.ndarray) for part in found)
    np.testing.assert_array_equal(np.concatenate(found), held * 2)


def test_several_cores_are_several_processes(cores):
    processes = set(by_all_cores(lambda _: os.getpid(), range(MANY)))
    assert len(processes) == cores
    assert (os.getpid() in processes) == (cores == 1)


def test_little_work_stays_in_this_process(monkeypatch):
    monkeypatch.setattr(workers, "cores", lambda: 2)
    assert set(by_all_cores(lambda _: os.getpid(), range(2))) == {os.getpid()}


def test_torch_draws_the_same_afterwards_with_and_without_workers(monkeypatch):
    drawn = []
    for some in (1, 2):
        monkeypatch.setattr(workers, "cores", lambda some=some: some)
        torch.manual_seed(6)
        list(by_all_cores(lambda n: n, range(MANY)))
        drawn.append(torch.rand(4))
    assert torch.equal(*drawn)


def test_an_error_in_a_worker_reaches_the_caller(cores):
    def fails(number):
        raise ValueError(f"no {number}")

    with pytest.raises(ValueError, match="no 0"):
        list(by_all_cores(fails, range(MANY)))


def test_a_worker_that_was_killed_is_told(monkeypatch):
    monkeypatch.setattr(workers, "cores", lambda: 2)

    def dies(number):
        os._exit(9) if number == MANY // 2 else None

    with pytest.raises(RuntimeError, match="worker"):
        list(by_all_cores(dies, range(MANY)))


def test_the_parts_cover_every_number_once():
    assert [list(part) for part in in_parts(7, 3)] == [[0, 1, 2], [3, 4, 5], [6]]
    assert in_parts(0, 3) == []
