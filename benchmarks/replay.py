"""Replays real events through the stream and holds its features to those of the batch path.

    python -m benchmarks.replay --events 100000 --steps 25

The newest events of the data set go, as a stream on top of the rest, through a real event log, the
real stream and the real online store. After each step every feature row that the stream wrote is
read back and compared, field by field, with what the batch path computes of the same moment from
the whole data set. Prints one JSON object; a single mismatch ends with exit code 1.
"""

from __future__ import annotations

import random
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from benchmarks import command
from qianmian.contracts import columns as c
from qianmian.contracts import features as f
from qianmian.contracts import topics
from qianmian.data.store import Dataset
from qianmian.events.engine import Engine, SqliteEngine, open_engine
from qianmian.events.event import StoredEvent
from qianmian.features.event_log import EventLog
from qianmian.features.online import OnlineReader
from qianmian.features.schema import JOIN_KEYS, FeatureSchema, entity_of
from qianmian.features.store import FeatureRepo
from qianmian.features.views import EVENT_COLUMNS, FeatureInputs
from qianmian.identity.mapping import Identity
from qianmian.stream.features import FeaturePart
from qianmian.stream.history import History
from qianmian.stream.process import Stream
from qianmian.stream.settings import StreamSettings
from qianmian.stream.statistics import StatisticsPart
from qianmian.stream.users import UserFeatures, just_after
from qianmian.workspace import Workspace

Row = dict[str, object]
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Report:
    """What was compared."""

    events: int
    steps: int
    subjects: int
    items: int
    rows: int
    values: int
    mismatches: int
    examples: tuple[str, ...]


def replay(
    workspace: Workspace, *, events: int, steps: int, seed: int = 5, tell: Tell = lambda _: None
) -> Report:
    """Stream the newest `events` (a few more, for moments are not cut) in `steps` and compare.

    The workspace's online store is left alone: the stream writes to a copy. Within a step events
    arrive in a random order, and every tenth is delivered twice.
    """
    dataset = Dataset.open(workspace)
    present = set(dataset.event_columns())
    frame = dataset.events([name for name in EVENT_COLUMNS if name in present])
    at = frame[c.TIMESTAMP].to_numpy()
    start = int(np.searchsorted(at, at[len(at) - events], side="left"))
    edges = np.linspace(start, len(at), steps + 1).astype(int)
    edges[1:-1] = np.searchsorted(at, at[edges[1:-1]], side="left")
    with tempfile.TemporaryDirectory(prefix="qianmian-replay-") as folder:
        home = _copy(workspace, Path(folder))
        engine = open_engine(SqliteEngine(folder=Path(folder) / "engine"), home)
        try:
            judge = _Judge(dataset, frame, home, tell)
            return judge.run(engine, start, np.unique(edges).tolist(), random.Random(seed))
        finally:
            engine.close()


