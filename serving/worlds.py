"""The world in service: releases, venues, experiments and the clock, swapped while pages are made.

A release is loaded and checked aside; then one reference, `world`, is swapped. A request holds the
world it began with. What cannot be used is refused, whatever it fails on, and what is in service
stays; it is tried again.
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
from qianmian.venues import Venue, VenueBook
from serving.catalogue import Catalogue
from serving.clock import Clock
from serving.feed.metrics import FeedMetrics
from serving.feed.resident import ResidentRelease, World
from serving.settings import LiveSettings, ServeSettings
from serving.statistics import LiveStatistics, Rhythm

log = logging.getLogger(__name__)

#: Seconds until what was refused is tried again: the first wait, which doubles, and the longest.
RETRY_SECONDS: Final = 5.0
LONGEST_RETRY_SECONDS: Final = 60.0


class NotReadyError(QianmianError):
    """No release is loaded yet."""


class _Retry:
    """When to try again what failed: ever less often."""

    def __init__(self) -> None:
        self._wait = RETRY_SECONDS
        self._at = 0.0

    def due(self) -> bool:
        """Return whether the wait is over."""
        return monotonic() >= self._at

    def tried(self) -> None:
        """Wait until the next time, twice as long as the last time."""
        self._at = monotonic() + self._wait
        self._wait = min(2 * self._wait, LONGEST_RETRY_SECONDS)


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
        self._retry = _Retry()
        self._retry_layout: _Retry | None = None  # of venues that changed, until they are in force
        self._refused: list[str] = []  # why, for each release
        self._not_laid_out: list[str] = []  # why, for the venues that changed
        self._experiments = self._read_experiments(live)

    @property
    def refused(self) -> str | None:
        """Why something that was promoted or changed is not in service; None if all of it is."""
        return "; ".join([*self._refused, *self._not_laid_out]) or None

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
            if another_time:
                self.clock = Clock.start(live.clock)
            self._load()
            return another_time

    def refresh(self) -> None:
        """Take over venues and releases that changed; costs a `stat` a file if nothing did.

        What was refused is tried again, ever less often: its reason may have passed.
        """
        with self._loading:
            self._refresh_venues()
            self._refresh_statistics()
            self._refresh_selections()
            aliases = self._aliases_stamp()
            if aliases != self._seen_aliases:
                self._seen_aliases = aliases
                self._retry = _Retry()
            elif not self._refused or not self._retry.due():
                return
            self._load()
            self._retry.tried()

    def _refresh_venues(self) -> None:
        """Read the files that changed, and lay out what they say.

        A file with faults is refused: what it said before stays in force.
        """
        refused_before = self._book.refused
        if self._book.refresh() and self.world is not None:  # the first world has the book's anyway
            self._retry_layout = _Retry()
        refused = self._book.refused
        for path, why in refused.items():
            if refused_before.get(path) != why:
                log.warning("venue file refused, going on with the one before: %s", why)
                self._metrics.venue_file("refused")
        self._metrics.venue_files_refused(len(refused))
        retry = self._retry_layout
        if retry is None or not retry.due():
            return
        try:
            self._lay_out()
        except Exception as error:  # whatever a venue or a library finds; those before go on
            why = f"changed venues cannot be laid out: {_told(error)}"
            if why not in self._not_laid_out:
                log.exception("going on with the venues before")
                self._metrics.venue_file("refused")
            self._not_laid_out = [why]
            retry.tried()
        else:
            self._retry_layout, self._not_laid_out = None, []
            self._metrics.venue_file("taken")
            log.info("serving changed venues")

    def _lay_out(self) -> None:
        """Lay out the book's venues in every release, and swap them in."""
        world = self.ready()
        venues, goods = self._book.venues, self._catalogue.goods
        laid_out = {
            release.id: release.with_venues(venues, world.venues, goods)
            for release in self._releases()
        }
        self._swap(replace(world, venues=venues), laid_out)

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
        venues = self._venues()
        for alias in sorted(self._experiments.release_aliases()):
            try:
                releases[alias] = release = self._resident(alias, by_id, venues)
                by_id[release.id] = release
            except Exception as error:  # whatever a library finds in the files
                why = _told(error)
                known = why in self._refused  # a retry that found it as it was
                if not known:
                    bug = None if isinstance(error, QianmianError | OSError) else error
                    log.warning("release %r refused: %s", alias, why, exc_info=bug)
                # another alias that nobody promoted yet is no fault
                if alias == main or not isinstance(error, NotFoundError):
                    refused.append(why)
                    if not known:
                        self._metrics.refused()
                if alias in held:
                    releases[alias] = held[alias]
        self._refused = refused
        if main not in releases or self._in_service(releases):
            return
        self.world = World(
            venues=venues,
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

    def _venues(self) -> Mapping[str, Venue]:
        """Return the venues in force: those that the releases in service are laid out for."""
        return self._book.venues if self.world is None else self.world.venues

    def _resident(
        self, alias: str, held: Mapping[str, ResidentRelease], venues: Mapping[str, Venue]
    ) -> ResidentRelease:
        release_id = self._store.resolve(alias)
        if release_id in held:
            return held[release_id]
        if release_id not in self._store.ids():
            raise ReleaseError(
                f"alias {alias!r} is of release {release_id}: expected it in {self._store.root}; "
                "bring its folder, or promote another release"
            )
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
        return ResidentRelease.build(release_id, bundle, venues, self._catalogue.goods)

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


def _told(error: Exception) -> str:
    """Return what an error says; one of a library or a bug with its kind."""
    return str(error) if isinstance(error, QianmianError) else f"{type(error).__name__}: {error}"
