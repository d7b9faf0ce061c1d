"""Moving the split: where training ends, once there are events beyond the import.

The import says where the split falls; `<workspace>/split.yaml` overrides it, so that the imported
data stays as it was and the way back is to remove one file.
"""

from __future__ import annotations

from datetime import UTC, datetime

from pydantic import ValidationError

from qianmian.config import dump_yaml
from qianmian.data.spec import Split
from qianmian.data.store import Dataset
from qianmian.errors import FieldError
from qianmian.releases.durable import replace_text
from qianmian.workspace import Workspace


def move_split(
    workspace: Workspace, train_end: datetime, test_end: datetime | None = None
) -> Split:
    """Let training see the events before `train_end`.

    The test ends at `test_end`, else as long after `train_end` as it does now.

    Raises:
        NotFoundError: the data set was never imported.
        FieldError: a moment cannot be used, or the events' own column tells the split.
    """
    split = Dataset.open(workspace).spec.split
    if split.by != "time":
        raise FieldError(
            "train_end",
            train_end.isoformat(),
            "a data set that is split by time, not by a column of its events",
            "leave it: archived events count as training there",
        )
    end = test_end or train_end + (split.test_end - split.train_end)
    try:
        moved = Split(train_end=train_end.astimezone(UTC), test_end=end.astimezone(UTC))
    except ValidationError as error:
        raise FieldError("test_end", end.isoformat(), "a moment after train_end") from error
    replace_text(workspace.split_file, dump_yaml(moved))
    return moved


def reset_split(workspace: Workspace) -> None:
    """Put the split back to where the import put it."""
    workspace.split_file.unlink(missing_ok=True)
