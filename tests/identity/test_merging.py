from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qianmian.contracts import topics
from qianmian.errors import ConflictError, NotFoundError
from qianmian.events.changes import Changes
from qianmian.events.engine import SqliteEngine, open_engine
from qianmian.identity.mapping import Identity
from qianmian.identity.merging import DAY, Merger
from qianmian.workspace import Workspace


class Hands:
    """A clock that is set by hand."""

    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Hands:
    return Hands()


@pytest.fixture
def changes(tmp_path: Path) -> Iterator[Changes]:
    engine = open_engine(SqliteEngine(), Workspace(tmp_path, "shop"))
    yield engine.changes
    engine.close()


@pytest.fixture
def merger(changes: Changes, clock: Hands) -> Merger:
    return Merger(changes, grace_seconds=30 * DAY, clock=clock)


def test_a_merge_joins_and_merging_again_changes_nothing(
    merger: Merger, changes: Changes, clock: Hands
) -> None:
    first = merger.merge("d-1", "anna")
    assert first.new
    clock.now += 5
    again = merger.merge("d-1", "anna")
    assert (again.new, again.merge) == (False, first.merge)
    assert merger.merge("d-2", "anna").new
    identity = Identity.load(changes)
    assert identity.canonical("visitor:d-1") == "anna"
    assert identity.canonical("anna") == "anna"
    assert identity.members("anna") == ["anna", "visitor:d-1", "visitor:d-2"]


def test_a_visitor_of_one_user_is_refused_to_another_until_it_is_unmerged(merger: Merger) -> None:
    merger.merge("d-1", "anna")
    with pytest.raises(ConflictError, match="users:unmerge first") as refused:
        merger.merge("d-1", "ben")
    assert "anna" not in str(refused.value)
    assert "d-1" not in str(refused.value)
    merger.unmerge("d-1")
    assert merger.merge("d-1", "ben").new


def test_unmerging_is_refused_after_the_grace_period(merger: Merger, clock: Hands) -> None:
    merge = merger.merge("d-1", "anna").merge
    clock.now = merger.reversible_until(merge) + 1
    with pytest.raises(ConflictError, match="last 30 days"):
        merger.unmerge("d-1")
    clock.now -= 1
    assert merger.unmerge("d-1") == merge
    with pytest.raises(NotFoundError):
        merger.unmerge("d-1")


VISITORS = st.sampled_from(["visitor:a", "visitor:b", "visitor:c"])
USERS = st.sampled_from([None, "anna", "ben"])


@given(st.lists(st.tuples(VISITORS, USERS)))
def test_canonical_and_members_agree_whatever_happens(
    steps: list[tuple[str, str | None]],
) -> None:
    identity, truth = Identity(), dict[str, str]()
    for visitor, user in steps:
        before = {one: identity.members(one) for one in ("anna", "ben")}
        changed = identity.set(visitor, user)
        if user is None:
            truth.pop(visitor, None)
        else:
            truth[visitor] = user
        for one, members in before.items():
            assert (identity.members(one) != members) == (one in changed)
    for visitor in ("visitor:a", "visitor:b", "visitor:c"):
        assert identity.canonical(visitor) == truth.get(visitor, visitor)
    for one in ("anna", "ben"):
        assert set(identity.members(one)) == {one} | {v for v, u in truth.items() if u == one}


def test_who_follows_the_topic_learns_what_changed(merger: Merger, changes: Changes) -> None:
    identity = Identity()
    merger.merge("d-1", "anna")
    found, cursor = changes.since(0)
    assert {change.topic for change in found} == {topics.IDENTITY}
    assert identity.apply(found) == {"anna", "visitor:d-1"}
    assert identity.apply(found) == set()
    merger.unmerge("d-1")
    found, _ = changes.since(cursor)
    assert identity.apply(found) == {"anna", "visitor:d-1"}
    assert identity.canonical("visitor:d-1") == "visitor:d-1"
