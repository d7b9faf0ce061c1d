"""Trains the ranker on labelled proposals: cross-entropy for probabilities, listwise for order.

Where pages were logged, they teach the actions that came of them; what the place of an item did to
its actions is estimated beforehand and stays out of the ranker (`training.places`). An action that
pages teach leans on the target, and what it adds must outweigh a prior. The target happens without
pages, too: it is learned from proposals, and on pages once more by a head of its own.

Shapes: `B` groups of a batch, `N` candidates (padded), `F` features, `A` actions, `H` heads (`A`,
or one more: the target on a page).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from models.losses import listwise_softmax, spread, weighted_bce
from models.position import acting
from models.ranker import Ranker
from qianmian.features.item_table import Float64
from qianmian.features.user_state import SECONDS_PER_DAY
from training.places import examination
from training.profile import RankerProfile
from training.proposals import Examples

_HOURS_PER_DAY: Final = 24.0
_HASTE: Final = 10.0  # of slopes, against the ranker's learning rate
_TOLD_PLACES: Final = (1, 2, 3, 5, 10, 20)


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
    places = profile.impressions.places
    actions = examples.labels.shape[1]
    examples = with_target_on_page(examples, target)
    lesson = Lesson.of(examples, target, places=places)
    last = examples.moments[~examples.shown].max()
    window_days = profile.impressions.window_hours / _HOURS_PER_DAY
    days = np.where(examples.shown, window_days, profile.horizon_days)
    known = examples.moments + days * SECONDS_PER_DAY <= last + 1.0
    if len(lesson.chance):
        progress(lesson.told())
    rehearsal = None
    if (known & ~examples.shown).any():
        progress("ranker: rehearsal for the calibration")
        earlier = examples.groups(known)  # with pages of their own, or none
        learned = Lesson.of(earlier, target, places=places)
        rehearsal = _fit(earlier, profile, learned, actions, repeat, rng, progress)
    ranker = _fit(examples, profile, lesson, actions, repeat, rng, progress)
    calibrated = [False] * actions
    if rehearsal is not None:
        held_out = examples.groups((examples.moments == last) & ~examples.shown)
        with torch.no_grad():
            logits = rehearsal(torch.from_numpy(held_out.features))
        # What pages teach is no matter of proposals: without a label it stays as it is.
        labels = torch.from_numpy(np.where(lesson.by_pages, 0.0, held_out.labels)).float()
        weights = torch.from_numpy(held_out.weights)
        calibrated = ranker.calibrate.fit(logits, labels, weights)[:actions]
    return TrainedRanker(ranker, tuple(calibrated))


def with_target_on_page(examples: Examples, target: int) -> Examples:
    """Labels of one more head, [R, H], where pages tell of the target; else the examples."""
    rows = np.repeat(examples.shown, np.diff(examples.starts))
    if not examples.labels[rows, target].any():
        return examples
    more = examples.labels[:, target : target + 1]
    return replace(examples, labels=np.concatenate([examples.labels, more], axis=1))


@dataclass(frozen=True, slots=True)
class Lesson:
    """Which groups teach which head: pages whatever came of pages, proposals the rest."""

    target: int
    by_pages: npt.NDArray[np.bool_]  # [H] whether shown groups teach it, and they alone
    chance: npt.NDArray[np.float64]  # [P + 1, H], that a place is examined; empty without pages

    @classmethod
    def of(cls, examples: Examples, target: int, *, places: int) -> Lesson:
        """See what came of the pages; without pages, proposals teach everything."""
        rows = np.repeat(examples.shown, np.diff(examples.starts))
        by_pages: npt.NDArray[np.bool_] = np.any(examples.labels[rows] > 0, axis=0)
        by_pages[target] = False  # what was never shown cannot be clicked, but bought
        furthest = min(places, int(examples.positions.max(initial=0)))
        chance = np.zeros((0, len(by_pages)))
        if by_pages.any() and furthest:
            chance = examination(
                examples.features[rows],
                examples.labels[rows],
                examples.weights[rows],
                examples.positions[rows],
                places=furthest,
            )
        return cls(target, by_pages, chance)

    def prior(self, examples: Examples, pages: float) -> Float64:
        """Price of the variance of what a head adds to the target, [H].

        As heavy as what that many pages tell of a logit, `p (1 - p)` a shown item (Fisher), against
        the pages there are.
        """
        rows = np.repeat(examples.shown, np.diff(examples.starts))
        rate = examples.labels[rows].mean(axis=0) if rows.any() else np.zeros(len(self.by_pages))
        price: Float64 = 0.5 * rate * (1.0 - rate) * pages / max(int(examples.shown.sum()), 1)
        return price

    def teaches(self, shown: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Which heads each group teaches, bool [B, H]."""
        return np.where(shown[:, None], self.by_pages, ~self.by_pages)

    def told(self) -> str:
        """How much less is done in later places, for the first action that pages teach."""
        chance = self.chance[:, int(np.flatnonzero(self.by_pages)[0])]
        chosen = [place for place in _TOLD_PLACES if place < len(chance)]
        told = ", ".join(f"{place}: {chance[place]:.2f}" for place in chosen)
        return f"ranker: chance of an action by place, against the first: {told}"


