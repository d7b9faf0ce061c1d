import pytest

from qianmian.contracts import features as f
from qianmian.errors import DataError, FeatureStoreError, NotFoundError
from qianmian.features.attributes import Kind
from qianmian.features.schema import SCHEMA_FILE, FeatureSchema, check_names

SCHEMA = FeatureSchema(
    dataset="shop",
    user_columns={"city": Kind.CATEGORICAL, "hobbies": Kind.MULTI},
    item_columns={"brand": Kind.CATEGORICAL, "price": Kind.NUMERIC},
    affinity_columns=("brand",),
    has_venues=True,
)


def test_a_full_data_set_has_every_view():
    assert set(SCHEMA.views) == {*f.USER_VIEWS, *f.ITEM_VIEWS, *f.VENUE_VIEWS}


def test_a_bare_data_set_lacks_what_it_cannot_have():
    views = FeatureSchema(dataset="bare").views
    assert not {f.USER_AFFINITY, f.ITEM_PROFILE, f.VENUE_PROFILE} & set(views)


def test_views_hold_the_fields_of_the_contract():
    assert list(SCHEMA.views[f.USER_TAGS]) == ["city", "hobbies", *f.DERIVED_TAGS]
    activity = {*f.USER_ACTIVITY_TIMES, *f.USER_ACTIVITY_NUMERIC}
    statistics = {*f.ITEM_STATISTICS_TIMES, *f.ITEM_STATISTICS_NUMERIC}
    assert set(SCHEMA.views[f.USER_ACTIVITY]) == activity
    assert set(SCHEMA.views[f.ITEM_STATISTICS]) == statistics


def test_the_hash_of_a_service_changes_with_its_features_only():
    first = SCHEMA.schema_hash(f.RANKER_SERVICE)
    same = SCHEMA.model_copy(update={"mean_price_quartiles": (1.0,), "has_venues": False})
    reordered = SCHEMA.model_copy(
        update={"user_columns": {"hobbies": Kind.MULTI, "city": Kind.CATEGORICAL}}
    )
    retyped = SCHEMA.model_copy(
        update={"user_columns": {"hobbies": Kind.MULTI, "city": Kind.NUMERIC}}
    )
    assert same.schema_hash(f.RANKER_SERVICE) == first
    assert reordered.schema_hash(f.RANKER_SERVICE) == first
    assert retyped.schema_hash(f.RANKER_SERVICE) != first
    assert SCHEMA.schema_hash(f.TWO_TOWER_SERVICE) != first


def test_only_the_ranker_reads_the_ledger():
    assert f.USER_LEDGER in SCHEMA.service_views(f.RANKER_SERVICE)
    assert f.USER_LEDGER not in SCHEMA.service_views(f.TWO_TOWER_SERVICE)
    with pytest.raises(NotFoundError, match="did you mean 'ranker'"):
        SCHEMA.service_views("ranke")


def test_a_schema_is_read_as_it_was_saved(tmp_path):
    SCHEMA.save(tmp_path)
    assert FeatureSchema.load(tmp_path) == SCHEMA


def test_a_missing_or_damaged_schema_says_what_to_do(tmp_path):
    with pytest.raises(FeatureStoreError, match="qianmian features build"):
        FeatureSchema.load(tmp_path)
    (tmp_path / SCHEMA_FILE).write_text('{"dataset": "shop", "colour": 1}')
    with pytest.raises(FeatureStoreError, match="--force"):
        FeatureSchema.load(tmp_path)


def test_a_column_named_as_a_derived_feature_is_refused():
    with pytest.raises(DataError, match=r"users.parquet: column life_cycle: expected a name"):
        check_names("users.parquet", {"life_cycle": Kind.CATEGORICAL}, {"life_cycle": 1})
