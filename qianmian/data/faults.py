"""A fault of a data set folder, and how all of them are shown together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from qianmian.errors import DataError


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that breaks the data contract."""

    file: str
    """The file, by its name in the folder."""
    column: str
    """The column or key; empty where the whole file is meant."""
    count: int
    """How many rows are affected; 0 where rows are not what is wrong."""
    problem: str
    """What was expected and what is there."""
    example: str
    """A value at fault and its row (from 0); empty where there is none to show."""
    remedy: str
    """How to mend it."""

    def __str__(self) -> str:
        place = f"{self.file}: {self.column}" if self.column else self.file
        rows = f" ({self.count:,} row{'s' if self.count != 1 else ''})" if self.count else ""
        example = f"\n    example: {self.example}" if self.example else ""
        return f"{place}{rows}: {self.problem}{example}\n    remedy: {self.remedy}"


def refusal(folder: Path | str, faults: Iterable[Fault]) -> DataError:
    """Return the error that lists every fault of a folder."""
    listed = list(faults)
    head = (
        f"{folder}: {len(listed)} fault{'s' if len(listed) != 1 else ''}, so it cannot be imported"
    )
    return DataError("\n".join([head, *(f"  {fault}" for fault in listed)]))


def example_of(value: object, row: int | None = None) -> str:
    """Show a value at fault and where it stands.

    >>> example_of("clik", 12)
    "'clik' (row 12)"
    """
    text = repr(value)
    text = text if len(text) <= 80 else f"{text[:80]}..."  # noqa: PLR2004
    return text if row is None else f"{text} (row {row:,})"