class _Judge:
    """A stream and a batch path over the same events."""

    def __init__(
        self, dataset: Dataset, frame: pd.DataFrame, workspace: Workspace, tell: Tell
    ) -> None:
        self._frame = frame
        self._tell = tell
        self._time_zone = dataset.spec.time_zone
        schema = FeatureSchema.load(workspace.features)
        self._inputs = FeatureInputs.of_stream(dataset, schema)
        log = EventLog.build(frame, target=self._inputs.log.target, time_zone=self._time_zone)
        self._batch = replace(self._inputs, log=log)
        self._repo = FeatureRepo.open(workspace)
        self._written: dict[str, set[str]] = {}
        self._examples: list[str] = []
        self._rows = self._values = self._mismatches = 0

    def run(self, engine: Engine, start: int, edges: Sequence[int], rng: random.Random) -> Report:
        head = pa.Table.from_pandas(self._frame.iloc[:start], preserve_index=False)
        history = History(head)
        now = [0.0]
        settings = StreamSettings(read_events=2_000)
        users = UserFeatures(self._inputs, history, time_zone=self._time_zone, write=self._write)
        features = FeaturePart(history, users, Identity(), engine.changes, at_once=64)
        statistics = StatisticsPart(
            self._inputs,
            history,
            engine.changes,
            time_zone=self._time_zone,
            write=self._write,
            every=1e-9,
            rows=1 << 40,
        )
        stream = Stream(
            engine.events, [features, statistics], now=lambda: now[0], settings=settings
        )
        subjects: set[str] = set()
        items: set[str] = set()
        for first, last in pairwise(edges):
            part = stored_events(self._frame.iloc[first:last], first)
            now[0] = just_after(max(event.timestamp for event in part))
            again = part[::10]
            rng.shuffle(part)
            engine.events.append(part)
            assert not any(engine.events.append(again))  # noqa: S101 - a redelivery is known
            while stream.step():
                pass
            told = engine.changes.get(topics.ITEM_STATISTICS)
            assert set(told) >= self._written[f.ITEM_STATISTICS]  # noqa: S101
            subjects |= self._written.get(f.USER_ACTIVITY, set())
            items |= self._written[f.ITEM_STATISTICS]
            self._compare(now[0])
            self._tell(
                f"{last - edges[0]:,} of {edges[-1] - edges[0]:,} events: {self._rows:,} rows, "
                f"{self._values:,} values, {self._mismatches} mismatches"
            )
        return Report(
            events=int(edges[-1] - edges[0]),
            steps=len(edges) - 1,
            subjects=len(subjects),
            items=len(items),
            rows=self._rows,
            values=self._values,
            mismatches=self._mismatches,
            examples=tuple(self._examples),
        )

    def _write(self, view: str, rows: pa.Table) -> None:
        self._repo.push(view, rows)
        ids = rows[JOIN_KEYS[entity_of(view)]].to_pylist()
        self._written.setdefault(view, set()).update(ids)

    def _compare(self, as_of: float) -> None:
        """Compare what was written since the last time with the batch path's rows."""
        for view, ids in self._written.items():
            key, fields = JOIN_KEYS[entity_of(view)], list(self._repo.schema.views[view])
            wanted = sorted(ids)
            reader = OnlineReader(self._repo.store, key, {view: fields})
            online = dict(zip(wanted, reader.read(wanted), strict=True))
            batch = {row[key]: row for row in self._batch.compute(view, as_of).to_pylist()}
            for entity_id in wanted:
                self._rows += 1
                got, right = online[entity_id] or {}, batch.get(entity_id, {})
                for name in fields:
                    self._values += 1
                    if got.get(name) != right.get(name):
                        self._mismatches += 1
                        self._examples.append(f"{view}.{name} of {entity_id}")
        self._examples = self._examples[:10]
        self._written.clear()


def stored_events(rows: pd.DataFrame, first: int = 0) -> list[StoredEvent]:
    """Rows of a data set as the event log would hold them, numbered from `first`."""
    columns = [name for name in EVENT_COLUMNS if name in rows]
    stamps = rows[c.TIMESTAMP].to_numpy(dtype="datetime64[us]").astype(np.int64) / 1e6
    return [
        StoredEvent(
            event_id=f"replay-{first + place}",
            subject_id=str(row[c.USER_ID]),
            user_id=str(row[c.USER_ID]),
            timestamp=float(at),
            received_at=float(at),
            **{
                str(name): value
                for name, value in row.items()
                if name not in {c.USER_ID, c.TIMESTAMP} and not pd.isna(value)
            },
        )
        for place, (row, at) in enumerate(
            zip(rows[columns].to_dict("records"), stamps, strict=True)
        )
    ]


def _copy(workspace: Workspace, folder: Path) -> Workspace:
    """A workspace with the schema of this one and an online store of its own."""
    copy = Workspace(folder, workspace.dataset)
    copy.features.mkdir(parents=True)
    for path in workspace.features.glob("*.json"):
        shutil.copy(path, copy.features)
    return copy


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line."""
    parser = command.parser("replay", __doc__)
    command.add_workspace(parser)
    parser.add_argument("--events", type=command.count, default=100_000)
    parser.add_argument("--steps", type=command.count, default=25)
    options = parser.parse_args(argv)
    began = time.monotonic()
    report = replay(
        Workspace(options.home, options.dataset),
        events=options.events,
        steps=options.steps,
        tell=command.say,
    )
    command.report({**asdict(report), "seconds": round(time.monotonic() - began, 1)})
    return 1 if report.mismatches else 0


if __name__ == "__main__":
    command.run(main)
