"""The user cache is bounded, expires, and belongs to a release."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qianmian.retrieval.sources import SourceQuotas
from serving.feed.resident import ResidentRelease
from serving.feed.users import Proposal, Users
from tests.serving import tiny


class Store:
    def __init__(self) -> None:
        self.reads: list[str] = []

    def read(self, user_id: str) -> dict[str, object] | None:
        self.reads.append(user_id)
        return tiny.USERS.get(user_id)


def test_a_user_is_read_once_until_it_expires(release: ResidentRelease) -> None:
    store, now = Store(), [0.0]
    users = Users(store.read, size=2, ttl=10.0, clock=lambda: now[0])
    first = users.user("anna", release)
    assert users.user("anna", release) is first
    now[0] = 9.9
    assert users.user("anna", release) is first
    now[0] = 10.0
    assert users.user("anna", release) is not first
    assert store.reads == ["anna", "anna"]
    assert (users.hits, users.misses) == (2, 2)


def test_another_release_reads_its_own_state(release: ResidentRelease) -> None:
    store = Store()
    users = Users(store.read, size=9, ttl=10.0)
    users.user("anna", release)
    users.user("anna", replace(release, id="next"))
    assert store.reads == ["anna", "anna"]


def test_a_user_that_changes_while_it_is_kept_is_read_again(release: ResidentRelease) -> None:
    store = Store()

    def clock() -> float:  # asked when a user that was read is about to be kept
        users.forget(["anna"])
        return 0.0

    users = Users(store.read, size=9, ttl=10.0, clock=clock)
    users.user("anna", release)
    users.user("anna", release)
    assert store.reads == ["anna", "anna"]
    assert not len(users)


def test_unknown_users_are_remembered_too(release: ResidentRelease) -> None:
    store = Store()
    users = Users(store.read, size=9, ttl=10.0)
    assert not users.user("nobody", release).state.known
    users.user("nobody", release)
    assert store.reads == ["nobody"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(asked=st.lists(st.integers(0, 9), max_size=40), size=st.integers(1, 5))
def test_never_more_than_its_size_and_the_least_recent_goes(
    release: ResidentRelease, asked: list[int], size: int
) -> None:
    store = Store()
    users = Users(store.read, size=size, ttl=1e9, clock=lambda: 0.0)
    recent: list[str] = []
    for number in asked:
        user = f"u{number}"
        before = len(store.reads)
        users.user(user, release)
        assert (len(store.reads) == before) == (user in recent[-size:])
        recent = [*(u for u in recent if u != user), user]
        assert len(users) <= size


def test_a_proposal_is_made_once_for_each_venue_quota_and_limit(release: ResidentRelease) -> None:
    user, made = Users(Store().read, size=9, ttl=10.0).user("anna", release), []

    def propose(venue: str, quotas: SourceQuotas, limit: int = 9) -> Proposal:
        def now() -> Proposal:
            made.append(venue)
            pool = release.pools["all"].pool
            vector = release.bundle.user_vector(user.state, tiny.NOW)
            return Proposal(release.bundle.propose(user.state, vector, pool, quotas), {})

        return user.proposal((venue, quotas, limit), now)

    many, few = SourceQuotas(), SourceQuotas(two_tower=1)
    first = propose("all", many)
    assert propose("all", SourceQuotas()) is first
    assert propose("all", few) is not first
    assert propose("all", many, 5) is not first
    propose("sale", many)
    assert made == ["all", "all", "all", "sale"]
    for number in range(30):
        propose(f"venue {number}", many)
        assert propose("all", many) is first, "what is asked for again and again stays"
    assert len(user._proposed) == 16


def test_a_proposal_that_failed_is_not_remembered(release: ResidentRelease) -> None:
    user = Users(Store().read, size=9, ttl=10.0).nobody(release)

    def fail() -> Proposal:
        raise ZeroDivisionError

    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            user.proposal(("all", SourceQuotas(), 9), fail)
