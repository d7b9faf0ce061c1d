"""`import.json`: what a data set was imported from, and what was stored, in numbers."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from qianmian.contracts import columns as c
from qianmian.data.summary import Summary
from qianmian.errors import DataError
from qianmian.workspace import Workspace


class ImportRecord(BaseModel):
    """What `import.json` holds: where the data came from and how to know it again."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fingerprint: str
    """SHA-256 over the source's files and everything else that decides the result."""
    source: str
    """What was imported, as it was named."""
    summary: Summary
    """What was stored, in numbers."""


def read_record(workspace: Workspace) -> ImportRecord | None:
    """Return the record of the data set that is there, or None.

    Raises `DataError` when the record cannot be read.
    """
    return record_in(workspace.data) if (workspace.data / c.IMPORT_FILE).exists() else None


def record_in(folder: Path) -> ImportRecord:
    """Return the record of the data set that lies in a folder.

    Raises `DataError` when the record cannot be read.
    """
    path = folder / c.IMPORT_FILE
    try:
        return ImportRecord.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValidationError) as error:
        raise DataError(f"{path}: not an import record; import again with --force") from error
