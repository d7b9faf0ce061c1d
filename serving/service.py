"""The service without HTTP or Ray: settings in, pages out, releases swapped while it runs.

    service = VenueService.open(ServeSettings(), LiveSettings())
    answer = service.recommend("18", RecommendRequest(...))

A release is loaded and checked aside; then one reference, `world`, is swapped. A request holds the
world it began with. What cannot be used is refused, and the release in service stays.
"""

from __future__ import annotations

import logging
import os
import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from time import monotonic, time
from typing import Any, Final, Protocol

import orjson
from prometheus_client import CollectorRegistry

from qianmian.campaigns.book import CampaignBook
from qianmian.campaigns.purse import Purse, open_purse
from qianmian.contracts import topics
from qianmian.contracts.api import RecommendRequest
from qianmian.data.store import Dataset
from qianmian.erasure.opening import open_erasures
from qianmian.errors import ConfigError, NotFoundError, QianmianError, ReleaseError
from qianmian.events.accepting import Acceptance
from qianmian.events.engine import Engine, open_engine
from qianmian.events.identify import Identify
from qianmian.experiments import Experiments, load_experiments
from qianmian.features.store import FeatureRepo
from qianmian.identity.gate import Gate
from qianmian.identity.merging import Merger
from qianmian.releases.bundle import Bundle
from qianmian.releases.schema import current_schema
from qianmian.releases.store import ReleaseStore
from qianmian.venues import VenueBook
from qianmian.venues.vocabulary import conditions_of
from serving.catalogue import Catalogue, venue_sources
from serving.clock import Clock
from serving.decision_log import DecisionLog
from serving.feed.answer import Answer, venue_info
from serving.feed.decisions import Decision
from serving.feed.journey import Feed
from serving.feed.keys import KeyRing
from serving.feed.market import Market
from serving.feed.metrics import FeedMetrics
from serving.feed.racing import Races
from serving.feed.resident import ResidentRelease, World
from serving.feed.seal import Seal
from serving.feed.tokens import Signer
from serving.feed.users import Users
from serving.ingest.attribute import Attributor
from serving.ingest.door import Ingest
from serving.ingest.metrics import IngestMetrics
from serving.ingest.writer import GroupWriter
from serving.listener import Listener
from serving.people import People
from serving.settings import LiveSettings, ServeSettings
from serving.statistics import LiveStatistics, Rhythm
from serving.stream_watch import StreamWatch

log = logging.getLogger(__name__)

_DAY: Final = 86_400.0
#: Seconds until a refused release is tried again: the first wait, which doubles, and the longest.
RETRY_SECONDS: Final = 5.0
LONGEST_RETRY_SECONDS: Final = 60.0


class NotReadyError(QianmianError):
    """No release is loaded yet."""


class OnlineUsers(Protocol):
    """Where users are read: Feast's online store, or what stands for it in a test."""

    def online_user(self, user_id: str) -> Mapping[str, object] | None:
        """Return the features of a user by name, None for an unknown one."""

    def erase_users(self, user_ids: Sequence[str]) -> int:
        """Remove users, every byte; returns how many rows there were."""


