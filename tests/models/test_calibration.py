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
    platt.fit(logits, labels, torch.ones_like(logits))
    assert abs(float(platt.scale) - 0.7) < 0.03
    assert abs(float(platt.shift) + 0.4) < 0.05


def test_predicted_and_actual_rates_agree_under_weights() -> None:
    platt = Platt(actions=1)
    logits, labels = drawn(1.3, 0.5)
    weights = torch.where(labels[:, 0] > 0, 1.0, 4.0)  # as if three of four negatives were left out
    platt.fit(logits, labels, weights[:, None])
    predicted = (torch.sigmoid(platt(logits))[:, 0] * weights).sum()
    assert abs(float(predicted / labels.sum()) - 1.0) < 1e-3


def test_an_action_that_never_happened_stays_as_it_is() -> None:
    platt = Platt(actions=2)
    logits, labels = drawn(0.7, -0.4, 5_000)
    both = torch.cat([labels, torch.zeros_like(labels)], dim=1)
    platt.fit(torch.cat([logits, logits], dim=1), both, torch.ones_like(both))
    assert (float(platt.scale[1]), float(platt.shift[1])) == (1.0, 0.0)


def test_labels_that_fall_with_the_logit_never_turn_the_order_around() -> None:
    platt = Platt(actions=2)
    logits, labels = drawn(-0.7, -0.4)
    sound, marks = drawn(0.7, -0.4)
    fitted = platt.fit(
        torch.cat([logits, sound], dim=1), torch.cat([labels, marks], dim=1), torch.ones(60_000, 2)
    )
    assert fitted == [False, True]
    assert (float(platt.scale[0]), float(platt.shift[0])) == (1.0, 0.0)
    assert bool((platt.scale > 0).all())


def test_labels_that_are_all_alike_or_separable_leave_a_usable_line() -> None:
    for labels in (torch.ones(50, 1), (torch.arange(50)[:, None] > 24).float()):
        platt = Platt(actions=1)
        platt.fit(torch.linspace(-1, 1, 50)[:, None], labels, torch.ones(50, 1))
        assert float(platt.scale) > 0
        assert bool(platt(torch.linspace(-1, 1, 50)[:, None]).isfinite().all())


def test_what_was_not_looked_at_is_no_refusal() -> None:
    """Labels happen only where a place is looked at: the line is that of what is wanted."""
    rng = np.random.default_rng(6)
    logits, labels = drawn(0.7, -0.4)
    chance = torch.from_numpy(rng.choice([1.0, 0.5, 0.1], len(logits)))[:, None]
    seen = labels * (torch.from_numpy(rng.random(len(logits)))[:, None] < chance)
    platt = Platt(actions=1)
    assert platt.fit(logits, seen, torch.ones_like(logits), chance) == [True]
    assert abs(float(platt.scale) - 0.7) < 0.05
    assert abs(float(platt.shift) + 0.4) < 0.1


def test_a_rate_that_has_grown_many_times_is_found() -> None:
    """Newton's steps alone leave for infinity here."""
    rng = np.random.default_rng(7)
    logits = rng.normal(-4.0, 0.5, 40_000)
    labels = torch.from_numpy(rng.random(len(logits)) < 1 / (1 + np.exp(-(logits + 2.0))))
    columns = torch.from_numpy(logits).float()[:, None], labels.float()[:, None]
    platt = Platt(actions=1)
    assert platt.fit(*columns, torch.ones_like(columns[0])) == [True]
    predicted = torch.sigmoid(platt(columns[0])).mean()
    assert abs(float(predicted / columns[1].mean()) - 1.0) < 0.02


def test_few_events_make_no_line_and_some_are_held_back_by_the_prior() -> None:
    logits = torch.linspace(-6.0, -2.0, 4_000)[:, None]
    labels = torch.zeros_like(logits)
    labels[-29:] = 1.0  # the highest of all: nothing but a step would fit them
    platt = Platt(actions=1)
    assert platt.fit(logits, labels, torch.ones_like(logits)) == [False]
    assert (float(platt.scale), float(platt.shift)) == (1.0, 0.0)
    labels[-31:] = 1.0
    assert platt.fit(logits, labels, torch.ones_like(logits)) == [True]
    assert float(platt.scale) < 10.0


def test_rows_without_weight_say_nothing_of_an_action() -> None:
    logits, labels = drawn(0.7, -0.4)
    lies = torch.cat([labels, 1.0 - labels])
    weights = torch.cat([torch.ones_like(logits), torch.zeros_like(logits)])
    platt, plain = Platt(actions=1), Platt(actions=1)
    platt.fit(torch.cat([logits, logits]), lies, weights)
    plain.fit(logits, labels, torch.ones_like(logits))
    assert torch.allclose(platt.scale, plain.scale)


def test_a_line_behind_a_line_is_both() -> None:
    first, second = Platt(actions=1), Platt(actions=1)
    first.scale.fill_(2.0), first.shift.fill_(-1.0)
    second.scale.fill_(0.5), second.shift.fill_(3.0)
    logits = torch.randn(7, 1)
    expected = second(first(logits))
    first.then(second)
    assert torch.allclose(first(logits), expected)
    first.then(second, [False])
    assert torch.allclose(first(logits), expected)
