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
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from models.losses import listwise_softmax, spread, weighted_bce
from models.position import acting
from models.ranker import Ranker
from qianmian.features.user_state import SECONDS_PER_DAY
from training.calibrate import line_through
from training.lesson import Lesson, with_target_on_page
from training.profile import RankerProfile
from training.proposals import Examples

_HOURS_PER_DAY: Final = 24.0
_HASTE: Final = 10.0  # of slopes, against the ranker's learning rate


@dataclass(frozen=True, slots=True)
class TrainedRanker:
    """A ranker, which of its actions pages taught, and whose calibration is of held-out time."""

    model: Ranker
    by_pages: tuple[bool, ...]
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
    had ended before the last one predicts the last one, and the pages since (`training.calibrate`).
    Where no such moment exists the probabilities are those of what it learned from.

    Args:
        examples: labelled proposals of all moments.
        profile: the knobs.
        target: index of the action that the order is for.
        repeat: index of the feature that is above 0 for items the user acted on before.
        rng: draws the batches.
        progress: is told the loss of each epoch.
    """
    places, actions = profile.impressions.places, examples.labels.shape[1]
    examples = with_target_on_page(examples, target)
    lesson = Lesson.of(examples, target, places=places)
    if len(lesson.chance):
        progress(lesson.told())
    last = examples.moments[~examples.shown].max()
    known = _known(examples, last, profile)
    rehearsed, calibrated = None, [False] * len(lesson.by_pages)
    if (known & ~examples.shown).any():
        progress("ranker: rehearsal for the calibration")
        earlier = examples.groups(known)  # with pages of their own, or none
        learned = Lesson.of(earlier, target, places=places)
        rehearsal = _fit(earlier, profile, learned, actions, repeat, rng, progress)
        line, fitted = line_through(rehearsal, earlier.groups(~earlier.launched), learned)
        rehearsal.calibrate.then(line)
        later = examples.shown | (examples.moments == last)
        held_out = examples.groups(~known & later & ~examples.launched)
        alike = (lesson.by_pages == learned.by_pages) & np.array(fitted)
        rehearsed, calibrated = line_through(rehearsal, held_out, lesson, alike)
    ranker = _fit(examples, profile, lesson, actions, repeat, rng, progress)
    line, fitted = line_through(ranker, examples.groups(~examples.launched), lesson)
    ranker.calibrate.then(line)
    if rehearsed is not None:
        ranker.calibrate.then(rehearsed, fitted)
    by_pages = lesson.by_pages.tolist()
    if len(by_pages) > actions:  # the last head is the target's on a page
        by_pages[target], calibrated[target] = True, calibrated[target] and calibrated[-1]
    return TrainedRanker(ranker, tuple(by_pages[:actions]), tuple(calibrated[:actions]))


def _known(examples: Examples, moment: float, profile: RankerProfile) -> npt.NDArray[np.bool_]:
    """Groups of which all that followed had happened at a moment, bool [G]."""
    window_days = profile.impressions.window_hours / _HOURS_PER_DAY
    days = np.where(examples.shown, window_days, profile.horizon_days)
    known: npt.NDArray[np.bool_] = examples.moments + days * SECONDS_PER_DAY <= moment + 1.0
    return known


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
            # what was launched may have been the user's own: nothing tells what is new
            new &= ~torch.from_numpy(examples.launched[rows]).unsqueeze(-1)
            loss = (
                _cross_entropy(logits_BNH, labels, weights, lesson, examples.shown[rows])
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
            for part in ranker.parts():
                nn.utils.clip_grad_norm_(part, 5.0)
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
    ranker.start_at(torch.from_numpy(odds).float())


def _log_odds(labels: npt.NDArray[np.floating], weights: npt.NDArray[np.floating]) -> np.ndarray:
    """Log odds of each head over weighted rows, [H]."""
    rate = (labels * weights[:, None]).sum(0) / weights.sum()
    rate = np.clip(rate, 1e-6, 1 - 1e-6)
    odds: np.ndarray = np.log(rate / (1 - rate))
    return odds


def _cross_entropy(
    logits_BNH: Tensor,
    labels_BNH: Tensor,
    weights_BN: Tensor,
    lesson: Lesson,
    shown: npt.NDArray[np.bool_],
) -> Tensor:
    """What proposals teach weighs as much beside pages as without them."""
    if not (lesson.by_pages.any() or shown.any()):
        return weighted_bce(logits_BNH, labels_BNH, weights_BN)
    taught = torch.from_numpy(lesson.teaches(shown)).float()
    of_pages = torch.from_numpy(lesson.by_pages).float()
    total = logits_BNH.new_zeros(())
    for heads in (1.0 - of_pages, of_pages):
        total = total + weighted_bce(logits_BNH, labels_BNH, weights_BN, taught * heads)
    return total


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
