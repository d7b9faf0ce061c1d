"""Trains the ranker on labelled proposals: cross-entropy for probabilities, listwise for order.

Where pages were logged, they teach the actions that came of them; what the place of an item did to
its actions is learned beside the ranker and stays out of it (`models.position`).

Shapes: `B` groups of a batch, `N` candidates (padded), `F` features, `A` actions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from models.losses import listwise_softmax, weighted_bce
from models.position import PositionBias
from models.ranker import Ranker
from qianmian.features.user_state import SECONDS_PER_DAY
from training.profile import RankerProfile
from training.proposals import Examples

_HOURS_PER_DAY: Final = 24.0
_BIAS_HASTE: Final = 10.0  # against the ranker's learning rate: few numbers, seldom met
_SMOOTHING: Final = 50.0  # rows of the mean rate that each place starts with
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
    lesson = Lesson.of(examples, target, places=profile.impressions.places)
    last = examples.moments[~examples.shown].max()
    window_days = profile.impressions.window_hours / _HOURS_PER_DAY
    days = np.where(examples.shown, window_days, profile.horizon_days)
    known = examples.moments + days * SECONDS_PER_DAY <= last + 1.0
    rehearsal = None
    if (known & ~examples.shown).any():
        progress("ranker: rehearsal for the calibration")
        rehearsal = _fit(examples.groups(known), profile, lesson, repeat, rng, progress)
    ranker = _fit(examples, profile, lesson, repeat, rng, progress)
    calibrated = [False] * examples.labels.shape[1]
    if rehearsal is not None:
        held_out = examples.groups((examples.moments == last) & ~examples.shown)
        with torch.no_grad():
            logits = rehearsal(torch.from_numpy(held_out.features))
        # What only pages teach is no matter of proposals: without a label it stays as it is.
        labels = torch.from_numpy(np.where(lesson.by_pages_alone, 0.0, held_out.labels)).float()
        weights = torch.from_numpy(held_out.weights)
        calibrated = ranker.calibrate.fit(logits, labels, weights)
    return TrainedRanker(ranker, tuple(calibrated))


@dataclass(frozen=True, slots=True)
class Lesson:
    """Which groups teach which action: pages whatever came of pages, proposals the rest."""

    target: int
    by_pages: npt.NDArray[np.bool_]  # [A] whether shown groups teach it
    places: int  # places on a page with a bias of their own

    @classmethod
    def of(cls, examples: Examples, target: int, *, places: int) -> Lesson:
        """See what came of the pages; without pages, proposals teach everything."""
        rows = np.repeat(examples.shown, np.diff(examples.starts))
        furthest = int(examples.positions.max(initial=0))
        by_pages: npt.NDArray[np.bool_] = np.any(examples.labels[rows] > 0, axis=0)
        return cls(target, by_pages, min(places, furthest))

    @property
    def by_pages_alone(self) -> npt.NDArray[np.bool_]:
        """Actions [A] that proposals do not teach: what was never shown could not be clicked.

        The target is taught by both: it happens without pages, too.
        """
        alone = self.by_pages.copy()
        alone[self.target] = False
        return alone

    def teaches(self, shown: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Which actions each group teaches, bool [B, A]."""
        return np.where(shown[:, None], self.by_pages, ~self.by_pages_alone)

    def bias(self) -> PositionBias | None:
        """The bias of places, None where no page was logged."""
        if not self.by_pages.any() or not self.places:
            return None
        return PositionBias(places=self.places, relative=torch.from_numpy(self.by_pages_alone))


