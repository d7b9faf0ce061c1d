"""Rules as an operator writes them: what is refused, and which scope wins."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from qianmian.venues.conditions import Kind, Vocabulary, vocabularies
from qianmian.venues.rules import BlockRules, Diversity, Exploration, Quota, Rules, Window


@pytest.mark.parametrize(
    ("model", "values", "expected"),
    [
        (Window, {"attribute": "brand", "at_most": 3, "within": 3}, "expected at_most < within"),
        (Quota, {"source": "new"}, "expected at_least, at_most or both"),
        (Quota, {"source": "new", "at_least": 3, "at_most": 2}, "expected at_least <= at_most"),
        (Quota, {"at_least": 3}, "expected one of attribute with values, source, and items"),
        (Quota, {"at_least": 3, "attribute": "brand"}, "expected attribute and values together"),
        (
            Exploration,
            {"share": 0.1, "new_within_days": None, "impressions_below": None},
            "expected new_within_days, impressions_below or both",
        ),
        (
            BlockRules,
            {"pins": [{"item_id": "a", "position": 1}, {"item_id": "b", "position": 1}]},
            "expected each position once among pins",
        ),
        (
            BlockRules,
            {"pins": [{"item_id": "a", "position": 1}, {"item_id": "a", "position": 2}]},
            "expected each item_id once among pins",
        ),
    ],
)
def test_rules_that_contradict_themselves_are_refused(
    model: type, values: dict[str, object], expected: str
) -> None:
    with pytest.raises(ValidationError, match=expected):
        model.model_validate(values)


def test_narrower_rules_win_and_the_rest_is_inherited() -> None:
    window = Window(attribute="brand", at_most=1, within=4)
    venue = Rules(diversity=Diversity(strength=0.5), windows=(window,))
    phase = Rules(diversity=Diversity(strength=0.1))
    assert phase.completed_by(venue) == Rules(diversity=Diversity(strength=0.1), windows=(window,))
    assert Rules().completed_by(venue) == venue
    assert Rules(windows=()).completed_by(venue).windows == ()


def test_a_rule_names_columns_and_sources_that_there_are() -> None:
    columns = vocabularies(
        Vocabulary("an item", {"brand": Kind.TEXT, "price": Kind.NUMBER}), Vocabulary("a user", {})
    )
    window = {"attribute": "brnd", "at_most": 1, "within": 4}
    with pytest.raises(ValidationError, match="did you mean 'brand'"):
        Window.model_validate(window, context=columns)
    with pytest.raises(ValidationError, match="an item that holds a text"):
        Window.model_validate({**window, "attribute": "price"}, context=columns)
    with pytest.raises(ValidationError, match="expected one of repeat, neighbours, factors"):
        Quota.model_validate({"source": "novelty", "at_least": 1}, context=columns)
    with pytest.raises(ValidationError, match="prize"):
        Quota.model_validate({"items": "prize < 5", "at_least": 1}, context=columns)
