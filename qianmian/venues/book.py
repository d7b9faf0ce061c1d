"""The book of venues: rows of `venues.parquet` joined with the operators' files, kept up to date.

Every data set has the venue `all`, its whole catalogue, even if it has no venue of its own.
`refresh` looks whether a file changed, which costs a `stat` a file. A changed file takes effect if
it is sound; one with faults is refused, what was read of it last stays, and `refused` tells why.
Sound files are copied aside, so a service that starts while one is broken goes on with what held.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, Self

import pandas as pd

from qianmian.config import Finding, parse_yaml, read_listed, read_text, yaml_files
from qianmian.config.copies import keep_copy
from qianmian.contracts import columns as c
from qianmian.errors import ConfigError, suggest
from qianmian.racing.schema import drawn_twice
from qianmian.venues.resolve import Row, outside, resolve, unknown_blocks
from qianmian.venues.schema import VenueFile
from qianmian.venues.venue import Venue

DEFAULT_FILE: Final = "default.yaml"
_Stamp = tuple[int, int, int]  # modified, size, inode


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the venues of a data set come from.

    `folder` is `configs/venues`; `rows` is `venues.parquet`, or None if the data set has none;
    `context` holds the columns that conditions may name
    (`qianmian.venues.vocabulary.conditions_of`), without it only their grammar is checked;
    `segments` are the user tags by which popularity can be kept apart, None for any; `kept` is
    where sound files are copied to, None for nowhere.
    """

    folder: Path
    dataset: str
    rows: pd.DataFrame | None = None
    context: Mapping[str, object] | None = None
    has_margin: bool = True
    segments: frozenset[str] | None = None
    kept: Path | None = None
    known: Mapping[str, Row] = field(init=False)

    def __post_init__(self) -> None:
        catalogue = {c.NAME: "Whole catalogue", c.KIND: "catalogue"}
        known = {c.WHOLE_CATALOGUE_VENUE: catalogue, **_rows_by_id(self.rows)}
        object.__setattr__(self, "known", known)

    @property
    def default(self) -> Path:
        """The file that holds for every venue."""
        return self.folder / DEFAULT_FILE

    def files(self) -> list[Path]:
        """Return the default file, then the data set's own."""
        return [self.default, *yaml_files(self.folder / self.dataset)]

    def read(self, path: Path, default: VenueFile) -> VenueFile:
        """Read one file; `default` is the sound default file, or an empty one for itself.

        Raises:
            ConfigError: it holds faults, is for a venue that neither the data set knows nor the
                file describes, or is not called `.yaml`.
        """
        text = read_listed(path)
        file = self._parse(text, path, default)
        if self.kept is not None:
            keep_copy(text, self._copy(path, self.kept))
        return file

    def last_good(self, path: Path, default: VenueFile) -> VenueFile | None:
        """Return what a file said when it was last sound, None if that is not known."""
        if self.kept is None:
            return None
        try:
            return self._parse(read_text(self._copy(path, self.kept)), path, default)
        except ConfigError:
            return None

    def _copy(self, path: Path, kept: Path) -> Path:
        """Return where a sound file is copied to: as it lies below `folder`."""
        return kept / path.relative_to(self.folder)

    def _parse(self, text: str, path: Path, default: VenueFile) -> VenueFile:
        stem = None if path == self.default else path.stem
        check = partial(self._faults, stem, default)
        return parse_yaml(text, str(path), VenueFile, context=self.context, check=check)

    def _faults(self, stem: str | None, default: VenueFile, file: VenueFile) -> Iterator[Finding]:
        """Faults of one file, in itself and beside the data set."""
        inner = [*file.faults(), *self._missing(file)]
        yield from inner
        if stem is None:
            return
        venue_id = file.id or stem
        if venue_id not in self.known and (file.pool is None or file.name is None):
            wanted = f"expected the id of a venue of the data set{suggest(venue_id, self.known)}"
            yield (), f": venue {venue_id!r}: {wanted}; or name and pool of a new one"
        elif not inner:
            venue = resolve(venue_id, self.known.get(venue_id, {}), default, file)
            yield from outside(venue, file)
            yield from unknown_blocks(venue, file)
            yield from drawn_twice(venue.racing)

    def _missing(self, file: VenueFile) -> Iterator[Finding]:
        """What the file asks of the data set that it does not have."""
        if not self.has_margin:
            yield from file.weighing_margin()
        tag = file.fallback.segment
        if tag is not None and self.segments is not None and tag not in self.segments:
            listed = ", ".join(sorted(self.segments)) or "none"
            hint = suggest(tag, self.segments).replace(",", ";", 1)
            said = f"={tag!r}: expected a categorical user tag of the data set: {listed}{hint}"
            yield ("fallback", "segment"), said


