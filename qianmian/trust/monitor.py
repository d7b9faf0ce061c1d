"""Trust while events stream in: what is thought of the events that a batch can change.

The monitor remembers twice as far back as the rules reach. With each batch it judges, with
`find_flags`, what is new and every event of the same subjects and devices of which all that the
rules look back at is still held. So the flags of what it judged are those that the same function
finds over all events at once; a flag whose reason has gone (an impression reported after its order)
goes too. Of older events the flags stay as they are. A new event that comes when part of what it
needs is forgotten (an import of the past, more events than there is room for) is judged by what is
left, but is no `unseen_order`: nobody knows what was shown.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from qianmian.contracts.subjects import visitor_subject
from qianmian.trust.flags import Flag, find_flags
from qianmian.trust.kinds import UNSEEN_ORDER
from qianmian.trust.rules import TrustRules
from qianmian.trust.traffic import Seen


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was judged, and the flags that hold for it now; earlier ones of these events fall."""

    judged: tuple[Seen, ...]
    flags: tuple[Flag, ...]
    undecided: int = 0
    """Orders of which it is not known any more whether their items were shown."""


class TrustMonitor:
    """Judges a stream of events, batch by batch."""

    def __init__(self, rules: TrustRules, *, remembered: int = 2_000_000) -> None:
        """`remembered`: events kept at most; beyond it the oldest are forgotten early."""
        self._rules = rules
        self._remembered = remembered
        self._newest = float("-inf")
        self._lost = float("-inf")  # all later events are held
        self._held: dict[str, Seen] = {}  # by event id, in the order of arrival
        self._of_subject: defaultdict[str, dict[str, Seen]] = defaultdict(dict)
        self._of_device: defaultdict[str, dict[str, Seen]] = defaultdict(dict)

    def __len__(self) -> int:
        return len(self._held)

    def remember(self, events: Iterable[Seen], *, since: float = float("-inf")) -> None:
        """Take events in without judging them: those before a restart, from `since` on."""
        self._lost = max(self._lost, since)
        for seen in events:
            self._held[seen.event_id] = seen
            self._of_subject[seen.subject][seen.event_id] = seen
            if seen.device:
                self._of_device[seen.device][seen.event_id] = seen
            self._newest = max(self._newest, seen.at)

    def judge(self, batch: Sequence[Seen]) -> Verdict:
        """Take a batch in and judge it, and of what it touches all that can still be judged."""
        self.remember(batch)
        new = {seen.event_id for seen in batch}
        touched = {
            name: seen
            for name, seen in self._around(batch).items()
            if name in new or self._whole(seen)
        }
        found = find_flags(self._around(touched.values()).values(), self._rules)
        flags = [flag for flag in found if flag.event_id in touched]
        sure = [f for f in flags if f.reason != UNSEEN_ORDER or self._whole(touched[f.event_id])]
        self._forget()
        return Verdict(tuple(touched.values()), tuple(sure), len(flags) - len(sure))

    def _whole(self, seen: Seen) -> bool:
        """Return whether all that the rules look back at from an event is held."""
        return seen.at - self._rules.memory_seconds > self._lost

    def forget(self, subjects: Collection[str]) -> None:
        """Drop every event of some subjects, and of devices that are these subjects."""
        for seen in list(self._held.values()):
            if seen.subject in subjects or visitor_subject(seen.device) in subjects:
                del self._held[seen.event_id]
                _drop(self._of_subject, seen.subject, seen.event_id)
                _drop(self._of_device, seen.device, seen.event_id)

    def _around(self, events: Iterable[Seen]) -> dict[str, Seen]:
        """Every remembered event of the same subjects and devices."""
        found: dict[str, Seen] = {}
        subjects, devices = set(), set()
        for seen in events:
            subjects.add(seen.subject)
            devices.add(seen.device)
        for subject in subjects:
            found |= self._of_subject.get(subject, {})
        for device in devices - {""}:
            found |= self._of_device.get(device, {})
        return found

    def _forget(self) -> None:
        """Drop from the front what is too old to matter, or too much."""
        horizon = self._newest - 2 * self._rules.memory_seconds
        while self._held:
            first = next(iter(self._held.values()))
            if first.at >= horizon and len(self._held) <= self._remembered:
                return
            self._lost = max(self._lost, first.at)
            del self._held[first.event_id]
            _drop(self._of_subject, first.subject, first.event_id)
            _drop(self._of_device, first.device, first.event_id)


def _drop(index: defaultdict[str, dict[str, Seen]], key: str, event_id: str) -> None:
    group = index.get(key)
    if group is None:
        return
    group.pop(event_id, None)
    if not group:
        del index[key]
