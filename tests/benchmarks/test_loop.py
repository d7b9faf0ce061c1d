"""The closed loop and the sessions on the small shop, in short."""

import json

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings(
        "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"
    ),
]


def test_logged_pages_become_heads_of_the_next_release(small_shop, tmp_path):
    from benchmarks.loop import Loop, Plan
    from tests.conftest import SMALL
    from training.profile import TrainingProfile

    ranker = {**SMALL["ranker"], "horizon_days": 14, "impressions": {"min_pages": 50}}
    snapshots = {"every_days": 7, "count": 8}
    profile = TrainingProfile.model_validate({**SMALL, "ranker": ranker, "snapshots": snapshots})
    plan = Plan(
        profile=profile, rounds=1, sessions=150, parallel=4, judged_sessions=100, judged_users=40
    )
    said = []
    report = Loop(small_shop, tmp_path, plan, said.append).run()
    before, first = report["rounds"]
    assert before["impressions"] == 0
    assert first["impressions"] > 1000
    assert first["rejected"] == {}
    assert set(first["heads"]) == {"click", "cart", "order"}
    assert any("by place" in line for line in said)  # pages taught
    assert first["ndcg_order"] > before["ndcg_order"] - 0.1
    assert before["to_first"]["ndcg_click"] == [1.0, 1.0, 1.0]
    ratio, low, high = first["to_first"]["ndcg_order"]
    assert low <= ratio <= high
    assert len({one["release"] for one in report["rounds"]}) == 2


def test_what_was_bought_is_not_shown_again(small_shop, tmp_path, capsys, monkeypatch):
    from benchmarks import sessions

    scale = ["--sessions", "40", "--pages", "2", "--page-size", "10", "--parallel", "4"]
    where = ["--home", str(small_shop.root), "--dataset", "small-shop", "--scratch", str(tmp_path)]
    monkeypatch.setattr("sys.argv", ["sessions", *where, *scale, "--bound", "3"])
    sessions.main()
    report = json.loads(capsys.readouterr().out)
    assert report["sessions"] == 40
    assert report["items_shown"] > 200
    assert report["violations"] == 0
    assert report["events"]["order"] > 0
