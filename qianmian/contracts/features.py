"""Names of feature views, services and their fields: what Feast, training and serving agree on.

Fields that depend on the data set (its user tags and item attributes) are added by name at run
time; everything that qianmian derives itself is named here. Times are float seconds since the
epoch (UTC); `*_at` fields hold 0.0 for "never".
"""

from __future__ import annotations

from typing import Final

# Feast entities (join keys are the columns of the same meaning).
USER: Final = "user"
ITEM: Final = "item"
VENUE: Final = "venue"

EVENT_TIMESTAMP: Final = "event_timestamp"

# Feature views.
USER_TAGS: Final = "user_tags"  # declared tags of users.parquet and derived tags
USER_ACTIVITY: Final = "user_activity"  # counts, spend and recency by window
USER_SEQUENCE: Final = "user_sequence"  # the last actions, newest first
USER_LEDGER: Final = "user_ledger"  # every item the user did the target action on, summed up
USER_AFFINITY: Final = "user_affinity"  # preference by value of each affinity column
USER_EXPOSURE: Final = "user_exposure"  # what was shown to the user lately, and what is disliked
ITEM_PROFILE: Final = "item_profile"  # attributes of items.parquet
ITEM_STATISTICS: Final = "item_statistics"  # popularity, price, discount, repeat, age
VENUE_PROFILE: Final = "venue_profile"  # kind, period, pool size

#: What models read of a user, and all that is kept of one.
USER_MODEL_VIEWS: Final = (USER_TAGS, USER_ACTIVITY, USER_SEQUENCE, USER_LEDGER, USER_AFFINITY)
USER_VIEWS: Final = (*USER_MODEL_VIEWS, USER_EXPOSURE)
ITEM_VIEWS: Final = (ITEM_PROFILE, ITEM_STATISTICS)
VENUE_VIEWS: Final = (VENUE_PROFILE,)

# Feature services, one a model and one for the rules of pages. Each holds user and item views;
# `service_features` in `qianmian.features.store` splits them by entity.
TWO_TOWER_SERVICE: Final = "two_tower"  # all user views but the ledger, both item views
RANKER_SERVICE: Final = "ranker"  # all user views that models read, both item views
PAGE_SERVICE: Final = "page"  # what the rules of a page read: user_exposure

#: Sliding windows, in days, over which counts and spend are taken.
WINDOWS_DAYS: Final = (7, 28, 91)

# user_activity (all numeric float32 but the *_at fields, float64)
LAST_ACTION_AT: Final = "last_action_at"
FIRST_ACTION_AT: Final = "first_action_at"
LAST_TARGET_AT: Final = "last_target_at"
TARGET_COUNT_TOTAL: Final = "target_count_total"
DISTINCT_ITEMS: Final = "distinct_items"
REPEAT_SHARE: Final = "repeat_share"  # share of target actions on items acted on before
MEAN_PRICE: Final = "mean_price"  # paid per unit; 0 where the data has no money
DISCOUNT_SHARE: Final = "discount_share"  # 1 - value / list_value over 91 days
COUPON_COUNT: Final = "coupon_count"  # coupon events, 91 days
SESSION_GAP_DAYS: Final = "session_gap_days"  # mean days between active days, all history


def target_count(days: int) -> str:
    """Name of the number of target actions in the last `days` days."""
    return f"target_count_{days}d"


def session_count(days: int) -> str:
    """Name of the number of distinct orders (or sessions, or active days) in a window."""
    return f"session_count_{days}d"


def spend(days: int) -> str:
    """Name of the money spent in a window, in the data set's currency."""
    return f"spend_{days}d"


USER_ACTIVITY_TIMES: Final = (FIRST_ACTION_AT, LAST_ACTION_AT, LAST_TARGET_AT)
USER_ACTIVITY_NUMERIC: Final = (
    *(f(d) for f in (target_count, session_count, spend) for d in WINDOWS_DAYS),
    TARGET_COUNT_TOTAL,
    DISTINCT_ITEMS,
    REPEAT_SHARE,
    MEAN_PRICE,
    DISCOUNT_SHARE,
    COUPON_COUNT,
    SESSION_GAP_DAYS,
)

# user_sequence: the last SEQUENCE_LENGTH actions (impressions excluded), newest first.
SEQUENCE_LENGTH: Final = 50
RECENT_ITEM_IDS: Final = "recent_item_ids"  # Array(String)
RECENT_EVENT_CODES: Final = "recent_event_codes"  # Array(Int64), contracts.events.EVENT_CODE
RECENT_AT: Final = "recent_at"  # Array(Float64)

