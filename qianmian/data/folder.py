"""Read a data set folder as its author wrote it, noting what cannot be read."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from qianmian.contracts import columns as c
from qianmian.data.faults import Fault
from qianmian.data.schemas import canonical
from qianmian.data.source import read_declaration
from qianmian.data.spec import DeclaredSpec
from qianmian.data.tables import FILES
from qianmian.errors import ConfigError, DataError

_PANDAS_INDEX = re.compile(r"__index_level_\d+__")


@dataclass(slots=True)
class Folder:
    """What a folder holds: its tables by file name, its declaration, and what cannot be read."""

    path: Path
    tables: dict[str, pa.Table] = field(default_factory=dict)
    declared: DeclaredSpec = field(default_factory=DeclaredSpec)
    faults: list[Fault] = field(default_factory=list)


def read_folder(path: Path) -> Folder:
    """Read every file of the contract that the folder holds.

    Raises `DataError` when there is no such folder.
    """
    if not path.is_dir():
        what = "this is a file" if path.exists() else "no such folder"
        raise DataError(f"{path}: {what}; expected a folder with {c.EVENTS_FILE}")
    folder = Folder(path)
    for file in FILES:
        if (path / file).exists():
            _read_table(folder, file)
    folder.faults += _misnamed(path)
    try:
        folder.declared = read_declaration(path)
    except ConfigError as error:
        folder.faults += _declaration_faults(str(error), path / c.DATASET_FILE)
    return folder


def _read_table(folder: Folder, file: str) -> None:
    try:
        table = pq.ParquetFile(folder.path / file).read()
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        remedy = "write it again as Parquet, for example with pandas' to_parquet"
        fault = Fault(file, "", 0, f"cannot be read as Parquet: {reason}", "", remedy)
        folder.faults.append(fault)
        return
    twice = sorted({n for n in table.column_names if table.column_names.count(n) > 1})
    if twice:
        problem = "stands more than once in the file"
        folder.faults += [Fault(file, n, 0, problem, "", "drop or rename one") for n in twice]
        return
    kept = [n for n in table.column_names if not _PANDAS_INDEX.fullmatch(n)]
    folder.tables[file] = canonical(table.select(kept), file)


def _misnamed(path: Path) -> list[Fault]:
    """Say so where a file of the contract is missing and another nearly has its name."""
    missing = [f for f in (*FILES, c.DATASET_FILE) if not (path / f).exists()]
    faults = []
    for stranger in sorted(p.name for p in path.iterdir() if p.is_file()):
        if stranger in {*FILES, c.DATASET_FILE}:
            continue
        close = difflib.get_close_matches(stranger, missing, n=1, cutoff=0.75)
        if close:
            missing.remove(close[0])
            problem = f"is not read, and {close[0]} is missing"
            faults.append(Fault(stranger, "", 0, problem, "", f"did you mean {close[0]!r}?"))
    if c.EVENTS_FILE in missing:
        remedy = f"add it; {c.USER_ID}, {c.ITEM_ID}, {c.EVENT_TYPE} and {c.TIMESTAMP} are required"
        faults.append(Fault(c.EVENTS_FILE, "", 0, "missing", "", remedy))
    return faults


def _declaration_faults(text: str, path: Path) -> list[Fault]:
    """Turn each line of a configuration error into a fault of the declaration."""
    faults = []
    for line in text.splitlines():
        problem = line.removeprefix(f"{path}:")
        number, _, rest = problem.partition(": ")
        remedy = f"correct line {number} of {c.DATASET_FILE}"
        faults.append(Fault(c.DATASET_FILE, "", 0, rest or problem, "", remedy))
    return faults
