"""Decisions as Arrow: one row for each block of an answer, lists with an entry for each item."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, chain, islice
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa

from qianmian.contracts import decisions as d
from qianmian.decisions.frames import Frame
from qianmian.decisions.schema import ARM, RACE, SCHEMA

#: Decisions that become one batch.
BATCH: Final = 2_048

Float32 = npt.NDArray[np.float32]

#: What an item of an answer is called there, by list column.
_OF_ITEM: Final = {
    d.ITEM_IDS: "item_id",
    d.POSITIONS: "position",
    d.SCORES: "score",
    d.SOURCES: "source",
    d.SLOTS: "slot",
    d.PROPENSITIES: "propensity",
    d.CAMPAIGN_IDS: "campaign_id",
}
_STRUCTS: Final = {d.ARMS: ARM, d.RACES: RACE}
_HEAD_NAMES: Final = SCHEMA.names[: SCHEMA.names.index(d.ITEM_IDS)]


def batches_of(decisions: Iterable[Frame]) -> Iterator[pa.RecordBatch]:
    """Return the rows of decisions, a batch for some thousand of them."""
    source = iter(decisions)
    while part := list(islice(source, BATCH)):
        yield batch_of(part)


def batch_of(decisions: Sequence[Frame]) -> pa.RecordBatch:
    """Return the rows of these decisions."""
    heads: list[tuple[Any, ...]] = []
    items: list[dict[str, Any]] = []
    shown: list[int] = []
    chances: list[Float32] = []
    for decision in decisions:
        facts, answer = decision.facts, orjson.loads(decision.answer)
        venue = answer["venue"]
        common = (
            answer["recommendation_id"],
            int(facts.decided_at * 1e6),
            facts.subject_id,
            venue["id"],
            venue["phase"],
            answer["release"],
            answer["experiments"],
            [{**race, "first": race["order"][0]} for race in answer.get("racing", ())],
            answer["degraded"],
            facts.page_view_id,
        )
        for block in answer["blocks"]:
            heads.append((*common, block["block_id"], facts.candidates))
            items += block["items"]
            shown.append(len(block["items"]))
        of_answer = sum(len(block["items"]) for block in answer["blocks"])
        chances.append(_chances(decision, of_answer))
    offsets = pa.array(list(accumulate(shown, initial=0)), pa.int32())
    columns = _heads(heads)
    for name, key in _OF_ITEM.items():
        values = pa.array([item.get(key) for item in items], SCHEMA.field(name).type.value_type)
        columns.append(_lists(name, offsets, values))
    for number, name in enumerate(d.PROBABILITIES.values()):
        chance = np.concatenate([part[:, number] for part in chances])
        columns.append(_lists(name, offsets, pa.array(chance, from_pandas=True)))
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)


def _chances(decision: Frame, shown: int) -> Float32:
    """Chances of the items shown, float32 [shown, actions of the log]; NaN where there is none."""
    actions = decision.facts.actions
    chances = np.full((shown, len(d.PROBABILITIES)), np.nan, dtype=np.float32)
    given = np.frombuffer(decision.chances, dtype="<f4").reshape(-1 if actions else 0, len(actions))
    for column, action in enumerate(d.PROBABILITIES):
        if action in actions:
            chances[:, column] = given[:, actions.index(action)]
    return chances


def _heads(heads: Sequence[tuple[Any, ...]]) -> list[pa.Array]:
    columns = dict(zip(_HEAD_NAMES, zip(*heads, strict=True), strict=True))
    return [
        _structs(name, columns[name])
        if name in _STRUCTS
        else pa.array(columns[name], SCHEMA.field(name).type)
        for name in _HEAD_NAMES
    ]


def _structs(name: str, column: Sequence[list[dict[str, Any]]]) -> pa.Array:
    offsets = pa.array(list(accumulate(map(len, column), initial=0)), pa.int32())
    held, kind = list(chain.from_iterable(column)), _STRUCTS[name]
    fields = [pa.array([one[field.name] for one in held], field.type) for field in kind]
    structs = pa.StructArray.from_arrays(fields, fields=list(kind))
    return pa.ListArray.from_arrays(offsets, structs, type=SCHEMA.field(name).type)


def _lists(name: str, offsets: pa.Array, values: pa.Array) -> pa.Array:
    return pa.ListArray.from_arrays(offsets, values, type=SCHEMA.field(name).type)
