"""The Arrow schema of the decision log, the same in open segments, sealed segments and exports."""

from __future__ import annotations

from typing import Final

import pyarrow as pa

from qianmian.contracts import decisions as d

ARM: Final = pa.struct(
    [pa.field(name, pa.string(), nullable=False) for name in ("layer", "experiment", "arm")]
)
RACE: Final = pa.struct(
    [
        pa.field("race", pa.string(), nullable=False),
        pa.field("first", pa.string(), nullable=False),
        pa.field("propensity", pa.float64(), nullable=False),
        pa.field("state_version", pa.int64(), nullable=False),
    ]
)

SCHEMA: Final = pa.schema(
    [
        pa.field(d.RECOMMENDATION_ID, pa.string(), nullable=False),
        pa.field(d.DECIDED_AT, pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field(d.SUBJECT_ID, pa.string()),
        pa.field(d.VENUE_ID, pa.string(), nullable=False),
        pa.field(d.PHASE, pa.string(), nullable=False),
        pa.field(d.RELEASE, pa.string(), nullable=False),
        pa.field(d.ARMS, pa.list_(ARM)),
        pa.field(d.RACES, pa.list_(RACE)),
        pa.field(d.DEGRADED, pa.list_(pa.string())),
        pa.field(d.PAGE_VIEW_ID, pa.string()),
        pa.field(d.BLOCK_ID, pa.string(), nullable=False),
        pa.field(d.CANDIDATES, pa.int32(), nullable=False),
        pa.field(d.ITEM_IDS, pa.list_(pa.string())),
        pa.field(d.POSITIONS, pa.list_(pa.int32())),
        pa.field(d.SCORES, pa.list_(pa.float32())),
        pa.field(d.SOURCES, pa.list_(pa.string())),
        pa.field(d.SLOTS, pa.list_(pa.string())),
        pa.field(d.PROPENSITIES, pa.list_(pa.float32())),
        pa.field(d.CAMPAIGN_IDS, pa.list_(pa.string())),
        *(pa.field(name, pa.list_(pa.float32())) for name in d.PROBABILITIES.values()),
    ]
)
