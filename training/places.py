"""How likely each place of a page is examined, estimated from logged pages.

Regression EM (Wang et al., Position Bias Estimation for Unbiased Learning to Rank in Personal
Search, 2018): an action means that the place was examined and the item wanted; without one,
either was missing. In turns, the chance of being wanted is a ridge logistic regression on the
ranking features, and the chance of each place is how often it must have been examined. The first
place counts as examined.

Shapes: `R` shown rows, `F` features, `A` actions, `P` places.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from qianmian.features.item_table import Float32, Float64, Int32

_ROWS: Final = 50_000  # the newest that are looked at
_RIDGE: Final = 2.0  # on standardized features
_ROUNDS: Final = 80
_PRIOR: Final = 5.0  # rows that each place takes from the ones beside it
_LEAST: Final = 0.01


def examination(
    features: Float32, labels: Float32, weights: Float32, positions: Int32, *, places: int
) -> Float64:
    """Chance that each place is examined, by action and against the first place, [P + 1, A]."""
    rows = slice(max(0, len(features) - _ROWS), None)
    place = np.clip(positions[rows], 0, places)
    logged = place > 0
    told = np.ones((places + 1, labels.shape[1]))
    x = _standard(features[rows][logged])
    weight = weights[rows][logged].astype(np.float64)
    for action in range(labels.shape[1]):
        acted = labels[rows][logged, action] > 0
        if 0 < acted.sum() < len(acted):
            told[:, action] = _examined(x, acted, weight / weight.mean(), place[logged], places)
    return told


def _examined(
    x: Float64, acted: np.ndarray, weights: Float64, place: np.ndarray, places: int
) -> Float64:
    chance = np.ones(places + 1)
    chance[1:] = np.arange(1, places + 1) ** -0.5
    rows = np.bincount(place, weights=weights, minlength=places + 1)
    at = np.zeros(x.shape[1])
    at[0] = np.log(max(acted.mean(), 1e-4) / max(1.0 - acted.mean(), 1e-4))
    for _ in range(_ROUNDS):
        wanted, seen = _sigmoid(x @ at), chance[place]
        neither = 1.0 - np.minimum(wanted * seen, 1.0 - 1e-9)
        is_wanted = np.where(acted, 1.0, wanted * (1.0 - seen) / neither)
        is_seen = np.where(acted, 1.0, seen * (1.0 - wanted) / neither)
        total = np.bincount(place, weights=weights * is_seen, minlength=places + 1)
        beside = 0.5 * (np.append(chance[0], chance[:-1]) + np.append(chance[1:], chance[-1]))
        chance = (total + _PRIOR * beside) / (rows + _PRIOR)
        chance = np.clip(chance / max(chance[1], 1e-9), _LEAST, 1.0)
        at = _step(x, is_wanted, weights, at)
    chance[0] = 1.0
    return chance


def _step(x: Float64, wanted: Float64, weights: Float64, at: Float64) -> Float64:
    """One Newton step of a ridge logistic regression on soft labels."""
    p = _sigmoid(x @ at)
    ridge = np.full(len(at), _RIDGE)
    ridge[0] = 1e-6
    gradient = x.T @ (weights * (p - wanted)) + ridge * at
    hessian = (x * (weights * (p * (1.0 - p) + 1e-4))[:, None]).T @ x + np.diag(ridge)
    step: Float64 = at - np.linalg.solve(hessian, gradient)
    return step


def _standard(features: Float32) -> Float64:
    """An intercept and standardized features, [R, 1 + F]."""
    x = features.astype(np.float64)
    x = (x - x.mean(axis=0)) / np.maximum(x.std(axis=0), 1e-6)
    return np.concatenate([np.ones((len(x), 1)), x], axis=1)


def _sigmoid(x: Float64) -> Float64:
    value: Float64 = 1.0 / (1.0 + np.exp(-np.clip(x, -30.0, 30.0)))
    return value
