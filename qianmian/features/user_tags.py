"""User tags: what users.parquet declares, and tags derived from behaviour.

A row for each declared user and each user with an action. Declared tags have no time of their own
and count as known throughout. A tag of which nothing is known is null.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from qianmian.contracts import columns as c
from qianmian.contracts import features as f
from qianmian.features.columns import DataType, table_of
from qianmian.features.event_log import SECONDS_PER_DAY, EventLog, Events
from qianmian.features.segments import Float64, Int32, Runs, counts
from qianmian.features.user_activity import user_activity

Texts = npt.NDArray[np.object_]

#: Window of the visits that make an activity level, in days.
PRESENT_WINDOW_DAYS: Final = f.WINDOWS_DAYS[1]

DAYPARTS: Final = ("night", "morning", "afternoon", "evening")  # six hours each, from midnight
HOURS_A_DAYPART: Final = 6

#: Visits in 28 days from which an activity level begins.
ACTIVITY_LEVELS: Final = {"none": 0, "low": 1, "medium": 3, "high": 8}

NEW_DAYS: Final = 28  # a user is new for this long after the first action
RHYTHM_DAYS: Final = (7.0, 91.0)  # bounds of a user's own rhythm
UNKNOWN_RHYTHM_DAYS: Final = 28.0  # rhythm of a user with one active day
ACTIVE_RHYTHMS: Final = 2.0  # active until so many rhythms after the last action
LAPSING_RHYTHMS: Final = 4.0  # lapsing until so many, lapsed beyond

SATURDAY: Final = 5  # days from Monday
WEEKEND_DAYS: Final = 2
WEEKDAYS: Final = 5

POWER_LEVELS: Final = ("low", "lower_middle", "upper_middle", "high")
SENSITIVITY_LEVELS: Final = ("low", "medium", "high")


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Where the levels that compare a user with the others begin.

    Taken once from the training period and kept, so that a user's tag does not depend on who else
    is computed with it. Empty where the data has no money.
    """

    mean_price: tuple[float, ...] = ()  # quartiles over users with a price
    discount_share: tuple[float, ...] = ()  # terciles over users with an order in 91 days

    @classmethod
    def of(cls, log: EventLog, as_of: float) -> Thresholds:
        """Quantiles over the users of `log` as of `as_of` (epoch seconds)."""
        activity = user_activity(log, as_of)
        price = activity[f.MEAN_PRICE].to_numpy()
        share = activity[f.DISCOUNT_SHARE].to_numpy()
        spending = activity[f.spend(f.WINDOWS_DAYS[-1])].to_numpy() > 0
        has_discounts = bool(share.any())
        return cls(
            mean_price=_quantiles(price[price > 0], len(POWER_LEVELS)),
            discount_share=_quantiles(
                share[spending] if has_discounts else share[:0], len(SENSITIVITY_LEVELS)
            ),
        )


def user_tags(
    log: EventLog,
    declared: pa.Table | None,
    declared_types: Mapping[str, DataType],
    thresholds: Thresholds,
    as_of: float,
) -> pa.Table:
    """Tags of each user as of `as_of` (epoch seconds).

    - `activity_level`: visits in 28 days: none 0, low 1, medium 3, high 8 or more
    - `life_cycle`: new for 28 days; then by days since the last action against the user's own
      rhythm (mean days between active days, 7 to 91): active to 2 rhythms, lapsing to 4, lapsed
    - `purchasing_power`: mean unit price against `thresholds.mean_price`
    - `price_sensitivity`: discount share of 91 days against `thresholds.discount_share`
    - `preferred_daypart`: the quarter of the local day with most actions
    - `preferred_day`: weekend where a weekend day sees more actions than a weekday

    Args:
        log: events; only those before `as_of` count.
        declared: `user_id` and the declared tags, None where the data set declares none.
        declared_types: name and type of each declared tag.
        thresholds: where the levels of the two tags about money begin.
        as_of: epoch seconds.
    """
    activity = user_activity(log, as_of)
    ids = activity[c.USER_ID].combine_chunks()
    columns: dict[str, npt.NDArray[np.generic] | pa.Array] = {
        name: pa.array(values, pa.string())
        for name, values in _derived(log, activity, thresholds, as_of).items()
    }
    if declared is None:
        return table_of(c.USER_ID, ids, columns, derived_types())
    known = declared[c.USER_ID].cast(pa.string()).combine_chunks()
    quiet = known.filter(pc.invert(pc.is_in(known, ids)))
    users = pa.concat_arrays([ids, quiet])
    users = users.take(pc.sort_indices(users))
    columns = {name: column.take(pc.index_in(users, ids)) for name, column in columns.items()}
    columns["activity_level"] = pc.fill_null(columns["activity_level"], "none")
    row = pc.index_in(users, known)
    for name in declared_types:
        columns[name] = declared[name].combine_chunks().take(row)
    return table_of(c.USER_ID, users, columns, {**declared_types, **derived_types()})


