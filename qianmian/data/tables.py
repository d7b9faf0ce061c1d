"""The tables of one data set in memory, between reading and writing them."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from qianmian.contracts import columns as c

#: The files of the contract and the attribute that holds each.
FILES = {
    c.EVENTS_FILE: "events",
    c.USERS_FILE: "users",
    c.ITEMS_FILE: "items",
    c.VENUES_FILE: "venues",
    c.VENUE_ITEMS_FILE: "venue_items",
}

#: How every moment is stored.
TIME = pa.timestamp("us", tz="UTC")


@dataclass(frozen=True, slots=True)
class Tables:
    """The tables of a data set; only events are required."""

    events: pa.Table
    users: pa.Table | None = None
    items: pa.Table | None = None
    venues: pa.Table | None = None
    venue_items: pa.Table | None = None

    @classmethod
    def of(cls, by_file: dict[str, pa.Table]) -> Tables:
        """Make from a mapping of file name to table."""
        return cls(**{FILES[file]: table for file, table in by_file.items()})

    def by_file(self) -> dict[str, pa.Table]:
        """Return the tables that are there by file name, events first."""
        tables = ((file, getattr(self, attribute)) for file, attribute in FILES.items())
        return {file: table for file, table in tables if table is not None}
