"""What is learned and proposed at which moment."""

import dataclasses
import shutil
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from qianmian.data.store import Dataset
from qianmian.errors import TrainingError
from qianmian.features.encoding import USER_ROW
from qianmian.workspace import Workspace
from tests.conftest import SMALL
from training import through_time, workers
from training.actions import items_by_user
from training.exposures import Exposures
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
    learn(run, "first", 0.0, [])
    learn(run, "second", WEEK, ["first"])
    assert trainer.scaled == ["first"]
    assert trainer.fitted[0] == "first"


@pytest.mark.parametrize("past", [[], ["first"]], ids=["nothing before", "a week before"])
def test_towers_that_diverge_in_a_week_end_the_training_with_a_remedy(past) -> None:
    trainer = Trainer()
    trainer.fit = lambda week: [1.0, float("nan")]
    run = SimpleNamespace(
        profile=TrainingProfile(name="test", description="test"),
        trainer=trainer,
        rng=np.random.default_rng(1),
        progress=lambda _: None,
    )
    with pytest.raises(TrainingError, match=r"1970-01-08: loss nan.*set two_tower\.table_lr"):
        learn(run, "second", WEEK, past)


@pytest.mark.parametrize(("since", "kept"), [(0.0, 3), (1.0, 2), (2.0, None)])
def test_pages_before_the_first_proposals_do_not_count(since, kept) -> None:
    """Nothing describes them, so they do not make up the fewest pages that teach."""
    logged = exposures_at(0.0, 1.0, 2.0)
    knobs = {"min_pages": 2}
    run = SimpleNamespace(
        profile=TrainingProfile(name="t", description="t", ranker={"impressions": knobs}),
        history=SimpleNamespace(exposures=lambda *, window_hours: logged),
        progress=(said := []).append,
    )
    pages = through_time.logged_pages(run, since)
    assert (None if pages is None else pages.pages) == kept
    told = "1 logged pages since 1970-01-01 are left out: expected ranker.impressions.min_pages=2"
    assert said == ([] if kept else [f"{told} or more"])


def exposures_at(*moments: float) -> Exposures:
    """Pages of one item each."""
    size = len(moments)
    return Exposures(
        users=np.full(size, "u", dtype=object),
        items=np.zeros(size, dtype=np.int32),
        at=np.array(moments),
        page=np.arange(size),
        position=np.ones(size, dtype=np.int32),
        propensity=np.ones(size, dtype=np.float32),
        labels=np.zeros((size, 1), dtype=np.float32),
    )


def test_only_whom_something_is_learned_of_has_an_id_row(parts, small_shop, tmp_path) -> None:
    """The row of somebody who looked and never bought would stay as it was drawn."""
    _, repo, *_ = parts
    shutil.copytree(small_shop.path, tmp_path / small_shop.dataset)
    shop = Workspace(tmp_path, small_shop.dataset)
    path = shop.data / "events.parquet"
    events = pd.read_parquet(path)
    events[(events["user_id"] != "u007") | (events["event_type"] == "click")].to_parquet(path)
    profile = TrainingProfile.model_validate(SMALL)
    with quiet_libraries():
        run = prepare(read_history(Dataset.open(shop), repo, profile), profile, lambda _: None)
    known = run.history.user_ids[run.history.known_users(run.history.cut)].tolist()
    assert set(known) - set(run.encoder.user_ids) == {"u007"}
    assert set(run.encoder.user_ids) < set(known)


def test_who_came_after_a_moment_has_no_id_row_on_a_logged_page(parts, monkeypatch) -> None:
    _, _, history, _, bundle = parts
    moment = float(history.targets.at.min()) + WEEK / 7
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


@pytest.mark.parametrize("again", [True, False])
def test_little_of_what_a_user_had_is_proposed_where_nobody_acts_again(parts, again) -> None:
    """Of launched items none: whoever had one cannot come to it any more."""
    dataset, repo, *_ = parts
    profile = TrainingProfile.model_validate(SMALL)
    launching = {"launched_items": 1.0, "launch_users": 1.0, "negatives": 1000}
    ranker = profile.ranker.model_copy(update=launching)
    profile = profile.model_copy(update={"ranker": ranker})
    with quiet_libraries():
        run = prepare(read_history(dataset, repo, profile), profile, lambda _: None)
    run.history.again = again
    moment = ranker_moments(run.history, profile)[-1]
    had = items_by_user(run.history.targets.between(-np.inf, moment))
    users, made = run.history.known_users(moment).tolist(), proposals(run, moment)
    most = {}
    for launched in (False, True):
        groups = np.flatnonzero(made.launched == launched)[: len(users)]
        most[launched] = max(
            np.isin(made.items[made.starts[group] : made.starts[group + 1]] - 1, had[user]).sum()
            for user, group in zip(users, groups.tolist(), strict=True)
            if user in had
        )
    assert (most[False] > 8, most[True] > 0) == (again, again)
    assert most[False] >= 8


@pytest.mark.filterwarnings(
    "ignore:This DataLoader will create 2 worker"
)  # where there is one core
def test_one_core_and_two_propose_the_same(parts, monkeypatch) -> None:
    dataset, repo, *_ = parts
    profile = TrainingProfile.model_validate(SMALL)
    with quiet_libraries():
        run = prepare(read_history(dataset, repo, profile), profile, lambda _: None)
    moment = ranker_moments(run.history, profile)[-1]
    monkeypatch.setattr(workers, "_WORTH_A_FORK", 1)
    made = []
    for cores in (1, 2):
        monkeypatch.setattr(workers, "cores", lambda cores=cores: cores)
        run.rng = np.random.default_rng(5)
        made.append(proposals(run, moment))
    for field in dataclasses.fields(made[0]):
        np.testing.assert_array_equal(*(getattr(one, field.name) for one in made))


def test_a_catalogue_is_of_the_moment_that_is_asked_for(parts) -> None:
    _, _, history, *_ = parts
    first, last = float(history.targets.at.min()) + WEEK, history.cut
    earlier, later = history.items(first), history.items(last)
    assert history.items(last) is later
    before = history.items(first)
    assert before.acted_on.sum() == earlier.acted_on.sum() < later.acted_on.sum()
