"""The campaigns of a data set: `configs/campaigns/*.yaml`, read anew when they change.

Files are checked one by one and then beside one another: all faults are told together, each with
its file and line.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from time import monotonic
from typing import Final, NamedTuple, Self

from qianmian.campaigns.campaign import Campaign
from qianmian.campaigns.schema import CampaignFile
from qianmian.config import Finding, load_yaml
from qianmian.errors import ConfigError, suggest

log = logging.getLogger(__name__)

FOLDER: Final = "campaigns"


def load_campaigns(
    folder: Path,
    dataset: str,
    *,
    venues: Collection[str] | None = None,
    context: Mapping[str, object] | None = None,
) -> dict[str, Campaign]:
    """Return the campaigns of a data set by id, in the order of their files' names.

    Args:
        folder: `configs/campaigns`; one that is not there holds none.
        dataset: name of the data set.
        venues: ids of its venues, to check those that files name; None leaves that out.
        context: `qianmian.venues.conditions.vocabularies`, to check audiences.

    Raises:
        ConfigError: files hold faults; all are listed.
    """

    def check(file: CampaignFile) -> Iterator[Finding]:
        if venues is None or (file.datasets and dataset not in file.datasets):
            return
        for place, venue in enumerate(file.venues):
            if venue not in venues:
                hint = suggest(venue, venues)
                yield (
                    ("venues", place),
                    f"={venue!r}: expected a venue of {dataset!r}{hint}",
                )

    campaigns: dict[str, Campaign] = {}
    owner: dict[str, Path] = {}
    faults: list[str] = []
    for path in sorted(folder.glob("*.yaml")):
        try:
            file = load_yaml(path, CampaignFile, context=context, check=check)
        except ConfigError as error:
            faults.append(str(error))
            continue
        if file.campaign in owner:
            faults.append(
                f"{path}: campaign={file.campaign!r}: expected an id of its own; "
                f"{owner[file.campaign]} has it"
            )
        owner.setdefault(file.campaign, path)
        if not file.datasets or dataset in file.datasets:
            campaigns[file.campaign] = Campaign.of(file)
    if faults:
        raise ConfigError("\n".join(faults))
    return campaigns


class Edition(NamedTuple):
    """The campaigns as they were read at once, and which reading it was."""

    version: int
    campaigns: Mapping[str, Campaign]


class CampaignBook:
    """The campaigns as their files say now; files that hold faults leave what was there before."""

    def __init__(
        self,
        read: Callable[[], dict[str, Campaign]],
        folder: Path,
        *,
        every: float = 1.0,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """`read` reads all files of `folder`; the folder is looked at each `every` seconds.

        Raises:
            ConfigError: the files hold faults.
        """
        self._read = read
        self._folder = folder
        self._every = every
        self._clock = clock
        self._looked_at = clock()
        self._stamp = self._look()
        self.refused: str | None = None
        self.current = Edition(1, read())

    @classmethod
    def open(
        cls,
        configs: Path,
        dataset: str,
        *,
        venues: Callable[[], Collection[str]] | None = None,
        context: Mapping[str, object] | None = None,
    ) -> Self:
        """Read the campaigns of a data set from `configs/campaigns`; see `load_campaigns`.

        Raises:
            ConfigError: the files hold faults.
        """
        folder = configs / FOLDER

        def read() -> dict[str, Campaign]:
            known = None if venues is None else venues()
            return load_campaigns(folder, dataset, venues=known, context=context)

        return cls(read, folder)

    def refresh(self) -> bool:
        """Read the files anew if one of them changed; returns whether the campaigns did."""
        if self._clock() < self._looked_at + self._every:
            return False
        self._looked_at = self._clock()
        stamp = self._look()
        if stamp == self._stamp:
            return False
        self._stamp = stamp
        try:
            campaigns = self._read()
        except ConfigError as error:
            self.refused = str(error)
            log.warning("campaigns stay as they were: %s", error)
            return False
        self.refused = None
        self.current = Edition(self.current.version + 1, campaigns)
        return True

    @property
    def version(self) -> int:
        """Rises with every change."""
        return self.current.version

    @property
    def campaigns(self) -> Mapping[str, Campaign]:
        """The campaigns by id."""
        return self.current.campaigns

    def _look(self) -> tuple[tuple[str, int, int], ...]:
        found = []
        for path in sorted(self._folder.glob("*.yaml")):
            try:
                status = path.stat()
            except FileNotFoundError:
                continue
            found.append((path.name, status.st_mtime_ns, status.st_size))
        return tuple(found)
