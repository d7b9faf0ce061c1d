"""Ids in runs: found by their whole hash, whatever it begins or ends with, until dropped."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qianmian.events import known_ids
from qianmian.events.known_ids import ID_BYTES, KnownIds
from qianmian.events.sqlite_file import run_script
from qianmian.events.sqlite_layout import SCHEMA

#: Few of them, so that many share what an entry holds of them, and the zeros at their end.
Id = st.builds(
    lambda start, end: start * 5 + b"\0" * (ID_BYTES - 6) + end,
    st.sampled_from([b"\0", b"\1", b"\xff"]),
    st.binary(min_size=1, max_size=1),
)


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    with closing(opened()) as one:
        yield one


def opened() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:")
    run_script(connection, SCHEMA)
    return connection


@given(runs=st.lists(st.sets(Id, min_size=1, max_size=9), max_size=6), asked=st.sets(Id))
def test_what_is_in_a_run_is_known_and_nothing_else(
    runs: list[set[bytes]], asked: set[bytes]
) -> None:
    with closing(opened()) as connection:
        known = KnownIds()
        for n, ids in enumerate(runs):
            known_ids.add_run(connection, b"".join(ids), first=n, last=n, newest=n)
            if n % 2:
                known.catch_up(connection)
        known.catch_up(connection)
        for who in (known, caught_up(connection)):
            assert who.among(connection, list(asked)) == asked & set().union(*runs)


def test_dropped_runs_leave_the_memory_too(connection: sqlite3.Connection) -> None:
    ids = [bytes([n]) * ID_BYTES for n in range(9)]
    for n in range(3):
        some = b"".join(ids[3 * n : 3 * n + 3])
        known_ids.add_run(connection, some, first=n, last=n, newest=n)
    known = caught_up(connection)
    assert known.among(connection, ids) == set(ids)
    assert known_ids.forget(connection, 1.0) == 3
    known.catch_up(connection)
    assert known.among(connection, ids) == set(ids[3:])
    assert sum(map(len, known._levels)) == 6
    assert known_ids.forget(connection, 9.0) == 6
    known.catch_up(connection)
    assert (known.among(connection, ids), known._levels) == (set(), [])


def test_a_run_of_a_clock_that_was_ahead_keeps_no_other_in_memory(
    connection: sqlite3.Connection,
) -> None:
    ids = [bytes([n]) * ID_BYTES for n in range(4)]
    known = KnownIds()
    for n, newest in enumerate((1e12, 1.0, 2.0, 9.0)):
        known_ids.add_run(connection, ids[n], first=n, last=n, newest=newest)
        if n == 2:
            known.catch_up(connection)
            assert known_ids.forget(connection, 5.0) == 2
    known.catch_up(connection)
    assert known.among(connection, ids) == {ids[0], ids[3]}
    assert sum(map(len, known._levels)) == 2


def caught_up(connection: sqlite3.Connection) -> KnownIds:
    known = KnownIds()
    known.catch_up(connection)
    return known
