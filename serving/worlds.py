"""The world in service: releases, venues, experiments and the clock, swapped while pages are made.

A release is loaded and checked aside; then one reference, `world`, is swapped. A request holds the
world it began with. What cannot be used is refused, and the release in service stays.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from time import monotonic
from typing import Final

from qianmian.errors import NotFoundError, QianmianError, ReleaseError
from qianmian.experiments import Experiments, load_experiments
from qianmian.releases.bundle import Bundle
from qianmian.releases.store import ReleaseStore
from qianmian.venues import VenueBook
from serving.catalogue import Catalogue
from serving.clock import Clock
from serving.feed.metrics import FeedMetrics
from serving.feed.resident import ResidentRelease, World
from serving.settings import LiveSettings, ServeSettings
from serving.statistics import LiveStatistics, Rhythm

log = logging.getLogger(__name__)

#: Seconds until a refused release is tried again: the first wait, which doubles, and the longest.
RETRY_SECONDS: Final = 5.0
LONGEST_RETRY_SECONDS: Final = 60.0


class NotReadyError(QianmianError):
    """No release is loaded yet."""


class Worlds:
    """Makes the world of one data set and keeps it up to date."""

    def __init__(
        self,
        settings: ServeSettings,
        live: LiveSettings,
        *,
        catalogue: Catalogue,
        book: VenueBook,
        statistics: LiveStatistics,
        schema: Callable[[], Mapping[str, str]],
        metrics: FeedMetrics,
    ) -> None:
        """Use these parts; there is no world before the first `refresh`.

        Raises:
            ConfigError: an experiment file holds faults.
        """
        self.world: World | None = None
        self.refused: str | None = None
        self.clock = Clock.start(live.clock)
        self._settings = settings
        self._live = live
        self._catalogue = catalogue
        self._book = book
        self._statistics = statistics
        self._reorder = Rhythm(settings.reorder_seconds)
        self._reselect = Rhythm(settings.reorder_seconds)
        self._schema = schema
        self._metrics = metrics
        self._store = ReleaseStore(settings.workspace().releases)
        self._loading = threading.Lock()
        self._seen_aliases: tuple[int, int] | str | None = "never looked"
        self._retry_wait = RETRY_SECONDS
        self._retry_at = 0.0
        self._experiments = self._read_experiments(live)

    def ready(self) -> World:
        """Return the world.

        Raises:
            NotReadyError: no release is loaded.
        """
        world = self.world
        if world is None:
            raise NotReadyError(self.refused or "no release is loaded")
        return world

    def configure(self, live: LiveSettings) -> bool:
        """Take over new live settings; returns whether it is another time now.

        Raises:
            ConfigError: an experiment file holds faults; the settings before stay.
        """
        experiments = self._read_experiments(live)
        with self._loading:
            another_time = live.clock != self._live.clock
            self._live, self._experiments = live, experiments
            self.clock = Clock.start(live.clock)
            self._load()
            return another_time

    def refresh(self) -> None:
        """Take over venues and releases that changed; costs a `stat` a file if nothing did.

        A release that was refused is tried again, ever less often: its reason may have passed.
        """
        with self._loading:
            self._refresh_venues()
            self._refresh_statistics()
            self._refresh_selections()
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
        refused_before = self._book.refused
        changed = self._book.refresh()
        refused = self._book.refused
        for path, why in refused.items():
            if refused_before.get(path) != why:
                log.warning("venue file refused, going on with the one before: %s", why)
                self._metrics.venue_file("refused")
        self._metrics.venue_files_refused(len(refused))
        world = self.world
        if not changed or world is None:
            return
        venues, goods = self._book.venues, self._catalogue.goods
        laid_out: dict[str, ResidentRelease] = {}
        for release in world.releases.values():
            if release.id not in laid_out:
                laid_out[release.id] = release.with_venues(venues, world.venues, goods)
        self._swap(replace(world, venues=venues), laid_out)
        self._metrics.venue_file("taken")
        log.info("serving changed venues")

    def _refresh_statistics(self) -> None:
        """Put in what the stream computed of items, and now and then order the pools by it."""
        releases = self._releases()
        if changed := self._statistics.changed():
            for release in releases:
                self._statistics.apply(release.bundle, changed)
            self._reorder.ask()
        if self.world is None or not self._reorder.due(monotonic()):
            return
        self._swap(self.world, {release.id: release.reordered() for release in releases})

    def _refresh_selections(self) -> None:
        """Lay out the pools whose query selects other items now, the first change at once."""
        releases, world = self._releases(), self.world
        if any(release.selects_others() for release in releases):
            self._reselect.ask()
        if world is None or not self._reselect.due(monotonic()):
            return
        goods = self._catalogue.goods
        self._swap(
            world, {release.id: release.reselected(world.venues, goods) for release in releases}
        )

    def _swap(self, world: World, renewed: Mapping[str, ResidentRelease]) -> None:
        """Put renewed releases, by id, in the place of those in service."""
        held = world.releases.items()
        releases = {alias: renewed[release.id] for alias, release in held}
        self.world = replace(world, releases=releases)

    def _releases(self) -> list[ResidentRelease]:
        """Return the releases in service, each once."""
        held = self.world.releases.values() if self.world else ()
        return list({release.id: release for release in held}.values())

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
                        self._metrics.refused()
                if alias in held:
                    releases[alias] = held[alias]
        self.refused = "; ".join(refused) or None
        if main not in releases or self._in_service(releases):
            return
        self.world = World(
            venues=self._book.venues,
            experiments=self._experiments,
            releases=releases,
            clock=self.clock,
        )
        self._metrics.swapped(_ids(releases))
        log.info("serving %s", _ids(releases))

    def _in_service(self, releases: Mapping[str, ResidentRelease]) -> bool:
        """Return whether the world is already made of these and of the settings as they are."""
        world = self.world
        return (
            world is not None
            and _ids(world.releases) == _ids(releases)
            and world.experiments is self._experiments
            and world.clock is self.clock
        )

    def _resident(self, alias: str, held: Mapping[str, ResidentRelease]) -> ResidentRelease:
        release_id = self._store.resolve(alias)
        if release_id in held:
            return held[release_id]
        manifest = self._store.verify(release_id, self._schema())
        if manifest.dataset != self._settings.dataset:
            raise ReleaseError(
                f"release {manifest.id} is of data set {manifest.dataset!r}: "
                f"expected {self._settings.dataset!r}; promote one that was trained here"
            )
        bundle = Bundle.load(
            self._store.path(release_id),
            provider=self._settings.provider,
            threads=self._settings.threads,
        )
        self._statistics.apply(bundle)
        return ResidentRelease.build(release_id, bundle, self._book.venues, self._catalogue.goods)

    def _read_experiments(self, live: LiveSettings) -> Experiments:
        folder = self._settings.configs / "experiments"
        return load_experiments(folder, self._settings.dataset, live.feed)

    def _aliases_stamp(self) -> tuple[int, int] | None:
        try:
            status = self._store.aliases_path.stat()
        except FileNotFoundError:
            return None
        return status.st_mtime_ns, status.st_ino


def _ids(releases: Mapping[str, ResidentRelease]) -> dict[str, str]:
    return {alias: release.id for alias, release in releases.items()}
