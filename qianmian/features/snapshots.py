"""Feature snapshots: every view as it was known at each moment of a schedule, as Parquet.

`<features>/<view>/<YYYYMMDDTHHMMSS>.parquet`, one file a moment, is what Feast's point-in-time join
reads. A snapshot at `t` is made of events strictly before `t` and carries `event_timestamp = t`.
Views that do not change are written once, under the epoch.

A build is idempotent and may be killed at any time: a file appears under its name only when it is
whole, and is kept as long as the fingerprint of its inputs (data, definitions) holds.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa

from qianmian.contracts import columns as c
from qianmian.data.store import Dataset
from qianmian.errors import DataError, FieldError
from qianmian.features.event_log import SECONDS_PER_DAY
from qianmian.features.schema import TIMELESS_VIEWS, FeatureSchema
from qianmian.features.snapshot_files import (
    PARTIAL,
    clear_snapshots,
    show,
    snapshot_path,
    write_snapshot,
)
from qianmian.features.views import FeatureInputs
from qianmian.folder_lock import hold
from qianmian.workspace import Workspace

#: Raised whenever a feature function gives other rows for the same events.
REVISION: Final = 2

STAMP_FILE: Final = "snapshots.json"
EPOCH: Final = 0.0

#: Snapshots computed at a time: sorting and compression run beside each other, memory stays small.
THREADS: Final = 2

#: Told of each file: what was written, how many are done, how many there are.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class BuildReport:
    """What a build did."""

    moments: tuple[float, ...]
    written: int
    kept: int


def schedule(end: float, every_days: float, count: int) -> list[float]:
    """`count` moments `every_days` apart, ascending, the last of them `end` (epoch seconds).

    >>> schedule(7 * 86_400.0, every_days=7, count=2)
    [0.0, 604800.0]
    """
    if every_days <= 0:
        raise FieldError("every_days", every_days, "more than 0")
    if count < 1:
        raise FieldError("count", count, "1 or more")
    step = every_days * SECONDS_PER_DAY
    return [end - step * i for i in reversed(range(count))]


def build(
    workspace: Workspace,
    dataset: Dataset,
    moments: Sequence[float],
    *,
    force: bool = False,
    progress: Progress | None = None,
) -> BuildReport:
    """Write the snapshots of every view at `moments` (epoch seconds) that are not there yet.

    Moments up to the first event are left out. Files of other moments are kept: they are as good
    as on the day they were made. Another build of the same features is waited for.

    Raises `DataError` when no moment lies after an event, and `FieldError` for a moment that sees
    past the training period.
    """
    train_end = dataset.spec.split.train_end.timestamp()
    if late := [m for m in moments if m > train_end]:
        expected = f"a moment up to the end of training, {show(train_end)}"
        raise FieldError("moment", show(max(late)), expected)
    told = progress or _quiet
    workspace.features.mkdir(parents=True, exist_ok=True)
    with _alone(workspace.features, partial(told, "waiting for another build", 0, len(moments))):
        return _build(workspace, dataset, moments, force=force, progress=told)


def _quiet(what: str, done: int, of: int) -> None:
    """Tell nobody."""


@contextmanager
def _alone(folder: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold the folder: two builds would take files away from under each other."""
    try:
        held = hold(folder, wait=False)
    except BlockingIOError:
        waiting()
        held = hold(folder)
    try:
        yield
    finally:
        os.close(held)


def _build(
    workspace: Workspace,
    dataset: Dataset,
    moments: Sequence[float],
    *,
    force: bool,
    progress: Progress,
) -> BuildReport:
    folder = workspace.features
    origin = _origin(workspace)
    part = dataset.archive.manifest().next_part
    fingerprint = _fingerprint(origin, dataset.since_import())
    stamp = _Stamp.read(folder)
    thresholds = None
    if not force and stamp is not None and origin in {stamp.origin, stamp.fingerprint}:
        # Where events came after the import, or the split moved, the levels of tags stay what the
        # releases in service were trained on.
        schema = FeatureSchema.load(folder)
        thresholds = schema.thresholds
        if stamp.fingerprint == fingerprint:
            usable = _usable(moments, stamp.first_event)
            if not _missing(folder, schema, usable):
                return BuildReport(tuple(usable), written=0, kept=len(_wanted(schema, usable)))
    progress("reading events", 0, len(moments))
    inputs = FeatureInputs.read(dataset, thresholds)
    if not len(inputs.log.events):
        raise DataError(f"{c.EVENTS_FILE}: expected training events with a time; there are none")
    first_event = float(inputs.log.events.at[0])
    usable = _usable(moments, first_event)
    if force or stamp is None or stamp.fingerprint != fingerprint:
        clear_snapshots(folder)  # their stamp stays meanwhile: a kill must not lose the levels
    else:
        part = stamp.next_part  # some were written then
    missing = _missing(folder, inputs.schema, usable)
    inputs.schema.save(folder)
    # Before the files: a build that is killed goes on where it stood.
    _Stamp(fingerprint, first_event, origin, part).write(folder)
    _write_all(folder, inputs, missing, progress)
    kept = len(_wanted(inputs.schema, usable)) - len(missing)
    return BuildReport(tuple(usable), written=len(missing), kept=kept)


