"""What is held out has no past, and still has what came after."""

import json

import pandas as pd

from benchmarks.cold_start import HELD_OUT, hold_out, joined
from qianmian.data.store import Dataset


def test_whole_users_and_items_lose_their_past_and_nothing_else(small_shop, tmp_path) -> None:
    dataset = Dataset.open(small_shop)
    hold_out(dataset, tmp_path, seed=5)
    chosen = json.loads((tmp_path / HELD_OUT).read_text())
    assert (len(chosen["users"]), len(chosen["items"])) == (6, 12)
    whole = pd.read_parquet(dataset.folder / "events.parquet")
    left = pd.read_parquet(tmp_path / "events.parquet")
    cut = dataset.spec.split.train_end
    before = left[left["timestamp"] < cut]
    assert not before["user_id"].isin(chosen["users"]).any()
    assert not before["item_id"].isin(chosen["items"]).any()
    gone = whole["user_id"].isin(chosen["users"]) | whole["item_id"].isin(chosen["items"])
    kept = whole[(whole["timestamp"] >= cut) | ~gone]
    columns = ["user_id", "item_id", "event_type", "timestamp"]
    pd.testing.assert_frame_equal(left[columns], kept[columns].reset_index(drop=True))
    # what is held out is drawn from the past: some of it need not come back
    assert set(chosen["items"]) <= set(whole.loc[whole["timestamp"] < cut, "item_id"])
    hold_out(dataset, tmp_path, seed=6)
    assert json.loads((tmp_path / HELD_OUT).read_text()) != chosen


def test_seeds_are_joined_to_means_and_each_rows_ndcg_is_told() -> None:
    def judged(ndcg: float, users: int) -> dict[str, object]:
        row = {"system": "two_stage", "slice": "all", "k": 20, "ndcg": ndcg, "users": users}
        row |= {"ci_low": ndcg - 0.1, "ci_high": ndcg + 0.1}
        shares = {"two_stage": {"places": ndcg, "hits": 0.0}}
        return {"users": [row], "items": [row], "among_all": shares, "held_out": {"users": users}}

    report = joined([judged(0.2, 10), judged(0.3, 20)])
    row = {"system": "two_stage", "slice": "all", "k": 20, "ndcg": 0.25, "users": 15}
    assert report["users"] == report["items"] == [row | {"ndcg_by_seed": [0.2, 0.3]}]
    assert report["among_all"] == {"two_stage": {"places": 0.25, "hits": 0.0}}
    assert report["held_out"] == {"users": 15}
    alone = joined([judged(0.2, 10)])["users"][0]  # one seed has its users' interval
    assert (alone["ci_low"], alone["ci_high"]) == (0.2 - 0.1, 0.2 + 0.1)
