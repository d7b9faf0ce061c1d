"""Gradient-boosted trees as a part of the ranker: features to a logit.

In torch the library that trained them (LightGBM) answers; in an exported graph they are one
operator, `TreeEnsembleRegressor` of ai.onnx.ml, whose nodes are written into the finished graph:
the exporter takes most of a minute for such lists. The library compares a feature with a number of
double precision, the operator with one of single precision: the largest that is not above it, which
parts the same features.

Shapes: `F` features.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

import numpy as np
import torch
from onnxscript import ir
from torch import Tensor, nn

OPERATOR: Final = "TreeEnsembleRegressor"
DOMAIN: Final = "ai.onnx.ml"
VERSION: Final = 3

Node = dict[str, Any]  # of a tree, as LightGBM tells it
Beside = Callable[[Tensor], Tensor]  # what a network says to what it and trees say together


class Booster(Protocol):
    """What is asked of a trained LightGBM model."""

    predict: Callable[..., Any]
    dump_model: Callable[..., dict[str, Any]]


class Trees(nn.Module):
    """Features [..., F] to a logit [...]; they learn no more and take no gradient."""

    def __init__(self, booster: Booster, *, part: float) -> None:
        """`part` of a logit is theirs where they stand beside a network, in [0, 1]."""
        super().__init__()
        self._booster, self.part = booster, part

    def forward(self, features_F: Tensor) -> Tensor:
        rows_RF = features_F.reshape(-1, features_F.shape[-1])
        shape = features_F.shape[:-1]
        if torch.compiler.is_exporting():
            return _operator(rows_RF).reshape(shape)
        logits = self._booster.predict(
            rows_RF.numpy(force=True), raw_score=True, num_threads=torch.get_num_threads()
        )
        return torch.from_numpy(logits).float().to(features_F.device).reshape(shape)

    def beside(self, said: Tensor) -> Beside:
        """Takes the logits of a network to its mean with what the trees said of the same rows."""
        return lambda network: torch.lerp(network, said, self.part)

    def write_into(self, graph: ir.Graph) -> None:
        """Give the operator in an exported graph its nodes."""
        (operator,) = (node for node in graph if node.op_type == OPERATOR)
        for name, value in self._attributes().items():
            operator.attributes.add(ir.convenience.convert_attribute(name, value))

    def _attributes(self) -> dict[str, Any]:
        """Of the operator: every node of every tree."""
        said: dict[str, Any] = {"n_targets": 1, "aggregate_function": "SUM"}
        said |= {name: [] for name in (*_OF_NODE, *_OF_LEAF)}
        for number, tree in enumerate(self._booster.dump_model()["tree_info"]):
            for told in _nodes(tree["tree_structure"], number):
                for name, value in told.items():
                    said[name].append(value)
        return said


def _operator(rows_RF: Tensor) -> Tensor:
    """The operator without its nodes, [R, 1]."""
    logits_R1: Tensor = torch.onnx.ops.symbolic(
        f"{DOMAIN}::{OPERATOR}",
        [rows_RF],
        dtype=torch.float32,
        shape=[rows_RF.shape[0], 1],
        version=VERSION,
    )
    return logits_R1


_OF_NODE: Final = (
    *("nodes_treeids", "nodes_nodeids", "nodes_modes", "nodes_featureids", "nodes_values"),
    *("nodes_truenodeids", "nodes_falsenodeids"),
)
_OF_LEAF: Final = ("target_treeids", "target_nodeids", "target_ids", "target_weights")


def _nodes(root: Node, tree: int) -> list[dict[str, Any]]:
    """What the operator is told of each node; they are numbered as they are met, root first."""
    told, waiting, met = [], [(root, 0)], 1
    while waiting:
        node, number = waiting.pop()
        below: tuple[int, int] = (0, 0)
        leaf = "split_feature" not in node
        if not leaf:
            below, met = (met, met + 1), met + 2
            waiting += [(node["left_child"], below[0]), (node["right_child"], below[1])]
        of_node = (
            *(tree, number, "LEAF" if leaf else "BRANCH_LEQ"),
            *(0 if leaf else node["split_feature"], 0.0 if leaf else _rounded(node)),
            *below,
        )
        told.append(dict(zip(_OF_NODE, of_node, strict=True)))
        if leaf:
            of_leaf = (tree, number, 0, float(node["leaf_value"]))
            told[-1] |= dict(zip(_OF_LEAF, of_leaf, strict=True))
    return told


def _rounded(node: Node) -> float:
    """The largest number of single precision that is not above a node's threshold.

    Raises:
        ValueError: the node asks something else than whether a feature is at most so large.
    """
    if node["decision_type"] != "<=" or node["missing_type"] != "None":
        asked = f"{node['decision_type']!r}, missing values {node['missing_type']!r}"
        raise ValueError(f"expected nodes that compare a number with '<=', got {asked}")
    threshold, near = float(node["threshold"]), np.float32(node["threshold"])
    if float(near) > threshold:
        near = np.nextafter(near, np.float32(-np.inf))
    return float(near)
