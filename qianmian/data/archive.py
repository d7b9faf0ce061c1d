"""The archive: events of the service as Parquet by day, what a retrain reads beside the import.

    <workspace>/archive/manifest.json
    <workspace>/archive/date=YYYY-MM-DD/part-<number>.parquet

`manifest.json` is the truth: a file that it does not name does not exist. It changes in one rename,
and what is in both is dropped from the event log by its ids, so a process may be killed at any
moment and no event is lost or there twice. The day is that of the event's own time, in UTC;
late events come as further parts of their day, until they are compacted into one. Writing is in
`archive_writer`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, ValidationError

from qianmian.contracts import columns as c
from qianmian.errors import DataError

MANIFEST_FILE: Final = "manifest.json"
_TRIES: Final = 5


class Part(BaseModel):
    """One file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str
    """Below the archive."""
    rows: int
    first_at: float
    """Time of its first event, epoch seconds."""
    last_at: float
    last_received_at: float
    """When the last of its events was received."""
    ids: int
    """Sum of the hashes of its event ids: what the archive holds has the sum of all parts."""

    @property
    def number(self) -> int:
        return int(self.file.rpartition("-")[2].partition(".")[0])


class Manifest(BaseModel):
    """All that is in the archive."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cursor: str = ""
    """Where the event log went on, of which the last part came."""
    next_part: int = 1
    """Number of the next file: what is archived or compacted later has it or a higher one."""
    parts: tuple[Part, ...] = ()
    owners: dict[str, str] = {}
    """Subjects whose events count as another's: merged visitors, by subject id."""

    @property
    def rows(self) -> int:
        return sum(part.rows for part in self.parts)

    def digest(self, before: float) -> str:
        """What changes whenever the events of before a moment do; empty where there are none."""
        past = [part for part in self.parts if part.first_at < before]
        if not past:
            return ""
        total = sum(part.ids for part in past) % (1 << 64)
        rows = sum(part.rows for part in past)
        return f"{rows}-{total:016x}-{sorted(self.owners.items())}"


@dataclass(frozen=True, slots=True)
class Archive:
    """The archive of one data set; it need not exist yet."""

    folder: Path

    def manifest(self) -> Manifest:
        """Read the manifest; that of an empty archive where there is none.

        Raises `DataError` when it cannot be read.
        """
        path = self.folder / MANIFEST_FILE
        try:
            return Manifest.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return Manifest()
        except ValidationError as error:
            raise DataError(
                f"{path}: not an archive manifest ({error.error_count()} faults): restore it from "
                "a backup; without it nobody knows which events are archived"
            ) from error

    def read(
        self,
        columns: Sequence[str] | None = None,
        *,
        since: float | None = None,
        until: float | None = None,
        from_part: int = 0,
        merged: bool = True,
    ) -> pa.Table | None:
        """Events of `[since, until)` (epoch seconds), in no order; None where there are none.

        `columns` that no part has are left out, and so are parts before the number `from_part`.
        Events of merged visitors are their users', unless `merged` is False.
        """
        for last in [False] * (_TRIES - 1) + [True]:
            manifest = self.manifest()
            wanted = [
                part
                for part in manifest.parts
                if part.number >= from_part
                and (since is None or part.last_at >= since)
                and (until is None or part.first_at < until)
            ]
            try:
                tables = [self.read_part(part, columns, since, until) for part in wanted]
            except FileNotFoundError:  # compacted between the two readings
                if last:
                    raise
                continue
            tables = [table for table in tables if len(table)]
            if not tables:
                return None
            rows = pa.concat_tables(tables, promote_options="default")
            return owned(rows, manifest.owners) if merged else rows
        raise AssertionError

    def ids(self, *, received_since: float) -> set[str]:
        """Ids of the events received at a moment (epoch seconds) or later, and of some before it.

        Call it inside `archive_writer.writing`: a compaction would take the files away.
        """
        found: set[str] = set()
        for part in self.manifest().parts:
            if part.last_received_at >= received_since:
                found.update(self.read_part(part, [c.EVENT_ID])[c.EVENT_ID].to_pylist())
        return found

    def columns(self) -> list[str]:
        """Names of the columns that parts have."""
        names: dict[str, None] = {}
        for part in self.manifest().parts[-1:]:
            names |= dict.fromkeys(pq.read_schema(self.folder / part.file).names)
        return list(names)

    def read_part(
        self,
        part: Part,
        columns: Sequence[str] | None = None,
        since: float | None = None,
        until: float | None = None,
    ) -> pa.Table:
        """Events of one part; those columns of `columns` that it has, and some that are a must."""
        file = pq.ParquetFile(self.folder / part.file)
        names = [n for n in file.schema_arrow.names if columns is None or n in {*columns, *_ALWAYS}]
        rows = file.read(names)
        if since is not None and part.first_at < since:
            rows = rows.filter(pc.greater_equal(rows[c.TIMESTAMP], _moment(since)))
        if until is not None and part.last_at >= until:
            rows = rows.filter(pc.less(rows[c.TIMESTAMP], _moment(until)))
        return rows


_ALWAYS: Final = (c.USER_ID, c.ITEM_ID, c.TIMESTAMP, c.QUARANTINE)


def owned(rows: pa.Table, owners: Mapping[str, str]) -> pa.Table:
    """Return events in which those of merged subjects are their owners'."""
    if not owners:
        return rows
    place = rows.column_names.index(c.USER_ID)
    known = pc.index_in(rows[c.USER_ID], pa.array(list(owners), pa.string()))
    moved = pa.chunked_array([pa.array(list(owners.values()), pa.string())]).take(known)
    return rows.set_column(place, c.USER_ID, pc.coalesce(moved, rows[c.USER_ID]))


def _moment(seconds: float) -> pa.Scalar:
    stamp = datetime.fromtimestamp(seconds, tz=UTC)
    return pa.scalar(stamp, pa.timestamp("us", tz="UTC"))
