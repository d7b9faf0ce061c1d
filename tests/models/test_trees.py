"""Trees beside the ranker's networks: what they say together, and that the graph says the same."""

import lightgbm as lgb
import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

from models.ranker import Ranker
from models.trees import OPERATOR, Trees
from qianmian.features.memory import TYPES
from qianmian.releases.bundle import FEATURES_INPUT, HORIZON_OUTPUT, RANKER_FILE
from tests.training.made import made, remembering
from training.export import (
    RANKER_OUTPUTS,
    TOLERANCE,
    RankerExport,
    export_ranker,
    ranker_inputs,
)
from training.quiet import quiet_libraries

FEATURES, CLICK, ORDER = 3, 0, 1


def rows_of(rng, size):
    """A number, a small count, and a number that is never 0."""
    columns = rng.normal(size=size), rng.integers(0, 6, size), 1.0 + rng.random(size)
    return np.column_stack(columns).astype(np.float32)


def learned(rows, *, categories="auto", happened=None):
    happened = (rows[:, 0] * rows[:, 1] > 1.0).astype(float) if happened is None else happened
    knobs = {"objective": "binary", "num_leaves": 15, "min_data_in_leaf": 5, "verbose": -1}
    knobs |= {"cat_smooth": 1.0, "min_data_per_group": 1}
    data = lgb.Dataset(rows, happened, params=knobs, categorical_feature=categories)
    return lgb.train(knobs, data, 20)


def ranker(trees, **changed):
    torch.manual_seed(3)
    said = {"features": FEATURES, "actions": 2, "hidden": (8,), "target": ORDER}
    return Ranker(**{**said, **changed}, trees=trees).eval()


def graph_of(model, rows, folder):
    examples = made(rows[:20], np.zeros((20, 2), dtype=np.float32), size=10)
    with quiet_libraries():
        export_ranker(model, examples, folder)
    return ort.InferenceSession(folder / RANKER_FILE, providers=["CPUExecutionProvider"])


def operators(folder):
    graph = onnx.load(folder / RANKER_FILE, load_external_data=False).graph
    return [node.op_type for node in graph.node]


def thresholds(node):
    if "split_feature" not in node:
        return []
    below = [thresholds(node[side]) for side in ("left_child", "right_child")]
    return [(node["split_feature"], node["threshold"]), *below[0], *below[1]]


