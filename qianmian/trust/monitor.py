"""Trust while events stream in: what is thought of the events that a batch can change.

The monitor remembers as far back as the rules reach and judges, with `find_flags`, every event of
the subjects and devices that a batch touches. So after each batch the flags are those that the same
function finds over all events at once; a flag whose reason has gone (an impression reported after
its order) goes too.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from qianmian.contracts.subjects import visitor_subject
from qianmian.trust.flags import Flag, find_flags
from qianmian.trust.rules import TrustRules
from qianmian.trust.traffic import Seen


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was judged, and the flags that hold for it now; earlier ones of these events fall."""

    judged: tuple[Seen, ...]
    flags: tuple[Flag, ...]


class TrustMonitor:
    """Judges a stream of events, batch by batch."""

    def __init__(self, rules: TrustRules, *, remembered: int = 2_000_000) -> None:
        """`remembered`: events kept at most; beyond it the oldest are forgotten early."""
        self._rules = rules
        self._remembered = remembered
        self._newest = float("-inf")
        self._held: dict[str, Seen] = {}  # by event id, in the order of arrival
        self._of_subject: defaultdict[str, dict[str, Seen]] = defaultdict(dict)
        self._of_device: defaultdict[str, dict[str, Seen]] = defaultdict(dict)

    def __len__(self) -> int:
        return len(self._held)

    def remember(self, events: Iterable[Seen]) -> None:
        """Take events in without judging them: those before a restart."""
        for seen in events:
            self._held[seen.event_id] = seen
            self._of_subject[seen.subject][seen.event_id] = seen
            if seen.device:
                self._of_device[seen.device][seen.event_id] = seen
            self._newest = max(self._newest, seen.at)

    def judge(self, batch: Sequence[Seen]) -> Verdict:
        """Take a batch in and judge all that it touches."""
        self.remember(batch)
        touched = self._around(batch)
        context = self._around(touched.values())
        flags = find_flags(context.values(), self._rules)
        self._forget()
        return Verdict(
            judged=tuple(touched.values()),
            flags=tuple(flag for flag in flags if flag.event_id in touched),
        )

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
