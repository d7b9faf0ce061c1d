"""What a data set says about itself: `dataset.yaml`, as its author declares it and as it is used.

`DeclaredSpec` is the file of a folder anyone made, where everything may be missing; `DatasetSpec`
is the complete description that an import writes and everything after it reads.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, AwareDatetime, Field, model_validator

from qianmian.config import ConfigModel
from qianmian.config.time_zone import TimeZone
from qianmian.contracts import features as f
from qianmian.contracts.events import EventType
from qianmian.contracts.names import DATASET_NAME_PATTERN, DATASET_NAME_RULE


def _name(value: str) -> str:
    if not re.fullmatch(DATASET_NAME_PATTERN, value):
        raise ValueError(f"expected {DATASET_NAME_RULE}")
    return value


def _utc(value: datetime) -> datetime:
    return value.astimezone(UTC)


DatasetName = Annotated[str, AfterValidator(_name)]
Moment = Annotated[AwareDatetime, AfterValidator(_utc)]


class TagColumns(ConfigModel):
    """How the columns of a table are read as tags; `*_id` and the contract's own aside."""

    categorical: tuple[str, ...] = ()
    """Columns of one value out of a set."""
    numeric: tuple[str, ...] = ()
    """Columns of quantities."""
    multi: tuple[str, ...] = ()
    """Columns holding a list of values each."""
    ignored: tuple[str, ...] = ()
    """Columns that no model reads."""

    @model_validator(mode="after")
    def _each_once(self) -> TagColumns:
        named = [*self.categorical, *self.numeric, *self.multi, *self.ignored]
        twice = sorted({column for column in named if named.count(column) > 1})
        if twice:
            raise ValueError(f"expected each column in one list; {', '.join(twice)} is in two")
        return self

    @property
    def tags(self) -> tuple[str, ...]:
        """The columns that models may read."""
        return (*self.categorical, *self.numeric, *self.multi)


def _no_kind_of_families(names: tuple[str, ...]) -> tuple[str, ...]:
    """Ranking features are named after affinity columns and after kinds of families."""
    for name in names:
        if name in f.JOINED_FAMILIES:
            raise ValueError(
                f"expected another name than {name}: features of families are called so"
            )
    return names


AffinityNames = Annotated[tuple[str, ...], AfterValidator(_no_kind_of_families)]


class ItemColumns(TagColumns):
    """Columns of items, and those by whose values a user's preferences are kept."""

    affinity: AffinityNames = ()
    """Categorical columns for which each user's preferred values are tracked."""


class Split(ConfigModel):
    """Where training ends and testing begins and ends: the test is `[train_end, test_end)`."""

    by: Literal["time", "column"] = "time"
    """`column` where the events name the split of each row and time alone does not tell it."""
    train_end: Moment
    """First moment that training may not see."""
    test_end: Moment
    """First moment after the test."""

    @model_validator(mode="after")
    def _in_order(self) -> Split:
        if self.train_end >= self.test_end:
            raise ValueError("expected train_end before test_end")
        return self


class DatasetSpec(ConfigModel):
    """The complete description of an imported data set (`dataset.yaml` in its folder)."""

    name: DatasetName
    """What it is called in commands and paths."""
    title: str
    """What a reader calls it."""
    source: str
    """Where it comes from."""
    licence: str
    """Under which terms it may be used."""
    time_zone: TimeZone
    """The shop's time zone, for hours and days of the week; stored times are UTC."""
    currency: str | None = None
    """ISO 4217 code of every amount of money; null where there is none."""
    target: EventType
    """The goal: the event type that models predict and evaluation counts."""
    users: TagColumns = TagColumns()
    """Columns of users.parquet."""
    items: ItemColumns = ItemColumns()
    """Columns of items.parquet."""
    split: Split
    """Where the split falls."""


class DeclaredItemColumns(TagColumns):
    """Columns of items as declared; affinity columns are chosen where none are named."""

    affinity: AffinityNames | None = None
    """Categorical columns for which each user's preferred values are tracked."""


class DeclaredSplit(ConfigModel):
    """The split as declared."""

    by: Literal["time", "column"] = "time"
    """`column`: the column `split` of the events tells training from test, not train_end."""
    train_end: Moment | None = None
    """First moment that training may not see; a split by time needs it."""
    test_end: Moment | None = None
    """First moment after the test; the end of the data when left out."""

    @model_validator(mode="after")
    def _has_its_moment(self) -> Self:
        if self.by == "time" and self.train_end is None:
            raise ValueError("expected train_end, the moment of a split by time; or `by: column`")
        return self


class DeclaredSpec(ConfigModel):
    """`dataset.yaml` as its author wrote it: all of it is optional."""

    name: DatasetName | None = None
    """What it is called in commands and paths; the folder's name when left out."""
    title: str | None = None
    """What a reader calls it."""
    source: str | None = None
    """Where it comes from."""
    licence: str | None = None
    """Under which terms it may be used."""
    time_zone: TimeZone = "UTC"
    """The shop's time zone."""
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] | None = None
    """ISO 4217 code of every amount of money."""
    target: EventType | None = None
    """The goal; the strongest event type present when left out."""
    users: TagColumns = TagColumns()
    """Columns of users.parquet; what is not named is read by its type."""
    items: DeclaredItemColumns = DeclaredItemColumns()
    """Columns of items.parquet; what is not named is read by its type."""
    split: DeclaredSplit | None = None
    """Where the split falls; after nine tenths of the events when left out."""
