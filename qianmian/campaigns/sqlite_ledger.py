"""The ledger in a SQLite file: write-ahead log, fsync at every commit, one writer at a time.

The default engine. Any number of processes of one machine may open the file; a transaction that
was not committed when its process died has never happened.
"""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from qianmian.campaigns.ledger import (
    ANSWERED,
    COLUMN,
    IDEMPOTENCE_SECONDS,
    Activity,
    Balance,
    Lease,
    LeaseRequest,
    SponsoredEvent,
    Tally,
    Usage,
    Verdict,
    day_charge,
)
from qianmian.events.sqlite_file import SqliteFile, Upgrade, run_script

_VERSION: Final = 2
_BUSY_SECONDS: Final = 30.0
_HOUR: Final = 3_600
_FORGOTTEN_AT_ONCE: Final = 1_000  # charges: nobody waits long for the file
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS campaigns (
    campaign TEXT PRIMARY KEY, budget INTEGER NOT NULL,
    spent INTEGER NOT NULL DEFAULT 0, held INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
-- reserve: what the lease holds back in all, charged: how much of that was charged
CREATE TABLE IF NOT EXISTS leases (
    lease_id INTEGER PRIMARY KEY AUTOINCREMENT, campaign TEXT NOT NULL, holder TEXT NOT NULL,
    reserve INTEGER NOT NULL, charged INTEGER NOT NULL DEFAULT 0,
    expected INTEGER NOT NULL DEFAULT 0,
    until REAL NOT NULL, window REAL NOT NULL, pooled INTEGER NOT NULL,
    settled INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS leases_by_end ON leases (until + window);
CREATE INDEX IF NOT EXISTS leases_in_pool ON leases (campaign, until)
    WHERE pooled AND reserve > charged;
CREATE TABLE IF NOT EXISTS charges (
    event_id TEXT PRIMARY KEY, campaign TEXT NOT NULL, exposure TEXT NOT NULL,
    price INTEGER NOT NULL, verdict TEXT NOT NULL, at REAL NOT NULL
) WITHOUT ROWID;
CREATE UNIQUE INDEX IF NOT EXISTS charges_by_exposure ON charges (exposure)
    WHERE verdict = 'billed';
CREATE INDEX IF NOT EXISTS charges_by_time ON charges (at);
CREATE TABLE IF NOT EXISTS tallies (
    campaign TEXT NOT NULL, hour INTEGER NOT NULL,
    impressions INTEGER NOT NULL DEFAULT 0, clicks INTEGER NOT NULL DEFAULT 0,
    sales INTEGER NOT NULL DEFAULT 0, sales_value INTEGER NOT NULL DEFAULT 0,
    spent INTEGER NOT NULL DEFAULT 0, unbilled INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (campaign, hour)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS paces (campaign TEXT PRIMARY KEY, state BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS log_cursor (one INTEGER PRIMARY KEY CHECK (one = 1), cursor TEXT);
"""
#: From 1: charges were never forgotten.
_UPGRADES: Final[Mapping[int, Upgrade]] = {
    1: lambda db: run_script(db, "CREATE INDEX charges_by_time ON charges (at)")
}
_BALANCES: Final = """
SELECT campaign, budget, spent, held, CAST(COALESCE((
    SELECT SUM(expected * CASE WHEN settled
        THEN MAX(1.0 - MAX(:now - until, 0.0) / (:answered * window), 0.0) ELSE 1.0 END)
    FROM leases WHERE leases.campaign = campaigns.campaign
), 0) AS INTEGER) FROM campaigns
"""


class SqliteLedger:
    """Keeps `qianmian.campaigns.ledger.BudgetLedger`."""

    def __init__(self, path: Path) -> None:
        self._file = SqliteFile(
            path, schema=_SCHEMA, version=_VERSION, upgrades=_UPGRADES, busy=_BUSY_SECONDS
        )

    def fund(self, budgets: Mapping[str, int]) -> None:
        with self._file.writing() as db:
            db.executemany(
                "INSERT INTO campaigns (campaign, budget) VALUES (?, ?)"
                " ON CONFLICT (campaign) DO UPDATE SET budget = excluded.budget",
                budgets.items(),
            )

    def lease(self, holder: str, requests: Sequence[LeaseRequest], now: float) -> list[Lease]:
        granted: list[Lease] = []
        with self._file.writing() as db:
            for wanted in requests:
                row = db.execute(
                    "SELECT budget - spent - held FROM campaigns WHERE campaign = ?",
                    (wanted.campaign,),
                ).fetchone()
                given = min(wanted.amount, row[0]) if row else 0
                if given < max(wanted.least, 1):
                    continue
                until = now + wanted.seconds
                lease_id = db.execute(
                    "INSERT INTO leases (campaign, holder, reserve, until, window, pooled)"
                    " VALUES (?, ?, ?, ?, ?, ?)",
                    (wanted.campaign, holder, given, until, wanted.window, wanted.pooled),
                ).lastrowid
                _hold(db, wanted.campaign, given)
                granted.append(Lease(str(lease_id), wanted.campaign, given, until))
        return granted

    def report(self, usages: Sequence[Usage]) -> None:
        with self._file.writing() as db:
            for usage in usages:
                row = db.execute(
                    "SELECT campaign, reserve, charged FROM leases"
                    " WHERE lease_id = ? AND NOT settled",
                    (usage.lease_id,),
                ).fetchone()
                if row is None:
                    continue
                campaign, reserve, charged = row
                db.execute(
                    "UPDATE leases SET expected = ? WHERE lease_id = ?",
                    (usage.expected, usage.lease_id),
                )
                if not usage.done:
                    continue
                kept = min(max(usage.used, charged), reserve)
                db.execute(
                    "UPDATE leases SET reserve = ?, until = MIN(until, ?), settled = 1"
                    " WHERE lease_id = ?",
                    (kept, usage.last_used_at, usage.lease_id),
                )
                _hold(db, campaign, kept - reserve)

    def buy_day(self, campaign: str, day: str, price: int, now: float) -> bool:
        event_id = day_charge(campaign, day)
        with self._file.writing() as db:
            if db.execute("SELECT 1 FROM charges WHERE event_id = ?", (event_id,)).fetchone():
                return True
            paid = db.execute(
                "UPDATE campaigns SET spent = spent + ?1"
                " WHERE campaign = ?2 AND budget - spent - held >= ?1",
                (price, campaign),
            ).rowcount
            if not paid:
                return False
            _record(db, event_id, campaign, event_id, price, Verdict.BILLED, now)
            _count(db, campaign, now, "spent", price)
        return True

    def book(self, events: Sequence[SponsoredEvent], *, after: str, cursor: str) -> list[Verdict]:
        verdicts: list[Verdict] = []
        with self._file.writing() as db:
            if _cursor(db) != after:
                return verdicts
            for event in events:
                known = db.execute(
                    "SELECT verdict FROM charges WHERE event_id = ?", (event.event_id,)
                ).fetchone()
                if known:
                    verdicts.append(Verdict(known[0]))
                    continue
                _count(db, event.campaign, event.at, COLUMN[event.activity], 1)
                if event.activity is Activity.SALE:
                    _count(db, event.campaign, event.at, "sales_value", event.value)
                verdicts.append(_charge(db, event))
            db.execute(
                "INSERT INTO log_cursor VALUES (1, ?)"
                " ON CONFLICT (one) DO UPDATE SET cursor = excluded.cursor",
                (cursor,),
            )
        return verdicts

    def cursor(self) -> str:
        with self._file.reading() as db:
            return _cursor(db)

    def close(self, now: float) -> int:
        with self._file.writing() as db:
            answered = db.execute(
                "SELECT campaign, SUM(reserve - charged) FROM leases"
                " WHERE pooled AND reserve > charged AND until + ? * window < ?"
                " GROUP BY campaign",
                (ANSWERED, now),
            ).fetchall()
            for campaign, remaining in answered:
                _hold(db, campaign, -remaining)
            db.execute(
                "UPDATE leases SET reserve = charged"
                " WHERE pooled AND reserve > charged AND until + ? * window < ?",
                (ANSWERED, now),
            )
            ended = db.execute(
                "DELETE FROM leases WHERE until + window < ? RETURNING campaign, reserve - charged",
                (now,),
            ).fetchall()
            for campaign, remaining in ended:
                _hold(db, campaign, -remaining)
            db.execute(
                "DELETE FROM charges WHERE event_id IN"
                " (SELECT event_id FROM charges WHERE at < ? ORDER BY at LIMIT ?)",
                (now - IDEMPOTENCE_SECONDS, _FORGOTTEN_AT_ONCE),
            )
        return len(ended)

    def balances(self, now: float) -> dict[str, Balance]:
        with self._file.reading() as db:
            rows = db.execute(_BALANCES, {"now": now, "answered": ANSWERED}).fetchall()
        return {campaign: Balance(*amounts) for campaign, *amounts in rows}

    def tallies(self) -> list[Tally]:
        with self._file.reading() as db:
            rows = db.execute(
                "SELECT campaign, hour, impressions, clicks, sales, sales_value, spent, unbilled"
                " FROM tallies ORDER BY campaign, hour"
            ).fetchall()
        return list(itertools.starmap(Tally, rows))

    def set_paces(self, paces: Mapping[str, bytes]) -> None:
        with self._file.writing() as db:
            db.executemany(
                "INSERT INTO paces VALUES (?, ?)"
                " ON CONFLICT (campaign) DO UPDATE SET state = excluded.state",
                paces.items(),
            )

    def paces(self) -> dict[str, bytes]:
        with self._file.reading() as db:
            return dict(db.execute("SELECT campaign, state FROM paces").fetchall())

    def shut(self) -> None:
        self._file.close()


def _charge(db: sqlite3.Connection, event: SponsoredEvent) -> Verdict:
    if event.price is None:
        return Verdict.FREE
    verdict, draws = _judge(db, event, event.price)
    price = event.price if verdict is Verdict.BILLED else 0
    if price:
        db.execute(
            "UPDATE campaigns SET spent = spent + ? WHERE campaign = ?", (price, event.campaign)
        )
        db.executemany(
            "UPDATE leases SET charged = charged + ? WHERE lease_id = ?",
            [(drawn, lease_id) for lease_id, drawn in draws.items()],
        )
        _hold(db, event.campaign, -sum(draws.values()))
        _count(db, event.campaign, event.at, "spent", price)
    elif verdict is not Verdict.REPEATED:
        _count(db, event.campaign, event.at, "unbilled", 1)
    _record(db, event.event_id, event.campaign, event.exposure, price, verdict, event.at)
    return verdict


def _judge(
    db: sqlite3.Connection, event: SponsoredEvent, price: int
) -> tuple[Verdict, dict[int, int]]:
    """Return the verdict, and what is drawn from which lease; the rest comes of what is free."""
    charged = db.execute(
        "SELECT 1 FROM charges WHERE exposure = ? AND verdict = 'billed'", (event.exposure,)
    ).fetchone()
    if charged:
        return Verdict.REPEATED, {}
    lease = db.execute(
        "SELECT lease_id, reserve - charged, pooled, budget - spent - held FROM leases"
        " JOIN campaigns USING (campaign) WHERE lease_id = ? AND campaign = ?",
        (event.lease_id, event.campaign),
    ).fetchone()
    if lease is None or event.late:
        return Verdict.LATE, {}
    own, remaining, pooled, free = lease
    draws = {own: min(price, remaining)}
    rest = price - draws[own]
    if rest and pooled:
        pool = db.execute(
            "SELECT lease_id, reserve - charged FROM leases WHERE campaign = ? AND lease_id <> ?"
            " AND pooled AND settled AND reserve > charged ORDER BY until, lease_id",
            (event.campaign, own),
        )
        for lease_id, left in pool:
            draws[lease_id] = min(rest, left)
            rest -= draws[lease_id]
            if not rest:
                break
    if rest > max(free, 0):
        return Verdict.UNFUNDED, {}
    return Verdict.BILLED, draws


def _hold(db: sqlite3.Connection, campaign: str, more: int) -> None:
    db.execute("UPDATE campaigns SET held = held + ? WHERE campaign = ?", (more, campaign))


def _count(db: sqlite3.Connection, campaign: str, at: float, column: str, more: int) -> None:
    db.execute(
        f"INSERT INTO tallies (campaign, hour, {column}) VALUES (?, ?, ?)"  # noqa: S608  ours
        f" ON CONFLICT (campaign, hour) DO UPDATE SET {column} = {column} + excluded.{column}",
        (campaign, int(at // _HOUR), more),
    )


def _record(
    db: sqlite3.Connection,
    event_id: str,
    campaign: str,
    exposure: str,
    price: int,
    verdict: Verdict,
    at: float,
) -> None:
    db.execute(
        "INSERT INTO charges VALUES (?, ?, ?, ?, ?, ?)",
        (event_id, campaign, exposure, price, verdict, at),
    )


def _cursor(db: sqlite3.Connection) -> str:
    row = db.execute("SELECT cursor FROM log_cursor").fetchone()
    return str(row[0]) if row else ""
