"""Put checked tables into a workspace, whole or not at all.

The data set is built in a folder beside its place and swapped in by renames. A lock that the
operating system drops when its holder dies keeps imports of one data set apart, so what a killed
import left behind is known to be dead and is cleared by the next one.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from qianmian.config import dump_yaml
from qianmian.contracts import columns as c
from qianmian.data.record import ImportRecord, read_record
from qianmian.data.source import Source
from qianmian.data.spec import DatasetSpec
from qianmian.data.tables import Tables
from qianmian.errors import DataError
from qianmian.workspace import Workspace

_NEW, _OLD = ".data-new", ".data-old"
_ROWS_PER_GROUP = 131_072  # a time filter skips whole groups


def already_there(workspace: Workspace, source: Source) -> ImportRecord | None:
    """Return the record of an earlier import of the very same source, or None.

    What a killed import left beside the data is cleared on the way.

    Raises `DataError` when data of another source holds the name.
    """
    record = read_record(workspace)
    if record is None:
        return None
    if record.fingerprint == source.fingerprint:
        tidy(workspace)
        return record
    if record.source != source.shown:
        raise DataError(
            f"data set {source.name!r} is there already, imported from {record.source}; "
            "choose another --name, or replace it with --force"
        )
    return None


def tidy(workspace: Workspace) -> None:
    """Clear what a killed import may have left beside the data set."""
    with _locked(workspace.path):
        _clear_leftovers(workspace.path)


def install(workspace: Workspace, tables: Tables, spec: DatasetSpec, record: ImportRecord) -> None:
    """Write tables, spec and record as the workspace's data set, replacing what was there.

    Raises `DataError` when another import of this data set is running.
    """
    with _locked(workspace.path):
        _clear_leftovers(workspace.path)
        new, old = workspace.path / _NEW, workspace.path / _OLD
        try:
            _write(new, tables, spec, record)
            if workspace.data.exists():
                workspace.data.rename(old)
            new.rename(workspace.data)
            workspace.split_file.unlink(missing_ok=True)  # it was the other data's
        finally:
            _clear_leftovers(workspace.path)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataError(
                f"another import of data set {folder.name!r} is running; wait for its end"
            ) from None
        yield
    finally:
        with contextlib.suppress(OSError):  # it holds something
            folder.rmdir()
        os.close(handle)


def _clear_leftovers(folder: Path) -> None:
    """Remove what an import did not finish; bring back data moved aside but never replaced."""
    data, old = folder / "data", folder / _OLD
    if old.exists() and not data.exists():
        old.rename(data)
    for leftover in (folder / _NEW, old):
        if leftover.exists():
            shutil.rmtree(leftover)


def _write(folder: Path, tables: Tables, spec: DatasetSpec, record: ImportRecord) -> None:
    folder.mkdir(parents=True)
    for file, table in tables.by_file().items():
        pq.write_table(
            table.replace_schema_metadata(None),
            folder / file,
            compression="zstd",
            row_group_size=_ROWS_PER_GROUP,
            use_dictionary=_text_columns(table),
        )
    (folder / c.DATASET_FILE).write_text(dump_yaml(spec), encoding="utf-8")
    record_text = record.model_dump_json(indent=2)
    (folder / c.IMPORT_FILE).write_text(f"{record_text}\n", encoding="utf-8")


def _text_columns(table: pa.Table) -> list[str]:
    return [field.name for field in table.schema if pa.types.is_string(field.type)]
