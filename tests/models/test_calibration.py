"""Platt scaling finds the line that the labels were drawn from, and keeps the order."""

import numpy as np
import torch

from models.calibration import Platt


def drawn(scale: float, shift: float, size: int = 60_000) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(5)
    logits = rng.normal(-2.0, 1.5, size)
    chance = 1 / (1 + np.exp(-(scale * logits + shift)))
    labels = (rng.random(size) < chance).astype(np.float32)
    return torch.from_numpy(logits).float()[:, None], torch.from_numpy(labels)[:, None]


def test_it_is_the_identity_until_it_is_fitted() -> None:
    logits = torch.randn(3, 4, 2)
    assert torch.equal(Platt(actions=2)(logits), logits)


def test_it_finds_scale_and_shift() -> None:
    platt = Platt(actions=1)
    logits, labels = drawn(0.7, -0.4)
    platt.fit(logits, labels, torch.ones(len(logits)))
    assert abs(float(platt.scale) - 0.7) < 0.03
    assert abs(float(platt.shift) + 0.4) < 0.05


def test_predicted_and_actual_rates_agree_under_weights() -> None:
    platt = Platt(actions=1)
    logits, labels = drawn(1.3, 0.5)
    weights = torch.where(labels[:, 0] > 0, 1.0, 4.0)  # as if three of four negatives were left out
    platt.fit(logits, labels, weights)
    predicted = (torch.sigmoid(platt(logits))[:, 0] * weights).sum()
    assert abs(float(predicted / labels.sum()) - 1.0) < 1e-3


def test_an_action_that_never_happened_stays_as_it_is() -> None:
    platt = Platt(actions=2)
    logits, labels = drawn(0.7, -0.4, 5_000)
    both = torch.cat([labels, torch.zeros_like(labels)], dim=1)
    platt.fit(torch.cat([logits, logits], dim=1), both, torch.ones(len(logits)))
    assert (float(platt.scale[1]), float(platt.shift[1])) == (1.0, 0.0)


def test_labels_that_fall_with_the_logit_never_turn_the_order_around() -> None:
    platt = Platt(actions=2)
    logits, labels = drawn(-0.7, -0.4)
    sound, marks = drawn(0.7, -0.4)
    fitted = platt.fit(
        torch.cat([logits, sound], dim=1), torch.cat([labels, marks], dim=1), torch.ones(60_000)
    )
    assert fitted == [False, True]
    assert (float(platt.scale[0]), float(platt.shift[0])) == (1.0, 0.0)
    assert bool((platt.scale > 0).all())


def test_labels_that_are_all_alike_or_separable_leave_a_usable_line() -> None:
    for labels in (torch.ones(50, 1), (torch.arange(50)[:, None] > 24).float()):
        platt = Platt(actions=1)
        platt.fit(torch.linspace(-1, 1, 50)[:, None], labels, torch.ones(50))
        assert float(platt.scale) > 0
        assert bool(platt(torch.linspace(-1, 1, 50)[:, None]).isfinite().all())
