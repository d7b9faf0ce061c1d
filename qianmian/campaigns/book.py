"""The campaigns of a data set as their files say now; see `qianmian.campaigns.files`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from time import monotonic
from typing import NamedTuple, Self

from qianmian.campaigns.campaign import Campaign
from qianmian.campaigns.files import FOLDER, CampaignFiles, Reading
from qianmian.errors import ConfigError

log = logging.getLogger(__name__)


def load_campaigns(
    folder: Path,
    dataset: str,
    *,
    venues: Collection[str] | None = None,
    context: Mapping[str, object] | None = None,
) -> Mapping[str, Campaign]:
    """Return the campaigns of a data set by id, in the order of their files' names.

    The arguments are those of `CampaignFiles`.

    Raises:
        ConfigError: files hold faults; all are listed.
    """
    known = None if venues is None else (lambda: venues)
    campaigns, refused = CampaignFiles(folder, dataset, venues=known, context=context).read()
    if refused:
        raise ConfigError("\n".join(refused.values()))
    return campaigns


class Edition(NamedTuple):
    """The campaigns as they were read at once, and which reading it was."""

    version: int
    campaigns: Mapping[str, Campaign]


class CampaignBook:
    """The campaigns in force; a file with faults leaves what it said before."""

    def __init__(
        self,
        read: Callable[[], Reading],
        stamp: Callable[[], object] = lambda: None,
        *,
        every: float = 1.0,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """`read` reads the files; each `every` seconds `stamp` tells whether they changed."""
        self._read = read
        self._stamp = stamp
        self._every = every
        self._clock = clock
        self._looked_at = clock()
        self._seen = stamp()
        self.refused: Mapping[str, str] = {}
        self.current = Edition(1, self._take())

    @classmethod
    def open(
        cls,
        configs: Path,
        dataset: str,
        *,
        venues: Callable[[], Collection[str]] | None = None,
        context: Mapping[str, object] | None = None,
        kept: Path | None = None,
    ) -> Self:
        """Read the campaigns of a data set from `configs/campaigns`; see `CampaignFiles`."""
        files = CampaignFiles(configs / FOLDER, dataset, venues=venues, context=context, kept=kept)
        return cls(files.read, files.stamp)

    def refresh(self) -> bool:
        """Read the files anew if one of them changed; returns whether it did."""
        if self._clock() < self._looked_at + self._every:
            return False
        self._looked_at = self._clock()
        stamp = self._stamp()
        if stamp == self._seen:
            return False
        self._seen = stamp
        self.current = Edition(self.current.version + 1, self._take())
        return True

    @property
    def version(self) -> int:
        """Rises with every reading."""
        return self.current.version

    @property
    def campaigns(self) -> Mapping[str, Campaign]:
        """The campaigns by id."""
        return self.current.campaigns

    def _take(self) -> Mapping[str, Campaign]:
        """Read the files; what is new of their faults is logged."""
        before = self.refused
        campaigns, self.refused = self._read()
        for path, why in self.refused.items():
            if before.get(path) != why:
                log.warning(
                    "campaign file refused, going on without it or with the one before: %s", why
                )
        return campaigns
