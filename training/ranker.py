"""Trains the ranker on labelled proposals: cross-entropy for probabilities, listwise for order.

Features learn soft labels of the target by a teacher (`training.teacher`), attention what happened.
A part of the target's logit is the teacher's own.

Where pages were logged, they teach the actions that came of them; what the place of an item did to
its actions is estimated beforehand and stays out of the ranker (`training.places`). An action that
pages teach leans on the target, and what it adds must outweigh a prior. The target happens without
pages, too: it is learned from proposals, and on pages once more by a head of its own.

Shapes: `B` groups of a batch, `N` candidates (padded), `F` features, `A` actions, `H` heads (`A`,
or one more: the target on a page), `n` catalogue items, `K` attributes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from models.ranker import Member, Ranker
from qianmian.features.item_table import ItemTable
from qianmian.features.memory import TYPES
from qianmian.features.ranking_features import IS_REPEAT, feature_names
from qianmian.features.user_state import SECONDS_PER_DAY
from training.calibrate import held_to, settle
from training.finite import must_be_finite
from training.foretold import Foretold
from training.history import History
from training.lesson import Lesson, with_target_on_page
from training.profile import RankerProfile
from training.proposals import Examples
from training.ranker_batch import Batch
from training.ranker_loss import RankerLoss
from training.teacher import taught

_HOURS_PER_DAY: Final = 24.0
_HASTE: Final = 10.0  # of slopes, against the ranker's learning rate
_GRADIENT: Final = 5.0  # norm at which the gradients of each part are clipped


@dataclass(frozen=True, slots=True)
class Task:
    """What there is to learn of labelled proposals."""

    actions: int  # A
    target: int  # index of the action that the order is for
    repeat: int  # index of the feature that is above 0 for what had the user's target action before
    codes: npt.NDArray[np.int32] | None = None  # attribute codes by item number, [n + 1, K]

    @classmethod
    def of(cls, history: History) -> Task:
        """The task that a history sets."""
        return cls(
            actions=len(history.predicted),
            target=history.predicted.index(history.target),
            repeat=feature_names(history.affinity_columns).index(IS_REPEAT),
            codes=attribute_codes(history.catalogue),
        )


def attribute_codes(items: ItemTable) -> npt.NDArray[np.int32]:
    """Attribute codes by item number (index + 1), int32 [n + 1, K]; row 0 is padding."""
    codes = [attribute.codes for attribute in items.attributes.values()]
    rows = np.stack(codes, axis=1) if codes else np.zeros((len(items), 0), dtype=np.int32)
    return np.concatenate([np.zeros_like(rows[:1]), rows]).astype(np.int32)


@dataclass(frozen=True, slots=True)
class TrainedRanker:
    """A ranker, which of its actions pages taught, and whose calibration is of held-out time."""

    model: Ranker
    by_pages: tuple[bool, ...]
    calibrated: tuple[bool, ...]
    rehearsed: Foretold  # how the chances of the rehearsal held, [H]; empty without one


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """A ranker that learned only what was known before the last moment, and what followed."""

    ranker: Ranker  # with first lines
    lesson: Lesson  # what it was taught
    fitted: list[bool]  # of its first lines, [H]
    held_out: Examples  # proposals of the last moment and pages of later days


def fit_ranker(
    examples: Examples,
    profile: RankerProfile,
    task: Task,
    *,
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
        task: what there is to learn.
        rng: draws the batches.
        progress: is told the loss of each epoch.
    """
    examples = with_target_on_page(examples, task.target)
    lesson = Lesson.of(examples, task.target, places=profile.impressions.places)
    if len(lesson.chance):
        progress(lesson.told())
    held, calibrated = None, [False] * len(lesson.by_pages)
    if found := rehearse(examples, profile, task, rng=rng, progress=progress):
        alike = (lesson.by_pages == found.lesson.by_pages) & np.array(found.fitted)
        held = held_to(found.ranker, found.held_out, lesson, alike)
    ranker = _fit(examples, profile, lesson, task, rng, progress)
    fitted = settle(ranker, examples.groups(~examples.launched), lesson)
    if held is not None:
        ranker.calibrate.then(held.line, fitted)
        calibrated = [both and own for both, own in zip(held.fitted, fitted, strict=True)]
    by_pages = lesson.by_pages.tolist()
    if len(by_pages) > task.actions:  # the last head is the target's on a page
        target = task.target
        by_pages[target], calibrated[target] = True, calibrated[target] and calibrated[-1]
    return TrainedRanker(
        model=ranker,
        by_pages=tuple(by_pages[: task.actions]),
        calibrated=tuple(calibrated[: task.actions]),
        rehearsed=held.foretold if held is not None else Foretold(),
    )


