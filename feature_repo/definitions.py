"""Feast definitions: entities, sources, feature views and services.

Feast loads this file by path; nothing imports it. Views and fields come from the feature schema of
the data set at hand (`schema.json`), whose folder `QIANMIAN_FEATURES` names, so that a data set
with other tags and attributes needs no other definitions. `qianmian features build` applies them;
`feast -c feature_repo apply` does the same by hand.
"""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

from feast import Entity, FeatureService, FeatureView, Field, FileSource, PushSource
from feast.data_format import ParquetFormat
from feast.types import Array, FeastType, Float32, Float64, Int64, String
from feast.value_type import ValueType

from qianmian.contracts import features as f
from qianmian.features.columns import DataType
from qianmian.features.schema import (
    JOIN_KEYS,
    SCHEMA_VARIABLE,
    SERVICES,
    STREAMED_VIEWS,
    FeatureSchema,
    entity_of,
    push_source,
)

FOLDER = Path(os.environ[SCHEMA_VARIABLE])
SCHEMA = FeatureSchema.load(FOLDER)

#: A snapshot holds until the next one: features of a user do not expire by themselves.
NO_EXPIRY = timedelta(0)

TYPES: dict[DataType, FeastType] = {
    DataType.STRING: String,
    DataType.FLOAT32: Float32,
    DataType.FLOAT64: Float64,
    DataType.STRINGS: Array(String),
    DataType.INT64S: Array(Int64),
    DataType.FLOAT32S: Array(Float32),
    DataType.FLOAT64S: Array(Float64),
}

DESCRIPTIONS = {
    f.USER: "A known account.",
    f.ITEM: "A product that a venue may show.",
    f.VENUE: "A page of a sales event.",
    f.USER_TAGS: "Declared tags of a user and tags derived from behaviour.",
    f.USER_ACTIVITY: "Counts, spend and recency of a user by window.",
    f.USER_SEQUENCE: "The last actions of a user, newest first.",
    f.USER_LEDGER: "Every item a user did the target action on, summed up.",
    f.USER_AFFINITY: "Preference of a user by value of each affinity column.",
    f.USER_EXPOSURE: "What was shown to a user lately, and what the user dislikes.",
    f.ITEM_PROFILE: "Attributes of an item.",
    f.ITEM_STATISTICS: "Popularity, price, discount, repeat purchase and age of an item.",
    f.VENUE_PROFILE: "Kind, period and pool size of a venue.",
    f.TWO_TOWER_SERVICE: "What the two-tower model reads.",
    f.RANKER_SERVICE: "What the ranker reads.",
    f.PAGE_SERVICE: "What the rules of a page read.",
}

entities = {
    name: Entity(
        name=name,
        join_keys=[key],
        value_type=ValueType.STRING,
        description=DESCRIPTIONS[name],
    )
    for name, key in JOIN_KEYS.items()
}

snapshots = {
    view: FileSource(
        name=f"{view}_snapshots",
        path=str(FOLDER / view),
        timestamp_field=f.EVENT_TIMESTAMP,
        file_format=ParquetFormat(),
        description=f"Snapshots of {view}, one file a moment.",
    )
    for view in SCHEMA.views
}

pushes = {
    view: PushSource(name=push_source(view), batch_source=snapshots[view])
    for view in SCHEMA.views
    if view in STREAMED_VIEWS
}

views = {
    view: FeatureView(
        name=view,
        entities=[entities[entity_of(view)]],
        schema=[
            Field(name=JOIN_KEYS[entity_of(view)], dtype=String),
            *(Field(name=name, dtype=TYPES[dtype]) for name, dtype in fields.items()),
        ],
        source=pushes.get(view, snapshots[view]),
        ttl=NO_EXPIRY,
        online=True,
        description=DESCRIPTIONS[view],
    )
    for view, fields in SCHEMA.views.items()
}

services = {
    service: FeatureService(
        name=service,
        features=[views[view] for view in SCHEMA.service_views(service)],
        description=DESCRIPTIONS[service],
    )
    for service in SERVICES
}

#: What `FeatureStore.apply` is given.
DEFINITIONS = [
    *entities.values(),
    *snapshots.values(),
    *pushes.values(),
    *views.values(),
    *services.values(),
]

# Feast's own commands look for definitions among the names of this module.
globals().update({f"{type(item).__name__}_{item.name}": item for item in DEFINITIONS})
