"""Exports the trained models to ONNX and proves that the graphs compute what torch computes.

The user tower is exported with a gather-only module: TorchRec's collection is replaced by plain
tables, and an item's id and attribute embeddings are summed once into one history table. The
tables lie beside the graph as ONNX external data, which the runtime maps into memory.

Shapes: `B` users, `N` candidates, `n` catalogue items, `D` vector width.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Final, cast

import numpy as np
import onnxruntime as ort
import torch
from torch import Tensor, nn

from models.interest import Context
from models.ranker import Ranker
from models.two_tower import TwoTower, UserTower, attribute_table, history_tokens
from qianmian.features import encoding as e
from qianmian.features.encoding import Inputs
from qianmian.releases.bundle import (
    CANDIDATES_INPUT,
    FEATURES_INPUT,
    HORIZON_OUTPUT,
    PROBABILITIES_OUTPUT,
    RANKER_FILE,
    USER_TOWER_FILE,
    USER_VECTOR_OUTPUT,
)
from qianmian.releases.manifest import Parity, ParityOutput
from training.batches import ItemCodes
from training.proposals import Examples
from training.tree_nodes import write_nodes

TOLERANCE: Final = 1e-5
TOP_K_AGREEMENT: Final = 0.999
RANKER_OUTPUTS: Final = (PROBABILITIES_OUTPUT, HORIZON_OUTPUT)
RANKER_BATCHES: Final = ((1, 1), (1, 60), (1, 500), (4, 37), (16, 200))


class UserTowerExport(nn.Module):
    """User tower from raw encoder inputs: gathers from plain tables, no TorchRec inside."""

    def __init__(
        self,
        *,
        tower: UserTower,
        history: Tensor,
        users: Tensor,
        tags: Tensor,
        preferences: Sequence[Tensor],
        input_names: Sequence[str],
    ) -> None:
        """Tables have a zero row 0; `preferences` holds one table for each affinity column."""
        super().__init__()
        self.tower = tower
        self.history: Tensor
        self.users: Tensor
        self.tags: Tensor
        self.register_buffer("history", history)
        self.register_buffer("users", users)
        self.register_buffer("tags", tags)
        for i, table in enumerate(preferences):
            self.register_buffer(f"preference_{i}", table)
        self.preferences = len(preferences)
        self.input_names = tuple(input_names)

    def forward(self, *inputs: Tensor) -> Tensor:
        batch = dict(zip(self.input_names, inputs, strict=True))
        recent = batch[e.RECENT_ITEMS]
        codes, shares = inputs[_FIXED_INPUTS::2], inputs[_FIXED_INPUTS + 1 :: 2]
        vectors: Tensor = self.tower(
            self.users[batch[e.USER_ROW]],
            self.history[recent],
            recent > 0,
            batch[e.RECENT_CODES],
            batch[e.RECENT_DAYS],
            self.tags[batch[e.TAGS]],
            [
                (getattr(self, f"preference_{i}")[codes[i]], shares[i])
                for i in range(self.preferences)
            ],
            batch[e.DENSE],
        )
        return vectors


class RankerExport(nn.Module):
    """Ranker from raw ranking features to probabilities: on a page, and within the horizon.

    One that attends takes candidates and memories, too, as `ranker_inputs` gives them.
    """

    def __init__(self, ranker: Ranker) -> None:
        super().__init__()
        self.ranker = ranker

    def forward(self, features: Tensor, *context: Tensor) -> tuple[Tensor, Tensor]:
        return self.ranker.probabilities(features, Context(*context) if context else None)


_FIXED_INPUTS = 6


@torch.no_grad()
def user_tower_module(model: TwoTower, codes: ItemCodes, input_names: Sequence[str]) -> nn.Module:
    """Copy a trained model's tables into the gather-only module."""
    weights = {
        name: table.weight.detach()
        for name, table in model.embeddings.collection.embeddings.items()
    }
    of_attribute = {
        name: weights[attribute_table(number)] for number, name in enumerate(model.attributes)
    }
    rows, attributes = codes.rows, codes.attributes
    history = history_tokens(
        weights["item"][rows], [of_attribute[name][c] for name, c in attributes.items()]
    )
    history[0] = 0.0
    return UserTowerExport(
        tower=model.user_tower,
        history=history,
        users=_zero_first(weights["user"]),
        tags=_zero_first(weights["tag"]),
        preferences=[of_attribute[name].clone() for name in model.affinity],
        input_names=input_names,
    ).eval()


