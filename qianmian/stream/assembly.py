"""Puts the stream of a data set together: what was, what it keeps up to date, where it goes on.

with assembled(workspace, engine, settings, now=clock.now) as streaming:
    streaming.run(stopping)
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import pandas as pd
import pyarrow as pa

from qianmian.contracts import columns as c
from qianmian.data.archive_writer import writing
from qianmian.data.store import Dataset
from qianmian.events.engine import Engine
from qianmian.events.rows import MICROSECONDS
from qianmian.features.store import FeatureRepo
from qianmian.features.views import EVENT_COLUMNS, FeatureInputs
from qianmian.identity.mapping import Identity
from qianmian.stream.archiver import ArchivePart, Archiver, settle
from qianmian.stream.bought import BoughtPart
from qianmian.stream.features import FeaturePart
from qianmian.stream.history import History
from qianmian.stream.part import Keeper, Part
from qianmian.stream.process import Stream
from qianmian.stream.refills import RefillPart
from qianmian.stream.reporter import Reporter
from qianmian.stream.settings import StreamSettings
from qianmian.stream.statistics import StatisticsPart
from qianmian.stream.status import STALE_SECONDS, read_status
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
    statistics: StatisticsPart
    archive: ArchivePart
    archiver: Archiver
    now: Callable[[], float]

    def run(self, stopping: Event) -> None:
        """Run until stopped, and say so at the end."""
        try:
            self.reporter.write()
            self.stream.run(stopping, self.reporter.tell)
        finally:
            self.archive.close()
            self.reporter.write(running=False)

    def drain(self) -> int:
        """Work in what the log holds now and return; says how many events that were."""
        try:
            while self.stream.step():
                pass
            self.stream.finish()
        finally:
            self.archive.close()
            self.reporter.write(running=False)
        return self.stream.events


def assemble(
    workspace: Workspace,
    engine: Engine,
    settings: StreamSettings,
    *,
    remember_seconds: float,
    skew_seconds: float,
    now: Callable[[], float],
    feature_repo: Path = FEATURE_REPO,
    rules: Path = TRUST,
    others: Sequence[Part] = (),
) -> Streaming:
    """Read what was imported and archived, and take the stream up at its checkpoint.

    `remember_seconds` says for how long ids of events must stay known
    (`AcceptanceSettings.remember_seconds`), `skew_seconds` how far ahead a sender's clock may be
    (`AcceptanceSettings.skew_seconds`), `rules` is the folder of the trust files, `others` are
    further parts.

    Raises:
        ConfigError: a trust file has faults.
        NotFoundError: the data set was never imported.
        FeatureStoreError: its features were not built.
        EventStoreError: the engine cannot be used.
    """
    dataset = Dataset.open(workspace)
    repo = FeatureRepo.open(workspace, feature_repo)
    trust = TrustPart(
        load_rules(workspace.dataset, rules), FlagStore(workspace.events / FLAGS_FILE)
    )
    trust.remember(dataset.archive)
    with writing(dataset.archive):  # nothing moves between log and archive meanwhile
        settle(engine.events, dataset.archive, at_once=settings.archive.events_at_once)
        return _assemble(
            workspace,
            dataset,
            repo,
            engine,
            settings,
            remember_seconds,
            skew_seconds,
            now,
            trust,
            others,
        )


def _assemble(
    workspace: Workspace,
    dataset: Dataset,
    repo: FeatureRepo,
    engine: Engine,
    settings: StreamSettings,
    remember_seconds: float,
    skew_seconds: float,
    now: Callable[[], float],
    trust: TrustPart,
    others: Sequence[Part],
) -> Streaming:
    inputs = FeatureInputs.of_stream(dataset, repo.schema)
    time_zone, changes = dataset.spec.time_zone, engine.changes
    status = read_status(changes)
    history, identity = History(_events(dataset)), Identity()
    users = UserFeatures(
        inputs,
        history,
        time_zone=time_zone,
        write=repo.push,
        members=identity.members,
        skew_seconds=skew_seconds,
    )
    features = FeaturePart(history, users, identity, changes, at_once=settings.subjects_at_once)
    statistics = StatisticsPart(
        inputs,
        history,
        changes,
        time_zone=time_zone,
        write=repo.push,
        every=settings.statistics_seconds,
        rows=settings.statistics_rows,
        canonical=identity.canonical,
        skew_seconds=skew_seconds,
    )

    def recompute(subject_ids: Collection[str]) -> None:
        features.recompute(subject_ids)
        statistics.recompute(subject_ids)

    bought = BoughtPart(changes, target=dataset.spec.target)
    keepers = [part for part in (features, bought, trust, *others) if isinstance(part, Keeper)]
    merges = SubjectPart(identity, changes, recompute=recompute, keepers=keepers)
    merges.follow()
    refills = RefillPart(
        workspace, engine.events, dataset.archive, recompute_since=features.recompute_since
    )
    refills.start(status.online if status else None)
    archiver = Archiver(
        engine.events,
        dataset.archive,
        settings.archive,
        remember_seconds=remember_seconds,
        owners=identity.owners,
    )
    archive = ArchivePart(archiver, settings.archive)
    parts: list[Part] = [merges, refills, features, bought, statistics, archive, trust, *others]
    stream = Stream(engine.events, parts, now=now, settings=settings)
    stream.received_at = status.received_at if status else 0.0
    _catch_up(dataset, features, stream.received_at)
    stream.restore()
    if status is not None:  # what was merged while no stream ran, and while the last one died
        recompute(merges.merged_since(status.updated_at - STALE_SECONDS))
    reporter = Reporter(changes, stream, features, statistics, trust, online=lambda: refills.stamp)
    log.info("stream of %s: %d events in memory", workspace.dataset, len(history))
    return Streaming(stream, reporter, statistics, archive, archiver, now)


def _catch_up(dataset: Dataset, features: FeaturePart, received_at: float) -> None:
    """Have the archived events worked in that the stream had not seen when it stopped."""
    rows = dataset.archive.read([c.USER_ID, c.TIMESTAMP, c.RECEIVED_AT], merged=False)
    if rows is None:
        return
    seconds = [
        rows[name].cast(pa.int64()).to_numpy() / MICROSECONDS
        for name in (c.TIMESTAMP, c.RECEIVED_AT)
    ]
    frame = pd.DataFrame(dict(zip(("at", "received"), seconds, strict=True)))
    newest = frame.groupby(rows[c.USER_ID].to_pylist()).max()
    features.remember(zip(newest.index, newest["at"], strict=True))
    features.recompute(newest.index[newest["received"] > received_at])


def _events(dataset: Dataset) -> pa.Table:
    """The events that features may be made of: all of them, or those of training where it says."""
    present = set(dataset.event_columns())
    columns = [name for name in EVENT_COLUMNS if name in present]
    read = dataset.events if dataset.spec.split.by == "time" else dataset.train_events
    frame: pd.DataFrame = read(columns, merged=False)
    return pa.Table.from_pandas(frame, preserve_index=False)