def _fit(
    examples: Examples,
    profile: RankerProfile,
    lesson: Lesson,
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
    target, bias = lesson.target, lesson.bias()
    _start_at_base_rate(ranker, bias, examples, lesson)
    optimizer = torch.optim.AdamW(ranker.parameters(), lr=profile.lr, weight_decay=1e-4)
    rates = [profile.lr]
    if bias is not None:
        optimizer.add_param_group({"params": [bias.table], "weight_decay": 0.0})
        rates.append(_BIAS_HASTE * profile.lr)
    groups = len(examples.starts) - 1
    batches = max(1, groups // profile.groups_per_batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=rates, total_steps=batches * profile.epochs
    )
    for epoch in range(profile.epochs):
        ranker.train()
        losses = []
        for rows in np.array_split(rng.permutation(groups), batches):
            features, labels, weights = _pad(examples, rows)
            logits_BNA = ranker(features)
            if bias is not None:
                logits_BNA = logits_BNA + bias(_positions(examples, rows))
            teaches = _teaches(lesson, examples.shown[rows])
            scores, wanted = logits_BNA[..., target], labels[..., target]
            new = features[..., repeat] <= 0
            loss = (
                weighted_bce(logits_BNA, labels, weights, teaches)
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
    if bias is not None:
        progress(_told(bias, lesson))
    return ranker.eval()


def _start_at_base_rate(
    ranker: Ranker, bias: PositionBias | None, examples: Examples, lesson: Lesson
) -> None:
    """Start each head at the log odds of its action, so that training need not find them.

    What pages alone teach starts at its rate in the first place, each place at its own rate.
    """
    on_page = np.repeat(examples.shown, np.diff(examples.starts))
    rate = _rates(examples.labels[~on_page], examples.weights[~on_page])
    if lesson.by_pages.any():
        by_place = _rates_by_place(examples, on_page, lesson.places)
        rate = np.where(lesson.by_pages_alone, by_place[min(1, lesson.places)], rate)
    if bias is not None:
        bias.start_at(torch.from_numpy(by_place).float(), torch.from_numpy(rate).float())
    rate = np.clip(rate, 1e-6, 1 - 1e-6)
    with torch.no_grad():
        ranker.wide.bias.copy_(torch.from_numpy(np.log(rate / (1 - rate))).float())


def _rates(labels: npt.NDArray[np.floating], weights: npt.NDArray[np.floating]) -> np.ndarray:
    """Weighted share of rows with each action, [A]."""
    share: np.ndarray = (labels * weights[:, None]).sum(0) / weights.sum()
    return share


def _rates_by_place(
    examples: Examples, on_page: npt.NDArray[np.bool_], places: int
) -> npt.NDArray[np.floating]:
    """Rates of the shown rows in each place, [P + 1, A], drawn to the mean where rows are few."""
    labels, weights = examples.labels[on_page], examples.weights[on_page]
    place = np.minimum(examples.positions[on_page], places)
    overall = _rates(labels, weights)
    rates = np.tile(overall, (places + 1, 1))
    for p in range(1, places + 1):
        here = place == p
        total = (labels[here] * weights[here, None]).sum(0) + _SMOOTHING * overall
        rates[p] = total / (weights[here].sum() + _SMOOTHING)
    return rates


def _teaches(lesson: Lesson, shown: npt.NDArray[np.bool_]) -> Tensor | None:
    """What each group teaches, float [B, A]; None where proposals teach everything."""
    return torch.from_numpy(lesson.teaches(shown)).float() if lesson.by_pages.any() else None


def _positions(examples: Examples, groups: np.ndarray) -> Tensor:
    """Places of the groups' rows, [B, N]; padding has place 0."""
    places, inside = _places(examples, groups)
    return torch.from_numpy(np.where(inside, examples.positions[places], 0).astype(np.int64))


def _told(bias: PositionBias, lesson: Lesson) -> str:
    """How much less is done in later places, for the first action that pages teach."""
    action = int(np.flatnonzero(lesson.by_pages)[0])
    logits = bias.logits().detach()[:, action]
    chosen = [place for place in _TOLD_PLACES if place <= lesson.places]
    told = ", ".join(f"{place}: {float((logits[place] - logits[1]).exp()):.2f}" for place in chosen)
    return f"ranker: chance of an action by place, against the first: {told}"


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
