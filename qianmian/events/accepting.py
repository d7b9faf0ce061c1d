"""Judge events one by one and make stored events of the good ones.

    judged = Acceptance(...).judge(body, now)

A body without a fault is read at once (`qianmian.events.reading`); only when there is one is it
looked at event by event. The door and the bulk import share this module, so there is one truth of
what an event is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any, Final

from pydantic import Field, ValidationError
from pydantic_core import ErrorDetails, from_json, to_json

from qianmian.config import ConfigModel
from qianmian.config.document import show_path
from qianmian.config.faults import describe
from qianmian.contracts import columns as c
from qianmian.contracts.event_api import EVENTS_REQUEST, Event, EventsRequest
from qianmian.contracts.events import EventType
from qianmian.errors import FieldError, ForgottenError
from qianmian.events.attribution import UNATTRIBUTED, Attribute, attributed, by_nothing
from qianmian.events.event import UNKNOWN_ITEM, UNKNOWN_VENUE, StoredEvent
from qianmian.events.identify import Identify, plainly
from qianmian.events.reading import read_faultless

_EVENTS: Final = "events"
_TYPES: Final = {kind: kind.value for kind in EventType}
_FAULTS: Final = 3  # that the error of one event tells
_DAY: Final = 86_400.0
_STEP: Final = 50  # events judged between two pauses

#: Why an event was rejected, as `Rejection.reason` counts it.
INVALID: Final = "invalid"
TOO_OLD: Final = "too_old"
IN_THE_FUTURE: Final = "in_the_future"
FORGOTTEN: Final = "forgotten"


class AcceptanceSettings(ConfigModel):
    """Which times are believed."""

    horizon_days: Annotated[float, Field(gt=0)] = 7.0
    """Events up to this old are accepted, however late they come."""
    skew_seconds: Annotated[float, Field(ge=0)] = 300.0
    """Events up to this far ahead are accepted: clocks differ."""

    @property
    def remember_seconds(self) -> float:
        """For how long the id of an event must stay known: a retry is too old from then on."""
        return self.horizon_days * _DAY + self.skew_seconds


@dataclass(frozen=True, slots=True)
class Rejection:
    """An event that was not taken."""

    index: int
    event_id: str | None
    error: str
    reason: str


@dataclass(slots=True)
class Judged:
    """What came of a batch."""

    events: list[StoredEvent] = field(default_factory=list)
    rejected: list[Rejection] = field(default_factory=list)


class InvalidBatchError(Exception):
    """The body as a whole cannot be used: it is not a list of events at all."""

    def __init__(self, error: ValidationError) -> None:
        super().__init__(str(error))
        self.error = error


class Acceptance:
    """Judges the events of one data set."""

    def __init__(
        self,
        settings: AcceptanceSettings,
        *,
        known_item: Callable[[str], bool],
        known_venue: Callable[[str], bool],
        currency: str | None = None,
        identify: Identify = plainly,
        mentioned: Callable[[str], str | None] = lambda user_id: user_id,
        attribute: Attribute = by_nothing,
    ) -> None:
        """`identify` says whose an event is, `attribute` what its token says of it.

        `mentioned` gives the stored id of another user that an event names; `currency` is the
        data set's, None where it has none.
        """
        self._horizon = settings.horizon_days * _DAY
        self._skew = settings.skew_seconds
        self._known_item = known_item
        self._known_venue = known_venue
        self._currency = currency
        self._identify = identify
        self._mentioned = mentioned
        self._attribute = attribute

    def judge(self, body: bytes, now: float) -> Judged:
        """Judge a batch that was received at `now`; rejections stand in the order of the batch.

        Raises:
            InvalidBatchError: the body is no batch of events.
        """
        judged = Judged()
        for _ in self.judge_in_steps(body, now, judged):
            pass
        return judged

    def judge_in_steps(self, body: bytes, now: float, judged: Judged) -> Iterator[None]:
        """Do what `judge` does into `judged`, pausing after every few events.

        Whoever answers pages on the same thread can do so in the pauses. Raises as `judge` does.
        """
        read, judged.rejected = _read(body)
        for index, event in read:
            if index % _STEP == _STEP - 1:
                yield
            try:
                judged.events.append(self._accept(event, now))
            except _RefusedError as error:
                judged.rejected.append(Rejection(index, event.event_id, str(error), error.reason))
        judged.rejected.sort(key=lambda rejection: rejection.index)

    def _accept(self, event: Event, now: float) -> StoredEvent:
        at = event.timestamp.timestamp()
        if at > now + self._skew:
            raise _RefusedError(
                IN_THE_FUTURE,
                f"{c.TIMESTAMP}={event.timestamp.isoformat()!r}: expected at most "
                f"{self._skew:g} s ahead of the service's clock, found {at - now:.0f} s; "
                "set the sender's clock",
            )
        if at < now - self._horizon:
            raise _RefusedError(
                TOO_OLD,
                f"{c.TIMESTAMP}={event.timestamp.isoformat()!r}: expected at most "
                f"{self._horizon / _DAY:g} days old; "
                "bring older events with `qianmian events import`",
            )
        if event.currency and self._currency and event.currency != self._currency:
            expected = f"{self._currency!r}, the data set's"
            fault = FieldError(c.CURRENCY, event.currency, expected, "convert the amounts")
            raise _RefusedError(INVALID, str(fault))
        try:
            who = self._identify(event.user_id, event.visitor_id)
        except ForgottenError as error:
            raise _RefusedError(FORGOTTEN, str(error)) from error
        except FieldError as error:
            raise _RefusedError(INVALID, str(error)) from error
        origin = self._attribute(event, now)
        shared_by = event.shared_by
        stored = StoredEvent(
            event_id=event.event_id,
            event_type=_TYPES[event.event_type],
            timestamp=at,
            received_at=now,
            subject_id=who.subject_id,
            user_id=who.user_id,
            visitor_id=who.visitor_id,
            item_id=event.item_id,
            session_id=event.session_id,
            page_view_id=event.page_view_id,
            order_id=event.order_id,
            venue_id=event.venue_id,
            block_id=event.block_id,
            position=event.position,
            quantity=event.quantity,
            value=event.value,
            list_value=event.list_value,
            currency=event.currency,
            coupon_id=event.coupon_id,
            shared_by=None if shared_by is None else self._mentioned(shared_by),
            quarantine=self._quarantine(event.item_id, origin.venue_id or event.venue_id),
        )
        return stored if origin is UNATTRIBUTED else attributed(stored, origin)

    def _quarantine(self, item_id: str, venue_id: str | None) -> str | None:
        if not self._known_item(item_id):
            return UNKNOWN_ITEM
        if venue_id is not None and not self._known_venue(venue_id):
            return UNKNOWN_VENUE
        return None


class _RefusedError(Exception):
    """One event cannot be taken."""

    def __init__(self, reason: str, error: str) -> None:
        super().__init__(error)
        self.reason = reason


def _read(body: bytes) -> tuple[Iterable[tuple[int, Event]], list[Rejection]]:
    """Return the events with their places in the body, and what does not fit the schema."""
    events = read_faultless(body)
    if events is None:
        try:
            events = EVENTS_REQUEST.validate_json(body).events
        except ValidationError as error:
            return _one_by_one(body, error)
    return enumerate(events), []


def _one_by_one(
    body: bytes, error: ValidationError
) -> tuple[list[tuple[int, Event]], list[Rejection]]:
    """Part the events that fit the schema from those that do not."""
    details = error.errors(include_url=False)
    by_event: dict[int, list[ErrorDetails]] = defaultdict(list)
    for detail in details:
        match detail["loc"]:
            case (str(name), int(index), *_) if name == _EVENTS:
                by_event[index].append(detail)
            case (str(name),) if name == _EVENTS and detail["type"] == "too_short" and by_event:
                continue  # pydantic counts the good ones only
            case _:
                raise InvalidBatchError(error) from error
    values = from_json(body)
    given: list[Any] = values[_EVENTS]
    rejected = [
        Rejection(index, _id_of(given[index]), _told(faults, values), INVALID)
        for index, faults in by_event.items()
    ]
    good = [index for index in range(len(given)) if index not in by_event]
    if not good:
        return [], rejected
    again = to_json({_EVENTS: [given[index] for index in good]})
    return list(zip(good, EVENTS_REQUEST.validate_json(again).events, strict=True)), rejected


def _told(faults: list[ErrorDetails], values: Any) -> str:
    lines = []
    for fault in faults[:_FAULTS]:
        location, message = describe(fault, values, EventsRequest)
        lines.append(f"{show_path(location)}{message}")
    more = len(faults) - _FAULTS
    return "; ".join(lines) + (f"; and {more} more" if more > 0 else "")


def _id_of(given: Any) -> str | None:
    found = given.get(c.EVENT_ID) if isinstance(given, dict) else None
    return found if isinstance(found, str) else None
