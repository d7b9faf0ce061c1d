"""The files of the decision log: segments, each written by one replica, then sealed.

An *open* segment (`*.frames`) is what one replica appends to and holds a lock on; a *sealed* one
(`*.parquet`) is what it becomes after rotation. An open segment whose lock is free was let go, or
left by a replica that died: it is whole up to its last frame, and whoever tends the folder next
seals it. Sealing, retention and erasure take turns by the folder's lock.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from qianmian.contracts import decisions as d
from qianmian.decisions.frames import frames
from qianmian.decisions.rows import batches_of
from qianmian.decisions.schema import SCHEMA

OPEN: Final = ".frames"
SEALED: Final = ".parquet"
PARTIAL: Final = ".partial"
TURN_FILE: Final = ".turn.lock"
SEAL_FILE: Final = ".seal"
_GROUP_ROWS: Final = 65_536


def segments(folder: Path) -> list[Path]:
    """Return all segments, the oldest first; of a segment that is there twice, the sealed one."""
    found = {path.stem: path for path in sorted(folder.glob(f"*{OPEN}"))}
    found.update({path.stem: path for path in folder.glob(f"*{SEALED}")})
    return [found[stem] for stem in sorted(found)]


def batches(path: Path) -> Iterator[pa.RecordBatch]:
    """Read a segment batch by batch; what a crash tore off at the end of an open one is left out.

    Of a segment that is sealed or removed meanwhile, the sealed one is read, or nothing.
    """
    try:
        file = path.open("rb")
    except FileNotFoundError:
        sealed = path.with_suffix(SEALED)
        if path.suffix == OPEN and sealed.exists():
            yield from batches(sealed)
        return
    with file:
        if path.suffix == SEALED:
            yield from pq.ParquetFile(file).iter_batches(batch_size=_GROUP_ROWS)
        else:
            yield from batches_of(frames(file))


def read(
    folder: Path, *, since: datetime | None = None, until: datetime | None = None
) -> Iterator[pa.Table]:
    """Read the decisions of `[since, until)`, a table for each segment that holds any."""
    for path in segments(folder):
        table = pa.Table.from_batches(batches(path), SCHEMA)
        for moment, keeps in ((since, pc.greater_equal), (until, pc.less)):
            if moment is not None:
                bound = pa.scalar(moment, SCHEMA.field(d.DECIDED_AT).type)
                table = table.filter(keeps(table[d.DECIDED_AT], bound))
        if table.num_rows:
            yield table


def write_sealed(path: Path, parts: Iterator[pa.RecordBatch]) -> int:
    """Write a sealed segment so that it is there whole or not at all; return its rows."""
    partial = path.with_name(f".{path.stem}{PARTIAL}")
    rows = 0
    try:
        with pq.ParquetWriter(partial, SCHEMA, compression="zstd") as writer:
            for batch in parts:
                writer.write_batch(batch, row_group_size=_GROUP_ROWS)
                rows += batch.num_rows
        descriptor = os.open(partial, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    return rows


@contextmanager
def turn(folder: Path) -> Iterator[None]:
    """Hold the folder's lock: no one else seals, removes or erases meanwhile."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / TURN_FILE).open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def seal_left(folder: Path) -> list[Path]:
    """Seal every open segment that no replica holds; the caller has the `turn`."""
    sealed: list[Path] = []
    for path in sorted(folder.glob(f"*{OPEN}")):
        target = path.with_suffix(SEALED)
        try:
            file = path.open("rb")
        except FileNotFoundError:
            continue
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            if not target.exists():
                write_sealed(target, batches(path))
                sealed.append(target)
            path.unlink(missing_ok=True)
    return sealed


def expire(folder: Path, *, now: float, keep_seconds: float, keep_bytes: int) -> list[Path]:
    """Remove sealed segments that are too old, then the oldest until the rest fits.

    `now` is seconds since the epoch by the machine's clock, as are the files' times. The caller
    has the `turn`.
    """
    files = [(path, path.stat()) for path in sorted(folder.glob(f"*{SEALED}"))]
    total = sum(status.st_size for _, status in files)
    removed: list[Path] = []
    for path, status in files:
        if now - status.st_mtime <= keep_seconds and total <= keep_bytes:
            continue
        path.unlink(missing_ok=True)
        total -= status.st_size
        removed.append(path)
    return removed


def newest(folder: Path, count: int) -> list[dict[str, object]]:
    """Return the last `count` rows as plain values, the oldest first."""
    rows: list[dict[str, object]] = []
    for path in reversed(segments(folder)):
        table = pa.Table.from_batches(batches(path), SCHEMA)
        wanted = count - len(rows)
        rows = table.slice(max(table.num_rows - wanted, 0)).to_pylist() + rows
        if len(rows) >= count:
            break
    return rows


def clear_left(folder: Path) -> None:
    """Remove what somebody who died had begun to seal; the caller has the `turn`.

    The draft of an open segment, which is empty, stays: its replica is about to take it.
    """
    for path in folder.glob(f".*{PARTIAL}"):
        if path.stat().st_size:
            path.unlink()
