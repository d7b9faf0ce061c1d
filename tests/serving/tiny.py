"""A real release of a tiny shop, made in a moment: real files, real ONNX graphs, hand-set weights.

The user tower sums the vectors of the recent items; the ranker likes what was bought before, what
is near and what is popular. So tests know which order to expect without training anything.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import onnx
import onnx.helper as oh
import onnx.numpy_helper as nh
import pandas as pd

from qianmian.contracts import features as f
from qianmian.contracts.events import EVENT_CODE, EventType
from qianmian.features.encoding import RECENT_ITEMS, UserEncoder
from qianmian.features.item_table import ItemTable
from qianmian.features.ranking_features import feature_names
from qianmian.features.user_state import UserState
from qianmian.releases import bundle as b
from qianmian.releases.manifest import DataWindow, Parity, ReleaseFacts
from qianmian.releases.store import ReleaseStore
from qianmian.retrieval.factors import Factors
from qianmian.retrieval.neighbours import Neighbours

DATASET = "tiny"
ITEMS = 60
WIDTH = 8
END = datetime(2017, 12, 4, 5, tzinfo=UTC)
NOW = END.timestamp() + 86_400
SCHEMA = {f.TWO_TOWER_SERVICE: "a" * 64, f.RANKER_SERVICE: "b" * 64}
CATEGORIES = ("bread", "milk", "soap")
ACTIONS = (EventType.CLICK, EventType.ORDER)


def item_id(number: int) -> str:
    """Id of an item; the item index is the same number."""
    return f"i{number:03d}"


def item_table() -> ItemTable:
    """Sixty items in three categories; the higher the number, the more popular."""
    profile = pd.DataFrame(
        {
            "item_id": [item_id(n) for n in range(ITEMS)],
            "title": [f"Item {n}" for n in range(ITEMS)],
            "category": [CATEGORIES[n % 3] for n in range(ITEMS)],
            "brand": [None if n % 10 == 0 else f"brand {n % 4}" for n in range(ITEMS)],
        }
    )
    statistics = pd.DataFrame(0.0, index=range(ITEMS), columns=list(f.ITEM_STATISTICS_NUMERIC))
    statistics["item_id"] = profile["item_id"]
    for days in f.WINDOWS_DAYS:
        statistics[f.target_users(days)] = np.arange(ITEMS, dtype=float)
    statistics[f.TARGET_COUNT_TOTAL] = 1.0
    statistics[f.PAID_PRICE] = np.where(np.arange(ITEMS) == 7, 0.0, 1.0 + np.arange(ITEMS) / 10)
    statistics[f.BASE_PRICE] = 2.0 + np.arange(ITEMS) / 10
    statistics[f.DISCOUNT] = 0.25
    statistics[f.FIRST_SEEN_AT] = END.timestamp() - 86_400.0 * (np.arange(ITEMS) + 1)
    statistics[f.LAST_SEEN_AT] = END.timestamp() - 3_600.0
    table = ItemTable.from_profile(profile, ["category", "brand"])
    return table.with_statistics(statistics)


def user_row(bought: list[int]) -> dict[str, object]:
    """Online row of a shopper who bought these items, the last one first, daily."""
    ids = [item_id(n) for n in bought]
    times = [END.timestamp() - 86_400.0 * (age + 1) for age in range(len(bought))]
    ones = [1.0] * len(bought)
    return {
        **dict.fromkeys(f.USER_ACTIVITY_NUMERIC, 1.0),
        f.FIRST_ACTION_AT: times[-1],
        f.LAST_ACTION_AT: times[0],
        f.LAST_TARGET_AT: times[0],
        f.RECENT_ITEM_IDS: ids,
        f.RECENT_EVENT_CODES: [EVENT_CODE[EventType.ORDER]] * len(ids),
        f.RECENT_AT: times,
        f.LEDGER_ITEM_IDS: ids,
        f.LEDGER_COUNTS: ones,
        f.LEDGER_QUANTITIES: ones,
        f.LEDGER_VISITS: [1 << age for age in range(len(bought))],
        f.LEDGER_FIRST_AT: times,
        f.LEDGER_LAST_AT: times,
        f.LEDGER_AS_OF: END.timestamp(),
        **{f.ledger_decayed(d): ones for d in f.LEDGER_HALF_LIVES_DAYS},
    }


#: Online rows of the known shoppers.
USERS = {
    "anna": user_row([3, 12, 21, 33]),
    "ben": user_row([5, 20, 41]),
    **{f"u{n}": user_row([n % ITEMS, (7 * n + 1) % ITEMS]) for n in range(40)},
}


def write_release(store: ReleaseStore, *, order_bias: float = -2.0, days: int = 0) -> str:
    """Publish a release; `order_bias` moves the chance of an order, `days` the date it is of."""
    vectors = np.random.default_rng(0).normal(size=(ITEMS, WIDTH)).astype(np.float32)
    created = datetime.fromtimestamp(END.timestamp() + 86_400.0 * days, tz=UTC)
    table = item_table()
    encoder = UserEncoder.fit(
        [UserState.read("anna", USERS["anna"], table, ())],
        user_ids=["anna"],
        tag_kinds={},
        affinity_columns=(),
    )
    with store.staging() as folder:
        np.save(folder / b.ITEM_VECTORS_FILE, vectors)
        Neighbours.none(ITEMS).save(folder / b.NEIGHBOURS_FILE)
        Factors.none(ITEMS).save(folder / b.FACTORS_FILE)
        table.save(folder / b.ITEMS_FILE)
        encoder.save(folder / b.ENCODER_FILE)
        onnx.save(_user_tower(encoder, vectors), folder / b.USER_TOWER_FILE)
        onnx.save(_ranker(order_bias), folder / b.RANKER_FILE)
        return store.publish(folder, facts(created))


def facts(created: datetime = END) -> ReleaseFacts:
    """What the release says of itself."""
    return ReleaseFacts(
        created=created,
        dataset=DATASET,
        profile="quick",
        code_revision="0000000",
        data_window=DataWindow(start=datetime(2017, 1, 1, tzinfo=UTC), end=END),
        feature_services=SCHEMA,
        actions=ACTIONS,
        dimensions={"items": ITEMS, "width": WIDTH},
        parity=Parity(batch_sizes=(1, 2), outputs=(), top_k=20, top_k_agreement=1.0, passed=True),
    )


def _user_tower(encoder: UserEncoder, vectors: np.ndarray) -> onnx.ModelProto:
    padded = np.vstack([np.zeros((1, WIDTH), np.float32), vectors])
    inputs = [
        oh.make_tensor_value_info(
            name, oh.np_dtype_to_tensor_dtype(value.dtype), ["users", *value.shape[1:]]
        )
        for name, value in encoder.empty(1).items()
    ]
    return _model(
        [
            oh.make_node("Gather", ["vectors", RECENT_ITEMS], ["recent"], axis=0),
            oh.make_node("ReduceSum", ["recent", "axis"], [b.USER_VECTOR_OUTPUT], keepdims=0),
        ],
        inputs,
        oh.make_tensor_value_info(b.USER_VECTOR_OUTPUT, onnx.TensorProto.FLOAT, ["users", WIDTH]),
        {"vectors": padded, "axis": np.array([1], np.int64)},
    )


def _ranker(order_bias: float) -> onnx.ModelProto:
    names = feature_names(())
    weights = np.zeros((len(names), len(ACTIONS)), np.float32)
    weights[names.index("bought_count")] = (0.5, 3.0)
    weights[names.index("retrieval_score")] = (0.9, 0.09)  # of a deviation
    weights[names.index(f"item_{f.target_users(f.WINDOWS_DAYS[1])}")] = (0.1, 0.1)
    shape = ["users", "candidates"]
    return _model(
        [
            oh.make_node("MatMul", [b.FEATURES_INPUT, "weights"], ["product"]),
            oh.make_node("Add", ["product", "bias"], ["logits"]),
            oh.make_node("Sigmoid", ["logits"], [b.PROBABILITIES_OUTPUT]),
        ],
        [oh.make_tensor_value_info(b.FEATURES_INPUT, onnx.TensorProto.FLOAT, [*shape, len(names)])],
        oh.make_tensor_value_info(
            b.PROBABILITIES_OUTPUT, onnx.TensorProto.FLOAT, [*shape, len(ACTIONS)]
        ),
        {"weights": weights, "bias": np.array([-1.0, order_bias], np.float32)},
    )


def _model(
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    output: onnx.ValueInfoProto,
    constants: dict[str, np.ndarray],
) -> onnx.ModelProto:
    tensors = [nh.from_array(value, name) for name, value in constants.items()]
    graph = oh.make_graph(nodes, "tiny", inputs, [output], tensors)
    model = oh.make_model(graph, opset_imports=[oh.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return model


def publish(path: Path) -> ReleaseStore:
    """A store whose `live` is a tiny release."""
    store = ReleaseStore(path)
    store.promote(write_release(store), schema=SCHEMA, at=END)
    return store