# user_ledger: one entry for each item with a target action, newest last action first, at most
# LEDGER_LENGTH entries. Decayed counts are sums of 0.5 ** (age / half-life) as of `ledger_as_of`.
LEDGER_LENGTH: Final = 4096
LEDGER_HALF_LIVES_DAYS: Final = (14, 42, 84, 182)
LEDGER_AS_OF: Final = "ledger_as_of"  # Float64, the moment the decayed counts refer to
LEDGER_ITEM_IDS: Final = "ledger_item_ids"  # Array(String)
LEDGER_COUNTS: Final = "ledger_counts"  # Array(Float32): distinct orders/sessions with the item
LEDGER_QUANTITIES: Final = "ledger_quantities"  # Array(Float32): units
LEDGER_FIRST_AT: Final = "ledger_first_at"  # Array(Float64)
LEDGER_LAST_AT: Final = "ledger_last_at"  # Array(Float64)
#: Bit k of an entry is set when the user's k-th last visit with a target action held the item.
LEDGER_VISITS: Final = "ledger_visits"  # Array(Int64)
LEDGER_VISITS_KEPT: Final = 48


def ledger_decayed(half_life_days: int) -> str:
    """Name of the array of decayed counts with this half-life."""
    return f"ledger_decayed_{half_life_days}d"


# user_affinity: for each affinity column of the data set, the values the user acts on, strongest
# first, at most AFFINITY_LENGTH.
AFFINITY_LENGTH: Final = 96
AFFINITY_HALF_LIFE_DAYS: Final = 84
#: Kinds of families of items (`qianmian.features.families`) beside those of each affinity column.
JOINED_FAMILIES: Final = ("akin", "alike")


def affinity_values(column: str) -> str:
    """Name of the array of values of an affinity column, Array(String)."""
    return f"{column}_affinity_values"


def affinity_weights(column: str) -> str:
    """Name of the decayed counts by value (half-life AFFINITY_HALF_LIFE_DAYS), Array(Float32)."""
    return f"{column}_affinity_weights"


def affinity_last_at(column: str) -> str:
    """Name of the time of the last target action by value, Array(Float64)."""
    return f"{column}_affinity_last_at"


# user_exposure: items shown in the last EXPOSURE_DAYS, newest first, at most EXPOSURE_LENGTH, and
# items disliked with no action on them since, newest first, at most DISLIKED_LENGTH.
EXPOSURE_DAYS: Final = 28
EXPOSURE_LENGTH: Final = 256
DISLIKED_LENGTH: Final = 256
EXPOSED_ITEM_IDS: Final = "exposed_item_ids"  # Array(String)
EXPOSED_COUNTS: Final = "exposed_counts"  # Array(Int64): times shown since the last action on it
EXPOSED_AT: Final = "exposed_at"  # Array(Float64): last shown
DISLIKED_ITEM_IDS: Final = "disliked_item_ids"  # Array(String)
DISLIKED_AT: Final = "disliked_at"  # Array(Float64)

# user_tags: declared columns keep their names; derived tags (String) are these.
DERIVED_TAGS: Final = (
    "activity_level",  # by orders or sessions in 28 days: none, low, medium, high
    "life_cycle",  # new, active, lapsing, lapsed: by age and recency against the own rhythm
    "purchasing_power",  # mean unit price against the data set's quartiles: low ... high
    "price_sensitivity",  # by discount share: low, medium, high
    "preferred_daypart",  # night, morning, afternoon, evening (data set's time zone)
    "preferred_day",  # weekday, weekend
)

# item_statistics (numeric Float32 but the *_at fields, Float64)
FIRST_SEEN_AT: Final = "first_seen_at"
LAST_SEEN_AT: Final = "last_seen_at"
TARGET_USERS_TOTAL: Final = "target_users_total"
REPEAT_RATE: Final = "repeat_rate"  # share of the item's users who acted on it at least twice
REPEAT_INTERVAL_DAYS: Final = "repeat_interval_days"  # median days between a user's repeats; 0 none
PAID_PRICE: Final = "paid_price"  # median paid per unit over 28 days, else over all history
BASE_PRICE: Final = "base_price"  # median list price per unit, same window
DISCOUNT: Final = "discount"  # 1 - paid/base over the last 28 days, >= 0
IMPRESSION_COUNT: Final = "impression_count"  # logged impressions, 28 days
TREND: Final = "trend"  # log ratio of 7-day rate to 28-day rate, smoothed


def target_users(days: int) -> str:
    """Name of the number of distinct users with a target action on the item in a window."""
    return f"target_users_{days}d"


ITEM_STATISTICS_TIMES: Final = (FIRST_SEEN_AT, LAST_SEEN_AT)
ITEM_STATISTICS_NUMERIC: Final = (
    *(f(d) for f in (target_count, target_users) for d in WINDOWS_DAYS),
    TARGET_COUNT_TOTAL,
    TARGET_USERS_TOTAL,
    REPEAT_RATE,
    REPEAT_INTERVAL_DAYS,
    PAID_PRICE,
    BASE_PRICE,
    DISCOUNT,
    IMPRESSION_COUNT,
    TREND,
)

# venue_profile: the columns of venues.parquet, and
POOL_SIZE: Final = "pool_size"  # Float32, distinct items of the venue's pool
