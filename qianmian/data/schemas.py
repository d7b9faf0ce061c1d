"""The contract of each file's columns, stated once and checked by pandera.

`canonical` first brings every spelling of a type that Parquet knows to one: text, numbers
(float64) and moments (microseconds, UTC). What is left unlike is a fault.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum

import pandas as pd
import pandera.pandas as pandera
import pyarrow as pa
import pyarrow.compute as pc
from pandera.errors import SchemaErrors

from qianmian.contracts import columns as c
from qianmian.contracts.events import EventType
from qianmian.data.faults import Fault, example_of
from qianmian.data.tables import TIME

EARLIEST = datetime(1990, 1, 1, tzinfo=UTC)
LATEST = datetime(2100, 1, 1, tzinfo=UTC)
SPLITS = ("train", "valid", "test")
_LONGEST_ID = 256


class Kind(Enum):
    """The types of the contract: how they are stored and called."""

    TEXT = (pa.string(), "text")
    NUMBER = (pa.float64(), "a number")
    MOMENT = (TIME, "a moment in UTC")

    @property
    def arrow(self) -> pa.DataType:
        return self.value[0]

    @property
    def words(self) -> str:
        return self.value[1]


@dataclass(frozen=True, slots=True)
class Rule:
    """A test of every value of a column; its words complete `expected`."""

    expected: str
    remedy: str
    check: pandera.Check


@dataclass(frozen=True, slots=True)
class ColumnContract:
    """What the contract says of one column."""

    kind: Kind
    required: bool = False
    nullable: bool = True
    rules: tuple[Rule, ...] = ()


_AT_LEAST_ZERO = Rule(
    "a finite number of at least 0",
    "returns and corrections are not events: drop them or set them to 0",
    pandera.Check.in_range(0, float("inf"), include_max=False),
)
_SANE = Rule(
    f"a moment from {EARLIEST:%Y} to {LATEST:%Y}",
    "look at the unit: seconds read as milliseconds or nanoseconds give such times",
    pandera.Check.in_range(EARLIEST, LATEST),
)
_ID_LENGTH = Rule(
    f"1 to {_LONGEST_ID} characters",
    "give each row an id, or drop rows without one",
    pandera.Check.str_length(1, _LONGEST_ID),
)
_URL_SAFE = Rule(
    "letters, digits, '.', '_', '~' and '-' only",
    "venue ids stand in URLs: rename the venue in every file",
    pandera.Check.str_matches(r"^[A-Za-z0-9._~-]+$"),
)
_NOT_RESERVED = Rule(
    f"another id than {c.WHOLE_CATALOGUE_VENUE!r}: it is the venue of the whole catalogue",
    "rename the venue in every file",
    pandera.Check.notin([c.WHOLE_CATALOGUE_VENUE]),
)


def _one_of(words: tuple[str, ...], remedy: str) -> Rule:
    return Rule(f"one of {', '.join(words)}", remedy, pandera.Check.isin(words))


_KEY = ColumnContract(Kind.TEXT, required=True, nullable=False, rules=(_ID_LENGTH,))
_NAME = ColumnContract(Kind.TEXT, rules=(_ID_LENGTH,))
_TEXT = ColumnContract(Kind.TEXT)
_AMOUNT = ColumnContract(Kind.NUMBER, rules=(_AT_LEAST_ZERO,))
_MOMENT = ColumnContract(Kind.MOMENT, rules=(_SANE,))

CONTRACT: dict[str, dict[str, ColumnContract]] = {
    c.EVENTS_FILE: {
        c.USER_ID: _KEY,
        c.ITEM_ID: _KEY,
        c.EVENT_TYPE: ColumnContract(
            Kind.TEXT,
            required=True,
            nullable=False,
            rules=(_one_of(tuple(EventType), "map your event names to these, or drop those rows"),),
        ),
        c.TIMESTAMP: ColumnContract(Kind.MOMENT, required=True, rules=(_SANE,)),
        c.EVENT_ID: ColumnContract(Kind.TEXT, nullable=False, rules=(_ID_LENGTH,)),
        c.QUANTITY: _AMOUNT,
        c.VALUE: _AMOUNT,
        c.LIST_VALUE: _AMOUNT,
        c.CURRENCY: ColumnContract(
            Kind.TEXT,
            rules=(
                Rule(
                    "an ISO 4217 code such as EUR",
                    "write the three capital letters",
                    pandera.Check.str_matches(r"^[A-Z]{3}$"),
                ),
            ),
        ),
        c.VENUE_ID: _NAME,
        c.BLOCK_ID: _NAME,
        c.POSITION: _AMOUNT,
        c.SESSION_ID: _NAME,
        c.ORDER_ID: _NAME,
        c.COUPON_ID: _NAME,
        c.RECOMMENDATION_ID: _NAME,
        c.PROPENSITY: ColumnContract(
            Kind.NUMBER,
            rules=(
                Rule(
                    "a probability above 0 and at most 1",
                    "log the probability of the position that was shown, or leave it null",
                    pandera.Check.in_range(0, 1, include_min=False),
                ),
            ),
        ),
        c.SPLIT: ColumnContract(
            Kind.TEXT,
            nullable=False,
            rules=(_one_of(SPLITS, "name every row's split, or drop the column"),),
        ),
    },
    c.USERS_FILE: {c.USER_ID: _KEY},
    c.ITEMS_FILE: {
        c.ITEM_ID: _KEY,
        c.TITLE: _TEXT,
        c.CATEGORY: _TEXT,
        c.BRAND: _TEXT,
        c.PRICE: _AMOUNT,
        c.CREATED_AT: _MOMENT,
    },
    c.VENUES_FILE: {
        c.VENUE_ID: ColumnContract(
            Kind.TEXT, required=True, nullable=False, rules=(_ID_LENGTH, _URL_SAFE, _NOT_RESERVED)
        ),
        c.NAME: _TEXT,
        c.KIND: _TEXT,
        c.STARTS_AT: _MOMENT,
        c.ENDS_AT: _MOMENT,
    },
    c.VENUE_ITEMS_FILE: {
        c.VENUE_ID: _KEY,
        c.ITEM_ID: _KEY,
        c.VENUE_PRICE: _AMOUNT,
        c.COUPON_ID: _NAME,
        c.STOCK: _AMOUNT,
        c.PLACEMENT: _TEXT,
        c.ON_SALE_FROM: _MOMENT,
        c.ON_SALE_TO: _MOMENT,
        c.REGIONS: _TEXT,
    },
}


def canonical(table: pa.Table, file: str) -> pa.Table:
    """Bring each column to the one spelling of its type; what does not fit stays as it is."""
    for position, name in enumerate(table.column_names):
        wanted = CONTRACT[file].get(name)
        column = _plain_text(table.column(position))
        if wanted is not None:
            column = _fitted(column, wanted.kind)
        elif pa.types.is_timestamp(column.type) and column.type.tz is not None:
            column = column.cast(TIME, safe=False)
        table = table.set_column(position, name, column)
    return table.replace_schema_metadata(None)


def _plain_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Text is spelt in four ways in Parquet, lists in two."""
    kind = column.type
    if pa.types.is_large_list(kind):
        return column.cast(pa.list_(kind.value_type))
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = kind.value_type
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        column = column.cast(pa.string())
    return column


