"""The service without HTTP or Ray: settings in, pages out, releases swapped while it runs.

    service = VenueService.open(ServeSettings(), LiveSettings())
    answer = service.recommend("18", RecommendRequest(...))

It joins the parts of a replica; each of them is a file of its own. What pages are made of, and how
it is swapped, is `serving/worlds.py`.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

import orjson
from prometheus_client import CollectorRegistry

from qianmian.campaigns.book import CampaignBook
from qianmian.campaigns.purse import Purse, open_purse
from qianmian.contracts import topics
from qianmian.contracts.api import RecommendRequest
from qianmian.data.store import Dataset
from qianmian.events.changes import Change
from qianmian.events.engine import Engine, open_engine
from qianmian.features.store import FeatureRepo
from qianmian.identity.gate import Gate
from qianmian.releases.schema import current_schema
from qianmian.venues import VenueBook
from qianmian.venues.vocabulary import conditions_of
from serving.catalogue import Catalogue, venue_sources
from serving.decision_log import DecisionLog
from serving.feed.answer import Answer, venue_info
from serving.feed.bought import JustBought
from serving.feed.decisions import Decision
from serving.feed.journey import Feed
from serving.feed.market import Reads
from serving.feed.metrics import FeedMetrics
from serving.feed.patience import patient
from serving.feed.racing import Races
from serving.feed.tokens import Signer
from serving.feed.users import Users
from serving.ingest.attribute import Attributor
from serving.key_watch import KeyWatch
from serving.listener import Listener
from serving.parts import DAY, open_door, open_market, open_people
from serving.settings import LiveSettings, ServeSettings
from serving.statistics import LiveStatistics
from serving.stream_watch import StreamWatch
from serving.worlds import Worlds


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
            patient(users.online_user),
            size=settings.cache.size,
            ttl=settings.cache.ttl_seconds,
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
        self.statistics = LiveStatistics()
        self.worlds = Worlds(
            settings,
            live,
            catalogue=catalogue,
            book=book,
            statistics=self.statistics,
            schema=schema,
            metrics=self.metrics,
        )
        self._keys = KeyWatch(
            settings.keys(),
            on_failure=self.metrics.failed,
            on_change=self._forget_tokens,
        )
        signer = Signer(self._keys.seal, dataset=settings.dataset)
        self._attribute = Attributor(signer, max_age=settings.ingest.token_days * DAY)
        self.gate = Gate.open(settings.privacy, workspace, engine.changes)
        self.people = open_people(settings, engine, self.gate, online=users.erase_users)
        self.listener = Listener(
            engine.changes, every=settings.listen_seconds, on_failure=self.metrics.failed
        )
        self.stream = StreamWatch(self.metrics.registry)
        self.races = Races(self.metrics.registry)
        self.bought = JustBought(
            self.gate.identity.members,
            on_known=self.users.forget,
            registry=self.metrics.registry,
        )
        self._subscribe()
        self.market = open_market(campaigns, purse, now=self.now, metrics=self.metrics)
        self.ingest = open_door(
            settings,
            engine,
            self.gate,
            attribute=self._attribute,
            catalogue=catalogue,
            book=book,
            bought=self.bought,
            metrics=self.metrics,
        )
        self._feed = Feed(
            users=self.users,
            signer=signer,
            metrics=self.metrics,
            new_id=lambda: secrets.token_urlsafe(12),
            ask=self.gate.page,
            races=self.races,
            market=self.market,
            bought=self.bought,
            facts_may_be_old=lambda: self.listener.behind,
        )
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
                kept=workspace.campaigns,
            ),
            purse=open_purse(settings.engine, workspace),
        )

    def _forget_people(self, subject_ids: Sequence[str]) -> None:
        self.bought.forget(subject_ids)
        if self.market is not None:
            self.market.showings.forget(subject_ids)

    def _forget_tokens(self) -> None:
        self._attribute.forget()

    def _subscribe(self) -> None:
        """Have each part that keeps facts in memory told of those that change."""
        subscribe, users, gate = self.listener.subscribe, self.users, self.gate
        subscribe(topics.STREAM, self.stream.take)
        subscribe(topics.ITEM_STATISTICS, self.statistics.take)
        subscribe(topics.USERS, lambda changes: users.forget(change.key for change in changes))
        subscribe(topics.USERS, lambda changes: self._forget_people(_gone(changes)))
        subscribe(topics.BOUGHT, self.bought.take)
        subscribe(topics.INVENTORY, self.catalogue.goods.pushed.take)
        subscribe(topics.IDENTITY, lambda changes: users.forget(gate.identity.apply(changes)))
        subscribe(topics.FORGOTTEN, gate.tombstones.apply)
        subscribe(topics.RACING, self.races.take)

    def start(self) -> None:
        """Follow what changes elsewhere; pages can be asked for without it.

        Pools are laid out by what was pushed before this replica began.
        """
        self.listener.start()
        self.worlds.refresh()
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
        return self.worlds.clock.now()

    # -- answers ------------------------------------------------------------------------------

    def recommend(self, venue_id: str, request: RecommendRequest) -> Answer:
        """Answer a request as plain values, with all that it needs read; nothing is logged.

        Raises as `respond` does.
        """
        reads = self.reads(venue_id, request)
        if reads is not None:
            reads.run()
        return self._feed.recommend(self.worlds.ready(), venue_id, request)

    def reads(self, venue_id: str, request: RecommendRequest) -> Reads | None:
        """Return what to do on another thread before `respond`, None for nothing.

        Raises as `respond` does.
        """
        return self._feed.reads(self.worlds.ready(), venue_id, request)

    def respond(self, venue_id: str, request: RecommendRequest) -> bytes:
        """Answer a request as JSON, and log the decision.

        Raises:
            NotReadyError: no release is loaded.
            VenueNotFoundError: no such venue.
            FieldError: a field of the request cannot be used.
        """
        answer, made = self._feed.decide(self.worlds.ready(), venue_id, request)
        body = orjson.dumps(answer)
        if self.decisions is not None:
            self.decisions.record(Decision.of(made, body))
        return body

    def venues(self) -> list[Answer]:
        """Return every venue with its phase at this moment."""
        now = self.now()
        return [venue_info(v, v.phase_at(now)) for v in self.book.venues.values()]

    def readiness(self) -> dict[str, Any]:
        """Return what `GET /readyz` tells."""
        world = self.worlds.world
        return {
            "ready": world is not None and not self.listener.waiting,
            "release": world.release.id if world else None,
            "dataset": self.settings.dataset,
            "now": datetime.fromtimestamp(self.now(), tz=UTC).isoformat(),
            "refused": self.worlds.refused,
            "venue_files_refused": self.book.refused,
            "campaign_files_refused": self.market.refused if self.market else {},
            "stream": self.stream.state,
            "facts": str(self.listener.facts),
        }

    # -- what changes while it runs -----------------------------------------------------------

    def configure(self, live: LiveSettings) -> None:
        """Take over new live settings.

        Raises:
            ConfigError: an experiment file holds faults; the settings before stay.
        """
        if self.worlds.configure(live):  # what was proposed to a user is of its moment
            self.users.forget_all()

    def refresh(self) -> None:
        """Take over keys, venues and releases that changed; costs a `stat` a file if nothing did.

        A release that was refused is tried again, ever less often: its reason may have passed.
        """
        self._keys.refresh()
        self.worlds.refresh()


def _gone(changes: Sequence[Change]) -> list[str]:
    """Return the keys that were deleted: of the topic `users`, who was erased."""
    return [change.key for change in changes if change.value is None]
