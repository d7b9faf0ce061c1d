"""The breaker: a store that failed is left alone, then asked by one, then by all."""

from __future__ import annotations

import pytest

from qianmian.breaker import Breaker
from qianmian.errors import EventStoreError

PAUSE = 1.0


class Watched:
    """A breaker at a time that tests set."""

    def __init__(self) -> None:
        self.now = 0.0
        self.breaker = Breaker(pause=PAUSE, clock=lambda: self.now)

    def fail(self) -> None:
        with pytest.raises(EventStoreError, match="gone"), self.breaker.asking():
            raise EventStoreError("gone")

    def refused(self) -> bool:
        try:
            with self.breaker.asking():
                return False
        except EventStoreError:
            return True


@pytest.fixture
def watched() -> Watched:
    return Watched()


def test_it_rests_after_a_failure_and_heals_with_an_answer(watched: Watched) -> None:
    assert not watched.refused()
    watched.fail()
    assert watched.breaker.resting
    assert watched.refused()
    watched.now += PAUSE
    assert watched.breaker.why == "gone", "nobody has asked yet"
    assert not watched.refused()
    assert watched.breaker.why is None
    assert not watched.breaker.resting


def test_one_tries_alone(watched: Watched) -> None:
    watched.fail()
    watched.now += PAUSE
    with watched.breaker.asking():
        assert watched.breaker.resting
        assert watched.refused()
        watched.now += 10 * PAUSE
        assert watched.refused(), "however long it takes"
    assert not watched.refused()


def test_a_trial_that_fails_begins_another_pause(watched: Watched) -> None:
    watched.fail()
    watched.now += PAUSE
    watched.fail()
    assert watched.refused()
    watched.now += PAUSE
    assert not watched.refused()


def test_an_answer_that_somebody_gave_up_on_does_not_heal(watched: Watched) -> None:
    with watched.breaker.asking():
        watched.breaker.trip("too slow")
    assert watched.breaker.why == "too slow"
    assert watched.refused()
    watched.now += PAUSE
    assert not watched.refused()


def test_another_error_ends_the_trial_too(watched: Watched) -> None:
    watched.fail()
    watched.now += PAUSE
    with pytest.raises(ZeroDivisionError), watched.breaker.asking():
        raise ZeroDivisionError
    assert not watched.breaker.resting
