"""Filling the online store: the newest snapshot of each view, through Feast, in large batches."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from qianmian.contracts import features as f
from qianmian.features.online import OnlineReader, OnlineWriter
from qianmian.features.schema import TIMELESS_VIEWS, FeatureSchema, join_key
from qianmian.features.snapshot_files import newest, snapshot_path
from qianmian.features.snapshots import next_part
from qianmian.workspace import Workspace

if TYPE_CHECKING:
    from feast import FeatureStore, FeatureView

MATERIALIZED_FILE: Final = "materialized.json"

#: Values written in one transaction: memory stays small, and commits do not count.
BATCH_VALUES: Final = 200_000

#: Told of each batch: view, rows written, rows in all.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Materialized:
    """What the online store holds of a view after a materialization."""

    view: str
    moment: float  # of the snapshot, epoch seconds
    rows: int
    written: bool  # False where it was there already


@dataclass(frozen=True, slots=True)
class Held:
    """What was written for a view: of which source, of which moment, how many rows.

    Events of the archive's parts from `next_part` on may be missing in it.
    """

    source: str
    moment: float
    rows: int
    next_part: int = 0


def materialize(
    store: FeatureStore,
    workspace: Workspace,
    schema: FeatureSchema,
    at: float,
    progress: Progress | None = None,
) -> list[Materialized]:
    """Write the newest snapshot known at `at` (epoch seconds) of every view.

    A view is emptied first when it holds a later snapshot, or one of other data: an entity that
    the wanted snapshot lacks must not keep a row of the future. Going forward, rows are replaced in
    place, so that a reader never finds a user missing.

    Raises `FeatureStoreError` when a view has no snapshot that old.
    """
    moments = {view: newest(workspace.features / view, at) for view in schema.views}
    source, part = _source(store, schema), next_part(workspace)
    held = read_held(workspace)
    _create_tables(store, schema)
    report = []
    for view, moment in moments.items():
        path = snapshot_path(workspace.features / view, moment)
        wanted = Held(source, moment, _count(path, view, at), part)
        before = held.get(view)
        there = before == wanted and _is_there(store, schema, view, path, at)
        if not there:
            rows = _known(pq.read_table(path), at)
            if before is None or before.source != source or _later(before, wanted):
                _empty(store, view)
            held.pop(view, None)
            _write_held(workspace, held)  # a killed run leaves the view marked as not held
            write_rows(store, schema, view, rows, progress)
            held[view] = wanted
            _write_held(workspace, held)
        report.append(Materialized(view, moment, wanted.rows, written=not there))
    return report


def write_rows(
    store: FeatureStore,
    schema: FeatureSchema,
    view: str,
    rows: pa.Table,
    progress: Progress | None = None,
) -> None:
    """Write rows of a view to the online store, in batches of one transaction each.

    Raises `OnlineStoreError` when a Redis cannot be written.
    """
    writer, key = OnlineWriter(store, schema.views), join_key(view)
    size = max(1, BATCH_VALUES // max(1, rows.num_columns))
    for start in range(0, len(rows), size):
        writer.write(view, key, rows.slice(start, size))
        if progress is not None:
            progress(view, min(start + size, len(rows)), len(rows))


def _count(path: Path, view: str, at: float) -> int:
    """How many rows of a snapshot are known at a moment."""
    if view not in TIMELESS_VIEWS:
        return int(pq.read_metadata(path).num_rows)
    return len(_known(pq.read_table(path, columns=[f.EVENT_TIMESTAMP]), at))


def _known(rows: pa.Table, at: float) -> pa.Table:
    """The rows known at a moment: a timeless view's rows each have a time of their own."""
    moment = pa.scalar(datetime.fromtimestamp(at, tz=UTC), pa.timestamp("us", tz="UTC"))
    return rows.filter(pc.less_equal(rows[f.EVENT_TIMESTAMP], moment))


def _later(held: Held, wanted: Held) -> bool:
    """Whether what is held may contain entities that what is wanted does not."""
    return held.moment > wanted.moment or held.rows > wanted.rows


def _is_there(store: FeatureStore, schema: FeatureSchema, view: str, path: Path, at: float) -> bool:
    """Whether the online store still has the view: it may have been emptied behind our back."""
    key = join_key(view)
    known = _known(pq.read_table(path, columns=[key, f.EVENT_TIMESTAMP]), at)
    if not len(known):
        return True
    reader = OnlineReader(store, key, {view: list(schema.views[view])})
    return reader.read([known[key][0].as_py()])[0] is not None


def _create_tables(store: FeatureStore, schema: FeatureSchema) -> None:
    """Create what the online store lacks, as when its file was removed."""
    _update(store, keep=[store.get_feature_view(view) for view in schema.views])


def _empty(store: FeatureStore, view: str) -> None:
    """Drop the view's rows, whatever the online store is."""
    definition = store.get_feature_view(view)
    _update(store, delete=[definition])
    _update(store, keep=[definition])


def _update(
    store: FeatureStore, *, delete: Sequence[FeatureView] = (), keep: Sequence[FeatureView] = ()
) -> None:
    """Drop and create tables by the interface that all of Feast's online stores share."""
    store.provider.online_store.update(
        config=store.config,
        tables_to_delete=delete,
        tables_to_keep=keep,
        entities_to_delete=[],
        entities_to_keep=[],
        partial=True,
    )


def _source(store: FeatureStore, schema: FeatureSchema) -> str:
    """Hash of where rows come from and of where they go."""
    online = store.config.online_store.model_dump_json()
    text = f"{schema.model_dump_json()}\0{online}"
    return hashlib.sha256(text.encode()).hexdigest()


def read_held(workspace: Workspace) -> dict[str, Held]:
    """What the online store holds by view, as far as this module wrote it."""
    path = workspace.feast / MATERIALIZED_FILE
    if not path.is_file():
        return {}
    return {view: Held(**held) for view, held in json.loads(path.read_text("utf-8")).items()}


def _write_held(workspace: Workspace, held: Mapping[str, Held]) -> None:
    path = workspace.feast / MATERIALIZED_FILE
    partial = path.with_name(f".{MATERIALIZED_FILE}.partial")
    partial.write_text(json.dumps({view: asdict(h) for view, h in held.items()}), "utf-8")
    partial.replace(path)
