"""Bring a whole file of events into the log: in batches, resumable, each event once.

    report = BulkImport(path, folder=workspace.events / "imports").run(acceptance, store, now=...)

Every row is judged as the door judges an event, except that there is no horizon: history may be
old. After each batch a note beside the log says how far the import has come. A killed import goes
on from there; what its last batch had stored already is met again by its ids, which are made of the
file's content and the row where the file gives none. The log must still know them: an import that
is taken up again after the horizon of the door may double its last batch.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Annotated, Any, Final

import orjson
from msgspec.structs import replace as replaced
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import to_json

from qianmian.config.faults import expectation
from qianmian.contracts import columns as c
from qianmian.contracts.api import Id
from qianmian.contracts.event_api import MAX_EVENTS
from qianmian.errors import DataError
from qianmian.events.accepting import INVALID, Acceptance, AcceptanceSettings, Judged, Rejection
from qianmian.events.event import StoredEvent
from qianmian.events.files import LOGGED, EventFile, Row
from qianmian.events.store import EventStore

#: Rows of one transaction, and so at most the rows that a kill makes the next run read again.
BATCH: Final = 5_000
_ID_DIGITS: Final = 24

#: Told how many rows are done, and how many there are where that is known.
Tell = Callable[[int, int | None], None]


def history_settings(settings: AcceptanceSettings) -> AcceptanceSettings:
    """Return the door's settings for history: however old it is."""
    return settings.model_copy(update={"horizon_days": inf})


class ImportReport(BaseModel):
    """What came of a file so far; it is the note that a killed import goes on from, too."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str
    rows: int = 0
    accepted: int = 0
    duplicates: int = 0
    rejected: dict[str, int] = {}
    quarantined: dict[str, int] = {}
    rejects_bytes: int = 0
    finished: bool = False


class BulkImport:
    """The import of one file into one log."""

    def __init__(self, path: Path, *, folder: Path) -> None:
        """`folder` holds the notes of all imports into the log.

        Raises:
            DataError: the file cannot be read as events.
        """
        self._file = EventFile.open(path)
        with path.open("rb") as content:
            self._id = hashlib.file_digest(content, "sha256").hexdigest()[:_ID_DIGITS]
        self._note = folder / f"{self._id}.json"
        self.rejects = folder / f"{self._id}.rejected.jsonl"
        """Every rejected row with the reason, one JSON object a line."""

    def before(self) -> ImportReport:
        """Return what an earlier run has done."""
        try:
            return ImportReport.model_validate_json(self._note.read_bytes())
        except (FileNotFoundError, ValidationError):
            return ImportReport(file=str(self._file.path))

    def run(
        self,
        acceptance: Acceptance,
        store: EventStore,
        *,
        now: float,
        tell: Tell,
        look_around: Callable[[], object] = lambda: None,
        batch: int = BATCH,
    ) -> ImportReport:
        """Import what an earlier run has left; `look_around` is called before each batch.

        Raises:
            DataError: the file cannot be read to its end.
            EventStoreError: the log cannot be written; run it again later, it goes on.
        """
        report = self.before()
        self._note.parent.mkdir(parents=True, exist_ok=True)
        with self.rejects.open("ab") as rejects:
            whole = min(rejects.tell(), report.rejects_bytes)  # an erasure takes lines
            rejects.truncate(whole)
            rejects.seek(whole)
            tell(report.rows, self._file.rows)
            for rows in self._file.chunks(batch, skip=report.rows):
                look_around()
                judged = self._judge(rows, report.rows, acceptance, now)
                new = store.append(judged.events)
                for rejection in judged.rejected:
                    rejects.write(orjson.dumps(_shown(rejection)) + b"\n")
                rejects.flush()
                report = _summed(report, len(rows), judged, new, rejects.tell())
                self._write(report)
                tell(report.rows, self._file.rows)
        report = report.model_copy(update={"finished": True})
        self._write(report)
        return report

    def _judge(self, rows: list[Row], first: int, acceptance: Acceptance, now: float) -> Judged:
        """Judge rows, as many at once as the door takes; indices become rows of the file."""
        judged = Judged()
        for start in range(0, len(rows), MAX_EVENTS):
            numbered = enumerate(rows[start : start + MAX_EVENTS], start=first + start)
            given: list[tuple[int, dict[str, Any]]] = []
            logged: list[Logged] = []
            for number, row in numbered:
                if isinstance(row, str):
                    judged.rejected.append(Rejection(number, None, row, INVALID))
                    continue
                try:
                    logged.append(_log_of(row))
                    given.append((number, {c.EVENT_ID: f"{self._id}-{number}", **_event_of(row)}))
                except DataError as error:
                    judged.rejected.append(Rejection(number, None, str(error), INVALID))
            if not given:
                continue
            rows_left = [row for _, row in given]
            body = to_json({"events": rows_left}, bytes_mode="base64", fallback=repr)
            found = acceptance.judge(body, now)
            bad = {rejection.index for rejection in found.rejected}
            good = [one for index, one in enumerate(logged) if index not in bad]
            for event, one in zip(found.events, good, strict=True):
                judged.events.append(_with_log(event, one))
            for rejection in found.rejected:
                number = given[rejection.index][0]
                told = rejection.error.replace(f"events[{rejection.index}].", "")
                judged.rejected.append(replace(rejection, index=number, error=told))
        return judged

    def _write(self, report: ImportReport) -> None:
        draft = self._note.with_suffix(".draft")
        draft.write_text(report.model_dump_json(indent=2))
        draft.replace(self._note)  # a note that a crash takes back only makes rows be met again


class Logged(BaseModel):
    """What the system that logged an event knew of how the item was shown."""

    model_config = ConfigDict(frozen=True, strict=True)

    recommendation_id: Id | None = None
    propensity: Annotated[float, Field(gt=0, le=1)] | None = None


_NOTHING_LOGGED: Final = Logged()


def _log_of(row: dict[str, Any]) -> Logged:
    if row.keys().isdisjoint(LOGGED):
        return _NOTHING_LOGGED
    try:
        return Logged.model_validate(row)
    except ValidationError as error:
        (fault, *_) = error.errors(include_url=False)
        name = ".".join(map(str, fault["loc"]))
        raise DataError(f"{name}={fault['input']!r}: {expectation(fault)}") from error


def _event_of(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in LOGGED}


def _with_log(event: StoredEvent, logged: Logged) -> StoredEvent:
    if logged is _NOTHING_LOGGED:
        return event
    return replaced(event, recommendation_id=logged.recommendation_id, propensity=logged.propensity)


def _summed(
    report: ImportReport, rows: int, judged: Judged, new: list[bool], rejects_bytes: int
) -> ImportReport:
    fresh = [event for event, one in zip(judged.events, new, strict=True) if one]
    rejected = Counter(report.rejected) + Counter(one.reason for one in judged.rejected)
    kept_aside = Counter(event.quarantine for event in fresh if event.quarantine)
    return report.model_copy(
        update={
            "rows": report.rows + rows,
            "accepted": report.accepted + len(fresh),
            "duplicates": report.duplicates + len(new) - len(fresh),
            "rejected": dict(rejected),
            "quarantined": dict(Counter(report.quarantined) + kept_aside),
            "rejects_bytes": rejects_bytes,
        }
    )


def _shown(rejection: Rejection) -> dict[str, Any]:
    return {"row": rejection.index, c.EVENT_ID: rejection.event_id, "error": rejection.error}
