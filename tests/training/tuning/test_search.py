"""A search on proposals whose truth is known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, cycle
from pathlib import Path

import numpy as np
import pytest
import torch

from qianmian.errors import TrainingError
from tests.training.made_ranker import DAY, PROFILE, WIDTH, proposed
from training.profile import TrainingProfile
from training.proposals import Examples
from training.ranker import Task
from training.tuning.judged import Judged
from training.tuning.knobs import Drawn
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

    def run(self, *, fewest: int = 2, seconds: float = 0.0) -> Found:
        return self.trials.run(self.journal, seconds=seconds, fewest=fewest)


def test_the_best_is_ahead_for_users_who_did_not_choose(tmp_path: Path) -> None:
    search = Search(tmp_path)
    found = search.run(fewest=6)
    assert found.trials == 6
    assert float(found.changed["lr"]) > 1e-4
    assert found.profile == search.profile.ranker.model_copy(update={"lr": found.changed["lr"]})
    assert found.confirmed
    assert found.all is not None
    assert 1.0 < found.all.low < found.all.value < found.all.high
    assert "the profile as it is" in search.said[0]


def test_a_search_that_was_killed_goes_on(tmp_path: Path) -> None:
    Search(tmp_path).run(fewest=3)
    again = Search(tmp_path)
    assert again.run(fewest=5).trials == 5
    assert "going on after 3 trials" in again.said[0]
    assert not any("the profile as it is has" in line for line in again.said)
    drawn = [trial.params["lr"] for trial in again.trials._study(again.journal).trials]
    assert len(set(drawn)) == 5, "none is drawn again"


def test_the_time_that_an_earlier_run_spent_counts(tmp_path: Path) -> None:
    Search(tmp_path).run(fewest=3)
    assert Search(tmp_path).run(seconds=0.001).trials == 3


def test_one_killed_before_the_first_trial_ended_begins_with_the_profile(tmp_path: Path) -> None:
    killed = Search(tmp_path)
    killed.trials._study(killed.journal).ask()
    again = Search(tmp_path)
    again.run()
    assert "the profile as it is" in again.said[0]


def failing(monkeypatch: pytest.MonkeyPatch, calls: Iterable[bool]) -> None:
    """Have trainings fail, as the calls say one after another."""
    judged, fails = Trials._judged, iter(calls)

    def sometimes(self: Trials, drawn: Mapping[str, Drawn], seed: int) -> Judged:
        if next(fails, False):
            raise TrainingError("the loss is no number")
        return judged(self, drawn, seed)

    monkeypatch.setattr(Trials, "_judged", sometimes)


def test_knobs_that_cannot_be_trained_are_told_and_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = Search(tmp_path)
    failing(monkeypatch, [False, True])
    assert search.run(fewest=3).trials == 3
    assert any("trial 1 failed: the loss is no number" in line for line in search.said)


def test_a_search_that_only_fails_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, chain([False], cycle([True])))
    with pytest.raises(TrainingError, match="5 trials failed in a row"):
        Search(tmp_path).run(fewest=100)


def test_a_best_one_that_fails_when_proven_makes_way_for_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = Search(tmp_path)
    failing(monkeypatch, [*[False] * 6, False, True])  # six trials, the profile as it is, the best
    found = search.run(fewest=6)
    assert found.changed
    assert any("failed this time" in line for line in search.said)


def test_where_no_moment_can_be_held_out_it_is_said(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"no moment can be held out.*ranker\.snapshots"):
        Search(tmp_path, given=examples(moments=(0.0,))).run()


def test_where_nobody_did_anything_it_is_said(tmp_path: Path) -> None:
    made = examples()
    made.labels[:] = 0.0
    with pytest.raises(TrainingError, match="nothing to judge by"):
        Search(tmp_path, given=made).run()
