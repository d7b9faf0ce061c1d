"""Fresh user features: events in, rows of the touched views out, into Feast's online store.

The rows of a subject are computed from all of its events by the functions that compute snapshots
(`FeatureInputs.compute`), many subjects at once. So an event that is delivered twice changes
nothing, and neither does the order of arrival. Subjects wait their turn; what arrives for a waiting
one costs nothing more. That is how the stream keeps up when events come faster.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from time import monotonic
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from qianmian.contracts import columns as c
from qianmian.contracts import features as f
from qianmian.contracts.events import ACTIONS, EventType
from qianmian.data.archive import owned
from qianmian.data.tables import TIME
from qianmian.events.event import StoredEvent, counts
from qianmian.events.rows import MICROSECONDS, microseconds
from qianmian.features.event_log import EventLog
from qianmian.features.views import FeatureInputs
from qianmian.stream.history import History

_ACTED: Final = frozenset({f.USER_TAGS, f.USER_ACTIVITY, f.USER_SEQUENCE, f.USER_EXPOSURE})
_REACHED: Final = _ACTED | {f.USER_LEDGER, f.USER_AFFINITY}

#: Gives the rows of a view to the online store.
Write = Callable[[str, pa.Table], None]


@dataclass(slots=True)
class _Waiting:
    """A subject whose features are to be computed."""

    views: frozenset[str]
    arrived: float  # time of its newest event that waits
    newest: float  # of its newest event, worked in or not
    anew: bool  # whether a view without a row of it any more is to lose the old one


@dataclass(frozen=True, slots=True)
class Flushed:
    """What one step computed and wrote."""

    subjects: tuple[str, ...]
    as_of: float
    rows: Mapping[str, int]  # by view
    write_seconds: float  # spent in the online store


def just_after(moment: float) -> float:
    """Return the next moment: features see events strictly before theirs.

    >>> just_after(5.0)
    5.000001
    """
    return (microseconds(moment) + 1) / MICROSECONDS


def moment_of(now: float, seen: Iterable[tuple[float, float]], skew_seconds: float) -> float:
    """Return as of when features are computed: now, or just after the newest event seen.

    `seen` holds, for each subject or item, the time of its newest event that waits, and of all;
    the latter counts as far as a sender's clock may be ahead.

    >>> moment_of(100.0, [(99.0, 130.0)], 60.0), moment_of(100.0, [(99.0, 500.0)], 60.0)
    (130.000001, 160.000001)
    """
    latest = now + skew_seconds
    ahead = [just_after(max(arrived, min(newest, latest))) for arrived, newest in seen]
    return max([now, *ahead])


class UserFeatures:
    """Keeps the user views of the subjects up to date."""

    def __init__(
        self,
        inputs: FeatureInputs,
        history: History,
        *,
        time_zone: str,
        write: Write,
        members: Callable[[str], Iterable[str]] = lambda subject: (subject,),
        skew_seconds: float = 0.0,
    ) -> None:
        """Keep features of the events in `history`.

        Args:
            inputs: schema and attributes; its log is not read.
            history: where events of before are; `touch` is told of those added.
            time_zone: of the data set.
            write: takes rows of a view.
            members: the subjects whose events count as one subject's, itself included.
            skew_seconds: how far ahead of the service's clock a sender's may be.
        """
        self._inputs = inputs
        self._history = history
        self._time_zone = time_zone
        self._write = write
        self._members = members
        self._skew_seconds = skew_seconds
        self._users = _Lookup(inputs.users, c.USER_ID)
        self._items = _Lookup(inputs.items, c.ITEM_ID)
        self._waiting: dict[str, _Waiting] = {}  # in the order of arrival
        self._write_seconds = 0.0  # of the last flush

    def __len__(self) -> int:
        """How many subjects wait."""
        return len(self._waiting)

    def touch(self, event: StoredEvent, subject_id: str, newest: float) -> None:
        """Note that a subject has a new event; `newest` is the time of its newest one so far."""
        if counts(event):
            touched = self._touched_by(event.event_type)
            self._wait(subject_id, _Waiting(touched, event.timestamp, newest, anew=False))

    def recompute(self, subject_id: str, newest: float) -> None:
        """Note that all views of a subject are to be computed anew, its newest event included.

        A view that has no row of it any more gets one of nulls, which reads as none.
        """
        self._wait(subject_id, _Waiting(_REACHED, newest, newest, anew=True))

    def drop(self, subject_ids: Iterable[str]) -> None:
        """Compute nothing for some subjects."""
        for subject_id in subject_ids:
            self._waiting.pop(subject_id, None)

    def flush(self, now: float, limit: int) -> Flushed:
        """Compute and write the features of the subjects that wait longest, at most `limit`.

        They are as of `now`, or of just after the newest event where a sender's clock is ahead: of
        those that wait, and of those worked in before, unless the service's clock was set back.
        """
        batch = dict(zip(range(limit), self._waiting.items(), strict=False)).values()
        waiting = dict(batch)
        seen = [(subject.arrived, subject.newest) for subject in waiting.values()]
        as_of = moment_of(now, seen, self._skew_seconds)
        rows: Counter[str] = Counter()
        self._write_seconds = 0.0
        for log, views, subjects in self._logs(waiting):
            inputs = replace(
                self._inputs,
                log=log,
                users=self._users.rows(subjects),
                items=self._items.rows(log.items.to_pylist()),
            )
            anew = [one for one in subjects if waiting[one].anew]
            for view in views:
                rows[view] += self._view(view, inputs, as_of, anew)
        for subject_id in waiting:  # after the writes: what fails is tried again
            del self._waiting[subject_id]
        return Flushed(tuple(waiting), as_of, rows, self._write_seconds)

    def _touched_by(self, event_type: str) -> frozenset[str]:
        if event_type not in ACTIONS:
            return frozenset({f.USER_EXPOSURE})
        return _REACHED if event_type == self._target else _ACTED

    @property
    def _target(self) -> EventType:
        return self._inputs.log.target

    def _wait(self, subject_id: str, more: _Waiting) -> None:
        waiting = self._waiting.setdefault(subject_id, more)
        waiting.views |= more.views
        waiting.arrived = max(waiting.arrived, more.arrived)
        waiting.newest = max(waiting.newest, more.newest)
        waiting.anew |= more.anew

    def _logs(
        self, waiting: Mapping[str, _Waiting]
    ) -> Iterable[tuple[EventLog, list[str], list[str]]]:
        """The log of the subjects with the same views, these views, and those subjects."""
        for views in dict.fromkeys(subject.views for subject in waiting.values()):
            subjects = [one for one, subject in waiting.items() if subject.views == views]
            present = [view for view in self._inputs.schema.views if view in views]
            yield self._log(subjects), present, subjects

    def _log(self, subject_ids: Sequence[str]) -> EventLog:
        owner = {
            member: subject_id for subject_id in subject_ids for member in self._members(subject_id)
        }
        merged = {member: one for member, one in owner.items() if member != one}
        rows = owned(self._history.of_subjects(owner), merged)
        return EventLog.build(rows, target=self._target, time_zone=self._time_zone)

    def _view(self, view: str, inputs: FeatureInputs, as_of: float, anew: Sequence[str]) -> int:
        rows = _completed(inputs.compute(view, as_of), anew)
        if len(rows):
            began = monotonic()
            self._write(view, stamped(rows, as_of))
            self._write_seconds += monotonic() - began
        return len(rows)


def stamped(rows: pa.Table, as_of: float) -> pa.Table:
    """Return the rows of a view with the moment they are of, for the online store."""
    moments = pa.array(np.full(len(rows), microseconds(as_of))).cast(TIME)
    return rows.append_column(f.EVENT_TIMESTAMP, moments)


def _completed(rows: pa.Table, subject_ids: Sequence[str]) -> pa.Table:
    """The rows of a view, and one of nulls for each of some subjects without a row."""
    wanted = pa.array(subject_ids, pa.string())
    without = wanted.filter(pc.invert(pc.is_in(wanted, rows[c.USER_ID])))
    if not len(without):
        return rows
    return pa.concat_tables([rows, pa.table({c.USER_ID: without})], promote_options="default")


class _Lookup:
    """Rows of a table of attributes by id."""

    def __init__(self, table: pa.Table | None, key: str) -> None:
        self._table = table
        ids = [] if table is None else table[key].to_pylist()
        self._place = {entity_id: place for place, entity_id in enumerate(ids)}

    def rows(self, ids: Iterable[str]) -> pa.Table | None:
        if self._table is None:
            return None
        places = [place for one in ids if (place := self._place.get(one)) is not None]
        return self._table.take(pa.array(places, pa.int64()))
