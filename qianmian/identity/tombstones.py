"""Who asked to be forgotten: keyed hashes alone, so that the list names nobody.

It is the topic `forgotten`; an entry holds its time and the hash of the account that a device went
with. Whatever brings data in (the door, imports) asks it and drops what is of a forgotten subject,
until the subject is allowed again.
"""

from __future__ import annotations

from collections.abc import Iterable
from time import time

import orjson

from qianmian.contracts import topics
from qianmian.events.changes import Change, Changes
from qianmian.identity.secret import Secret


class Tombstones:
    """The forgotten subjects; reading is safe while another thread applies changes."""

    def __init__(self, secret: Secret) -> None:
        self._secret = secret
        self._hashes: set[str] = set()

    @classmethod
    def load(cls, secret: Secret, changes: Changes) -> Tombstones:
        """Return the list as it is now.

        Raises:
            EventStoreError: the engine does not answer.
        """
        tombstones = cls(secret)
        tombstones.reload(changes)
        return tombstones

    def reload(self, changes: Changes) -> None:
        """Take the list as it is now, where nobody applies its changes.

        Raises:
            EventStoreError: the engine does not answer.
        """
        self._hashes = set(changes.get(topics.FORGOTTEN))

    def __len__(self) -> int:
        return len(self._hashes)

    def __contains__(self, subject_id: str | None) -> bool:
        """Return whether a subject (as it is stored) asked to be forgotten."""
        if not self._hashes or subject_id is None:
            return False
        return self.hash_of(subject_id) in self._hashes

    def hash_of(self, subject_id: str) -> str:
        """Return what the list holds of a subject."""
        return self._secret.mac("forgotten", subject_id)

    def apply(self, changes: Iterable[Change]) -> None:
        """Take in changes of the topic."""
        for change in changes:
            (self._hashes.discard if change.value is None else self._hashes.add)(change.key)

    def add(
        self, subject_ids: Iterable[str], to: Changes, *, account: str, now: float | None = None
    ) -> None:
        """Put subjects on the list, for everyone.

        They go with `account`, one of them, and are allowed again with it; what stands on the list
        by itself stays so.
        """
        hashes = [self.hash_of(subject_id) for subject_id in subject_ids]
        own = self.hash_of(account)
        entry = orjson.dumps([time() if now is None else now, own])
        new = [one for one in hashes if one == own or to.value(topics.FORGOTTEN, one) is None]
        to.put(topics.FORGOTTEN, dict.fromkeys(new, entry))
        self._hashes.update(hashes)

    def remove(self, subject_ids: Iterable[str], to: Changes) -> int:
        """Take subjects and what went with them off the list, for everyone; returns how many."""
        sought = {self.hash_of(subject_id) for subject_id in subject_ids}
        entries = to.get(topics.FORGOTTEN)
        gone = [one for one, entry in entries.items() if {one, _account(entry)} & sought]
        to.put(topics.FORGOTTEN, dict.fromkeys(gone))
        self._hashes.difference_update(sought, gone)
        return len(gone)


def _account(entry: bytes) -> str | None:
    """Return the hash of the account that an entry went with; older ones hold the time alone."""
    match orjson.loads(entry):
        case [_, str(account)]:
            return account
    return None
