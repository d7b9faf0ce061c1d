"""The files of a data set's campaigns, each read on its own: one with faults holds up no other.

For a file with faults stands what it said before: what was read of it last, or the copy that an
earlier process kept. Where there is none the campaign is left out. Either way its faults are told.
The copy goes with its file: a campaign that was removed does not come back.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from qianmian.campaigns.campaign import Campaign
from qianmian.campaigns.schema import CampaignFile
from qianmian.config import Finding, parse_yaml, read_listed, read_text, yaml_files
from qianmian.config.copies import drop_copies, keep_copy
from qianmian.errors import ConfigError, suggest

FOLDER: Final = "campaigns"


class Reading(NamedTuple):
    """The campaigns in force by id, and by path the faults of files that are not as they stand."""

    campaigns: Mapping[str, Campaign]
    refused: Mapping[str, str] = {}


class CampaignFiles:
    """The files below `configs/campaigns`, for one data set."""

    def __init__(
        self,
        folder: Path,
        dataset: str,
        *,
        venues: Callable[[], Collection[str]] | None = None,
        context: Mapping[str, object] | None = None,
        kept: Path | None = None,
    ) -> None:
        """Read with these.

        Args:
            folder: `configs/campaigns`; one that is not there holds none.
            dataset: name of the data set.
            venues: gives the ids of its venues, to check those that files name; None leaves that
                out.
            context: `qianmian.venues.conditions.vocabularies`, to check audiences.
            kept: where sound files are copied to, None for nowhere.
        """
        self.folder = folder
        self._dataset = dataset
        self._venues = venues
        self._context = context
        self._kept = kept
        self._last: dict[Path, CampaignFile] = {}

    def stamp(self) -> tuple[object, ...]:
        """Return what changes with the files, and with what they are checked against."""
        found: list[object] = [frozenset(self._venues())] if self._venues else []
        for path in self._paths():
            try:
                status = path.stat()
            except FileNotFoundError:
                continue
            found.append((path.name, status.st_mtime_ns, status.st_size, status.st_ino))
        return tuple(found)

    def read(self) -> Reading:
        """Read all files; of two with one id the first by name holds."""
        known = None if self._venues is None else self._venues()
        files: dict[Path, CampaignFile] = {}
        refused: dict[str, str] = {}
        paths = self._paths()
        if self._kept is not None:
            drop_copies(self._kept, besides={path.name for path in paths})
        for path in paths:
            try:
                files[path] = self._read(path, known)
            except ConfigError as error:
                refused[str(path)] = str(error)
                if (last := self._last.get(path) or self._copy(path)) is not None:
                    files[path] = last
        self._last = files
        campaigns: dict[str, Campaign] = {}
        owner: dict[str, Path] = {}
        for path, file in files.items():
            if file.campaign in owner:
                fault = (
                    f"{path}: campaign={file.campaign!r}: expected an id of its own; "
                    f"{owner[file.campaign]} has it"
                )
                refused.setdefault(str(path), fault)
                continue
            owner[file.campaign] = path
            if not file.datasets or self._dataset in file.datasets:
                campaigns[file.campaign] = Campaign.of(file)
        return Reading(campaigns, refused)

    def _paths(self) -> list[Path]:
        return yaml_files(self.folder)

    def _read(self, path: Path, known: Collection[str] | None) -> CampaignFile:
        def check(file: CampaignFile) -> Iterator[Finding]:
            if known is None or (file.datasets and self._dataset not in file.datasets):
                return
            for place, venue in enumerate(file.venues):
                if venue not in known:
                    expected = f"expected a venue of {self._dataset!r}{suggest(venue, known)}"
                    yield ("venues", place), f"={venue!r}: {expected}"

        text = read_listed(path)
        file = parse_yaml(text, str(path), CampaignFile, context=self._context, check=check)
        if self._kept is not None:
            keep_copy(text, self._kept / path.name)
        return file

    def _copy(self, path: Path) -> CampaignFile | None:
        """Return what a file said when it was last sound, None if that is not known."""
        if self._kept is None:
            return None
        try:
            text = read_text(self._kept / path.name)
            return parse_yaml(text, str(path), CampaignFile, context=self._context)
        except ConfigError:
            return None
