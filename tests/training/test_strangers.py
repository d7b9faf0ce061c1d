"""Known users without their past: what is left is what the feature store tells of a newcomer."""

import numpy as np
import pytest

from qianmian.contracts import features as f

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"
)


@pytest.fixture(scope="module")
def history(small_shop):
    from qianmian.data.store import Dataset
    from qianmian.features.store import FeatureRepo
    from training.history import History

    dataset, repo = Dataset.open(small_shop), FeatureRepo.open(small_shop)
    cut = dataset.spec.split.train_end.timestamp()
    return History(dataset, repo, moments=(cut,), cut=cut)


def newcomer_tags(small_shop, history):
    """Tags of every declared user as of a moment before the first event, by the feature's code."""
    import pandas as pd
    import pyarrow as pa

    from qianmian.features.columns import DataType
    from qianmian.features.event_log import EventLog
    from qianmian.features.user_tags import Thresholds, user_tags

    events = pd.read_parquet(small_shop.data / "events.parquet")
    declared = pa.Table.from_pandas(pd.read_parquet(small_shop.data / "users.parquet"))
    log = EventLog.build(events, target=history.target, time_zone="UTC")
    before = events["timestamp"].min().timestamp() - 1.0
    types = {"age": DataType.STRING, "points": DataType.FLOAT32}
    table = user_tags(log, declared, types, Thresholds(), before)
    return {row["user_id"]: row for row in table.to_pylist()}


def test_a_stranger_is_what_the_features_tell_of_a_newcomer(small_shop, history):
    from qianmian.features.encoding import USER_ROW, UserEncoder
    from qianmian.features.user_state import UserState
    from training.strangers import as_stranger

    told = newcomer_tags(small_shop, history)
    states = list(history.states(f.RANKER_SERVICE, np.arange(60, dtype=np.int32), history.cut))
    encoder = UserEncoder.fit(
        states,
        user_ids=[state.user_id for state in states],
        tag_kinds=history.tag_kinds,
        affinity_columns=("category",),
    )
    declared = [state for state in states if state.user_id in told]
    assert len(declared) == 55
    for state in declared:
        assert state.known
        stranger = as_stranger(state, history.catalogue)
        newcomer = UserState.read(
            state.user_id, told[state.user_id], history.catalogue, tuple(state.tags)
        )
        assert not stranger.known
        assert len(stranger.ledger.items) == 0
        mine, theirs = (encoder.encode([(s, history.cut)], 1) for s in (stranger, newcomer))
        for name in set(mine) - {USER_ROW}:
            np.testing.assert_array_equal(mine[name], theirs[name], err_msg=name)


def test_a_stranger_of_whom_nothing_is_declared_has_no_tag_at_all(history):
    from qianmian.features.user_state import is_missing
    from training.strangers import as_stranger

    (state,) = history.states_of(f.RANKER_SERVICE, np.array(["u059"], dtype=object), history.cut)
    assert not is_missing(state.tags["activity_level"])
    assert all(is_missing(tag) for tag in as_stranger(state, history.catalogue).tags.values())


def test_the_same_are_drawn_for_a_moment_however_often_it_is_read():
    from training.draw import draw

    first = draw(1000, 0.05, what="users", seed=17, moment=1_700_000_000.0)
    assert len(first) == len(set(first)) == 50
    assert first == draw(1000, 0.05, what="users", seed=17, moment=1_700_000_000.0)
    assert first != draw(1000, 0.05, what="users", seed=17, moment=1_700_604_800.0)
    assert first != draw(1000, 0.05, what="users", seed=18, moment=1_700_000_000.0)
    assert draw(1000, 0.0, what="users", seed=17, moment=0.0) == []


def test_a_week_is_learned_from_strangers_behind_its_users(small_shop):
    from qianmian.data.store import Dataset
    from qianmian.features import encoding as e
    from qianmian.features.store import FeatureRepo
    from tests.conftest import SMALL
    from training.profile import TrainingProfile
    from training.run import prepare, read_history
    from training.through_time import read_week

    towers = {**SMALL["two_tower"], "strangers": 0.5}
    profile = TrainingProfile.model_validate({**SMALL, "two_tower": towers})
    history = read_history(Dataset.open(small_shop), FeatureRepo.open(small_shop), profile)
    run = prepare(history, profile, lambda _: None)
    week = read_week(run, history.moments[-2], history.moments[-1])
    size = len(week.positives) * 2 // 3
    rows, recent, known = (week.inputs[name] for name in (e.USER_ROW, e.RECENT_ITEMS, e.DENSE))
    assert len(rows) == len(week.positives) == size + round(0.5 * size)
    assert (rows[:size] > 0).all()
    assert (rows[size:] == 0).all()
    assert recent[:size].any(axis=1).all()
    assert not recent[size:].any()
    assert not known[size:].any()
    tags = week.inputs[e.TAGS]
    slot = [column.name for column in run.encoder.tag_columns].index("age")
    for stranger in range(size, len(rows)):
        same = [u for u in range(size) if week.positives[u] is week.positives[stranger]]
        assert len(same) == 1
        assert tags[same[0], slot] == tags[stranger, slot]
