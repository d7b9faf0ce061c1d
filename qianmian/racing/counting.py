"""The part of the stream that keeps races up to date from the events that their pages brought.

State and cursor of the log are put into the topic `racing` in one step: an event counts once,
whatever happens between, and replicas see the new state within moments.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

from qianmian.contracts import topics
from qianmian.contracts.events import EventType
from qianmian.events.changes import Changes
from qianmian.events.event import StoredEvent
from qianmian.events.follower import Follower
from qianmian.events.store import BEGINNING, EventStore
from qianmian.racing.schema import RaceFile
from qianmian.racing.state import RaceState

#: Whose checkpoint in the log it is; the one that counts stands in the topic.
GROUP: Final = "racing"
CURSOR_KEY: Final = ""
_SEPARATOR: Final = "|"
_HOUR: Final = 3_600.0

#: Races of each venue, by name.
Races = Mapping[str, Mapping[str, RaceFile]]


def race_key(venue_id: str, race: str) -> str:
    """Return the key of a race in the topic.

    >>> race_key("18", "page_order")
    '18|page_order'
    """
    return f"{venue_id}{_SEPARATOR}{race}"


def read_states(kept: Mapping[str, bytes]) -> dict[str, RaceState]:
    """Return the state of each race by its key."""
    return {key: RaceState.from_bytes(text) for key, text in kept.items() if key != CURSOR_KEY}


class RaceCounting:
    """Counts trials and rewards (`qianmian.stream.part.Part`)."""

    def __init__(
        self,
        log: EventStore,
        changes: Changes,
        races: Callable[[], Races],
        *,
        implausible: Callable[[Sequence[str]], Collection[str]] = lambda _: (),
        publish_seconds: float = 5.0,
        behind: str | None = None,
        page: int = 5_000,
    ) -> None:
        """`races` gives the races as the venue files say now.

        `implausible` tells which events are flagged; they do not count. `behind` names the group of
        the log that has them flagged: what it did not commit yet waits; None counts all.
        """
        self._implausible = implausible
        self._follower = Follower(log, GROUP, behind=behind, page=page)
        self._changes = changes
        self._races = races
        self._publish_seconds = publish_seconds
        self._published_at: float | None = None

    def restore(self, events: Sequence[StoredEvent]) -> None:
        """Keep nothing: the topic knows how far it has come."""

    def take(self, events: Sequence[StoredEvent]) -> None:
        """Keep nothing: `flush` reads from the topic's own cursor."""

    def flush(self, now: float) -> None:
        """Count what is new in the log, at most once in `publish_seconds`.

        Raises:
            EventStoreError: the engine does not answer.
        """
        since = None if self._published_at is None else now - self._published_at
        if since is not None and 0.0 <= since < self._publish_seconds:
            return
        self.finish(now)

    def finish(self, now: float) -> None:
        """Count what waits (`qianmian.stream.part.Finisher`)."""
        self._published_at = now
        self.count()

    def count(self) -> None:
        """Count what may be counted of the log behind the topic's cursor."""
        kept = self._changes.get(topics.RACING)
        cursor = kept.get(CURSOR_KEY, BEGINNING.encode()).decode()
        states = read_states(kept)
        while True:
            events, cursor = self._follower.read(cursor)
            if not events:
                return
            changed = self._apply(events, states)
            values: dict[str, bytes | None] = {
                key: states[key].to_bytes() for key in sorted(changed)
            }
            self._changes.put(topics.RACING, {**values, CURSOR_KEY: cursor.encode()})
            self._follower.commit(cursor)

    def _apply(self, events: Sequence[StoredEvent], states: dict[str, RaceState]) -> set[str]:
        races, changed = self._races(), set()
        for event in self._sound(events):
            if event.venue_id is None:
                continue
            for name, first in event.races:
                race = races.get(event.venue_id, {}).get(name)
                if race is None or first not in race.arms:
                    continue
                key = race_key(event.venue_id, name)
                before = states.get(key, RaceState())
                after = _counted(before, event, race, first)
                if after is not before:
                    if key not in changed:
                        changed.add(key)
                        after = _next_version(after)
                    states[key] = after
        return changed

    def _sound(self, events: Sequence[StoredEvent]) -> list[StoredEvent]:
        """Return the events of raced pages that may count."""
        raced = [event for event in events if event.races and event.quarantine is None]
        flagged = self._implausible([event.event_id for event in raced]) if raced else ()
        return [event for event in raced if event.event_id not in flagged]


def _counted(state: RaceState, event: StoredEvent, race: RaceFile, first: str) -> RaceState:
    """Return the state after an event of a page that `first` led.

    A page counts as tried by the impression of the item in position 1 of the block that leads or
    shows the creative: one a page, and seen.
    """
    faded = state.faded(event.received_at, race.half_life_hours * _HOUR)
    sums = faded.of(first)
    if event.event_type == EventType.IMPRESSION:
        leading = race.block or first
        if event.position != 1 or event.block_id != leading:
            return state
        return faded.with_arm(first, sums.tried())
    rewarded = sums.rewarded(event.event_type, event.value or 0.0)
    return state if rewarded is sums else faded.with_arm(first, rewarded)


def _next_version(state: RaceState) -> RaceState:
    return RaceState(state.version + 1, state.at, state.arms)
