"""What a release must fit: hashes of the features and model inputs as they stand here now."""

from __future__ import annotations

import hashlib
import json

from qianmian.contracts import features as f
from qianmian.features.encoding import DENSE_FEATURES, ITEM_DENSE_FEATURES
from qianmian.features.memory import MEMORY_LENGTH, TYPES, Memory
from qianmian.features.ranking_features import REVISION, feature_names
from qianmian.features.schema import FeatureSchema
from qianmian.workspace import Workspace


def current_schema(workspace: Workspace) -> dict[str, str]:
    """Return the hash of what each model reads of a data set, by feature service.

    Raises:
        FeatureStoreError: the features were not built.
    """
    return release_schema(FeatureSchema.load(workspace.features))


def release_schema(schema: FeatureSchema) -> dict[str, str]:
    """Return for each feature service the hash of its fields and of the inputs made of them.

    The names and order of the input columns count, how much a user remembers, the thresholds that
    tags are cut at and the action that is the target: a release trained on others would rank by
    numbers that mean something else.
    """
    inputs = {
        f.TWO_TOWER_SERVICE: (DENSE_FEATURES, ITEM_DENSE_FEATURES),
        f.RANKER_SERVICE: (
            feature_names(schema.affinity_columns),
            REVISION,
            (Memory._fields, MEMORY_LENGTH, TYPES),
        ),
    }
    meant = (schema.target, schema.mean_price_quartiles, schema.discount_share_terciles)
    return {
        service: hashlib.sha256(
            json.dumps([schema.schema_hash(service), columns, meant]).encode()
        ).hexdigest()
        for service, columns in inputs.items()
    }
