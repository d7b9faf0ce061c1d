"""Erasing people from Parquet files: their rows go, and so do mentions of them in others' rows.

A file is written anew beside the old one and takes its place in one step; statistics and
dictionaries go with the old one.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from qianmian.contracts import columns as c
from qianmian.contracts import decisions as d
from qianmian.erasure.people import People
from qianmian.releases.durable import sync_file

#: Whose row it is.
OWNERS: Final = (c.USER_ID, d.SUBJECT_ID)
_PARTIAL: Final = ".erasing"


def erase_rows(path: Path, people: People) -> int:
    """Remove the rows of people from a file, and mentions of them; returns the rows touched."""
    schema = pq.read_schema(path)
    sought = {name: people.subjects for name in OWNERS if name in schema.names}
    mentions = {c.VISITOR_ID: people.visitors, c.SHARED_BY: people.users}
    sought |= {name: ids for name, ids in mentions.items() if name in schema.names and ids}
    if not sought or not _any_in(pq.read_table(path, columns=list(sought)), sought):
        return 0
    table = pq.read_table(path)
    kept = table
    for name in OWNERS:
        if name in sought:
            kept = kept.filter(pc.invert(_in(kept[name], sought[name])))
    touched = len(table) - len(kept)
    for name in mentions:
        if name not in sought:
            continue
        named = _in(kept[name], sought[name])
        touched += pc.sum(named).as_py() or 0
        blank = pa.scalar(None, kept[name].type)
        kept = kept.set_column(
            kept.schema.get_field_index(name),
            schema.field(name),
            pc.if_else(named, blank, kept[name]),
        )
    _replace(path, kept)
    return touched


def clear_left(folder: Path) -> None:
    """Remove what an erasure that was killed had not finished to write."""
    for path in folder.rglob(f".*{_PARTIAL}"):
        path.unlink(missing_ok=True)


def _any_in(table: pa.Table, sought: dict[str, tuple[str, ...]]) -> bool:
    return any(pc.any(_in(table[name], ids)).as_py() for name, ids in sought.items())


def _in(column: pa.ChunkedArray, ids: tuple[str, ...]) -> pa.ChunkedArray:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    return pc.fill_null(pc.is_in(column.cast(pa.string()), pa.array(ids, pa.string())), False)  # noqa: FBT003


def _replace(path: Path, table: pa.Table) -> None:
    before = pq.ParquetFile(path)
    group = max(1, before.metadata.row_group(0).num_rows if before.metadata.num_row_groups else 1)
    status = path.stat()
    partial = path.with_name(f".{path.name}{_PARTIAL}")
    pq.write_table(table, partial, compression="zstd", row_group_size=group)
    sync_file(partial)
    os.utime(partial, ns=(status.st_atime_ns, status.st_mtime_ns))  # retention goes by it
    partial.replace(path)
