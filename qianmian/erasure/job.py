"""Being forgotten: taken down at once, done in the background, resumable after a kill.

    erasures = Erasures(...)
    receipt = erasures.request("anna")      # from here on nothing new of her is taken
    erasures.run()                          # store by store; again after a kill it goes on

One process works at a time, by a file lock; whoever is there first takes what is pending.
"""

from __future__ import annotations

import fcntl
import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import sleep
from typing import Final

from qianmian.erasure.people import People
from qianmian.erasure.receipts import Receipt, Receipts
from qianmian.erasure.stores import Store, WaitingError
from qianmian.events.changes import Changes
from qianmian.identity.gate import Gate
from qianmian.identity.mapping import Identity

log = logging.getLogger(__name__)

LOCK_FILE: Final = ".erasing.lock"


class Erasures:
    """The erasures of one data set."""

    def __init__(
        self,
        *,
        folder: Path,
        receipts: Receipts,
        gate: Gate,
        changes: Changes,
        stores: Callable[[], Sequence[Store]],
        clock: Callable[[], float],
        settle_seconds: float,
    ) -> None:
        """Use these parts.

        Args:
            folder: `identity/` of the data set.
            receipts: where they are taken down.
            gate: knows pseudonyms and tombstones.
            changes: the topics of the engine.
            stores: gives the places to erase; asked when there is work.
            clock: seconds since the epoch by the machine's clock.
            settle_seconds: until every replica knows of a tombstone and has written what it had
                taken before.
        """
        self._folder = folder
        self.receipts = receipts
        self._gate = gate
        self._changes = changes
        self._stores = stores
        self._clock = clock
        self._settle = settle_seconds

    def request(self, subject_id: str) -> Receipt:
        """Take down that a subject is to be forgotten, with the visitors merged into it.

        From here on nothing new of it is taken in.

        Raises:
            EventStoreError: it cannot be written down now.
        """
        stored = self._gate.subject(subject_id)
        members = Identity.load(self._changes).members(stored)
        people = People.of([*members, subject_id])
        tombstones = self._gate.tombstones
        tombstones.add(people.subjects, self._changes, account=stored, now=self._clock())
        return self.receipts.open_for(tombstones.hash_of(stored), people, now=self._clock())

    def allow(self, subject_id: str) -> bool:
        """Let a forgotten subject be known again, with the visitors that were forgotten with it.

        Returns whether it was forgotten.

        Raises:
            EventStoreError: it cannot be written down now.
        """
        subjects = {subject_id, self._gate.subject(subject_id)}
        return self._gate.tombstones.remove(sorted(subjects), self._changes) > 0

    def run(self) -> bool:
        """Work on all that is pending; returns whether everything is done.

        Nothing happens while another process works on it.

        Raises:
            QianmianError: a store cannot be written now: run it again later, it goes on.
            OSError: as above.
        """
        if not self.receipts.pending():
            return True
        with self._alone() as mine:
            if not mine:
                return False
            done = [self._erase(receipt, people) for receipt, people in self.receipts.pending()]
        return all(done)

    def _erase(self, receipt: Receipt, people: People) -> bool:
        if receipt.state == "accepted":
            sleep(self._settle)
            receipt = self._keep(receipt.model_copy(update={"state": "running"}))
        for store in self._stores():
            if receipt.removed(store.name) is not None:
                continue
            receipt = self._keep(receipt.counted(store.name, 0, None))
            try:
                receipt = self._from(store, receipt, people)
            except WaitingError as waiting:
                self._keep(receipt.model_copy(update={"waiting_for": str(waiting)}))
                log.warning("an erasure waits for %s", waiting)
                return False
        self.receipts.finish(receipt, now=self._clock())
        return True

    def _from(self, store: Store, receipt: Receipt, people: People) -> Receipt:
        """Erase from one store; what went is written down piece by piece."""
        held = [receipt]

        def tell(removed: int) -> None:
            if removed:
                held[0] = self._keep(held[0].counted(store.name, removed, None))

        store.erase(people, tell)
        finished = held[0].counted(store.name, 0, self._clock())
        return self._keep(finished.model_copy(update={"waiting_for": None}))

    def _keep(self, receipt: Receipt) -> Receipt:
        return self.receipts.keep(receipt)

    @contextmanager
    def _alone(self) -> Iterator[bool]:
        self._folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(self._folder / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield True
        finally:
            os.close(handle)


class Worker:
    """Runs erasures in a thread: at once when one was taken down, and what others left."""

    def __init__(self, erasures: Erasures, *, every: float = 5.0) -> None:
        """Look for what is pending every so many seconds."""
        self._erasures = erasures
        self._every = every
        self._work = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="erasures", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def wake(self) -> None:
        """Look now."""
        self._work.set()

    def stop(self) -> None:
        """End; what is under way goes on with the next start, here or elsewhere."""
        self._stopping.set()
        self._work.set()
        if self._thread.is_alive():
            self._thread.join(timeout=self._every)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._erasures.run()
            except Exception as error:  # noqa: BLE001  # a busy store's own, too: it goes on later
                kind = type(error).__name__  # that alone: a message may name someone
                log.warning("an erasure cannot go on now, trying again: %s", kind)
            self._work.wait(self._every)
            self._work.clear()
