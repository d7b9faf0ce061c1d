"""A release fits features that mean what they meant when it was trained."""

import pytest

from qianmian.contracts import features as f
from qianmian.features.schema import FeatureSchema
from qianmian.releases import schema


@pytest.mark.parametrize("changed", ["MEMORY_LENGTH", "REVISION"])
def test_a_ranker_fits_only_what_it_learned_to_read(small_shop, monkeypatch, changed):
    before = schema.current_schema(small_shop)
    monkeypatch.setattr(schema, changed, getattr(schema, changed) + 1)
    after = schema.current_schema(small_shop)
    assert after[f.RANKER_SERVICE] != before[f.RANKER_SERVICE]
    assert after[f.TWO_TOWER_SERVICE] == before[f.TWO_TOWER_SERVICE]


def test_a_release_fits_only_the_target_that_its_features_are_counted_by(small_shop):
    now = FeatureSchema.load(small_shop.features)
    before = schema.release_schema(now)
    after = schema.release_schema(now.model_copy(update={"target": "favorite"}))
    assert now.target == "order"
    assert not set(before.values()) & set(after.values())
