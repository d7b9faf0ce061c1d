"""Builds the two-tower model and trains it, week by week (`training.through_time` gives the weeks).

TorchRec's `DistributedModelParallel` holds the tables, with a fused row-wise Adagrad
that updates them in the backward pass (on one CPU worker that alone is an order of magnitude faster
than a dense optimizer).

Shapes: `U` users, `I` items, `D` vector width with the bias coordinate.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torchrec.distributed.model_parallel import DistributedModelParallel
from torchrec.distributed.types import ShardedTensor
from torchrec.optim.apply_optimizer_in_backward import apply_optimizer_in_backward
from torchrec.optim.rowwise_adagrad import RowWiseAdagrad

from models.embeddings import Embeddings
from models.losses import sampled_softmax
from models.two_tower import ITEM_ROWS, USER_ROWS, ItemTower, TwoTower, UserTower, tables
from qianmian.contracts.events import EVENT_CODE
from qianmian.distinct import distinct
from qianmian.features.encoding import (
    DENSE_FEATURES,
    ITEM_DENSE_FEATURES,
    Inputs,
    UserEncoder,
    unseen_dense,
)
from qianmian.features.item_table import Float32, Int32, ItemTable
from training.batches import ItemCodes, item_batch, user_batch
from training.profile import TwoTowerProfile

ITEM_CHUNK = 16_384
USER_CHUNK = 2_048


@dataclass(frozen=True, slots=True)
class Week:
    """What happened between two moments, as the two-tower model learns it."""

    inputs: Inputs  # users with a target action in the week, as known at its start; then strangers
    positives: list[Int32]  # for each user the distinct items acted on
    item_dense: Tensor  # [n, S] statistics at the start of the week
    codes: ItemCodes  # which items had an id row at the start of the week
    share: Tensor  # [n] share of each item in the week's positives


def build_model(items: ItemTable, encoder: UserEncoder, profile: TwoTowerProfile) -> TwoTower:
    """A fresh, unsharded two-tower model for this catalogue and encoder."""
    attributes = {name: len(a) for name, a in items.attributes.items()}
    affinity = encoder.affinity_columns
    width = profile.width
    specs = tables(
        items=len(items),
        users=len(encoder.user_ids),
        tags=len(encoder.tag_tokens),
        attributes=attributes,
        affinity=affinity,
    )
    return TwoTower(
        embeddings=Embeddings(tables=specs, width=width),
        user_tower=UserTower(
            width=width,
            hidden=profile.user_hidden,
            dense_width=len(DENSE_FEATURES),
            event_codes=len(EVENT_CODE) + 1,
            affinity_columns=len(affinity),
            heads=profile.heads,
            dropout=profile.dropout,
        ),
        item_tower=ItemTower(
            width=width,
            hidden=profile.item_hidden,
            dense_width=len(ITEM_DENSE_FEATURES),
            attributes=len(attributes),
            dropout=profile.dropout,
        ),
        attributes=tuple(attributes),
        affinity=affinity,
    )


class TwoTowerTrainer:
    """A sharded two-tower model with its optimizers; fits weeks and gives vectors."""

    def __init__(
        self,
        model: TwoTower,
        profile: TwoTowerProfile,
        rng: np.random.Generator,
    ) -> None:
        self._plain = model
        self._profile = profile
        self._rng = rng
        sharded = copy.deepcopy(model)
        apply_optimizer_in_backward(
            RowWiseAdagrad, sharded.embeddings.parameters(), {"lr": profile.table_lr}
        )
        self._model = DistributedModelParallel(sharded, device=torch.device("cpu"))
        dense = [p for name, p in self._model.named_parameters() if "embeddings." not in name]
        self._optimizer = torch.optim.AdamW(dense, lr=profile.dense_lr, weight_decay=1e-4)

    def standardize(self, weeks: Sequence[Week]) -> None:
        """Fit the input scales of both towers on training weeks.

        Of items by those that something had happened with: most of a catalogue may never sell. By
        all of them where nothing had happened yet.
        """
        towers = self._model.module
        users = np.concatenate([week.inputs["user_dense"] for week in weeks])
        blank = torch.from_numpy(unseen_dense())
        everything = torch.cat([week.item_dense for week in weeks])
        seen = (everything != blank).any(1)
        items = everything[seen] if seen.any() else everything
        towers.user_tower.standardize.fit(torch.from_numpy(users))
        towers.item_tower.standardize.fit(items)

    def fit(self, week: Week) -> list[float]:
        """One pass over the users of a week; returns the loss of each step."""
        self._model.train()
        size = len(week.positives)
        order = self._rng.permutation(size)
        steps = max(1, round(size / self._profile.users_per_batch))
        return [self._step(week, rows) for rows in np.array_split(order, steps) if len(rows)]

    def reseed(self, rng: np.random.Generator) -> None:
        """Draw from another generator from here on: workers must not draw alike."""
        self._rng = rng

    @torch.no_grad()
    def loss(self, week: Week) -> float:
        """What training minimizes, of a week's users; fixed negatives, nothing hidden."""
        self._model.eval()
        rng = np.random.default_rng(0)
        uniform = rng.integers(0, len(week.share), self._profile.uniform_negatives)
        rows = np.arange(min(len(week.positives), USER_CHUNK))
        in_batch = np.concatenate([week.positives[row] for row in rows])
        items = distinct(np.concatenate([in_batch, uniform]))
        batch = user_batch(week.inputs, rows, week.codes)
        batch.update(item_batch(items, week.item_dense, week.codes))
        users_UD, items_ID = self._model(batch)
        expected = self._expected(week, items, len(in_batch))
        own = _membership(week, rows, items)
        return float(sampled_softmax(users_UD @ items_ID.T, own, expected.log()))

    def _step(self, week: Week, rows: np.ndarray) -> float:
        profile, rng = self._profile, self._rng
        chosen = [
            rng.choice(p, profile.positives_per_user, replace=False)
            if len(p := week.positives[row]) > profile.positives_per_user
            else p
            for row in rows
        ]
        uniform = rng.integers(0, len(week.share), profile.uniform_negatives)
        in_batch = np.concatenate(chosen)
        items = distinct(np.concatenate([in_batch, uniform]))
        expected = self._expected(week, items, len(in_batch))
        batch = user_batch(week.inputs, rows, week.codes)
        batch.update(item_batch(items, week.item_dense, week.codes))
        hide(batch, profile, rng)
        users_UD, items_ID = self._model(batch)
        loss = sampled_softmax(
            users_UD @ items_ID.T, _membership(week, rows, items), expected.log()
        )
        self._optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self._optimizer.param_groups[0]["params"], 5.0)
        self._optimizer.step()
        return float(loss.detach())

    def _expected(self, week: Week, items: np.ndarray, in_batch: int) -> Tensor:
        """How often each item is expected among the negatives of a step, at most once, [I]."""
        uniform = self._profile.uniform_negatives / len(week.share)
        return (in_batch * week.share[items] + uniform).clamp(max=1.0)

    @torch.no_grad()
    def user_vectors(self, inputs: Inputs, size: int, codes: ItemCodes) -> Float32:
        """Vectors of encoded users, float32 [U, D]."""
        self._model.eval()
        parts = [
            self._model(user_batch(inputs, slice(start, start + USER_CHUNK), codes))[0]
            for start in range(0, size, USER_CHUNK)
        ]
        return torch.cat(parts).numpy()

    @torch.no_grad()
    def item_vectors(self, item_dense: Tensor, codes: ItemCodes) -> Float32:
        """Vectors of the whole catalogue, float32 [n, D]."""
        self._model.eval()
        n = len(item_dense)
        parts = [
            self._model(
                item_batch(np.arange(start, min(start + ITEM_CHUNK, n)), item_dense, codes)
            )[1]
            for start in range(0, n, ITEM_CHUNK)
        ]
        return torch.cat(parts).numpy()

    def checkpoint(self) -> dict[str, object]:
        """This worker's weights and optimizer states as plain tensors."""
        return {
            "weights": {name: _local(v) for name, v in self._model.state_dict().items()},
            "fused": {name: _local(v) for name, v in self._fused().items()},
            "dense": self._optimizer.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `checkpoint` gave."""
        with torch.no_grad():
            for name, value in self._model.state_dict().items():
                _local(value).copy_(state["weights"][name])
            for name, value in self._fused().items():
                _local(value).copy_(state["fused"][name])
        self._optimizer.load_state_dict(state["dense"])

    def _fused(self) -> dict[str, Tensor | ShardedTensor]:
        """States of the optimizer that is fused into the backward pass."""
        states = self._model.fused_optimizer.state_dict()["state"]
        return {name: value for table in states.values() for name, value in table.items()}

    def local_rows(self) -> dict[str, int]:
        """Rows of each table that this worker holds."""
        return {
            name.split(".")[-2]: sum(len(shard.tensor) for shard in value.local_shards())
            for name, value in self._model.state_dict().items()
            if isinstance(value, ShardedTensor)
        }

    def state_dict(self) -> dict[str, Tensor]:
        """Weights under the names of the plain model, tables gathered from their shards."""
        return {name: _whole(value) for name, value in self._model.state_dict().items()}

    def plain_model(self) -> TwoTower:
        """The unsharded model with the trained weights, for export."""
        self._plain.load_state_dict(self.state_dict())
        return self._plain.eval()


def hide(batch: dict[str, Tensor], profile: TwoTowerProfile, rng: np.random.Generator) -> None:
    """Id dropout: some users and items of a batch are known by their side features alone.

    Some items have no statistics either, like those that nobody acted on yet: what is left is their
    attributes (cf. DropoutNet: Volkovs et al., 2017).
    """

    def drawn(rows: Tensor, share: float) -> Tensor:
        return torch.from_numpy(rng.random(len(rows)) < share)

    unseen = drawn(batch[ITEM_ROWS], profile.unseen_items)
    for name in (ITEM_ROWS, USER_ROWS):
        batch[name] = batch[name].masked_fill(drawn(batch[name], profile.id_dropout), 0)
    batch[ITEM_ROWS] = batch[ITEM_ROWS].masked_fill(unseen, 0)
    blank = torch.from_numpy(unseen_dense())
    batch["item_dense"] = torch.where(unseen.unsqueeze(-1), blank, batch["item_dense"])


def start_process_group() -> None:
    """Join the process group; a process of its own forms a group of one (gloo, no port)."""
    if not dist.is_initialized():
        store = dist.HashStore()  # type: ignore[attr-defined]  # the stubs lack it
        dist.init_process_group("gloo", store=store, rank=0, world_size=1)


def _membership(week: Week, rows: np.ndarray, items: np.ndarray) -> Tensor:
    """bool [U, I]: every item of the batch that is a positive of the user, chosen or not."""
    member = np.zeros((len(rows), len(items)), dtype=np.bool_)
    for u, row in enumerate(rows):
        positives = week.positives[row]
        place = np.minimum(np.searchsorted(items, positives), len(items) - 1)
        member[u, place[items[place] == positives]] = True
    return torch.from_numpy(member)


def _local(value: Tensor | ShardedTensor) -> Tensor:
    """The part of a tensor that this worker holds, sharing its memory."""
    if isinstance(value, ShardedTensor):
        shard: Tensor = value.local_shards()[0].tensor
        return shard
    return value


def _whole(value: Tensor | ShardedTensor) -> Tensor:
    if not isinstance(value, ShardedTensor):
        return value.detach().clone()
    whole = torch.empty(value.size())
    value.gather(0, whole)
    return whole
