"""What is held out has no past, and still has what came after."""

import pandas as pd

from benchmarks.cold_start.held_out import HeldOut, hold_out
from qianmian.data.store import Dataset


def test_whole_users_and_items_lose_their_past_and_nothing_else(small_shop, tmp_path) -> None:
    dataset = Dataset.open(small_shop)
    hold_out(dataset, tmp_path, seed=5)
    chosen = HeldOut.read(tmp_path)
    assert (len(chosen.users), len(chosen.items)) == (6, 12)
    whole = pd.read_parquet(dataset.folder / "events.parquet")
    left = pd.read_parquet(tmp_path / "events.parquet")
    cut = dataset.spec.split.train_end
    before = left[left["timestamp"] < cut]
    assert not before["user_id"].isin(chosen.users).any()
    assert not before["item_id"].isin(chosen.items).any()
    gone = whole["user_id"].isin(chosen.users) | whole["item_id"].isin(chosen.items)
    kept = whole[(whole["timestamp"] >= cut) | ~gone]
    columns = ["user_id", "item_id", "event_type", "timestamp"]
    pd.testing.assert_frame_equal(left[columns], kept[columns].reset_index(drop=True))
    # what is held out is drawn from the past: some of it need not come back
    assert set(chosen.items) <= set(whole.loc[whole["timestamp"] < cut, "item_id"])
    hold_out(dataset, tmp_path, seed=6)
    assert HeldOut.read(tmp_path) != chosen
