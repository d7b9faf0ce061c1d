"""One seed, whole: trained without what is held out, and asked for it."""

from functools import partial

import numpy as np
import pytest

from benchmarks.cold_start.held_out import HeldOut, hold_out
from benchmarks.cold_start.judged import judged
from benchmarks.cold_start.report import joined
from benchmarks.quality.cases import imported
from qianmian.data.store import Dataset
from qianmian.features.snapshots import build, schedule
from qianmian.workspace import Workspace
from tests.conftest import SMALL
from training.profile import TrainingProfile

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings(
        "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"
    ),
]


def test_users_and_items_without_a_past_are_ranked_and_told_of(small_shop, tmp_path) -> None:
    profile = TrainingProfile.model_validate(SMALL)
    workspace, source = Workspace(tmp_path / "home", "cold"), tmp_path / "source"
    taken_out = partial(hold_out, Dataset.open(small_shop), seed=5)
    imported(workspace, source, "a tenth", taken_out, lambda _: None)
    dataset, held_out = Dataset.open(workspace), HeldOut.read(source)
    plan, cut = profile.snapshots, dataset.spec.split.train_end.timestamp()
    build(workspace, dataset, schedule(cut, plan.every_days, plan.count))

    found = judged(workspace, held_out, profile, lambda _: None)
    strangers, askers = found.arrays["users|who"], found.arrays["items|who"]
    assert set(strangers) <= set(held_out.users)
    assert len(askers)
    assert not set(askers) & set(held_out.users)

    report = joined([found])
    assert report["held_out"] == {"users": 6, "items": 12}
    rows = {part: {row["system"]: row for row in report[part]} for part in ("users", "items")}
    assert rows["users"].keys() == {"popularity_all_time", "popularity", "two_tower", "two_stage"}
    assert rows["items"].keys() >= {"random", "attribute_affinity", "taste", "two_stage"}
    for part in rows.values():
        for row in part.values():
            assert 0 <= row["ci_low"] <= row["ndcg"] <= row["ci_high"] <= 1
    ndcg = found.arrays["items|two_stage"]
    assert rows["items"]["two_stage"]["ndcg"] == pytest.approx(np.mean(ndcg))
    assert 0 < report["among_all"]["ordered"]["share"] < 1