def _fitted(column: pa.ChunkedArray, wanted: Kind) -> pa.ChunkedArray:
    kind = column.type
    if pa.types.is_null(kind):
        return column.cast(wanted.arrow)
    numeric = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    if wanted is Kind.NUMBER and numeric:
        numbers = column.cast(pa.float64(), safe=False)
        return pc.if_else(pc.is_nan(numbers), pa.scalar(None, pa.float64()), numbers)
    if wanted is Kind.MOMENT and pa.types.is_timestamp(kind) and kind.tz is not None:
        return column.cast(TIME, safe=False)
    return column


def file_faults(file: str, table: pa.Table) -> list[Fault]:
    """Check one canonical table against the contract of its file; all faults at once."""
    contract = CONTRACT[file]
    mistyped = [
        _type_fault(file, name, table.column(name), rule.kind)
        for name, rule in contract.items()
        if name in table.column_names and table.schema.field(name).type != rule.kind.arrow
    ]
    bad = {fault.column for fault in mistyped}
    checked = {name: rule for name, rule in contract.items() if name not in bad}
    present = [name for name in checked if name in table.column_names]
    frame = table.select(present).to_pandas(types_mapper=pd.ArrowDtype)
    try:
        _schema(checked).validate(frame, lazy=True)
    except SchemaErrors as error:
        return mistyped + _translated(file, checked, table.column_names, error.failure_cases)
    return mistyped


