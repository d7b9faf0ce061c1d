"""A ledger file of the former layout goes on, and forgets its old charges."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from qianmian.campaigns.ledger import IDEMPOTENCE_SECONDS
from qianmian.campaigns.sqlite_ledger import SqliteLedger


def test_a_file_without_the_index_by_time_gets_it(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    ledger = SqliteLedger(path)
    ledger.fund({"bread": 100})
    assert ledger.buy_day("bread", "2026-11-11", 10, 0.0)
    ledger.shut()
    with sqlite3.connect(path) as connection:
        connection.executescript("DROP INDEX charges_by_time; PRAGMA user_version = 1")
    connection.close()
    ledger = SqliteLedger(path)
    ledger.close(IDEMPOTENCE_SECONDS + 1)
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT count(*) FROM charges").fetchone() == (0,)
        plan = connection.execute("EXPLAIN QUERY PLAN SELECT event_id FROM charges WHERE at < 1")
        assert "charges_by_time" in plan.fetchone()[3]
    connection.close()
    assert ledger.balances(0.0)["bread"].spent == 10
    ledger.shut()
