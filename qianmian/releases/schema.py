"""The feature schema that a release must fit: hashes of the services as they stand here now."""

from __future__ import annotations

from qianmian.features.schema import SERVICES, FeatureSchema
from qianmian.workspace import Workspace


def current_schema(workspace: Workspace) -> dict[str, str]:
    """Return the schema hash of each feature service of a data set.

    Raises:
        FeatureStoreError: the features were not built.
    """
    schema = FeatureSchema.load(workspace.features)
    return {service: schema.schema_hash(service) for service in SERVICES}