class VenueService:
    """Answers for one data set."""

    def __init__(
        self,
        settings: ServeSettings,
        live: LiveSettings,
        *,
        catalogue: Catalogue,
        book: VenueBook,
        users: OnlineUsers,
        engine: Engine,
        schema: Callable[[], Mapping[str, str]],
        campaigns: CampaignBook | None = None,
        purse: Purse | None = None,
    ) -> None:
        """Use `open`; this takes the parts that were read.

        Without campaigns and their purse no place is for sale.
        """
        workspace = settings.workspace()
        self.settings = settings
        self.catalogue = catalogue
        self.book = book
        self.engine = engine
        self.metrics = FeedMetrics(CollectorRegistry())
        self.users = Users(
            users.online_user, size=settings.cache.size, ttl=settings.cache.ttl_seconds
        )
        self.decisions = (
            DecisionLog(
                settings.decision_log.folder or workspace.decisions,
                settings.decision_log,
                self.metrics.registry,
            )
            if settings.decision_log.enabled
            else None
        )
        self.world: World | None = None
        self.refused: str | None = None
        self._live = live
        self._clock = Clock.start(live.clock)
        self._schema = schema
        self._store = ReleaseStore(workspace.releases)
        self._loading = threading.Lock()
        self._seen_aliases: tuple[int, int] | str | None = "never looked"
        self._retry_wait = RETRY_SECONDS
        self._retry_at = 0.0
        self._keys = settings.keys()
        self._seen_keys = self._keys.stamp()
        self._seal = Seal(self._keys.ring, reread=self._changed_keys)
        signer = Signer(self._seal, dataset=settings.dataset)
        self._attribute = Attributor(signer, max_age=settings.ingest.token_days * _DAY)
        self.gate = Gate.open(settings.privacy, workspace, engine.changes)
        self.identify: Identify = self.gate.event
        self.people = People(
            self.gate,
            Merger(
                engine.changes, grace_seconds=settings.privacy.merge_grace_days * _DAY, clock=time
            ),
            open_erasures(
                workspace,
                engine,
                self.gate,
                privacy=settings.privacy,
                engine_settings=settings.engine,
                online=users.erase_users,
                decision_folder=settings.decision_log.folder,
            ),
        )
        self.listener = Listener(
            engine.changes, every=settings.listen_seconds, on_failure=self.metrics.failed
        )
        self.stream = StreamWatch(self.metrics.registry)
        self.listener.subscribe(topics.STREAM, self.stream.take)
        self.statistics = LiveStatistics()
        self._reorder = Rhythm(settings.reorder_seconds)
        self.listener.subscribe(topics.ITEM_STATISTICS, self.statistics.take)
        self.listener.subscribe(
            topics.USERS, lambda changes: self.users.forget(change.key for change in changes)
        )
        self.listener.subscribe(topics.INVENTORY, catalogue.goods.pushed.take)
        self.listener.subscribe(
            topics.IDENTITY, lambda changes: self.users.forget(self.gate.identity.apply(changes))
        )
        self.listener.subscribe(topics.FORGOTTEN, self.gate.tombstones.apply)
        self.races = Races(self.metrics.registry)
        self.listener.subscribe(topics.RACING, self.races.take)
        self.market = self._open_market(campaigns, purse)
        self.ingest = self._open_door()
        self._feed = Feed(
            users=self.users,
            signer=signer,
            metrics=self.metrics,
            new_id=lambda: secrets.token_urlsafe(12),
            ask=self.gate.page,
            races=self.races,
            market=self.market,
        )
        self._experiments = self._read_experiments(live)
        self.refresh()

    @classmethod
    def open(cls, settings: ServeSettings, live: LiveSettings) -> VenueService:
        """Read everything that pages are made of, and the promoted release if there is one.

        Raises:
            NotFoundError: the data set was never imported.
            ConfigError: a venue or experiment file holds faults.
            FeatureStoreError: the features were not built.
            EventStoreError: the engine cannot be used.
        """
        workspace = settings.workspace()
        dataset = Dataset.open(workspace)
        book = VenueBook.open(venue_sources(dataset, settings.configs, kept=workspace.venues))
        return cls(
            settings,
            live,
            catalogue=Catalogue.read(dataset),
            book=book,
            users=FeatureRepo.open(workspace, settings.feature_repo),
            engine=open_engine(settings.engine, workspace),
            schema=lambda: current_schema(workspace),
            campaigns=CampaignBook.open(
                settings.configs,
                dataset.spec.name,
                venues=lambda: book.venues,
                context=conditions_of(dataset.spec),
            ),
            purse=open_purse(settings.engine, workspace),
        )

    def _open_door(self) -> Ingest:
        metrics = IngestMetrics(self.metrics.registry)
        acceptance = Acceptance(
            self.settings.ingest.accept,
            known_item=lambda item_id: item_id in self.catalogue.item_ids,
            known_venue=lambda venue_id: venue_id in self.book.venues,
            identify=self.identify,
            mentioned=self.gate.other,
            attribute=self._attribute,
        )
        writer = GroupWriter(self.engine.events, on_written=metrics.written)
        return Ingest(acceptance, writer, metrics)

    def _open_market(self, campaigns: CampaignBook | None, purse: Purse | None) -> Market | None:
        if campaigns is None or purse is None:
            return None
        return Market(
            campaigns,
            purse,
            holder=f"{os.getpid()}-{secrets.token_hex(4)}",
            now=self.now,
            on_failure=self.metrics.failed,
            registry=self.metrics.registry,
        )

    def start(self) -> None:
        """Follow what changes elsewhere; pages can be asked for without it."""
        self.listener.start()
        if self.market is not None:
            self.market.start()
        self.people.start()

    def close(self) -> None:
        """Write what waits to be written, and stop."""
        self.listener.stop()
        if self.market is not None:
            self.market.close()
        self.people.stop()
        self.ingest.close()
        if self.decisions is not None:
            self.decisions.close()
        self.engine.close()

    def known_users(self, limit: int) -> list[tuple[str, int]]:
        """Return shoppers with a history and how many events that has, those with most first."""
        known = self.catalogue.known_users
        return [one for one in known if one[0] not in self.gate.tombstones][:limit]

    def now(self) -> float:
        """Return the moment the service believes it is, in seconds since the epoch."""
        return self._clock.now()

    # -- answers ------------------------------------------------------------------------------

    def recommend(self, venue_id: str, request: RecommendRequest) -> Answer:
        """Answer a request as plain values; nothing is logged.

        Raises as `respond` does.
        """
        return self._feed.recommend(self._ready(), venue_id, request)

    def respond(self, venue_id: str, request: RecommendRequest) -> bytes:
        """Answer a request as JSON, and log the decision.

        Raises:
            NotReadyError: no release is loaded.
            VenueNotFoundError: no such venue.
            FieldError: a field of the request cannot be used.
        """
        answer, made = self._feed.decide(self._ready(), venue_id, request)
        body = orjson.dumps(answer)
        if self.decisions is not None:
            self.decisions.record(Decision.of(made, body))
        return body

    def _ready(self) -> World:
        world = self.world
        if world is None:
            raise NotReadyError(self.refused or "no release is loaded")
        return world

    def venues(self) -> list[Answer]:
        """Return every venue with its phase at this moment."""
        now = self._clock.now()
        return [venue_info(v, v.phase_at(now)) for v in self.book.venues.values()]

    def readiness(self) -> dict[str, Any]:
        """Return what `GET /readyz` tells."""
        world = self.world
        return {
            "ready": world is not None,
            "release": world.release.id if world else None,
            "dataset": self.settings.dataset,
            "now": datetime.fromtimestamp(self._clock.now(), tz=UTC).isoformat(),
            "refused": self.refused,
            "venue_files_refused": self.book.refused,
            "stream": self.stream.state,
        }

    # -- releases -----------------------------------------------------------------------------

    def configure(self, live: LiveSettings) -> None:
        """Take over new live settings.

        Raises:
            ConfigError: an experiment file holds faults; the settings before stay.
        """
        experiments = self._read_experiments(live)
        with self._loading:
            another_time = live.clock != self._live.clock
            self._live, self._experiments = live, experiments
            self._clock = Clock.start(live.clock)
            self._load()
            if another_time:  # what was proposed to a user is of its moment
                self.users.forget_all()

    def refresh(self) -> None:
        """Take over keys, venues and releases that changed; costs a `stat` a file if nothing did.

        A release that was refused is tried again, ever less often: its reason may have passed.
        """
        with self._loading:
            self._refresh_keys()
            self._refresh_venues()
            self._refresh_statistics()
            aliases = self._aliases_stamp()
            if aliases != self._seen_aliases:
                self._seen_aliases = aliases
                self._retry_wait = RETRY_SECONDS
            elif self.refused is None or monotonic() < self._retry_at:
                return
            self._load()
            self._retry_at = monotonic() + self._retry_wait
            self._retry_wait = min(2 * self._retry_wait, LONGEST_RETRY_SECONDS)

    def _refresh_venues(self) -> None:
        """Lay out the venues whose files changed, and swap them in beside the others.

        A file with faults is refused: what it said before stays in force.
        """
        refused_before = self.book.refused
        changed = self.book.refresh()
        refused = self.book.refused
        for path, why in refused.items():
            if refused_before.get(path) != why:
                log.warning("venue file refused, going on with the one before: %s", why)
                self.metrics.venue_file("refused")
        self.metrics.venue_files_refused(len(refused))
        world = self.world
        if not changed or world is None:
            return
        venues, goods = self.book.venues, self.catalogue.goods
        laid_out: dict[str, ResidentRelease] = {}
        for release in world.releases.values():
            if release.id not in laid_out:
                laid_out[release.id] = release.with_venues(venues, world.venues, goods)
        releases = {alias: laid_out[release.id] for alias, release in world.releases.items()}
        self.world = replace(world, venues=venues, releases=releases)
        self.metrics.venue_file("taken")
        log.info("serving changed venues")

    def _refresh_statistics(self) -> None:
        """Put in what the stream computed of items, and now and then order the pools by it."""
        releases = self._releases()
        if changed := self.statistics.changed():
            for release in releases:
                self.statistics.apply(release.bundle, changed)
            self._reorder.ask()
        if self.world is None or not self._reorder.due(monotonic()):
            return
        ordered = {release.id: release.reordered() for release in releases}
        held = self.world.releases
        swapped = {alias: ordered[release.id] for alias, release in held.items()}
        self.world = replace(self.world, releases=swapped)

    def _releases(self) -> list[ResidentRelease]:
        """Return the releases in service, each once."""
        held = self.world.releases.values() if self.world else ()
        return list({release.id: release for release in held}.values())

    def _refresh_keys(self) -> None:
        ring = self._changed_keys()
        if ring is not None:
            self._seal.take(ring)

    def _changed_keys(self) -> KeyRing | None:
        """Return the ring where its file changed since it was read; a broken one is left alone."""
        stamp = self._keys.stamp()
        if stamp == self._seen_keys:
            return None
        self._seen_keys = stamp
        self._attribute.forget()  # what a retired key signed must not be remembered
        try:
            return self._keys.ring
        except ConfigError as error:
            log.warning("keys refused, going on with those before: %s", error)
            self.metrics.failed("keys_refused")
            return None

    def _load(self) -> None:
        """Build the next world aside and swap it in; a release that fails is refused."""
        held = self.world.releases if self.world else {}
        by_id = {release.id: release for release in held.values()}
        main = self._experiments.base.release
        releases: dict[str, ResidentRelease] = {}
        refused: list[str] = []
        for alias in sorted(self._experiments.release_aliases()):
            try:
                releases[alias] = self._resident(alias, by_id)
            except (QianmianError, OSError, RuntimeError) as error:
                known = str(error) in (self.refused or "")  # a retry that found it as it was
                if not known:
                    log.warning("release %r refused: %s", alias, error)
                if alias == main or not isinstance(error, NotFoundError):
                    refused.append(str(error))
                    if not known:
                        self.metrics.refused()
                if alias in held:
                    releases[alias] = held[alias]
        self.refused = "; ".join(refused) or None
        if main not in releases or self._in_service(releases):
            return
        self.world = World(
            venues=self.book.venues,
            experiments=self._experiments,
            releases=releases,
            clock=self._clock,
        )
        self.metrics.swapped(_ids(releases))
        log.info("serving %s", _ids(releases))

    def _in_service(self, releases: Mapping[str, ResidentRelease]) -> bool:
        """Return whether the world is already made of these and of the settings as they are."""
        world = self.world
        return (
            world is not None
            and _ids(world.releases) == _ids(releases)
            and world.experiments is self._experiments
            and world.clock is self._clock
        )

    def _resident(self, alias: str, held: Mapping[str, ResidentRelease]) -> ResidentRelease:
        release_id = self._store.resolve(alias)
        if release_id in held:
            return held[release_id]
        manifest = self._store.verify(release_id, self._schema())
        if manifest.dataset != self.settings.dataset:
            raise ReleaseError(
                f"release {manifest.id} is of data set {manifest.dataset!r}: "
                f"expected {self.settings.dataset!r}; promote one that was trained here"
            )
        bundle = Bundle.load(
            self._store.path(release_id),
            provider=self.settings.provider,
            threads=self.settings.threads,
        )
        self.statistics.apply(bundle)
        return ResidentRelease.build(release_id, bundle, self.book.venues, self.catalogue.goods)

    def _read_experiments(self, live: LiveSettings) -> Experiments:
        folder = self.settings.configs / "experiments"
        return load_experiments(folder, self.settings.dataset, live.feed)

    def _aliases_stamp(self) -> tuple[int, int] | None:
        try:
            status = self._store.aliases_path.stat()
        except FileNotFoundError:
            return None
        return status.st_mtime_ns, status.st_ino


def _ids(releases: Mapping[str, ResidentRelease]) -> dict[str, str]:
    return {alias: release.id for alias, release in releases.items()}
