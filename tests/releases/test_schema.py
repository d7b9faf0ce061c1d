"""A release fits features that mean what they meant when it was trained."""

import pytest

from qianmian.contracts import features as f
from qianmian.releases import schema


@pytest.mark.parametrize("changed", ["MEMORY_LENGTH", "REVISION"])
def test_a_ranker_fits_only_what_it_learned_to_read(small_shop, monkeypatch, changed):
    before = schema.current_schema(small_shop)
    monkeypatch.setattr(schema, changed, getattr(schema, changed) + 1)
    after = schema.current_schema(small_shop)
    assert after[f.RANKER_SERVICE] != before[f.RANKER_SERVICE]
    assert after[f.TWO_TOWER_SERVICE] == before[f.TWO_TOWER_SERVICE]
