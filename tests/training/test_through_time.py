"""What is learned and proposed at which moment."""

from types import SimpleNamespace

import numpy as np
import pytest

from qianmian.features.encoding import USER_ROW
from tests.conftest import SMALL
from training import through_time
from training.profile import RankerProfile, TrainingProfile
from training.quiet import quiet_libraries
from training.run import prepare, read_history
from training.through_time import learn, proposals, ranker_moments, warm_up

WEEK = 7 * 86_400.0


def moments_of(*, weeks: int, snapshots: int) -> list[float]:
    """Numbers of the weeks at which candidates are proposed; the cut is the last of `weeks`."""
    ranker = RankerProfile(snapshots=snapshots, horizon_days=28)
    profile = TrainingProfile(name="test", description="test", ranker=ranker)
    moments = tuple(week * WEEK for week in range(1, weeks + 1))
    history = SimpleNamespace(moments=moments, cut=weeks * WEEK)
    return [moment / WEEK for moment in ranker_moments(history, profile)]


def test_the_last_moment_is_one_horizon_before_the_cut() -> None:
    assert moments_of(weeks=20, snapshots=3) == [14, 15, 16]


def test_the_earlier_half_is_left_to_the_towers() -> None:
    assert min(moments_of(weeks=20, snapshots=50)) == 10
    assert moments_of(weeks=6, snapshots=50) == [2]


class Trainer:
    """Notes what it is asked for."""

    def __init__(self) -> None:
        self.scaled: list[object] = []
        self.fitted: list[object] = []

    def standardize(self, weeks) -> None:
        self.scaled += weeks

    def fit(self, week) -> list[float]:
        self.fitted.append(week)
        return [1.0]


def test_towers_without_weeks_to_warm_up_on_are_scaled_by_the_first_that_comes() -> None:
    trainer, said = Trainer(), []
    run = SimpleNamespace(
        profile=TrainingProfile(name="test", description="test"),
        trainer=trainer,
        rng=np.random.default_rng(1),
        progress=said.append,
    )
    warm_up(run, [])
    assert "snapshots.count" in said[0]
    learn(run, "first", [])
    learn(run, "second", ["first"])
    assert trainer.scaled == ["first"]
    assert trainer.fitted[0] == "first"


def test_who_came_after_a_moment_has_no_id_row_on_a_logged_page(parts, monkeypatch) -> None:
    _, _, history, _, bundle = parts
    moment = float(history.targets.at[0]) + WEEK / 7
    known = history.user_ids[history.known_users(moment)].tolist()
    came = history.user_ids[history.newcomers(moment, history.cut)].tolist()
    assert known
    assert came
    asked = {}

    class AskedError(Exception):
        pass

    def user_vectors(inputs, size, codes):
        asked["rows"] = inputs[USER_ROW]
        raise AskedError

    trainer = SimpleNamespace(item_vectors=lambda dense, codes: None, user_vectors=user_vectors)
    run = SimpleNamespace(history=history, encoder=bundle.encoder, trainer=trainer)
    monkeypatch.setattr(through_time, "codes_at", lambda run, moment: None)
    users = np.array([known[0], came[0]], dtype=object)
    with pytest.raises(AskedError):
        through_time.shown(run, moment, SimpleNamespace(users=users))
    with_row = dict(zip(sorted(users), (asked["rows"] > 0).tolist(), strict=True))
    assert with_row == {known[0]: True, came[0]: False}


def test_of_one_moment_every_candidate_may_be_kept(parts) -> None:
    dataset, repo, *_ = parts
    profile = TrainingProfile.model_validate(SMALL)
    few = profile.ranker.model_copy(update={"negatives": 3, "launched_items": 0.0})
    profile = profile.model_copy(update={"ranker": few})
    with quiet_libraries():
        run = prepare(read_history(dataset, repo, profile), profile, lambda _: None)
    moment = ranker_moments(run.history, profile)[-1]
    kept = proposals(run, moment)
    run.whole = moment
    whole = proposals(run, moment)
    assert np.all(whole.weights == 1)
    assert len(kept.weights) < len(whole.weights)
    assert kept.weights.sum() == pytest.approx(len(whole.weights))
    assert kept.labels.sum() == whole.labels.sum()
