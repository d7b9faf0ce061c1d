"""Conditions: the small language of filters over items and of audiences over users.

    category in ("DAIRY", "BREAD") and price < 5.0 and not discount > 0.3

A venue file holds them as text; the schema's types `ItemCondition` and `Audience` read them.
"""

from qianmian.venues.conditions.condition import Audience, Condition, ItemCondition

__all__ = ["Audience", "Condition", "ItemCondition"]
