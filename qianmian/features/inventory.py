"""What the feature store of a data set holds, read from its files alone: no Feast, no queries."""

from __future__ import annotations

from dataclasses import dataclass

from qianmian.features.materialize import read_held
from qianmian.features.schema import FeatureSchema, entity_of
from qianmian.features.snapshot_files import moments_of
from qianmian.workspace import Workspace


@dataclass(frozen=True, slots=True)
class ViewInventory:
    """One feature view: its fields, snapshots and rows online. Moments are epoch seconds."""

    view: str
    entity: str
    fields: int
    snapshots: int
    first: float | None
    last: float | None
    megabytes: float
    online_moment: float | None
    online_rows: int


def inventory(workspace: Workspace, schema: FeatureSchema) -> list[ViewInventory]:
    """The views of the schema, in its order."""
    held = read_held(workspace)
    found = []
    for view, fields in schema.views.items():
        folder = workspace.features / view
        moments = moments_of(folder)
        online = held.get(view)
        found.append(
            ViewInventory(
                view=view,
                entity=entity_of(view),
                fields=len(fields),
                snapshots=len(moments),
                first=moments[0] if moments else None,
                last=moments[-1] if moments else None,
                megabytes=round(sum(p.stat().st_size for p in folder.glob("*.parquet")) / 1e6, 1),
                online_moment=online.moment if online else None,
                online_rows=online.rows if online else 0,
            )
        )
    return found