def missing(workspace: Workspace, moments: Sequence[float]) -> list[float]:
    """Moments (epoch seconds) of which there is no snapshot of every view, ascending.

    All of them where nothing was built, or from another import. Events that were archived since the
    last build do not count: a service that runs brings some every hour.
    """
    stamp = _Stamp.read(workspace.features)
    if stamp is None or _origin(workspace) not in {stamp.origin, stamp.fingerprint}:
        return sorted(moments)
    usable = _usable(moments, stamp.first_event)
    found = _missing(workspace.features, FeatureSchema.load(workspace.features), usable)
    return sorted({moment for _, moment in found} - {EPOCH})


def built_from(workspace: Workspace) -> str:
    """Fingerprint of what the snapshots were built from; empty where there are none."""
    stamp = _Stamp.read(workspace.features)
    return "" if stamp is None else stamp.fingerprint


def next_part(workspace: Workspace) -> int:
    """Number of the archive's first part that the snapshots may lack events of."""
    stamp = _Stamp.read(workspace.features)
    return 0 if stamp is None else stamp.next_part


def _write_all(
    folder: Path,
    inputs: FeatureInputs,
    missing: Sequence[tuple[str, float]],
    progress: Progress,
) -> None:
    """Compute and write snapshots on a few threads; what stops one of them stops all."""

    def write(task: tuple[str, float]) -> str:
        view, moment = task
        rows, known_since = _rows(inputs, view, moment)
        write_snapshot(snapshot_path(folder / view, moment), rows, known_since)
        return f"{view} {show(moment)[:10]}"

    pool = ThreadPoolExecutor(max_workers=THREADS)
    try:
        tasks = [pool.submit(write, task) for task in missing]
        for done, task in enumerate(as_completed(tasks), start=1):
            written = task.result()
            progress(written, done, len(missing))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@dataclass(frozen=True, slots=True)
class _Stamp:
    """What the snapshots in a folder were made from."""

    fingerprint: str
    first_event: float  # epoch seconds
    origin: str = ""  # fingerprint of the import alone
    next_part: int = 0  # of the archive, before its events were read

    @classmethod
    def read(cls, folder: Path) -> _Stamp | None:
        path = folder / STAMP_FILE
        return cls(**json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None

    def write(self, folder: Path) -> None:
        partial = folder / f".{STAMP_FILE}{PARTIAL}"
        partial.write_text(json.dumps(asdict(self)) + "\n", encoding="utf-8")
        partial.replace(folder / STAMP_FILE)


def _rows(inputs: FeatureInputs, view: str, moment: float) -> tuple[pa.Table, pa.Array]:
    if view in TIMELESS_VIEWS:
        return inputs.timeless(view)
    rows = inputs.compute(view, moment)
    return rows, pa.array(np.full(len(rows), moment))


def _usable(moments: Sequence[float], first_event: float) -> list[float]:
    usable = sorted({round(m, 6) for m in moments if m > first_event})
    if not usable:
        raise DataError(
            f"no snapshot lies after the first event ({show(first_event)}): expected a schedule "
            "that reaches into the training period; check split.train_end in dataset.yaml"
        )
    return usable


def _missing(
    folder: Path, schema: FeatureSchema, moments: Sequence[float]
) -> list[tuple[str, float]]:
    """(view, moment) of the snapshots that are not there, oldest first."""
    return [
        (view, moment)
        for view, moment in _wanted(schema, moments)
        if not snapshot_path(folder / view, moment).is_file()
    ]


def _wanted(schema: FeatureSchema, moments: Sequence[float]) -> list[tuple[str, float]]:
    timeless = [(view, EPOCH) for view in schema.views if view in TIMELESS_VIEWS]
    changing = [view for view in schema.views if view not in TIMELESS_VIEWS]
    return [*timeless, *((view, moment) for moment in moments for view in changing)]


def _origin(workspace: Workspace) -> str:
    """Hash of the import and of the definitions."""
    imported = (workspace.data / c.IMPORT_FILE).read_bytes()
    described = (workspace.data / c.DATASET_FILE).read_bytes()
    return hashlib.sha256(b"\0".join([imported, described, str(REVISION).encode()])).hexdigest()


def _fingerprint(origin: str, since_import: str) -> str:
    """Hash of all that snapshots are made from."""
    if not since_import:
        return origin
    return hashlib.sha256(f"{origin}\0{since_import}".encode()).hexdigest()