def export_user_tower(module: nn.Module, example: Inputs, folder: Path) -> None:
    """Write `user_tower.onnx` and its external data; the batch axis is dynamic."""
    batch = torch.export.Dim("users", min=1, max=65_536)
    torch.onnx.export(
        module,
        tuple(torch.from_numpy(a) for a in example.values()),
        folder / USER_TOWER_FILE,
        dynamo=True,
        external_data=True,
        input_names=list(example),
        output_names=[USER_VECTOR_OUTPUT],
        dynamic_shapes=(tuple({0: batch} for _ in example),),
        verbose=False,
    )


def ranker_inputs(
    ranker: Ranker, examples: Examples, users: int, candidates: int
) -> dict[str, np.ndarray]:
    """Inputs of the ranker's graph for so many users and candidates, made of real ones."""

    def sized(array: np.ndarray, *shape: int) -> np.ndarray:
        return np.resize(array, (*shape, *array.shape[1:]))

    features = {FEATURES_INPUT: sized(examples.features, users, candidates)}
    if not ranker.attends:
        return features
    return {
        **features,
        CANDIDATES_INPUT: sized(examples.items.astype(np.int64), users, candidates),
        **{name: sized(side, users) for name, side in examples.memory.inputs().items()},
    }


def export_ranker(ranker: Ranker, examples: Examples, folder: Path) -> None:
    """Write `ranker.onnx`; users and candidates are dynamic axes.

    What attention knows of an item is summed once, for the graph of a ranker that learns no more;
    nodes of trees are written into the finished graph.
    """
    settled = copy.deepcopy(ranker)
    for member in settled.members:
        if member.interest is not None:
            member.interest.settle()
    users = torch.export.Dim("users", min=1, max=65_536)
    candidates = torch.export.Dim("candidates", min=1, max=65_536)
    example = ranker_inputs(ranker, examples, 2, 3)
    axes = {0: users, 1: candidates}
    moving = tuple(axes if name in _BY_CANDIDATE else {0: users} for name in example)
    exported = torch.onnx.export(
        RankerExport(settled).eval(),
        tuple(torch.from_numpy(array) for array in example.values()),
        dynamo=True,
        input_names=list(example),
        output_names=list(RANKER_OUTPUTS),
        dynamic_shapes=(moving[0], moving[1:]) if len(moving) > 1 else moving,
        verbose=False,
    )
    program = cast("torch.onnx.ONNXProgram", exported)
    if ranker.trees is not None:
        write_nodes(program.model.graph, ranker.trees.booster)
    program.save(folder / RANKER_FILE, external_data=True)


_BY_CANDIDATE: Final = (FEATURES_INPUT, CANDIDATES_INPUT)


