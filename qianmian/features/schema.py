"""The feature schema of one data set: its dynamic columns, thresholds, views and services.

What qianmian derives is named by the contract; what a data set adds (user tags, item attributes,
affinity columns) is known only once it is imported. `schema.json` beside the snapshots holds it.
Feast's definitions are made from it, and its hash for a service travels in each release, so that
serving can refuse a release trained on other features.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from qianmian.contracts import columns as c
from qianmian.contracts import features as f
from qianmian.errors import DataError, FeatureStoreError, NotFoundError
from qianmian.features.attributes import ITEM_KINDS, VENUE_KINDS, Kind
from qianmian.features.columns import DataType
from qianmian.features.item_statistics import ITEM_STATISTICS_TYPES
from qianmian.features.user_activity import USER_ACTIVITY_TYPES
from qianmian.features.user_affinity import affinity_types
from qianmian.features.user_exposure import USER_EXPOSURE_TYPES
from qianmian.features.user_ledger import USER_LEDGER_TYPES
from qianmian.features.user_sequence import USER_SEQUENCE_TYPES
from qianmian.features.user_tags import Thresholds, derived_types

SCHEMA_FILE: Final = "schema.json"

#: Environment variable by which Feast's definitions find the schema of the data set at hand.
SCHEMA_VARIABLE: Final = "QIANMIAN_FEATURES"

#: Join key of each entity.
JOIN_KEYS: Final = {f.USER: c.USER_ID, f.ITEM: c.ITEM_ID, f.VENUE: c.VENUE_ID}

_ENTITY_OF: Final = {
    **dict.fromkeys(f.USER_VIEWS, f.USER),
    **dict.fromkeys(f.ITEM_VIEWS, f.ITEM),
    **dict.fromkeys(f.VENUE_VIEWS, f.VENUE),
}

#: Views of each feature service; a view that a data set lacks is left out.
SERVICES: Final = {
    f.TWO_TOWER_SERVICE: (
        f.USER_TAGS,
        f.USER_ACTIVITY,
        f.USER_SEQUENCE,
        f.USER_AFFINITY,
        *f.ITEM_VIEWS,
    ),
    f.RANKER_SERVICE: (*f.USER_MODEL_VIEWS, *f.ITEM_VIEWS),
    f.PAGE_SERVICE: (f.USER_EXPOSURE,),
}

#: Views that a stream of events keeps up to date.
STREAMED_VIEWS: Final = (*f.USER_VIEWS, f.ITEM_STATISTICS)

#: Views whose rows do not change from one snapshot to the next: written once.
TIMELESS_VIEWS: Final = (f.ITEM_PROFILE, f.VENUE_PROFILE)


class FeatureSchema(BaseModel):
    """The dynamic part of the features of one data set."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str
    target: str = ""  # the action that ledgers, preferences and counts of items are of
    user_columns: dict[str, Kind] = {}
    item_columns: dict[str, Kind] = {}  # empty where the data set describes no items
    affinity_columns: tuple[str, ...] = ()
    has_venues: bool = False
    mean_price_quartiles: tuple[float, ...] = ()
    discount_share_terciles: tuple[float, ...] = ()

    @property
    def thresholds(self) -> Thresholds:
        return Thresholds(self.mean_price_quartiles, self.discount_share_terciles)

    @property
    def user_types(self) -> dict[str, DataType]:
        """Types of the declared user tags."""
        return {name: kind.dtype for name, kind in self.user_columns.items()}

    @property
    def tag_kinds(self) -> dict[str, str]:
        """Kind (categorical, numeric, multi) of every user tag, declared and derived."""
        declared = {name: kind.value for name, kind in self.user_columns.items()}
        return {**declared, **dict.fromkeys(f.DERIVED_TAGS, Kind.CATEGORICAL.value)}

    @property
    def item_categorical(self) -> tuple[str, ...]:
        """Item attributes of one value out of a set."""
        return tuple(n for n, kind in self.item_columns.items() if kind is Kind.CATEGORICAL)

    @property
    def views(self) -> dict[str, dict[str, DataType]]:
        """Fields of each view that this data set has, with their types, in a fixed order."""
        views = {
            f.USER_TAGS: {**self.user_types, **derived_types()},
            f.USER_ACTIVITY: USER_ACTIVITY_TYPES,
            f.USER_SEQUENCE: USER_SEQUENCE_TYPES,
            f.USER_LEDGER: USER_LEDGER_TYPES,
            f.USER_AFFINITY: affinity_types(self.affinity_columns),
            f.USER_EXPOSURE: USER_EXPOSURE_TYPES,
            f.ITEM_PROFILE: {name: kind.dtype for name, kind in self.item_columns.items()},
            f.ITEM_STATISTICS: ITEM_STATISTICS_TYPES,
            f.VENUE_PROFILE: _venue_types() if self.has_venues else {},
        }
        return {name: dict(fields) for name, fields in views.items() if fields}

    def service_views(self, service: str) -> tuple[str, ...]:
        """Views of a service that this data set has.

        Raises `NotFoundError` for an unknown service.
        """
        if service not in SERVICES:
            raise NotFoundError("feature service", service, SERVICES)
        return tuple(view for view in SERVICES[service] if view in self.views)

    def schema_hash(self, service: str) -> str:
        """Hash of the service's (view, field, type, entity) rows; their order does not matter."""
        rows = sorted(
            (view, name, str(dtype), entity_of(view))
            for view in self.service_views(service)
            for name, dtype in self.views[view].items()
        )
        return hashlib.sha256(json.dumps(rows).encode()).hexdigest()

    def save(self, folder: Path) -> None:
        """Write `schema.json` into the folder of the snapshots."""
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / f".{SCHEMA_FILE}.partial"
        partial.write_text(self.model_dump_json(indent=1) + "\n", encoding="utf-8")
        partial.replace(folder / SCHEMA_FILE)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read `schema.json` of a folder of snapshots.

        Raises `FeatureStoreError` when it is missing or damaged.
        """
        path = folder / SCHEMA_FILE
        try:
            return cls.model_validate_json(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise FeatureStoreError(
                f"{path}: missing; build the features first: `qianmian features build`"
            ) from None
        except ValidationError as error:
            raise FeatureStoreError(
                f"{path}: not a feature schema of this version ({error.error_count()} faults); "
                "build the features again: `qianmian features build --force`"
            ) from None


def entity_of(view: str) -> str:
    """Entity of a view.

    Raises `NotFoundError` for an unknown view.
    """
    if view not in _ENTITY_OF:
        raise NotFoundError("feature view", view, _ENTITY_OF)
    return _ENTITY_OF[view]


def join_key(view: str) -> str:
    """Column that names the entity of a view's rows."""
    return JOIN_KEYS[entity_of(view)]


def push_source(view: str) -> str:
    """Name of the push source of a streamed view."""
    return f"{view}_push"


def check_names(file: str, kinds: Mapping[str, Kind], taken: Mapping[str, object]) -> None:
    """Refuse declared columns that are named as a feature that qianmian derives.

    Raises `DataError`.
    """
    if clash := sorted(set(kinds) & set(taken)):
        raise DataError(
            f"{file}: column {', '.join(clash)}: expected a name that no derived feature has; "
            "rename it, or list it under `ignored` in dataset.yaml"
        )


def _venue_types() -> dict[str, DataType]:
    declared = {name: kind.dtype for name, kind in VENUE_KINDS.items()}
    return {**declared, f.POOL_SIZE: DataType.FLOAT32}


def item_kinds(declared: Mapping[str, Kind], present: list[str]) -> dict[str, Kind]:
    """Kinds of the item columns: those declared, and the contract's own that are present."""
    own = {n: k for n, k in ITEM_KINDS.items() if n in present and n not in declared}
    return {**own, **declared}
