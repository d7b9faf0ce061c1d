"""Every place where somebody's data lies, each with how it goes from there.

A new store is a new entry in `Stores.all`. Each erases as often as it is asked with the effect of
once, and tells how many rows went as it goes, so an erasure that is killed goes on where it was.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep, time
from typing import Final

import orjson

from qianmian.contracts import columns as c
from qianmian.contracts import topics
from qianmian.data.archive import Archive
from qianmian.data.archive_writer import writing
from qianmian.decisions import segments as decisions
from qianmian.erasure.parquet import clear_left, erase_rows
from qianmian.erasure.people import People
from qianmian.erasure.sqlite import erase_sqlite
from qianmian.events.bought import keys_of
from qianmian.events.engine import CHANGES_FILE, EVENTS_FILE, Engine
from qianmian.identity.mapping import Merge
from qianmian.identity.untold import forms
from qianmian.releases.erase import erase_users
from qianmian.stream.process import is_running
from qianmian.stream.subjects import ASKED, FORGOT
from qianmian.workspace import TRIALS_FILE, Workspace

#: Told of the rows that went, piece by piece.
Tell = Callable[[int], None]

_POLL: Final = 0.05
#: Until replicas and the stream, which look twenty times and twice a second, know of a change.
_TOLD_SECONDS: Final = 1.0
_KEYED_BY_SUBJECT: Final = (topics.IDENTITY, topics.USERS, topics.ERASING)


class WaitingError(Exception):
    """Somebody else must do something first; the erasure goes on later."""


@dataclass(frozen=True, slots=True)
class Store:
    """One place, by the name that receipts use."""

    name: str
    erase: Callable[[People, Tell], None]


class Stores:
    """The stores of one data set."""

    def __init__(
        self,
        workspace: Workspace,
        engine: Engine,
        *,
        online: Callable[[Sequence[str]], int],
        mac: Callable[[str], str],
        further: Sequence[Store] = (),
        decision_folder: Path | None = None,
        patience: float = 30.0,
    ) -> None:
        """Use these parts.

        Args:
            workspace: the data set.
            engine: its event log and topics.
            online: removes subjects from the online features; returns how many rows went.
            mac: gives the keyed hash of an id.
            further: what the engine keeps beside these.
            decision_folder: where the decision log lies; None: in the workspace.
            patience: seconds to wait for the stream and for replicas.
        """
        self._workspace = workspace
        self._engine = engine
        self._online = online
        self._mac = mac
        self._further = further
        self._decisions = decision_folder or workspace.decisions
        self._patience = patience

    def all(self) -> list[Store]:
        """Return every store in the order in which they are erased."""
        here = self._workspace
        return [
            Store("merges", self._merges),
            Store("event_log", self._event_log),
            Store("archive", self._archive),
            Store("stream", self._stream),
            Store("online_features", self._online_features),
            Store("feature_snapshots", _files_below(here.features)),
            Store("data_set", _files_below(here.data)),
            Store("training", self._training),
            Store("releases", self._releases),
            Store("decision_log", self._decision_log),
            Store("import_notes", self._import_notes),
            Store("tables", _tables_below(here.events)),
            *self._further,
            Store("topics", self._topics),
        ]

    def _merges(self, people: People, tell: Tell) -> None:
        topic, sought = topics.IDENTITY, set(people.subjects)
        gone = [
            visitor
            for visitor, value in self._engine.changes.get(topic).items()
            if visitor in sought or Merge.from_bytes(value).user_id in sought
        ]
        self._engine.changes.put(topic, dict.fromkeys(gone))
        tell(len(gone))

    def _event_log(self, people: People, tell: Tell) -> None:
        """While this runs nothing moves from the log to the archive, so nothing escapes."""
        events = self._engine.events
        with writing(Archive(self._workspace.archive)):
            tell(events.erase(people.subjects))
            tell(events.redact(people.users, people.visitors))

    def _archive(self, people: People, tell: Tell) -> None:
        with writing(Archive(self._workspace.archive)) as archive:
            tell(archive.erase(people.subjects))
            tell(archive.redact({c.VISITOR_ID: people.visitors, c.SHARED_BY: people.users}))

    def _training(self, people: People, tell: Tell) -> None:
        """Remove what runs that were killed, or are under way, would go on from, whole.

        It tells of people without naming them, and nobody goes on from it once they are gone.
        """
        for path in sorted(self._workspace.checkpoints.rglob("*")):
            if path.is_file() and not path.name.startswith(TRIALS_FILE):
                path.unlink(missing_ok=True)
        _files_below(self._workspace.training)(people, tell)

    def _releases(self, people: People, tell: Tell) -> None:
        tell(erase_users(self._workspace.releases, people.subjects, self._mac))

    def _stream(self, people: People, tell: Tell) -> None:
        """Have a running stream drop from memory what it holds."""
        changes, folder = self._engine.changes, self._workspace.events
        if not is_running(folder):
            return
        changes.put(topics.ERASING, dict.fromkeys(people.subjects, ASKED))
        deadline = monotonic() + self._patience
        while is_running(folder):
            answers = changes.get(topics.ERASING)
            if all(answers.get(subject) == FORGOT for subject in people.subjects):
                tell(len(people.subjects))
                return
            if monotonic() > deadline:
                raise WaitingError("the stream, to drop what it holds in memory")
            sleep(_POLL)

    def _online_features(self, people: People, tell: Tell) -> None:
        tell(self._online(people.subjects))
        self._engine.changes.put(topics.USERS, dict.fromkeys(people.subjects, b"0"))

    def _decision_log(self, people: People, tell: Tell) -> None:
        if self._decisions.exists():
            _let_go(self._decisions, self._patience)
            with decisions.turn(self._decisions):
                decisions.clear_left(self._decisions)
                _files_below(self._decisions)(people, tell)

    def _import_notes(self, people: People, tell: Tell) -> None:
        for path in sorted((self._workspace.events / "imports").glob("*.jsonl")):
            tell(_erase_lines(path, people))

    def _topics(self, people: People, tell: Tell) -> None:
        """Remove subjects as keys; who follows a topic learns of it before the traces go.

        What a replica knows to be just bought goes with the key of `users`.
        """
        changes = self._engine.changes
        for topic in _KEYED_BY_SUBJECT:
            known = changes.get(topic)
            changes.put(topic, {one: None for one in people.subjects if one in known})
        sleep(_TOLD_SECONDS)
        for topic in _KEYED_BY_SUBJECT:
            tell(changes.purge(topic, people.subjects))
        bought = keys_of(people.subjects, changes.get(topics.BOUGHT))
        tell(changes.purge(topics.BOUGHT, bought))


def _files_below(folder: Path) -> Callable[[People, Tell], None]:
    def erase(people: People, tell: Tell) -> None:
        clear_left(folder)
        for path in sorted(folder.rglob("*.parquet")):
            tell(erase_rows(path, people))

    return erase


def _tables_below(folder: Path) -> Callable[[People, Tell], None]:
    """Erase from SQLite files beside the event log and the topics, which have ways of their own."""

    def erase(people: People, tell: Tell) -> None:
        for path in sorted(folder.rglob("*.db")):
            if path.name not in {EVENTS_FILE, CHANGES_FILE}:
                tell(erase_sqlite(path, people))

    return erase


def _let_go(folder: Path, patience: float) -> None:
    """Have every segment that is open now sealed."""
    seal, asked = folder / decisions.SEAL_FILE, time()
    seal.touch()
    os.utime(seal, (asked, asked))
    before = {path.name for path in folder.glob(f"*{decisions.OPEN}")}
    deadline = monotonic() + patience
    while True:
        with decisions.turn(folder):
            decisions.seal_left(folder)
        left = before & {path.name for path in folder.glob(f"*{decisions.OPEN}")}
        if not left:
            return
        if monotonic() > deadline:
            raise WaitingError(f"replicas, to let go of {len(left)} segments of decisions")
        sleep(_POLL)


def _erase_lines(path: Path, people: People) -> int:
    """Remove the lines of a note of rejected rows that name an id, and those that are torn."""
    ids = {form for one in (*people.subjects, *people.visitors) for form in forms(one)}
    sought = re.compile(rf"(?<!\w)({'|'.join(map(re.escape, sorted(ids)))})(?!\w)")
    lines = path.read_bytes().splitlines(keepends=True)
    kept = [line for line in lines if not _names(line, sought)]
    if len(kept) < len(lines):
        draft = path.with_suffix(".erasing")
        draft.write_bytes(b"".join(kept))
        draft.replace(path)
    return len(lines) - len(kept)


def _names(line: bytes, sought: re.Pattern[str]) -> bool:
    try:
        note = orjson.loads(line)
    except orjson.JSONDecodeError:  # of an import that was killed: it writes the line anew
        return True
    return any(sought.search(str(note.get(name))) for name in (c.EVENT_ID, "error"))
