"""All venues of a data set: the rows of `venues.parquet` joined with the operators' files.

Read once when a service starts; `venues()` of the data set gives the rows. Every data set has the
venue `all`, its whole catalogue, even if it has no venue of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import pandas as pd

from qianmian.config import Finding, load_yaml
from qianmian.contracts import columns as c
from qianmian.errors import ConfigError, suggest
from qianmian.venues.resolve import Row, outside, resolve
from qianmian.venues.schema import VenueFile
from qianmian.venues.venue import Venue

DEFAULT_FILE = "default.yaml"


def load_venues(folder: Path, dataset: str, rows: pd.DataFrame | None) -> dict[str, Venue]:
    """Return the venues of a data set by id, `all` first.

    Args:
        folder: `configs/venues`.
        dataset: name of the data set; its own files lie in the folder of that name.
        rows: `venues.parquet`, or None if the data set has none.

    Raises:
        ConfigError: a file holds faults, or is for a venue that neither the data set knows nor the
            file describes.
    """
    known = {c.WHOLE_CATALOGUE_VENUE: _catalogue_row()} | _rows_by_id(rows)
    default = load_yaml(folder / DEFAULT_FILE, VenueFile, check=VenueFile.faults)
    own: dict[str, VenueFile] = {}
    faults: list[str] = []
    for path in sorted((folder / dataset).glob("*.yaml")):
        try:
            file = load_yaml(path, VenueFile, check=partial(_faults, path.stem, known, default))
        except ConfigError as error:
            faults.append(str(error))
            continue
        venue_id = file.id or path.stem
        if venue_id in own:
            faults.append(f"{path}: id={venue_id!r}: expected an id that no other file has")
        own[venue_id] = file
    if faults:
        raise ConfigError("\n".join(faults))
    return {
        venue_id: resolve(venue_id, known.get(venue_id, {}), default, own.get(venue_id))
        for venue_id in [*known, *(i for i in own if i not in known)]
    }


def _faults(
    stem: str, known: Mapping[str, Row], default: VenueFile, file: VenueFile
) -> Iterator[Finding]:
    """Faults of one file, in itself and beside the data set's row of its venue."""
    inner = list(file.faults())
    yield from inner
    venue_id = file.id or stem
    if venue_id not in known and (file.pool is None or file.name is None):
        wanted = f"expected the id of a venue of the data set{suggest(venue_id, known)}"
        yield (), f"venue {venue_id!r}: {wanted}; or name and pool of a new one"
    elif not inner:
        yield from outside(resolve(venue_id, known.get(venue_id, {}), default, file))


def _catalogue_row() -> dict[str, object]:
    return {c.NAME: "Whole catalogue", c.KIND: "catalogue"}


def _rows_by_id(rows: pd.DataFrame | None) -> dict[str, dict[str, object]]:
    if rows is None:
        return {}
    return {
        str(record[c.VENUE_ID]): {
            str(name): value for name, value in record.items() if not pd.isna(value)
        }
        for record in rows.to_dict("records")
    }