def _schema(contract: dict[str, ColumnContract]) -> pandera.DataFrameSchema:
    return pandera.DataFrameSchema(
        {
            name: pandera.Column(
                pd.ArrowDtype(rule.kind.arrow),
                checks=[each.check for each in rule.rules],
                required=rule.required,
                nullable=rule.nullable,
            )
            for name, rule in contract.items()
        }
    )


def _translated(
    file: str, contract: dict[str, ColumnContract], present: list[str], cases: pd.DataFrame
) -> list[Fault]:
    faults = []
    by_check = cases.groupby(["column", "check", "check_number"], dropna=False, sort=False)
    for _, rows in by_check:
        value, row, check, number = rows.iloc[0][["failure_case", "index", "check", "check_number"]]
        column = str(rows["column"].iloc[0])
        if check == "column_in_dataframe":
            faults.append(_missing_column(file, str(value), present))
        elif check == "not_nullable":
            problem, remedy = "expected a value in every row", "fill the gaps or drop the rows"
            example = example_of(None, row)
            faults.append(Fault(file, column, len(rows), problem, example, remedy))
        else:
            rule = contract[column].rules[number]
            problem, example = f"expected {rule.expected}", example_of(value, row)
            faults.append(Fault(file, column, len(rows), problem, example, rule.remedy))
    return faults


def _missing_column(file: str, name: str, present: list[str]) -> Fault:
    strangers = [column for column in present if column not in CONTRACT[file]]
    close = difflib.get_close_matches(name, strangers, n=1, cutoff=0.5)
    remedy = f"rename {close[0]!r} to it" if close else f"add it; there are {', '.join(present)}"
    return Fault(file, name, 0, "this column is required and missing", "", remedy)


def _type_fault(file: str, name: str, column: pa.ChunkedArray, wanted: Kind) -> Fault:
    kind = column.type
    problem = f"expected {wanted.words}, found {kind}"
    filled = pc.drop_null(column)
    example = example_of(_first(filled), None) if len(filled) else ""
    return Fault(file, name, len(column), problem, example, _cast_remedy(name, kind, wanted))


def _first(column: pa.ChunkedArray) -> object:
    """The first value, shown as Arrow shows it: nanoseconds have no Python type."""
    value = column[0]
    return str(value) if pa.types.is_temporal(value.type) else value.as_py()


def _cast_remedy(name: str, kind: pa.DataType, wanted: Kind) -> str:
    if wanted is Kind.TEXT:
        return f"write ids and words as text: frame[{name!r}].astype(str)"
    if wanted is Kind.NUMBER:
        return f"write numbers as numbers: pandas.to_numeric(frame[{name!r}])"
    if pa.types.is_timestamp(kind):
        return "say which time zone is meant: .dt.tz_localize('Asia/Shanghai').dt.tz_convert('UTC')"
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return f"pandas.to_datetime(frame[{name!r}], unit='s', utc=True) reads seconds"
    return f"pandas.to_datetime(frame[{name!r}], utc=True) reads text"
