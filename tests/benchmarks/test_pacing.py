"""The pacing benchmark, cut short: real processes on one ledger, some of them killed."""

from __future__ import annotations

import pytest

from benchmarks.pacing import run


@pytest.mark.slow
def test_no_budget_is_overspent_when_replicas_are_killed(tmp_path):
    result = run(auctions=60_000, replicas=3, kills=4, seed=1, folder=tmp_path, hours=2)
    assert result["kills"] == 4
    assert result["auctions"] > 2_000
    assert result["showings"] > result["auctions"]
    assert result["overspend"] == 0.0
    assert result["held_beyond"] == 0.0
    assert result["still_held"] == 0.0
    assert result["verdicts"]["billed"] > 500
    assert result["verdicts"]["repeated"] > 20
    assert result["verdicts"]["late"] > 0