def rehearse(
    examples: Examples,
    profile: RankerProfile,
    task: Task,
    *,
    rng: np.random.Generator,
    progress: Callable[[str], None],
) -> Rehearsal | None:
    """Train a ranker on what was known before the last moment; None where that is nothing.

    `examples` hold the target on pages apart (`training.lesson.with_target_on_page`).
    """
    last = examples.moments[~examples.shown].max()
    known = _known(examples, last, profile)
    if not (known & ~examples.shown).any():
        return None
    progress("ranker: rehearsal for the calibration")
    earlier = examples.groups(known)  # with pages of their own, or none
    lesson = Lesson.of(earlier, task.target, places=profile.impressions.places)
    ranker = _fit(earlier, profile, lesson, task, rng, progress)
    fitted = settle(ranker, earlier.groups(~earlier.launched), lesson)
    later = examples.shown | (examples.moments == last)
    held_out = examples.groups(~known & later & ~examples.launched)
    return Rehearsal(ranker, lesson, fitted, held_out)


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
    task: Task,
    rng: np.random.Generator,
    progress: Callable[[str], None],
) -> Ranker:
    """Train the members one after another, each from its own start and on its own batches."""
    told = taught(examples, lesson.target, profile.teacher, rng, progress)
    ranker = Ranker(
        features=examples.features.shape[1],
        actions=task.actions,
        hidden=profile.hidden,
        dropout=profile.dropout,
        target=lesson.target,
        leaning=np.flatnonzero(lesson.by_pages).tolist(),
        target_on_page=examples.labels.shape[1] > task.actions,
        members=profile.members,
        repeat=task.repeat,
        interest=profile.interest,
        codes=None if task.codes is None else torch.from_numpy(task.codes),
        types=TYPES,
        trees=told.trees,
    )
    ranker.standardize.fit(torch.from_numpy(examples.features))
    odds_H = _base_rates(examples, lesson)
    loss = RankerLoss.of(examples, profile, lesson, told)
    for number, member in enumerate(ranker.members, start=1):
        name = "ranker" if profile.members == 1 else f"ranker {number}/{profile.members}"
        member.start_at(odds_H)
        for epoch, lost in enumerate(_taught(member, ranker, examples, loss, rng), 1):
            line = f"{name} epoch {epoch}/{profile.epochs}: loss {lost:.4f}"
            progress(must_be_finite(lost, line, "ranker.lr"))
    return ranker.eval()


def _taught(
    member: Member,
    ranker: Ranker,
    examples: Examples,
    loss: RankerLoss,
    rng: np.random.Generator,
) -> Iterator[float]:
    """Train one member of a ranker; gives the mean loss of each epoch."""
    profile, groups = loss.profile, len(examples.starts) - 1
    batches = max(1, groups // profile.groups_per_batch)
    optimizer, schedule = _optimizer(member, profile, steps=batches * profile.epochs)
    member.train()
    for _ in range(profile.epochs):
        losses = []
        for chosen in np.array_split(rng.permutation(groups), batches):
            batch = Batch.of(examples, chosen)
            x_BNF, new_BN = ranker.standardize(batch.features), ranker.new(batch.features)
            lost = loss.of_batch(member, x_BNF, new_BN, batch)
            optimizer.zero_grad()
            lost.backward()
            for part in member.parts():
                nn.utils.clip_grad_norm_(part, _GRADIENT)
            optimizer.step()
            schedule.step()
            losses.append(float(lost.detach()))
        yield float(np.mean(losses))


def _optimizer(
    member: Member, profile: RankerProfile, *, steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """Slopes are few, learn fast and do not decay."""
    plain = [p for p in member.parameters() if p is not member.slope]
    optimizer = torch.optim.AdamW(plain, lr=profile.lr, weight_decay=1e-4)
    optimizer.add_param_group({"params": [member.slope], "weight_decay": 0.0})
    rates = [profile.lr, _HASTE * profile.lr]
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=rates, total_steps=steps)
    return optimizer, schedule


def _base_rates(examples: Examples, lesson: Lesson) -> Tensor:
    """Log odds of each head's action, [H], at which it starts: training need not find them.

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
    return torch.from_numpy(odds).float()


def _log_odds(labels: npt.NDArray[np.floating], weights: npt.NDArray[np.floating]) -> np.ndarray:
    """Log odds of each head over weighted rows, [H]."""
    rate = (labels * weights[:, None]).sum(0) / weights.sum()
    rate = np.clip(rate, 1e-6, 1 - 1e-6)
    odds: np.ndarray = np.log(rate / (1 - rate))
    return odds
