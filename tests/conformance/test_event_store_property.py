"""Whatever is done to an event store, in whatever order: it answers as a plain dict would."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qianmian.errors import EventStoreError
from qianmian.events import known_ids
from qianmian.events.engine import Engine
from qianmian.events.event import StoredEvent
from qianmian.events.store import EventStore
from tests.events.made import NOW, event

SUBJECTS = ("a", "b", "c")
EXAMPLES = count()


@pytest.fixture(autouse=True)
def _runs_are_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_ids, "TAIL", 7)


@dataclass
class Model:
    """What must be so."""

    marker: str
    log: list[StoredEvent] = field(default_factory=list)
    taken: dict[str, StoredEvent] = field(default_factory=dict)
    forgettable: set[str] = field(default_factory=set)

    def made(self, number: int) -> StoredEvent:
        subject = f"{self.marker}/{SUBJECTS[number % len(SUBJECTS)]}"
        return event(number, subject, event_id=f"{self.marker}/{number}")


Append = st.tuples(st.just("append"), st.integers(0, 1), st.lists(st.integers(0, 40), max_size=12))
Other = st.tuples(
    st.sampled_from(["trim", "erase", "forget", "reopen", "fail"]),
    st.integers(0, 1),
    st.integers(0, 40),
)


@given(steps=st.lists(Append | Append | Other, max_size=25))
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_it_answers_as_a_dict_would(
    steps: list[tuple[str, int, int | list[int]]], open_again: Callable[[], Engine]
) -> None:
    stores = [open_again().events for _ in range(2)]  # as two processes have them
    start = stores[0].newest(1)[1]  # what earlier examples left
    stores[0].trim(start)
    model = Model(f"x{next(EXAMPLES)}")
    for what, which, given_ in steps:
        store = stores[which]
        match what, given_:
            case "append", list(numbers):
                _append(store, model, numbers)
            case "trim", int(places):
                _, cursor = store.read(start, max(places, 1))
                gone = min(len(model.log), max(places, 1))
                assert store.trim(cursor) == gone
                del model.log[:gone]
            case "erase", int(number):
                subject = model.made(number).subject_id
                kept = [one for one in model.log if one.subject_id != subject]
                assert store.erase([subject]) == len(model.log) - len(kept)
                model.log = kept
            case "forget", int(moment):
                store.forget_ids(NOW + moment)
                stored = {one.event_id for one in model.log}
                model.forgettable |= {
                    id_
                    for id_, one in model.taken.items()
                    if one.received_at < NOW + moment and id_ not in stored
                }
            case "reopen", _:
                stores[which] = open_again().events
            case "fail", _:
                _append_in_vain(store, model)
    for store in stores:
        assert store.read(start, 1_000)[0] == model.log
        for name in SUBJECTS:
            subject = f"{model.marker}/{name}"
            wanted = [one for one in model.log if one.subject_id == subject]
            assert store.of_subjects([subject]) == wanted
        assert store.size() == len(model.log)


def _append(store: EventStore, model: Model, numbers: list[int]) -> None:
    events = [model.made(number) for number in numbers]
    for one, new in zip(events, store.append(events), strict=True):
        if one.event_id in model.forgettable and new:
            model.forgettable.discard(one.event_id)
            del model.taken[one.event_id]
        assert new == (one.event_id not in model.taken)
        if new:
            model.taken[one.event_id] = one
            model.log.append(one)


def _append_in_vain(store: EventStore, model: Model) -> None:
    """Let an append come to nothing in its midst, where the engine can be brought to that."""
    file = getattr(store, "_file", None)
    if file is None:
        return
    events = [model.made(number) for number in range(41, 60)]  # more than a run holds
    with file.reading() as connection:
        connection.execute(
            "CREATE TEMP TRIGGER no BEFORE UPDATE ON progress BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
        with pytest.raises(EventStoreError, match="no"):
            store.append(events)
        connection.execute("DROP TRIGGER no")
