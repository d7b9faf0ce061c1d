"""Trains the ranker on labelled proposals: cross-entropy for probabilities, listwise for order.

Shapes: `B` groups of a batch, `N` candidates (padded), `F` features, `A` actions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from models.losses import listwise_softmax, weighted_bce
from models.ranker import Ranker
from qianmian.features.user_state import SECONDS_PER_DAY
from training.profile import RankerProfile
from training.proposals import Examples


@dataclass(frozen=True, slots=True)
class TrainedRanker:
    """A ranker, and for which of its actions a calibration could be fitted."""

    model: Ranker
    calibrated: tuple[bool, ...]


def fit_ranker(
    examples: Examples,
    profile: RankerProfile,
    *,
    target: int,
    repeat: int,
    rng: np.random.Generator,
    progress: Callable[[str], None],
) -> TrainedRanker:
    """Train a calibrated ranker.

    The calibration comes from a rehearsal: a ranker that learned only from moments whose horizon
    had ended before the last one predicts the last one. Where no such moment exists the
    probabilities stay as cross-entropy left them.

    Args:
        examples: labelled proposals of all moments.
        profile: the knobs.
        target: index of the action that the order is for.
        repeat: index of the feature that is above 0 for items the user acted on before.
        rng: draws the batches.
        progress: is told the loss of each epoch.
    """
    last = examples.moments.max()
    known = examples.moments + profile.horizon_days * SECONDS_PER_DAY <= last + 1.0
    rehearsal = None
    if known.any():
        progress("ranker: rehearsal for the calibration")
        rehearsal = _fit(examples.groups(known), profile, target, repeat, rng, progress)
    ranker = _fit(examples, profile, target, repeat, rng, progress)
    calibrated = [False] * examples.labels.shape[1]
    if rehearsal is not None:
        held_out = examples.groups(examples.moments == last)
        with torch.no_grad():
            logits = rehearsal(torch.from_numpy(held_out.features))
        labels, weights = torch.from_numpy(held_out.labels), torch.from_numpy(held_out.weights)
        calibrated = ranker.calibrate.fit(logits, labels, weights)
    return TrainedRanker(ranker, tuple(calibrated))


def _fit(
    examples: Examples,
    profile: RankerProfile,
    target: int,
    repeat: int,
    rng: np.random.Generator,
    progress: Callable[[str], None],
) -> Ranker:
    ranker = Ranker(
        features=examples.features.shape[1],
        actions=examples.labels.shape[1],
        hidden=profile.hidden,
        dropout=profile.dropout,
    )
    ranker.standardize.fit(torch.from_numpy(examples.features))
    _start_at_base_rate(ranker, examples)
    optimizer = torch.optim.AdamW(ranker.parameters(), lr=profile.lr, weight_decay=1e-4)
    groups = len(examples.starts) - 1
    batches = max(1, groups // profile.groups_per_batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=profile.lr, total_steps=batches * profile.epochs
    )
    for epoch in range(profile.epochs):
        ranker.train()
        losses = []
        for rows in np.array_split(rng.permutation(groups), batches):
            features, labels, weights = _pad(examples, rows)
            logits_BNA = ranker(features)
            scores, wanted = logits_BNA[..., target], labels[..., target]
            new = features[..., repeat] <= 0
            loss = (
                weighted_bce(logits_BNA, labels, weights)
                + profile.listwise_weight * listwise_softmax(scores, wanted, weights)
                + profile.new_weight * listwise_softmax(scores, wanted * new, weights * new)
            )
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(ranker.parameters(), 5.0)
            optimizer.step()
            schedule.step()
            losses.append(float(loss.detach()))
        progress(f"ranker epoch {epoch + 1}/{profile.epochs}: loss {np.mean(losses):.4f}")
    return ranker.eval()


def _start_at_base_rate(ranker: Ranker, examples: Examples) -> None:
    """Start each head at the log odds of its action, so that training need not find them."""
    rate = (examples.labels * examples.weights[:, None]).sum(0) / examples.weights.sum()
    rate = np.clip(rate, 1e-6, 1 - 1e-6)
    with torch.no_grad():
        ranker.wide.bias.copy_(torch.from_numpy(np.log(rate / (1 - rate))).float())


def _pad(examples: Examples, groups: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
    """Rows of the groups as [B, N, ...]; padding has weight 0."""
    starts, ends = examples.starts[groups], examples.starts[groups + 1]
    places = starts[:, None] + np.arange(int((ends - starts).max()))[None, :]
    inside = places < ends[:, None]
    places = np.where(inside, places, 0)
    return (
        torch.from_numpy(examples.features[places]),
        torch.from_numpy(examples.labels[places]),
        torch.from_numpy(np.where(inside, examples.weights[places], 0.0).astype(np.float32)),
    )
