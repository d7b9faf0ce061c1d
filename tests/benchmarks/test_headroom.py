"""What a ranker could know at best: learned from other users alone, told what came after."""

import numpy as np
import pandas as pd
import pytest

from benchmarks.headroom import After, Asked, knowing, measured
from benchmarks.quality.cases import Case
from qianmian.contracts import columns as c
from qianmian.data.store import Dataset
from qianmian.features.store import FeatureRepo
from tests.conftest import SMALL
from training.profile import TrainingProfile
from training.run import read_history

DAY = 86_400.0


@pytest.fixture(scope="module")
def shop(small_shop):
    profile = TrainingProfile.model_validate(SMALL)
    dataset = Dataset.open(small_shop)
    return dataset, read_history(dataset, FeatureRepo.open(small_shop), profile)


def asked(rng, users=80, candidates=40):
    """Users whose candidates have two features of chance."""
    return [
        Asked(
            user_id=str(user),
            items=np.arange(candidates, dtype=np.int32),
            scores={},
            known=rng.normal(size=(candidates, 2)).astype(np.float32),
            wanted=rng.random(candidates) < 0.1,
        )
        for user in range(users)
    ]


class Subject:
    def __init__(self, user_id):
        self.user_id = user_id


def hit_rate(system, users):
    """How often the first place is wanted."""
    first = [int(np.argmax(system(Subject(user.user_id)).scores)) for user in users]
    return np.mean([user.wanted[place] for user, place in zip(users, first, strict=True)])


def test_trees_never_learn_from_the_user_whom_they_score():
    """Chance stays chance: whoever had learned from its own labels would know them by heart."""
    users = asked(np.random.default_rng(0))
    after = After({}, np.zeros(40, dtype=np.int64))
    found = {
        name: hit_rate(system, users) for name, system in knowing(users, after, seed=0).items()
    }
    assert found.pop("perfect") > 0.9
    assert set(found) == {
        f"{what}_{objective}"
        for what in ("own_weeks", "hindsight")
        for objective in ("binary", "lambdarank")
    }
    assert max(found.values()) < 0.25


def test_hindsight_knows_what_a_user_bought_later_and_the_weeks_alone_do_not():
    users = asked(np.random.default_rng(1))
    days = {user.user_id: {int(i): 2 for i in np.flatnonzero(user.wanted)} for user in users}
    systems = knowing(users, After(days, np.zeros(40, dtype=np.int64)), seed=0)
    for objective in ("binary", "lambdarank"):
        assert hit_rate(systems[f"hindsight_{objective}"], users) > 0.9
        assert hit_rate(systems[f"own_weeks_{objective}"], users) < 0.25


def test_what_came_after_is_counted_by_days_and_by_users(shop):
    dataset, history = shop
    since, days = dataset.spec.split.train_end.timestamp(), 3.0
    after = After.read(dataset, history, since=since, days=days)
    events = dataset.events([c.USER_ID, c.ITEM_ID, c.EVENT_TYPE, c.TIMESTAMP])
    begin = pd.Timestamp(since, unit="s", tz="UTC")
    within = (events[c.TIMESTAMP] >= begin) & (
        events[c.TIMESTAMP] < begin + pd.Timedelta(days=days)
    )
    bought = events[within & (events[c.EVENT_TYPE] == history.target.value)]
    assert len(bought)
    index = dict(zip(history.catalogue.item_ids.tolist(), range(10_000), strict=False))
    seen = {}
    for user, item, at in zip(
        bought[c.USER_ID], bought[c.ITEM_ID], bought[c.TIMESTAMP].dt.date, strict=True
    ):
        seen.setdefault((user, index[item]), set()).add(at)
    assert {(user, item): n for user, items in after.days.items() for item, n in items.items()} == {
        pair: len(dates) for pair, dates in seen.items()
    }
    for item in {item for _, item in seen}:
        assert after.users[item] == len({user for user, other in seen if other == item})
    one = next(iter(after.days))
    rows = after.of(
        Asked(one, np.arange(5, dtype=np.int32), {}, np.zeros((5, 1)), np.zeros(5, bool))
    )
    assert rows[:, 0].tolist() == [after.days[one].get(item, 0) for item in range(5)]
    assert rows[:, 1].tolist() == after.users[:5].tolist()


def test_there_is_no_hindsight_where_the_data_end(shop):
    dataset, history = shop
    end = dataset.spec.split.test_end.timestamp()
    assert After.read(dataset, history, since=end, days=56) is None
    assert After.read(dataset, history, since=end - 3 * DAY, days=56) is None


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_every_system_is_set_beside_lambdarank(small_shop):
    case = Case("small", "half of the shop", small_shop.dataset, "half")
    report = measured(case, small_shop, TrainingProfile.model_validate(SMALL))
    assert set(report["ndcg"]) == {
        "two_stage",
        "lambdarank",
        "own_weeks_binary",
        "own_weeks_lambdarank",
        "perfect",
    }
    best = report["ndcg"]["perfect"]["all"]
    assert all(found["all"] <= best for found in report["ndcg"].values())
    assert report["over_lambdarank"]["perfect"]["all"]["low"] >= 1.0
