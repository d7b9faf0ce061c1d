"""Puts the stream of a data set together: what was, what it keeps up to date, where it goes on.

with assembled(workspace, engine, settings, now=clock.now) as streaming:
    streaming.run(stopping)
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import pandas as pd
import pyarrow as pa

from qianmian.data.store import Dataset
from qianmian.events.engine import Engine
from qianmian.events.store import BEGINNING
from qianmian.features.store import FeatureRepo
from qianmian.features.views import EVENT_COLUMNS, FeatureInputs
from qianmian.identity.mapping import Identity
from qianmian.stream.features import FeaturePart
from qianmian.stream.history import History
from qianmian.stream.part import Part
from qianmian.stream.process import Stream
from qianmian.stream.refills import RefillPart
from qianmian.stream.reporter import Reporter
from qianmian.stream.settings import StreamSettings
from qianmian.stream.statistics import StatisticsPart
from qianmian.stream.status import read_status
from qianmian.stream.subjects import SubjectPart
from qianmian.stream.trust import TrustPart
from qianmian.stream.users import UserFeatures
from qianmian.trust.rules import TRUST, load_rules
from qianmian.trust.store import FLAGS_FILE, FlagStore
from qianmian.workspace import FEATURE_REPO, Workspace

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Streaming:
    """A stream that is ready to run."""

    stream: Stream
    reporter: Reporter

    def run(self, stopping: Event) -> None:
        """Run until stopped, and say so at the end."""
        try:
            self.reporter.write()
            self.stream.run(stopping, self.reporter.tell)
        finally:
            self.reporter.write(running=False)

    def drain(self) -> int:
        """Work in what the log holds now and return; says how many events that were."""
        while self.stream.step():
            pass
        self.reporter.write(running=False)
        return self.stream.events


def assemble(
    workspace: Workspace,
    engine: Engine,
    settings: StreamSettings,
    *,
    now: Callable[[], float],
    feature_repo: Path = FEATURE_REPO,
    rules: Path = TRUST,
    others: Sequence[Part] = (),
) -> Streaming:
    """Read what was imported and archived, and take the stream up at its checkpoint.

    `rules` is the folder of the trust files, `others` are further parts.

    Raises:
        ConfigError: a trust file has faults.
        NotFoundError: the data set was never imported.
        FeatureStoreError: its features were not built.
        EventStoreError: the engine cannot be used.
    """
    dataset = Dataset.open(workspace)
    repo = FeatureRepo.open(workspace, feature_repo)
    inputs = FeatureInputs.of_stream(dataset, repo.schema)
    time_zone = dataset.spec.time_zone
    history = History(_events(dataset))
    identity = Identity()
    users = UserFeatures(
        inputs, history, time_zone=time_zone, write=repo.push, members=identity.members
    )
    features = FeaturePart(
        history, users, identity, engine.changes, at_once=settings.subjects_at_once
    )
    statistics = StatisticsPart(
        inputs,
        history,
        engine.changes,
        time_zone=time_zone,
        write=repo.push,
        every=settings.statistics_seconds,
        rows=settings.statistics_rows,
    )
    merges = SubjectPart(identity, engine.changes, recompute=features.recompute)
    merges.follow()
    refills = RefillPart(workspace, recompute_since=features.recompute_since)
    trust = TrustPart(
        load_rules(workspace.dataset, rules), FlagStore(workspace.events / FLAGS_FILE)
    )
    parts: list[Part] = [merges, refills, features, statistics, trust, *others]
    stream = Stream(engine.events, parts, now=now, settings=settings)
    status = read_status(engine.changes)
    refills.start(status.online if status else None)
    stream.restore(BEGINNING)
    reporter = Reporter(engine.changes, stream, features, statistics, online=lambda: refills.stamp)
    log.info("stream of %s: %d events in memory", workspace.dataset, len(history))
    return Streaming(stream, reporter)


def _events(dataset: Dataset) -> pa.Table:
    """The events that features may be made of: all of them, or those of training where it says."""
    present = set(dataset.event_columns())
    columns = [name for name in EVENT_COLUMNS if name in present]
    split_by_time = dataset.spec.split.by == "time"
    frame: pd.DataFrame = (
        dataset.events(columns) if split_by_time else dataset.train_events(columns)
    )
    return pa.Table.from_pandas(frame, preserve_index=False)
