"""A search on proposals whose truth is known."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from qianmian.errors import TrainingError
from tests.training.made_ranker import DAY, PROFILE, WIDTH, proposed
from training.profile import TrainingProfile
from training.proposals import Examples
from training.ranker import Task
from training.tuning.search import Found, Trials

MOMENTS = (0.0, 40 * DAY)


def examples(*, moments: tuple[float, ...] = MOMENTS) -> Examples:
    return proposed(np.random.default_rng(11), groups=400, moments=moments)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small matrices: a second thread costs more than it brings."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Search:
    """A search of the learning rate that begins where next to nothing is learned."""

    def __init__(self, folder: Path, *, lr: float = 1e-6, given: Examples | None = None) -> None:
        ranker = PROFILE.model_copy(update={"lr": lr, "groups_per_batch": 8})
        self.profile = TrainingProfile(name="made", description="of a test", ranker=ranker)
        self.said: list[str] = []
        task = Task(actions=2, target=1, repeat=WIDTH - 1)
        data = examples() if given is None else given
        self.trials = Trials(data, task, self.profile, ("lr",), self.said.append)
        self.journal = folder / "trials.log"

    def run(self, *, fewest: int = 2) -> Found:
        return self.trials.run(self.journal, seconds=0.0, fewest=fewest)


def test_the_best_is_ahead_for_users_who_did_not_choose(tmp_path: Path) -> None:
    search = Search(tmp_path)
    found = search.run(fewest=6)
    assert found.trials == 6
    assert float(found.changed["lr"]) > 1e-4
    assert found.profile == search.profile.ranker.model_copy(update={"lr": found.changed["lr"]})
    assert found.all is not None
    assert 1.0 < found.all.low < found.all.value < found.all.high
    assert "the profile as it is" in search.said[0]


def test_a_search_that_was_killed_goes_on(tmp_path: Path) -> None:
    Search(tmp_path).run()
    again = Search(tmp_path)
    found = again.run()
    assert "going on after 2 trials" in again.said[0]
    assert found.trials == 2
    assert not any("the profile as it is has" in line for line in again.said)


def test_one_killed_before_the_first_trial_ended_begins_with_the_profile(tmp_path: Path) -> None:
    killed = Search(tmp_path)
    killed.trials._study(killed.journal).ask()
    again = Search(tmp_path)
    again.run()
    assert "the profile as it is" in again.said[0]


def test_knobs_that_cannot_be_trained_are_told_and_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    search, judged = Search(tmp_path), Trials._judged
    failing = iter([False, True])

    def sometimes(self: Trials, drawn: dict[str, float], seed: int) -> object:
        if next(failing, False):
            raise TrainingError("the loss is no number")
        return judged(self, drawn, seed)

    monkeypatch.setattr(Trials, "_judged", sometimes)
    assert search.run().trials == 2
    assert any("failed: the loss is no number" in line for line in search.said)


def test_where_no_moment_can_be_held_out_it_is_said(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"no moment can be held out.*ranker\.snapshots"):
        Search(tmp_path, given=examples(moments=(0.0,))).run()


def test_where_nobody_did_anything_it_is_said(tmp_path: Path) -> None:
    made = examples()
    made.labels[:] = 0.0
    with pytest.raises(TrainingError, match="nothing to judge by"):
        Search(tmp_path, given=made).run()
