"""Writes the nodes of trees into the exported graph of a ranker.

The exporter would take most of a minute for lists of so many numbers; the finished graph takes them
at once. LightGBM compares a feature with a number of double precision, the operator with one of
single precision: the largest that is not above it, which parts the same features (but for those
nearer to 0 than 1e-35, which LightGBM takes for 0).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np
from onnxscript import ir

from models.trees import OPERATOR, Booster

Node = dict[str, Any]  # of a tree, as LightGBM tells it


def write_nodes(graph: ir.Graph, booster: Booster) -> None:
    """Give the operator in a graph its nodes.

    Raises:
        ValueError: a node asks something else than whether a number is at most so large.
    """
    (operator,) = (node for node in graph if node.op_type == OPERATOR)
    said: dict[str, Any] = {"n_targets": 1, "aggregate_function": "SUM", **_lists(booster)}
    for name, value in said.items():
        operator.attributes.add(ir.convenience.convert_attribute(name, value))


def _lists(booster: Booster) -> dict[str, list[Any]]:
    """What the operator is told, by attribute: of every node of every tree."""
    lists: dict[str, list[Any]] = defaultdict(list)
    for number, tree in enumerate(booster.dump_model()["tree_info"]):
        for told in _told(tree["tree_structure"]):
            lists["nodes_treeids"].append(number)
            if told["nodes_modes"] == _LEAF:
                lists["target_treeids"].append(number)
            for name, value in told.items():
                lists[name].append(value)
    return lists


_LEAF, _BRANCH = "LEAF", "BRANCH_LEQ"


def _told(root: Node) -> Iterator[dict[str, Any]]:
    """What the operator is told of each node; they are numbered as they are met, root first."""
    waiting, met = [(root, 0)], 1
    while waiting:
        node, number = waiting.pop()
        branch = "split_feature" in node
        left, right = (met, met + 1) if branch else (0, 0)
        yield {
            "nodes_nodeids": number,
            "nodes_modes": _BRANCH if branch else _LEAF,
            "nodes_featureids": node["split_feature"] if branch else 0,
            "nodes_values": _threshold(node) if branch else 0.0,
            "nodes_truenodeids": left,
            "nodes_falsenodeids": right,
            **({} if branch else _of_leaf(node, number)),
        }
        if branch:
            met += 2
            waiting += [(node["left_child"], left), (node["right_child"], right)]


def _of_leaf(node: Node, number: int) -> dict[str, Any]:
    weight = float(node["leaf_value"])
    return {"target_nodeids": number, "target_ids": 0, "target_weights": weight}


def _threshold(node: Node) -> float:
    """The largest number of single precision that is not above a node's threshold."""
    if node["decision_type"] != "<=" or node["missing_type"] != "None":
        asked = f"{node['decision_type']!r}, missing values {node['missing_type']!r}"
        raise ValueError(f"expected nodes that compare a number with '<=', got {asked}")
    threshold, near = float(node["threshold"]), np.float32(node["threshold"])
    if float(near) > threshold:
        near = np.nextafter(near, np.float32(-np.inf))
    return float(near)