def derived_types() -> dict[str, DataType]:
    """Types of the derived tags."""
    return dict.fromkeys(f.DERIVED_TAGS, DataType.STRING)


def _derived(
    log: EventLog, activity: pa.Table, thresholds: Thresholds, as_of: float
) -> dict[str, Texts]:
    """Derived tags, one text or None for each row of `activity`."""
    actions = log.actions_by_user.before(as_of)
    users = actions.user[Runs.of(actions.user).starts]  # those of `activity`, in its order
    number = {name: activity[name].to_numpy() for name in activity.column_names[1:]}
    level, life_cycle, power, sensitivity, daypart, day = f.DERIVED_TAGS
    spending = number[f.spend(f.WINDOWS_DAYS[-1])] > 0
    return {
        level: _levels(
            number[f.session_count(PRESENT_WINDOW_DAYS)],
            tuple(ACTIVITY_LEVELS.values())[1:],
            tuple(ACTIVITY_LEVELS),
        ),
        life_cycle: _life_cycle(number, as_of),
        power: _levels(
            number[f.MEAN_PRICE],
            thresholds.mean_price,
            POWER_LEVELS,
            known=number[f.MEAN_PRICE] > 0,
        ),
        sensitivity: _levels(
            number[f.DISCOUNT_SHARE], thresholds.discount_share, SENSITIVITY_LEVELS, known=spending
        ),
        daypart: _daypart(actions, users),
        day: _preferred_day(actions, users),
    }


def _levels(
    values: npt.NDArray[np.floating],
    starts: tuple[float, ...],
    names: tuple[str, ...],
    known: npt.NDArray[np.bool_] | None = None,
) -> Texts:
    """Name of the level that each value lies in; None where not known, or without `starts`."""
    if not starts:
        return np.full(len(values), None, dtype=object)
    level = np.searchsorted(np.asarray(starts, dtype=np.float64), values, side="right")
    texts: Texts = np.array(names, dtype=object)[level]
    if known is not None:
        texts[~known] = None
    return texts


def _life_cycle(number: Mapping[str, Float64], as_of: float) -> Texts:
    age = (as_of - number[f.FIRST_ACTION_AT]) / SECONDS_PER_DAY
    silence = (as_of - number[f.LAST_ACTION_AT]) / SECONDS_PER_DAY
    gap = number[f.SESSION_GAP_DAYS]
    rhythm = np.clip(np.where(gap > 0, gap, UNKNOWN_RHYTHM_DAYS), *RHYTHM_DAYS)
    texts: Texts = np.select(
        [age < NEW_DAYS, silence <= ACTIVE_RHYTHMS * rhythm, silence <= LAPSING_RHYTHMS * rhythm],
        [np.array(name, dtype=object) for name in ("new", "active", "lapsing")],
        default=np.array("lapsed", dtype=object),
    )
    return texts


def _daypart(actions: Events, users: Int32) -> Texts:
    parts = len(DAYPARTS)
    part = actions.hour // HOURS_A_DAYPART
    cell = actions.user.astype(np.int64) * parts + part
    size = _size(users)
    by_part = counts(cell, size * parts).reshape(size, parts)[users]
    texts: Texts = np.array(DAYPARTS, dtype=object)[by_part.argmax(axis=1)]
    return texts


def _preferred_day(actions: Events, users: Int32) -> Texts:
    weekend = is_weekend(actions.day)
    on_weekend = counts(actions.user[weekend], _size(users))[users]
    on_weekday = counts(actions.user[~weekend], _size(users))[users]
    return np.where(on_weekend / WEEKEND_DAYS > on_weekday / WEEKDAYS, "weekend", "weekday").astype(
        object
    )


def _size(codes: Int32) -> int:
    """How many codes there are up to the last of these ascending ones."""
    return int(codes[-1]) + 1 if len(codes) else 0


def is_weekend(day: Int32) -> npt.NDArray[np.bool_]:
    """Whether days since the epoch are a Saturday or Sunday (day 0 was a Thursday).

    >>> is_weekend(np.array([0, 1, 2, 3, 4])).tolist()
    [False, False, True, True, False]
    """
    monday_based = (day + 3) % 7
    weekend: npt.NDArray[np.bool_] = monday_based >= SATURDAY
    return weekend


def _quantiles(values: Float64, levels: int) -> tuple[float, ...]:
    """The `levels - 1` inner quantiles of `values`; none of no values."""
    if not len(values):
        return ()
    inner = np.linspace(0.0, 1.0, levels + 1)[1:-1]
    return tuple(float(q) for q in np.quantile(values.astype(np.float64), inner))