def test_the_graph_parts_features_where_the_library_does(tmp_path):
    """At every threshold, and at the numbers of single precision beside it."""
    rows = rows_of(np.random.default_rng(1), 3000)
    booster = learned(rows)
    session = graph_of(ranker(Trees(booster, part=1.0)), rows, tmp_path)
    splits = [s for t in booster.dump_model()["tree_info"] for s in thresholds(t["tree_structure"])]
    assert len(splits) > 100
    asked = []
    for number, (feature, threshold) in enumerate(splits):
        near = np.float32(threshold)
        for value in (np.nextafter(near, np.float32(-9)), near, np.nextafter(near, np.float32(9))):
            asked.append(rows[number].copy())
            asked[-1][feature] = value
    given = session.run([HORIZON_OUTPUT], {FEATURES_INPUT: np.array(asked)[None]})[0][0, :, ORDER]
    np.testing.assert_allclose(given, booster.predict(np.array(asked)), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("members", [1, 2])
def test_a_part_of_the_targets_logit_is_theirs_and_the_rest_the_networks_own_line(
    members, tmp_path
):
    rows = rows_of(np.random.default_rng(2), 3000)
    booster = learned(rows)
    model = ranker(Trees(booster, part=0.3), members=members)
    model.trees.network.scale[:], model.trees.network.shift[:] = 1.4, -0.2
    asked = torch.from_numpy(rows[:60]).reshape(3, 20, FEATURES)
    theirs = torch.from_numpy(booster.predict(rows[:60], raw_score=True)).float().reshape(3, 20)
    with torch.no_grad():
        said, network = model(asked), model.networks(asked)
    wanted = 0.7 * (1.4 * network[..., ORDER] - 0.2) + 0.3 * theirs
    torch.testing.assert_close(said[..., ORDER], wanted, atol=1e-5, rtol=0)
    torch.testing.assert_close(said[..., CLICK], network[..., CLICK])
    given = graph_of(model, rows, tmp_path).run([HORIZON_OUTPUT], {FEATURES_INPUT: asked.numpy()})
    np.testing.assert_allclose(given[0], torch.sigmoid(said).numpy(), rtol=0, atol=TOLERANCE)


def test_what_leans_on_the_target_leans_on_both():
    rows = rows_of(np.random.default_rng(3), 3000)
    asked = torch.from_numpy(rows[:40]).reshape(1, 40, FEATURES)
    model = ranker(Trees(learned(rows), part=0.5), leaning=[CLICK])
    with torch.no_grad():
        model.members[0].slope[CLICK] = 2.0
        said = model(asked)
    differs = said[..., CLICK] - 2.0 * said[..., ORDER]
    torch.testing.assert_close(differs, torch.zeros_like(differs), atol=1e-5, rtol=0)


def test_a_graph_without_trees_has_none(tmp_path):
    rows = rows_of(np.random.default_rng(4), 3000)
    graph_of(ranker(None), rows, tmp_path)
    assert OPERATOR not in operators(tmp_path)
    graph_of(ranker(Trees(learned(rows), part=0.5)), rows, tmp_path)
    assert operators(tmp_path).count(OPERATOR) == 1


def test_trees_that_found_nothing_to_split_say_one_number(tmp_path):
    rows = rows_of(np.random.default_rng(6), 3000)
    booster = learned(rows, happened=np.ones(len(rows)))
    model = ranker(Trees(booster, part=0.5))
    asked = torch.from_numpy(rows[:20])[None]
    with torch.no_grad():
        wanted = torch.sigmoid(model(asked)).numpy()
    given = graph_of(model, rows, tmp_path).run([HORIZON_OUTPUT], {FEATURES_INPUT: asked.numpy()})
    np.testing.assert_allclose(given[0], wanted, rtol=0, atol=TOLERANCE)


def test_the_graph_holds_trees_attention_pages_and_members_at_once(tmp_path):
    rng = np.random.default_rng(7)
    rows = rows_of(rng, 3000)
    codes = torch.from_numpy(np.arange(10, dtype=np.int32)[:, None])
    model = ranker(
        Trees(learned(rows), part=0.5),
        leaning=[CLICK, 2],
        target_on_page=True,
        members=2,
        interest=4,
        repeat=1,
        codes=codes,
        types=TYPES,
    )
    with torch.no_grad():
        for member in model.members:
            member.interest.out.head.weight.normal_()
            member.differing.wide.weight.normal_()
            member.slope.uniform_(0.5, 1.5)
    examples = made(
        rows[:40],
        np.zeros((40, 2), dtype=np.float32),
        size=10,
        items=rng.integers(1, 10, 40).astype(np.int32),
        memory=remembering(rng.integers(0, 10, (4, 5)), days=rng.random((4, 5))),
    )
    with quiet_libraries():
        export_ranker(model, examples, tmp_path)
    session = ort.InferenceSession(tmp_path / RANKER_FILE, providers=["CPUExecutionProvider"])
    inputs = ranker_inputs(model, examples, 4, 10)
    with torch.no_grad():
        wanted = RankerExport(model)(*map(torch.from_numpy, inputs.values()))
    for given, said in zip(session.run(list(RANKER_OUTPUTS), inputs), wanted, strict=True):
        np.testing.assert_allclose(given, said.numpy(), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("what", ["a category", "what is missing"])
def test_nodes_that_the_operator_would_ask_otherwise_are_refused(what, tmp_path):
    rows, missing = rows_of(np.random.default_rng(5), 3000), what == "what is missing"
    rows[::3, 0] = np.nan if missing else rows[::3, 0]
    model = ranker(Trees(learned(rows, categories="auto" if missing else [1]), part=0.5))
    with pytest.raises(ValueError, match="expected nodes that compare a number with '<='"):
        graph_of(model, np.nan_to_num(rows), tmp_path)
