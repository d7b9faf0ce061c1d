"""Check a whole data set: every fault of every file, found in one go.

`schemas` checks each file by itself; here stand the checks across rows and files. A check looks
only at columns that are there and of the right type, so that one fault does not hide another.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from qianmian.contracts import columns as c
from qianmian.contracts.events import ACTIONS
from qianmian.data.derive import declaration_faults, derive_spec
from qianmian.data.faults import Fault, example_of, refusal
from qianmian.data.folder import Folder
from qianmian.data.normalise import complete_times, normalise
from qianmian.data.schemas import CONTRACT, file_faults
from qianmian.data.spec import DatasetSpec
from qianmian.data.summary import Summary, summarise
from qianmian.data.tables import Tables

_UNIQUE = (
    (c.EVENTS_FILE, (c.EVENT_ID,)),
    (c.USERS_FILE, (c.USER_ID,)),
    (c.ITEMS_FILE, (c.ITEM_ID,)),
    (c.VENUES_FILE, (c.VENUE_ID,)),
    (c.VENUE_ITEMS_FILE, (c.VENUE_ID, c.ITEM_ID)),
)


@dataclass(frozen=True, slots=True)
class SoundDataset:
    """A data set that holds to the contract, in the form in which it is stored."""

    tables: Tables
    spec: DatasetSpec
    summary: Summary


@dataclass(frozen=True, slots=True)
class Verdict:
    """Either every fault of a data set, or the sound data set."""

    faults: tuple[Fault, ...] = ()
    sound: SoundDataset | None = None


def check(folder: Folder, name: str) -> Verdict:
    """Check what was read of a folder; the data set is called `name`."""
    faults = list(folder.faults)
    for file, table in folder.tables.items():
        faults += file_faults(file, table)
    typed = {file: _well_typed(file, table) for file, table in folder.tables.items()}
    for across in (_duplicates, _events, _unknown_times, _splits, _venues):
        faults += across(typed)
    faults += declaration_faults(folder.declared, typed)
    if faults:
        return Verdict(tuple(faults))
    events, imputed = complete_times(folder.tables[c.EVENTS_FILE])
    if faults := list(_split_faults(folder, events)):
        return Verdict(tuple(faults))
    tables = Tables.of({**folder.tables, c.EVENTS_FILE: events})
    spec = derive_spec(folder.declared, tables, name)
    tables = normalise(tables, spec)
    return Verdict(sound=SoundDataset(tables, spec, summarise(tables, spec, imputed)))


def sound_or_refused(folder: Folder, name: str) -> SoundDataset:
    """Return the sound data set; raises `DataError` that lists every fault."""
    verdict = check(folder, name)
    if verdict.sound is None:
        raise refusal(folder.path, verdict.faults)
    return verdict.sound


def _well_typed(file: str, table: pa.Table) -> pa.Table:
    """Keep the columns of the contract whose type is right, and those outside of it."""
    contract = CONTRACT[file]
    return table.select(
        [
            field.name
            for field in table.schema
            if field.name not in contract or field.type == contract[field.name].kind.arrow
        ]
    )


def _duplicates(tables: dict[str, pa.Table]) -> Iterator[Fault]:
    for file, keys in _UNIQUE:
        table = tables.get(file)
        if table is None or not set(keys) <= set(table.column_names):
            continue
        counted = table.select(keys).drop_null().group_by(keys).aggregate([([], "count_all")])
        repeated = counted.filter(pc.greater(counted["count_all"], 1))
        if repeated.num_rows:
            rows = pc.sum(repeated["count_all"]).as_py()
            first = repeated.slice(0, 1).to_pylist()[0]
            times = first.pop("count_all")
            example = f"{', '.join(map(repr, first.values()))} stands {times} times"
            problem = "expected each once"
            remedy = "keep one row of each, for example with drop_duplicates"
            yield Fault(file, ", ".join(keys), rows, problem, example, remedy)


def _events(tables: dict[str, pa.Table]) -> Iterator[Fault]:
    events = tables.get(c.EVENTS_FILE)
    if events is None:
        return
    if not events.num_rows:
        yield Fault(c.EVENTS_FILE, "", 0, "holds no rows", "", "write the events into it")
        return
    if c.EVENT_TYPE in events.column_names:
        is_action = pc.is_in(events[c.EVENT_TYPE], pa.array([str(a) for a in ACTIONS]))
        if not pc.any(is_action).as_py():
            problem = "expected at least one action: impressions alone have nothing to learn from"
            remedy = f"add events of {', '.join(ACTIONS)}"
            yield Fault(c.EVENTS_FILE, c.EVENT_TYPE, events.num_rows, problem, "", remedy)
    if c.CURRENCY in events.column_names:
        currencies = pc.drop_null(pc.unique(events[c.CURRENCY])).to_pylist()
        if len(currencies) > 1:
            problem = f"expected one currency, found {', '.join(sorted(currencies))}"
            remedy = "convert every amount to one currency"
            yield Fault(c.EVENTS_FILE, c.CURRENCY, events.num_rows, problem, "", remedy)


def _unknown_times(tables: dict[str, pa.Table]) -> Iterator[Fault]:
    events = tables.get(c.EVENTS_FILE)
    if events is None or c.TIMESTAMP not in events.column_names or c.SPLIT in events.column_names:
        return
    unknown = pc.is_null(events[c.TIMESTAMP])
    if count := pc.sum(unknown).as_py():
        problem = f"expected a time in every row, since there is no column {c.SPLIT!r}"
        remedy = f"drop the rows, or add {c.SPLIT!r} (train, valid or test) to every row"
        example = example_of(None, pc.index(unknown, value=True).as_py())
        yield Fault(c.EVENTS_FILE, c.TIMESTAMP, count, problem, example, remedy)


def _splits(tables: dict[str, pa.Table]) -> Iterator[Fault]:
    events = tables.get(c.EVENTS_FILE)
    if events is None or c.SPLIT not in events.column_names or not events.num_rows:
        return
    present = set(pc.unique(events[c.SPLIT]).to_pylist())
    for split, use in (("train", "to learn from"), ("test", "to judge by")):
        if split not in present:
            problem = f"no row is {split!r}: there is nothing {use}"
            remedy = f"mark some rows {split!r}, or drop the column to split by time"
            yield Fault(c.EVENTS_FILE, c.SPLIT, 0, problem, "", remedy)


def _venues(tables: dict[str, pa.Table]) -> Iterator[Fault]:
    venues, pool = tables.get(c.VENUES_FILE), tables.get(c.VENUE_ITEMS_FILE)
    if venues is not None and {c.STARTS_AT, c.ENDS_AT} <= set(venues.column_names):
        wrong = pc.less_equal(venues[c.ENDS_AT], venues[c.STARTS_AT]).fill_null(fill_value=False)
        if count := pc.sum(wrong).as_py():
            row = pc.index(wrong, value=True).as_py()
            period = f"{venues[c.STARTS_AT][row]} to {venues[c.ENDS_AT][row]} (row {row})"
            problem = f"expected an end after {c.STARTS_AT}"
            remedy = "an end is the first moment after the venue; swap or correct the two"
            yield Fault(c.VENUES_FILE, c.ENDS_AT, count, problem, period, remedy)
    if pool is None or c.VENUE_ID not in pool.column_names:
        return
    known = pa.array([], pa.string())
    if venues is not None and c.VENUE_ID in venues.column_names:
        known = pc.unique(venues[c.VENUE_ID])
    strange = pc.invert(pc.is_in(pool[c.VENUE_ID], known))
    if count := pc.sum(strange).as_py():
        row = pc.index(strange, value=True).as_py()
        problem = f"expected a venue of {c.VENUES_FILE}"
        remedy = f"add the venue to {c.VENUES_FILE}, or drop the rows"
        example = example_of(pool[c.VENUE_ID][row].as_py(), row)
        yield Fault(c.VENUE_ITEMS_FILE, c.VENUE_ID, count, problem, example, remedy)


def _split_faults(folder: Folder, events: pa.Table) -> Iterator[Fault]:
    """Check that both sides of the split hold events; times are complete by now."""
    least, most = (f(events[c.TIMESTAMP]).as_py() for f in (pc.min, pc.max))
    declared = folder.declared.split
    if least == most:
        problem = "expected events at different times: there is no before and after to split"
        remedy = "write each event's own time"
        yield Fault(c.EVENTS_FILE, c.TIMESTAMP, events.num_rows, problem, str(least), remedy)
    elif declared is None or declared.by == "column" or declared.train_end is None:
        return
    elif not least < declared.train_end <= most:
        problem = f"expected a moment within the events, after {least} and up to {most}"
        remedy = "move it, or leave split out to split after nine tenths of the events"
        example = str(declared.train_end)
        yield Fault(c.DATASET_FILE, "split.train_end", 0, problem, example, remedy)
    elif declared.test_end and declared.test_end <= declared.train_end:
        problem, remedy = "expected test_end after train_end", "swap or correct the two"
        yield Fault(c.DATASET_FILE, "split.test_end", 0, problem, str(declared.test_end), remedy)
