"""A small shop for tests: enough users, items and weeks that models really learn something.

Every user has a favourite category, staples bought again and again, and now and then something new
from the favourite category. It is made data: no number measured on it says anything of quality.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

USERS, ITEMS, CATEGORIES, WEEKS = 60, 120, 6, 16
START = datetime(2024, 1, 1, tzinfo=UTC)
TRAIN_END = START + timedelta(weeks=WEEKS - 2)
TEST_END = START + timedelta(weeks=WEEKS)


def write_shop(folder: Path, *, events_only: bool = False, seed: int = 5) -> Path:
    """Write the shop as a data set folder in the contract's form."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    events = _events(rng, clicks=events_only)
    if events_only:
        events[["user_id", "item_id", "event_type", "timestamp"]].to_parquet(
            folder / "events.parquet"
        )
        return folder
    events.to_parquet(folder / "events.parquet")
    _items().to_parquet(folder / "items.parquet")
    pd.DataFrame(
        {
            "user_id": [_user(u) for u in range(USERS - 5)],
            "age": [f"{10 * (u % 5) + 20}s" for u in range(USERS - 5)],
            "points": [float(u % 7) for u in range(USERS - 5)],
        }
    ).to_parquet(folder / "users.parquet")
    pd.DataFrame(
        {
            "venue_id": ["spring", "half"],
            "name": ["Spring sale", "Half the shop"],
            "kind": ["sale", "sale"],
            "starts_at": [START, TRAIN_END - timedelta(days=7)],
            "ends_at": [TEST_END, TEST_END],
        }
    ).to_parquet(folder / "venues.parquet")
    pd.DataFrame(
        [{"venue_id": "spring", "item_id": _item(i), "coupon_id": "c1"} for i in range(ITEMS)]
        + [{"venue_id": "half", "item_id": _item(i), "coupon_id": None} for i in range(0, ITEMS, 2)]
    ).to_parquet(folder / "venue_items.parquet")
    (folder / "dataset.yaml").write_text(
        f"""\
name: small-shop
title: A small shop made for tests
time_zone: UTC
target: order
users: {{categorical: [age], numeric: [points]}}
items: {{categorical: [category, brand], affinity: [category, brand]}}
split: {{train_end: {TRAIN_END.isoformat()}, test_end: {TEST_END.isoformat()}}}
""",
        encoding="utf-8",
    )
    return folder


def _events(rng: np.random.Generator, *, clicks: bool) -> pd.DataFrame:
    rows = []
    for user in range(USERS):
        favourite = user % CATEGORIES
        own = np.arange(favourite, ITEMS, CATEGORIES)
        staples = rng.choice(own, 4, replace=False)
        for week in range(WEEKS):
            for visit in range(2):
                at = START + timedelta(
                    weeks=week,
                    days=3 * visit + int(rng.integers(3)),
                    hours=int(rng.integers(8, 22)),
                )
                basket = [*rng.choice(staples, 2, replace=False), rng.choice(own)]
                if rng.random() < 0.3:
                    basket.append(int(rng.integers(ITEMS)))
                for place, item in enumerate(dict.fromkeys(int(i) for i in basket)):
                    order = f"{_user(user)}-{week}-{visit}"
                    price = 1.0 + item % 9
                    rows.append(
                        {
                            "user_id": _user(user),
                            "item_id": _item(item),
                            "event_type": "click" if clicks else "order",
                            "timestamp": at + timedelta(seconds=place),
                            "quantity": float(rng.integers(1, 3)),
                            "value": price * (0.8 if item % 4 == 0 else 1.0),
                            "list_value": price,
                            "order_id": order,
                            "session_id": order,
                        }
                    )
                    if not clicks and rng.random() < 0.6:
                        rows.append(
                            {
                                **rows[-1],
                                "event_type": "click",
                                "timestamp": at - timedelta(minutes=5, seconds=place),
                                "order_id": None,
                                "quantity": None,
                                "value": None,
                                "list_value": None,
                            }
                        )
    return pd.DataFrame(rows).sort_values("timestamp", ignore_index=True)


def _items() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "item_id": [_item(i) for i in range(ITEMS + 10)],  # the last ten were never bought
            "title": [f"Thing {i}" for i in range(ITEMS + 10)],
            "category": [f"category-{i % CATEGORIES}" for i in range(ITEMS + 10)],
            "brand": [f"brand-{i % 10}" for i in range(ITEMS + 10)],
            "price": [1.0 + i % 9 for i in range(ITEMS + 10)],
        }
    )


def _user(number: int) -> str:
    return f"u{number:03d}"


def _item(number: int) -> str:
    return f"i{number:03d}"
