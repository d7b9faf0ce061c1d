"""Where snapshots lie: `<features>/<view>/<moment>.parquet`, one file a moment.

A file appears under its name only when it is whole.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from qianmian.contracts import features as f
from qianmian.errors import FeatureStoreError

PARTIAL: Final = ".partial"

#: Rows of a Parquet row group. Files are sorted by entity, so that a query for some entities skips
#: the groups of the others.
ROW_GROUP_ROWS: Final = 1024

_NAME_FORMAT: Final = "%Y%m%dT%H%M%S"


def snapshot_path(folder: Path, moment: float) -> Path:
    """File of the snapshot at a moment (epoch seconds, to the microsecond) of a view's folder.

    >>> snapshot_path(Path("v"), 0.0).name, snapshot_path(Path("v"), 1.5).name
    ('19700101T000000.parquet', '19700101T000001.500000.parquet')
    """
    at = datetime.fromtimestamp(moment, tz=UTC)
    name = at.strftime(_NAME_FORMAT) + (f".{at.microsecond:06d}" if at.microsecond else "")
    return folder / f"{name}.parquet"


def moments_of(folder: Path) -> list[float]:
    """Moments of the snapshots in a view's folder, ascending."""
    return sorted(_moment(path.stem) for path in folder.glob("*.parquet"))


def newest(folder: Path, at: float) -> float:
    """Moment of the newest snapshot of a view's folder that was known at `at` (epoch seconds).

    Raises `FeatureStoreError` when there is none.
    """
    moments = moments_of(folder)
    past = [moment for moment in moments if moment <= at]
    if not past:
        first = f"the first is of {show(moments[0])}" if moments else "there are none"
        raise FeatureStoreError(
            f"no snapshot of {folder.name} at {show(at)}: {first}; build the features with more "
            "snapshots, or ask for a later time"
        )
    return past[-1]


def write_snapshot(path: Path, rows: pa.Table, known_since: pa.Array) -> None:
    """Write one snapshot: the rows, and since when each is known (epoch seconds, float64 [n])."""
    microseconds = np.round(known_since.to_numpy() * 1e6).astype(np.int64)
    stamps = pa.array(microseconds, pa.int64()).cast(pa.timestamp("us", tz="UTC"))
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}{PARTIAL}")
    text = [field.name for field in rows.schema if pa.types.is_string(field.type)]
    text += [f"{n}.list.element" for n in rows.schema.names if _is_text_list(rows.schema.field(n))]
    pq.write_table(
        rows.append_column(f.EVENT_TIMESTAMP, stamps),
        partial,
        compression="zstd",
        row_group_size=ROW_GROUP_ROWS,
        use_dictionary=text,
    )
    partial.replace(path)


def clear_snapshots(folder: Path) -> None:
    """Remove all snapshots, finished or not, below the folder of features."""
    for pattern in ("*/*.parquet", f"*/.*{PARTIAL}"):
        for path in folder.glob(pattern):
            path.unlink()


def show(moment: float) -> str:
    """A moment (epoch seconds) as people read it.

    >>> show(0.0)
    '1970-01-01T00:00:00+00:00'
    """
    return datetime.fromtimestamp(moment, tz=UTC).isoformat()


def _is_text_list(field: pa.Field) -> bool:
    return bool(pa.types.is_list(field.type) and pa.types.is_string(field.type.value_type))


def _moment(name: str) -> float:
    whole, _, microseconds = name.partition(".")
    at = datetime.strptime(whole, _NAME_FORMAT).replace(tzinfo=UTC)
    return at.replace(microsecond=int(microseconds or 0)).timestamp()
