"""A venue out of its three sources: the data set's row, `default.yaml` and the venue's own file.

What the own file sets wins over the default, and both over the data set. Mappings (objective,
eligibility, blocks) are laid over one another key by key; lists replace one another whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import TypeVar

import pandas as pd

from qianmian.config import ConfigModel, Finding
from qianmian.contracts import columns as c
from qianmian.contracts.api import DEFAULT_BLOCK
from qianmian.errors import suggest
from qianmian.venues.blocks import BlockFile
from qianmian.venues.objective import merged
from qianmian.venues.schema import VenueFile
from qianmian.venues.venue import Block, Phase, Venue

Row = Mapping[str, object]
M = TypeVar("M", bound=ConfigModel)


def resolve(venue_id: str, row: Row, default: VenueFile, own: VenueFile | None) -> Venue:
    """Return a venue; `row` holds what the data set says of it, without what is missing."""
    file = own or VenueFile()
    objective = merged(default.objective, file.objective)
    rules = file.rules.completed_by(default.rules)
    owner = file if "phases" in file.model_fields_set else default
    blocks = {DEFAULT_BLOCK: BlockFile(), **default.blocks, **file.blocks}
    return Venue(
        id=venue_id,
        name=file.name or str(row.get(c.NAME) or f"Venue {venue_id}"),
        kind=file.kind or str(row.get(c.KIND) or ""),
        time_zone=file.time_zone or default.time_zone or "UTC",
        starts_at=_moment(file, "starts_at", row),
        ends_at=_moment(file, "ends_at", row),
        objective=objective,
        phases=tuple(
            Phase(
                name=phase.name,
                starts_at=owner.moment(phase.starts_at).timestamp(),
                objective={**objective, **merged(phase.objective)},
                rules=phase.rules.completed_by(rules),
            )
            for phase in owner.phases
        ),
        pool=file.pool,
        eligibility=overlaid(default.eligibility, file.eligibility),
        blocks={name: _block(block) for name, block in blocks.items()},
        fallback=overlaid(default.fallback, file.fallback),
        rules=rules,
        sponsored={**default.sponsored, **file.sponsored},
        racing={**default.racing, **file.racing},
    )


def unknown_blocks(venue: Venue, file: VenueFile) -> Iterator[Finding]:
    """Return the blocks that sponsored places and races of a file name and the venue has not."""
    named: list[tuple[tuple[str | int, ...], str]] = [
        (("sponsored", block), block) for block in file.sponsored
    ]
    for name, race in file.racing.items():
        named += [(("racing", name, "blocks", n), block) for n, block in enumerate(race.blocks)]
        named += [(("racing", name, "block"), race.block)] if race.block else []
    for place, block in named:
        if block not in venue.blocks:
            known = ", ".join(sorted(venue.blocks))
            wanted = f"expected a block of the venue{suggest(block, venue.blocks)}"
            yield place, f": {block!r}: {wanted}; it has {known}"


def outside(venue: Venue, file: VenueFile) -> Iterator[Finding]:
    """Return a period that ends before it begins, else the phases that begin outside of it.

    One end of it may be the file's and the other the data set's.
    """
    starts, ends = venue.starts_at, venue.ends_at
    if starts is not None and ends is not None and starts >= ends:
        begun, over = (datetime.fromtimestamp(at, tz=UTC).isoformat() for at in (starts, ends))
        written = "starts_at" if file.ends_at is None else "ends_at"
        said = (
            f": the period is from {begun} to {over}; expected starts_at before ends_at; set both"
        )
        yield (written,), said
        return
    for index, phase in enumerate(venue.phases):
        early = starts is not None and phase.starts_at < starts
        if early or (ends is not None and phase.starts_at >= ends):
            wanted = "expected starts_at <= phases[].starts_at < ends_at"
            said = f": phase {phase.name!r} starts outside the venue's period; {wanted}"
            yield ("phases", index, "starts_at"), said


def overlaid(default: M, own: M) -> M:
    """Return the default with every key that the own one sets."""
    return default.model_copy(update={name: getattr(own, name) for name in own.model_fields_set})


def _block(file: BlockFile) -> Block:
    return Block(
        title=file.title,
        page_size=file.page_size,
        kind=file.kind,
        sources=file.sources,
        filter=file.filter,
        audience=file.audience,
        rules=file.rules,
    )


def _moment(file: VenueFile, name: str, row: Row) -> float | None:
    written = getattr(file, name)
    if written is not None:
        return file.moment(written).timestamp()
    known = row.get(name)
    return None if known is None else pd.Timestamp(known).timestamp()  # type: ignore[arg-type]  # a datetime
