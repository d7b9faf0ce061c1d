"""Conditions: the small language of filters over items and of audiences over users.

    category in ("DAIRY", "BREAD") and price < 5.0 and not discount > 0.3

A venue file holds them as text; the schema's types `ItemCondition` and `Audience` read them. In the
order of the work: `lexer`, `parser` (the grammar), `vocabulary`, `evaluate` (what unknown means).
"""

from qianmian.venues.conditions.condition import (
    Audience,
    Condition,
    ItemCondition,
    item_vocabulary,
    vocabularies,
)
from qianmian.venues.conditions.evaluate import Column, Columns, Mask, Numbers, Sets, Texts
from qianmian.venues.conditions.vocabulary import Kind, Vocabulary

__all__ = [
    "Audience",
    "Column",
    "Columns",
    "Condition",
    "ItemCondition",
    "Kind",
    "Mask",
    "Numbers",
    "Sets",
    "Texts",
    "Vocabulary",
    "item_vocabulary",
    "vocabularies",
]
