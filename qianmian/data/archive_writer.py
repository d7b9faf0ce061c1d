"""Writing the archive: one process at a time, each change whole or not at all.

    with writing(archive) as writer:
        writer.append(rows, cursor)

A new file is complete and on the disk before the manifest names it; what the manifest no longer
names is removed. Whoever must not meet another writer's half-done work (moving events out of the
log, erasing a person) does all of it inside the block.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from qianmian.contracts import columns as c
from qianmian.data.archive import MANIFEST_FILE, Archive, Manifest, Part
from qianmian.features.segments import Int64
from qianmian.releases.durable import replace_text, sync_file, sync_folder

LOCK_FILE: Final = ".lock"
_DATE: Final = "date="
_PARTIAL: Final = ".partial"
_MICROSECONDS: Final = 1_000_000
_IDS: Final = 1 << 64


@contextmanager
def writing(archive: Archive) -> Iterator[ArchiveWriter]:
    """Hold the archive for writing, waiting for whoever holds it now.

    Raises `DataError` when its manifest cannot be read.
    """
    archive.folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(archive.folder / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield ArchiveWriter(archive)
    finally:
        os.close(handle)


class ArchiveWriter:
    """Changes the archive; made by `writing` alone."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._folder = archive.folder
        self.manifest = archive.manifest()
        self._tidy()

    def append(self, rows: pa.Table, cursor: str, owners: Mapping[str, str] | None = None) -> None:
        """Add events and move the cursor on, both at once or neither.

        `owners` replaces the subjects that count as others.
        """
        parts, number = list(self.manifest.parts), self.manifest.next_part
        for day, of_day in _by_day(rows):
            parts.append(self._write(day, number, of_day))
            number += 1
        held = self.manifest.owners if owners is None else dict(owners)
        self._commit(cursor=cursor, next_part=number, parts=tuple(parts), owners=held)

    def compact(self, most: int = 1) -> int:
        """Make one part of each day that has more than `most`; returns how many parts are gone."""
        before = self.manifest.parts
        days: dict[str, list[Part]] = {}
        for part in before:
            days.setdefault(_day_of(part), []).append(part)
        crowded = {day: parts for day, parts in days.items() if len(parts) > most}
        if not crowded:
            return 0
        kept = [part for part in before if _day_of(part) not in crowded]
        number = self.manifest.next_part
        for day, parts in crowded.items():
            tables = [self._archive.read_part(part) for part in parts]
            rows = pa.concat_tables(tables, promote_options="default")
            kept.append(self._write(day, number, rows))
            number += 1
        self._commit(parts=tuple(kept), next_part=number)
        return len(before) - len(kept)

    def rewrite(self, keep: Callable[[pa.Table], pa.ChunkedArray]) -> int:
        """Keep only some events: `keep` gives a mask for the rows of a part.

        Returns how many went. Parts that lose none stay as they are; the files of the others are
        gone when this returns.
        """
        parts, number, gone = [], self.manifest.next_part, 0
        for part in self.manifest.parts:
            rows = self._archive.read_part(part)
            kept = rows.filter(keep(rows))
            if len(kept) == len(rows):
                parts.append(part)
                continue
            gone += len(rows) - len(kept)
            if len(kept):
                parts.append(self._write(_day_of(part), number, kept))
                number += 1
        if gone:
            self._commit(parts=tuple(parts), next_part=number)
        return gone

    def erase(self, subject_ids: Iterable[str]) -> int:
        """Remove all events of some subjects, and what they were merged with; returns how many."""
        gone = set(subject_ids)
        wanted = pa.array(sorted(gone), pa.string())
        erased = self.rewrite(lambda rows: pc.invert(pc.is_in(rows[c.USER_ID], wanted)))
        owners = {
            visitor: user
            for visitor, user in self.manifest.owners.items()
            if visitor not in gone and user not in gone
        }
        if owners != self.manifest.owners:
            self._commit(owners=owners)
        return erased

    def redact(self, mentions: Mapping[str, Collection[str]]) -> int:
        """Take mentions of people out of events that stay: values of columns become null.

        Returns how many events had one; the files that had are gone when this returns.
        """
        parts, number, redacted = [], self.manifest.next_part, 0
        for part in self.manifest.parts:
            rows = self._archive.read_part(part)
            changed, count = _without(rows, mentions)
            if not count:
                parts.append(part)
                continue
            parts.append(self._write(_day_of(part), number, changed))
            number += 1
            redacted += count
        if redacted:
            self._commit(parts=tuple(parts), next_part=number)
        return redacted

    def _commit(self, **changed: object) -> None:
        manifest: Manifest = self.manifest.model_copy(update=changed)
        text = manifest.model_dump_json(indent=1) + "\n"
        replace_text(self._folder / MANIFEST_FILE, text)
        self.manifest = manifest
        self._tidy()

    def _tidy(self) -> None:
        """Remove the files that the manifest does not name."""
        named = {part.file for part in self.manifest.parts}
        for path in self._folder.glob(f"{_DATE}*/*"):
            if f"{path.parent.name}/{path.name}" not in named:
                path.unlink()

    def _write(self, day: str, number: int, rows: pa.Table) -> Part:
        rows = rows.sort_by([(c.TIMESTAMP, "ascending"), (c.EVENT_ID, "ascending")])
        folder = self._folder / day
        if not folder.exists():
            folder.mkdir()
            sync_folder(self._folder)
        path = folder / f"part-{number:06d}.parquet"
        partial = path.with_name(f".{path.name}{_PARTIAL}")
        pq.write_table(rows, partial, compression="zstd")
        sync_file(partial)
        partial.replace(path)
        sync_folder(folder)
        stamps = _microseconds(rows[c.TIMESTAMP])
        received = _microseconds(rows[c.RECEIVED_AT])
        return Part(
            file=f"{day}/{path.name}",
            rows=len(rows),
            first_at=float(stamps[0]) / _MICROSECONDS,
            last_at=float(stamps[-1]) / _MICROSECONDS,
            last_received_at=float(received.max()) / _MICROSECONDS,
            ids=_sum_of_ids(rows[c.EVENT_ID]),
        )


def _without(rows: pa.Table, mentions: Mapping[str, Collection[str]]) -> tuple[pa.Table, int]:
    """Return the rows without values of columns, and how many rows had one."""
    found = np.zeros(len(rows), dtype=np.bool_)
    for name, values in mentions.items():
        if name not in rows.column_names:
            continue
        named = pc.is_in(rows[name], pa.array(sorted(values), rows[name].type))
        found |= np.asarray(named.to_numpy(), dtype=np.bool_)
        kept = pc.if_else(named, pa.scalar(None, rows[name].type), rows[name])
        rows = rows.set_column(rows.column_names.index(name), rows.schema.field(name), kept)
    return rows, int(found.sum())


def _day_of(part: Part) -> str:
    return part.file.partition("/")[0]


def _by_day(rows: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    days = _microseconds(rows[c.TIMESTAMP]) // (86_400 * _MICROSECONDS)
    for day in np.unique(days):
        at = datetime.fromtimestamp(int(day) * 86_400, tz=UTC)
        yield f"{_DATE}{at:%Y-%m-%d}", rows.filter(pa.array(days == day))


def _sum_of_ids(column: pa.ChunkedArray) -> int:
    ids = np.asarray(column.to_pylist(), dtype=object)
    return sum(pd.util.hash_array(ids, categorize=False).tolist()) % _IDS


def _microseconds(column: pa.ChunkedArray) -> Int64:
    return np.asarray(column.cast(pa.int64()).to_numpy(), dtype=np.int64)