def _fit(
    examples: Examples,
    profile: RankerProfile,
    lesson: Lesson,
    actions: int,
    repeat: int,
    rng: np.random.Generator,
    progress: Callable[[str], None],
) -> Ranker:
    ranker = Ranker(
        features=examples.features.shape[1],
        actions=actions,
        hidden=profile.hidden,
        dropout=profile.dropout,
        target=lesson.target,
        leaning=np.flatnonzero(lesson.by_pages).tolist(),
        target_on_page=examples.labels.shape[1] > actions,
    )
    ranker.standardize.fit(torch.from_numpy(examples.features))
    target = lesson.target
    _start_at_base_rate(ranker, examples, lesson)
    chance = torch.from_numpy(lesson.chance).float()
    plain = [p for p in ranker.parameters() if p is not ranker.slope]
    optimizer = torch.optim.AdamW(plain, lr=profile.lr, weight_decay=1e-4)
    optimizer.add_param_group({"params": [ranker.slope], "weight_decay": 0.0})
    rates = [profile.lr, _HASTE * profile.lr]
    groups = len(examples.starts) - 1
    prior = lesson.prior(examples, profile.impressions.prior_pages)
    batches = max(1, groups // profile.groups_per_batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=rates, total_steps=batches * profile.epochs
    )
    for epoch in range(profile.epochs):
        ranker.train()
        losses = []
        for rows in np.array_split(rng.permutation(groups), batches):
            features, labels, weights = _pad(examples, rows)
            shown = torch.from_numpy(examples.shown[rows]).float().unsqueeze(-1)
            own_BNH = ranker.own(features)
            logits_BNH = ranker.lean(own_BNH)
            if len(chance):
                logits_BNH = acting(logits_BNH, _positions(examples, rows), chance)
            scores, wanted = logits_BNH[..., target], labels[..., target]
            proposed, new = weights * (1.0 - shown), features[..., repeat] <= 0
            loss = (
                weighted_bce(logits_BNH, labels, weights, _teaches(lesson, examples.shown[rows]))
                + profile.listwise_weight * listwise_softmax(scores, wanted, proposed)
                + profile.new_weight * listwise_softmax(scores, wanted * new, proposed * new)
            )
            for head in np.flatnonzero(lesson.by_pages).tolist():
                on_page, acted = weights * shown, labels[..., head]
                order = listwise_softmax(logits_BNH[..., head], acted, on_page)
                difference = spread(own_BNH[..., head], on_page)
                loss = loss + profile.listwise_weight * order + prior[head] * difference
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(ranker.parameters(), 5.0)
            optimizer.step()
            schedule.step()
            losses.append(float(loss.detach()))
        progress(f"ranker epoch {epoch + 1}/{profile.epochs}: loss {np.mean(losses):.4f}")
    return ranker.eval()


def _start_at_base_rate(ranker: Ranker, examples: Examples, lesson: Lesson) -> None:
    """Start each head at the log odds of its action, so that training need not find them.

    What pages teach starts at its rate in the first place.
    """
    on_page = np.repeat(examples.shown, np.diff(examples.starts))
    odds = _log_odds(examples.labels[~on_page], examples.weights[~on_page])
    if lesson.by_pages.any():
        labels, weights = examples.labels[on_page], examples.weights[on_page]
        first = _log_odds(labels, weights)
        if len(lesson.chance):
            place = np.minimum(examples.positions[on_page], len(lesson.chance) - 1)
            seen = np.average(lesson.chance[place], axis=0, weights=weights)
            first = _log_odds(labels / np.maximum(seen, 0.1), weights)
        odds = np.where(lesson.by_pages, first - odds[lesson.target], odds)
    with torch.no_grad():
        ranker.wide.bias.copy_(torch.from_numpy(odds).float())


def _log_odds(labels: npt.NDArray[np.floating], weights: npt.NDArray[np.floating]) -> np.ndarray:
    """Log odds of each head over weighted rows, [H]."""
    rate = (labels * weights[:, None]).sum(0) / weights.sum()
    rate = np.clip(rate, 1e-6, 1 - 1e-6)
    odds: np.ndarray = np.log(rate / (1 - rate))
    return odds


def _teaches(lesson: Lesson, shown: npt.NDArray[np.bool_]) -> Tensor | None:
    """What each group teaches, float [B, H]; None where proposals teach everything."""
    return (
        torch.from_numpy(lesson.teaches(shown)).float()
        if lesson.by_pages.any() or shown.any()
        else None
    )


def _positions(examples: Examples, groups: np.ndarray) -> Tensor:
    """Places of the groups' rows, [B, N]; padding has place 0."""
    places, inside = _places(examples, groups)
    return torch.from_numpy(np.where(inside, examples.positions[places], 0).astype(np.int64))


def _pad(examples: Examples, groups: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
    """Rows of the groups as [B, N, ...]; padding has weight 0."""
    places, inside = _places(examples, groups)
    return (
        torch.from_numpy(examples.features[places]),
        torch.from_numpy(examples.labels[places]),
        torch.from_numpy(np.where(inside, examples.weights[places], 0.0).astype(np.float32)),
    )


def _places(
    examples: Examples, groups: np.ndarray
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Row numbers of the groups as [B, N], and which of them are no padding."""
    starts, ends = examples.starts[groups], examples.starts[groups + 1]
    places = starts[:, None] + np.arange(int((ends - starts).max()))[None, :]
    inside = places < ends[:, None]
    return np.where(inside, places, 0), inside
