"""Gradient-boosted trees as a part of the ranker: features to a logit.

In torch the library that trained them (LightGBM) answers; in an exported graph they are one
operator, `TreeEnsembleRegressor` of ai.onnx.ml (`training.tree_nodes` gives it its nodes).

Shapes: `F` features, `R` rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

import torch
from torch import Tensor, nn

from models.calibration import Platt

OPERATOR: Final = "TreeEnsembleRegressor"
DOMAIN: Final = "ai.onnx.ml"
VERSION: Final = 3

Beside = Callable[[Tensor], Tensor]  # what a network says to what it and trees say together


class Booster(Protocol):
    """What is asked of a trained LightGBM model."""

    @property
    def predict(self) -> Callable[..., Any]: ...

    @property
    def dump_model(self) -> Callable[..., dict[str, Any]]: ...


class Trees(nn.Module):
    """Features [..., F] to a logit [...]; they learn no more and take no gradient."""

    def __init__(self, booster: Booster, *, part: float) -> None:
        """`part` of a logit is theirs where they stand beside a network, in [0, 1)."""
        super().__init__()
        self.booster, self.part = booster, part
        self.network = Platt(actions=1)

    def forward(self, features_F: Tensor) -> Tensor:
        rows_RF = features_F.reshape(-1, features_F.shape[-1])
        shape = features_F.shape[:-1]
        if torch.compiler.is_exporting():
            return _operator(rows_RF).reshape(shape)
        logits_R = self.booster.predict(
            rows_RF.numpy(force=True), raw_score=True, num_threads=torch.get_num_threads()
        )
        return torch.from_numpy(logits_R).float().to(features_F.device).reshape(shape)

    def beside(self, said: Tensor) -> Beside:
        """Takes the logits of a network to their mean with what the trees said of the same rows.

        The network's own line comes first (`training.calibrate`).
        """
        return lambda network: torch.lerp(self.network(network), said, self.part)


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