class VenueBook:
    """The venues in force."""

    def __init__(self, venues: Mapping[str, Venue], sources: Sources | None = None) -> None:
        """Use `open`; this holds venues that never change unless `sources` are given."""
        self.venues = venues
        self._faulty: dict[Path, str] = {}
        self._doubled: dict[Path, str] = {}
        self._sources = sources
        self._stamps: dict[Path, _Stamp] = {}
        self._read: dict[Path, VenueFile] = {}

    @classmethod
    def open(cls, sources: Sources) -> Self:
        """Read all files.

        Raises:
            ConfigError: some of them hold faults, and what they said before is not known; all
                faults are listed.
        """
        book = cls({}, sources)
        book.refresh()
        if any(path not in book._read for path in book._faulty):
            raise ConfigError("\n".join(book.refused.values()))
        return book

    @property
    def refused(self) -> dict[str, str]:
        """The faults of each file that is not in force as it stands, by its path."""
        return {str(path): why for path, why in {**self._doubled, **self._faulty}.items()}

    def files(self) -> list[tuple[Path, str | None]]:
        """Return the files in force, each with its venue; that of the default file is None."""
        default = None if self._sources is None else self._sources.default
        return [
            (path, None if path == default else file.id or path.stem)
            for path, file in self._read.items()
        ]

    def refresh(self) -> bool:
        """Take over files that changed; returns whether the venues are others now."""
        sources = self._sources
        stamps = {path: _stamp(path) for path in sources.files()} if sources else {}
        if sources is None or stamps == self._stamps:
            return False
        touched = {path for path, stamp in stamps.items() if self._stamps.get(path) != stamp}
        if sources.default in touched:  # what the others are checked beside
            touched |= set(stamps)
        self._stamps = stamps
        for path in list(self._read):
            if path not in stamps:
                del self._read[path]
        self._faulty = {path: why for path, why in self._faulty.items() if path in stamps}
        for path in [p for p in stamps if p in touched]:  # the default first
            default = self._read.get(sources.default, VenueFile())
            try:
                self._read[path] = sources.read(path, default)
            except ConfigError as error:
                self._faulty[path] = str(error)
                if path not in self._read and (last := sources.last_good(path, default)):
                    self._read[path] = last
            else:
                self._faulty.pop(path, None)
        before, self.venues = self.venues, self._resolved(sources)
        return self.venues != before

    def _resolved(self, sources: Sources) -> dict[str, Venue]:
        """Join the files that were read last; of two with one id the first holds."""
        default = self._read.get(sources.default, VenueFile())
        own: dict[str, VenueFile] = {}
        self._doubled = {}
        for path, file in sorted(self._read.items()):
            if path == sources.default:
                continue
            venue_id = file.id or path.stem
            if venue_id in own:
                said = f"{path}: id={venue_id!r}: expected an id that no other file has"
                self._doubled[path] = said
                continue
            own[venue_id] = file
        ids = [*sources.known, *(venue_id for venue_id in own if venue_id not in sources.known)]
        return {
            venue_id: resolve(venue_id, sources.known.get(venue_id, {}), default, own.get(venue_id))
            for venue_id in ids
        }


def _rows_by_id(rows: pd.DataFrame | None) -> dict[str, Row]:
    if rows is None:
        return {}
    return {
        str(record[c.VENUE_ID]): {
            str(name): value for name, value in record.items() if not pd.isna(value)
        }
        for record in rows.to_dict("records")
    }


def _stamp(path: Path) -> _Stamp:
    try:
        status = path.stat()
    except OSError:
        return (0, 0, 0)
    return status.st_mtime_ns, status.st_size, status.st_ino
