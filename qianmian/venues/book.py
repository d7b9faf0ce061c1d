"""All venues of a data set: the rows of `venues.parquet` joined with the operators' files.

Read once when a service starts; `venues()` of the data set gives the rows. Every data set has the
venue `all`, its whole catalogue, even if it has no venue of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from qianmian.config import load_yaml
from qianmian.contracts import columns as c
from qianmian.contracts.api import DEFAULT_BLOCK
from qianmian.errors import ConfigError, suggest
from qianmian.venues.schema import Objective, VenueFile
from qianmian.venues.venue import Block, Phase, Venue

DEFAULT_FILE = "default.yaml"


def load_venues(folder: Path, dataset: str, rows: pd.DataFrame | None) -> dict[str, Venue]:
    """Return the venues of a data set by id, `all` first.

    Args:
        folder: `configs/venues`.
        dataset: name of the data set; its own files lie in the folder of that name.
        rows: `venues.parquet`, or None if the data set has none.

    Raises:
        ConfigError: a file holds faults, or is for a venue that the data set does not have.
    """
    default = load_yaml(folder / DEFAULT_FILE, VenueFile)
    files = {path.stem: path for path in sorted((folder / dataset).glob("*.yaml"))}
    known = {c.WHOLE_CATALOGUE_VENUE: _catalogue_row()} | _rows_by_id(rows)
    faults = [
        f"{path}: expected the id of a venue of {dataset!r} as file name{suggest(name, known)}"
        for name, path in files.items()
        if name not in known
    ]
    if faults:
        raise ConfigError("\n".join(faults))
    return {
        venue_id: _venue(
            venue_id,
            row,
            default,
            load_yaml(files[venue_id], VenueFile) if venue_id in files else VenueFile(),
        )
        for venue_id, row in known.items()
    }


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


def _venue(venue_id: str, row: Mapping[str, object], default: VenueFile, own: VenueFile) -> Venue:
    starts_at = _moment(own.starts_at or row.get(c.STARTS_AT))
    ends_at = _moment(own.ends_at or row.get(c.ENDS_AT))
    objective = _weights(default.objective, own.objective)
    phases = tuple(
        Phase(p.name, p.starts_at.timestamp(), {**objective, **_weights(p.objective)})
        for p in own.phases or default.phases
    )
    for phase in phases:
        early = starts_at is not None and phase.starts_at < starts_at
        if early or (ends_at is not None and phase.starts_at >= ends_at):
            raise ConfigError(
                f"venue {venue_id!r}: phase {phase.name!r} starts outside the venue's period; "
                "expected starts_at <= phases[].starts_at < ends_at"
            )
    blocks = {DEFAULT_BLOCK: Block(title="", page_size=20)} | {
        block_id: Block(title=block.title, page_size=block.page_size)
        for block_id, block in {**default.blocks, **own.blocks}.items()
    }
    return Venue(
        id=venue_id,
        name=own.name or str(row.get(c.NAME) or f"Venue {venue_id}"),
        kind=own.kind or str(row.get(c.KIND) or ""),
        starts_at=starts_at,
        ends_at=ends_at,
        objective=objective,
        phases=phases,
        blocks=blocks,
    )


def _weights(*objectives: Objective) -> dict[str, float]:
    """Merge objectives, the later ones winning; keys become plain text."""
    return {str(action): weight for o in objectives for action, weight in o.items()}


def _moment(value: object) -> float | None:
    if value is None:
        return None
    return pd.Timestamp(value).timestamp()  # type: ignore[arg-type]  # a datetime or Timestamp
