"""Rows of an event file, chunk by chunk: Parquet, CSV or JSON lines.

Each chunk holds rows as plain values in the shape of `qianmian.contracts.event_api.Event`; what
cannot be a row at all is a text that says why. Nothing is judged here.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from pydantic_core import from_json

from qianmian.contracts import columns as c
from qianmian.contracts.event_api import Event
from qianmian.errors import DataError

#: Columns of the data contract that a log of another system may hold beside the event's own.
LOGGED: Final = (c.RECOMMENDATION_ID, c.PROPENSITY)
#: A column of the data contract that says nothing of the event.
IGNORED: Final = (c.SPLIT,)
_REQUIRED: Final = (c.EVENT_TYPE, c.TIMESTAMP, c.ITEM_ID)
_NUMBERS: Final = (c.QUANTITY, c.VALUE, c.LIST_VALUE, c.PROPENSITY)
_READ_ROWS: Final = 16_384

Row = dict[str, Any] | str


@dataclass(frozen=True, slots=True)
class EventFile:
    """A file of events, and how many rows it has where that is known beforehand."""

    path: Path
    rows: int | None
    _read: Callable[[], Iterator[list[Row]]]

    @classmethod
    def open(cls, path: Path) -> EventFile:
        """Open a file by the ending of its name.

        Raises:
            DataError: it is missing, of another kind, unreadable, or lacks required columns.
        """
        if not path.is_file():
            raise DataError(f"{path}: no such file; expected .parquet, .csv or .jsonl with events")
        openers = {".parquet": _parquet, ".csv": _csv, ".jsonl": _jsonl, ".ndjson": _jsonl}
        opener = openers.get(path.suffix.lower())
        if opener is None:
            raise DataError(
                f"{path}: expected a name that ends with {', '.join(openers)}; rename or convert it"
            )
        try:
            return opener(path)
        except (pa.ArrowException, OSError) as error:
            raise _unreadable(path, error) from error

    def chunks(self, size: int, *, skip: int = 0) -> Iterator[list[Row]]:
        """Yield up to `size` rows at a time, after the first `skip` rows.

        Raises:
            DataError: the file cannot be read to its end.
        """
        rows = islice((row for chunk in self._read() for row in chunk), skip, None)
        try:
            while chunk := list(islice(rows, size)):
                yield chunk
        except (pa.ArrowException, OSError) as error:
            raise _unreadable(self.path, error) from error


def _parquet(path: Path) -> EventFile:
    file = pq.ParquetFile(path)
    columns = _checked(path, file.schema_arrow.names)

    def read() -> Iterator[list[Row]]:
        for batch in pq.ParquetFile(path).iter_batches(_READ_ROWS, columns=columns):
            yield [_plain(row) for row in batch.to_pylist()]

    return EventFile(path, file.metadata.num_rows, read)


def _csv(path: Path) -> EventFile:
    def reader(columns: Sequence[str] | None = None) -> pa.csv.CSVStreamingReader:
        text = dict.fromkeys(columns or (), pa.string())
        return pa.csv.open_csv(
            path,
            convert_options=pa.csv.ConvertOptions(
                include_columns=columns,
                column_types=text,
                strings_can_be_null=True,
                null_values=[""],
            ),
        )

    columns = _checked(path, reader().schema.names)

    def read() -> Iterator[list[Row]]:
        for batch in reader(columns):
            yield [_plain(_numbers(row)) for row in batch.to_pylist()]

    return EventFile(path, None, read)


def _jsonl(path: Path) -> EventFile:
    def read() -> Iterator[list[Row]]:
        with path.open("rb") as lines:
            for line in lines:
                if line.strip():
                    yield [_parsed(line)]

    return EventFile(path, None, read)


def _parsed(line: bytes) -> Row:
    try:
        row = from_json(line)
    except ValueError as error:
        return f"expected a JSON object on each line: {error}"
    if not isinstance(row, dict):
        return f"expected a JSON object on each line, found {type(row).__name__}"
    return _plain({name: value for name, value in row.items() if name not in IGNORED})


def _checked(path: Path, found: Sequence[str]) -> list[str]:
    """Return the columns to read.

    Raises:
        DataError: some are missing or unknown.
    """
    known = (*Event.model_fields, *LOGGED, *IGNORED)
    faults = [f"lacks the column {name!r}" for name in _REQUIRED if name not in found]
    if c.USER_ID not in found and c.VISITOR_ID not in found:
        faults.append(f"lacks {c.USER_ID!r} or {c.VISITOR_ID!r}")
    for name in found:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f" (did you mean {close[0]!r}?)" if close else ""
            faults.append(f"has the column {name!r}, which no event has{hint}: drop or rename it")
    if faults:
        raise DataError("\n".join(f"{path}: {fault}" for fault in faults))
    return [name for name in found if name not in IGNORED]


def _numbers(row: dict[str, Any]) -> dict[str, Any]:
    """Read the numbers of a row of text; what is none stays text, to be refused."""
    for name in (*_NUMBERS, c.POSITION):
        text = row.get(name)
        if text is not None:
            try:
                row[name] = float(text)
            except ValueError:
                continue
    return row


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """Leave out what is empty, and write a whole number as one."""
    plain = {
        name: float(value) if isinstance(value, Decimal) else value
        for name, value in row.items()
        if value is not None and not (isinstance(value, float) and math.isnan(value))
    }
    position = plain.get(c.POSITION)
    if isinstance(position, float) and position.is_integer():
        plain[c.POSITION] = int(position)
    return plain


def _unreadable(path: Path, error: Exception) -> DataError:
    return DataError(f"{path}: cannot be read: {str(error).splitlines()[0]}; write it again")