@torch.no_grad()
def prove_parity(
    user_module: nn.Module,
    ranker: Ranker,
    inputs: Inputs,
    item_vectors: np.ndarray,
    examples: Examples,
    folder: Path,
    *,
    top_k: int = 100,
) -> Parity:
    """Run both graphs against torch on real inputs at several batch sizes.

    Args:
        user_module: the module `export_user_tower` exported.
        ranker: the trained ranker.
        inputs: encoder outputs of real users.
        item_vectors: float32 [n, D].
        examples: real candidates and whom they were proposed to.
        folder: where the graphs lie.
        top_k: depth at which the retrieval orders are compared.
    """
    available = len(inputs[e.USER_ROW])
    sizes = tuple(size for size in (1, 2, 7, 64, 256) if size <= available)
    tower = ort.InferenceSession(folder / USER_TOWER_FILE, providers=["CPUExecutionProvider"])
    _check_interface(tower, list(inputs), [USER_VECTOR_OUTPUT])
    user_gap, agreement, user_shape = 0.0, 1.0, ("users", item_vectors.shape[1])
    for size in sizes:
        batch = {name: a[:size] for name, a in inputs.items()}
        theirs = tower.run([USER_VECTOR_OUTPUT], batch)[0]
        ours = user_module(*(torch.from_numpy(a) for a in batch.values())).numpy()
        _same_shape(ours, theirs)
        user_gap = max(user_gap, _gap(ours, theirs))
        ordered = top_agreement(ours @ item_vectors.T, theirs @ item_vectors.T, top_k)
        agreement = min(agreement, ordered)
    ranking = ort.InferenceSession(folder / RANKER_FILE, providers=["CPUExecutionProvider"])
    _check_interface(ranking, list(ranker_inputs(ranker, examples, 1, 1)), RANKER_OUTPUTS)
    module, rank_gaps = RankerExport(ranker).eval(), dict.fromkeys(RANKER_OUTPUTS, 0.0)
    for users, candidates in RANKER_BATCHES:
        asked = ranker_inputs(ranker, examples, users, candidates)
        given = ranking.run(RANKER_OUTPUTS, asked)
        made = module(*(torch.from_numpy(array) for array in asked.values()))
        for name, ours, theirs in zip(RANKER_OUTPUTS, made, given, strict=True):
            _same_shape(ours.numpy(), theirs)
            rank_gaps[name] = max(rank_gaps[name], _gap(ours.numpy(), theirs))
    return Parity(
        batch_sizes=sizes,
        tolerance=TOLERANCE,
        outputs=(
            ParityOutput(
                graph=USER_TOWER_FILE,
                name=USER_VECTOR_OUTPUT,
                shape=user_shape,
                max_abs_diff=user_gap,
            ),
            *(
                ParityOutput(
                    graph=RANKER_FILE,
                    name=name,
                    shape=("users", "candidates", given[0].shape[2]),
                    max_abs_diff=gap,
                )
                for name, gap in rank_gaps.items()
            ),
        ),
        top_k=top_k,
        top_k_agreement=agreement,
        passed=max(user_gap, *rank_gaps.values()) <= TOLERANCE and agreement >= TOP_K_AGREEMENT,
    )


def _zero_first(table: Tensor) -> Tensor:
    table = table.clone()
    table[0] = 0.0
    return table


def _gap(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Largest difference; the largest number there is where either side is not finite."""
    if not (np.isfinite(ours).all() and np.isfinite(theirs).all()):
        return float(np.finfo(np.float32).max)
    return float(np.abs(ours - theirs).max())


def _check_interface(
    session: ort.InferenceSession, inputs: Sequence[str], outputs: Sequence[str]
) -> None:
    """Compare a graph's input and output names and its dynamic first axis with what was asked."""
    found = [node.name for node in session.get_inputs()], [n.name for n in session.get_outputs()]
    if found != (list(inputs), list(outputs)):
        raise ValueError(f"exported graph has inputs and outputs {found}")
    nodes = (*session.get_inputs(), *session.get_outputs())
    if fixed := [node.name for node in nodes if isinstance(node.shape[0], int)]:
        raise ValueError(f"exported graph has a fixed first axis for {', '.join(fixed)}")


def _same_shape(ours: np.ndarray, theirs: np.ndarray) -> None:
    if ours.shape != theirs.shape:
        raise ValueError(f"exported graph gives shape {theirs.shape}, torch gives {ours.shape}")


def top_agreement(ours: np.ndarray, theirs: np.ndarray, k: int) -> float:
    """Share of their k best items that are among our k best, but for rounding at the edge."""
    k = min(k, ours.shape[1])
    worst = np.partition(ours, -k, axis=1)[:, -k][:, None]
    best = np.argpartition(-theirs, k - 1, axis=1)[:, :k]
    agreed = np.take_along_axis(ours, best, axis=1) >= worst - TOLERANCE * (1 + np.abs(worst))
    return float(agreed.mean())
