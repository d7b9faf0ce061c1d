"""The losses against values worked out by hand."""

import math

import pytest
import torch

from models.losses import listwise_softmax, sampled_softmax, shared, weighted_bce


def test_sampled_softmax_of_one_positive_is_the_plain_cross_entropy():
    logits = torch.tensor([[1.0, 0.0, -1.0]])
    positive = torch.tensor([[True, False, False]])
    expected = math.log(1 + math.exp(-1) + math.exp(-2))
    assert sampled_softmax(logits, positive, torch.zeros(3)).item() == pytest.approx(expected)


def test_other_positives_of_the_same_user_are_no_negatives():
    logits = torch.tensor([[1.0, 50.0, -1.0]])
    positive = torch.tensor([[True, True, False]])
    loss = sampled_softmax(logits, positive, torch.zeros(3)).item()
    assert loss == pytest.approx(math.log(1 + math.exp(-2)) / 2, abs=1e-6)


def test_log_q_takes_the_advantage_of_often_sampled_items_out():
    positive = torch.tensor([[True, False]])
    rare = sampled_softmax(torch.zeros(1, 2), positive, torch.tensor([0.0, 0.0])).item()
    often = sampled_softmax(torch.zeros(1, 2), positive, torch.tensor([0.0, math.log(10)])).item()
    assert often == pytest.approx(math.log(1 + 1 / 10))
    assert often < rare


def test_a_user_without_positives_adds_nothing():
    logits, log_q = torch.randn(2, 4), torch.zeros(4)
    positive = torch.tensor([[True, False, False, False], [False] * 4])
    alone = sampled_softmax(logits[:1], positive[:1], log_q)
    assert sampled_softmax(logits, positive, log_q).item() == pytest.approx(alone.item())


def test_weighted_bce_counts_a_row_as_often_as_its_weight():
    logits = torch.tensor([[[0.3], [-1.2]]])
    labels = torch.tensor([[[1.0], [0.0]]])
    weighted = weighted_bce(logits, labels, torch.tensor([[1.0, 3.0]]))
    spelled_out = weighted_bce(
        torch.tensor([[[0.3], [-1.2], [-1.2], [-1.2]]]),
        torch.tensor([[[1.0], [0.0], [0.0], [0.0]]]),
        torch.ones(1, 4),
    )
    assert weighted.item() == pytest.approx(spelled_out.item())


def test_listwise_softmax_ignores_padding_and_groups_without_positives():
    logits = torch.tensor([[2.0, 1.0, 99.0], [5.0, 4.0, 3.0]])
    labels = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]])  # the last of the first pads
    weight = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0]])
    expected = math.log(1 + math.exp(-1))
    assert listwise_softmax(logits, labels, weight).item() == pytest.approx(expected, rel=1e-5)


def test_soft_labels_count_as_much_as_is_wanted_of_a_group():
    logits = torch.tensor([[1.0, 0.0], [0.0, 3.0], [2.0, 1.0]])
    labels = torch.tensor([[0.3, 0.2], [0.0, 0.0], [1.5, 0.5]])
    log_p = logits.log_softmax(dim=1)
    of_first = -(0.6 * log_p[0, 0] + 0.4 * log_p[0, 1])
    of_last = -(0.75 * log_p[2, 0] + 0.25 * log_p[2, 1])
    expected = (0.5 * of_first + 1.0 * of_last) / 1.5
    found = listwise_softmax(logits, labels, torch.ones_like(logits))
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


def test_shared_is_the_product_of_what_two_users_are_told_of_a_value():
    added = torch.tensor([[1.0, 3.0, 9.0], [0.5, 9.0, -7.0]])  # means 2 and 0.5 of value 4
    values = torch.tensor([[4, 4, 2], [4, 4, 0]])
    counts = torch.tensor([[True, True, True], [True, False, False]])
    # value 2 has one user, value 0 none: three offers, of which two are of value 4
    assert shared(added, counts, values).item() == pytest.approx(2 * 2.0 * 0.5 / 3)


def test_shared_is_what_a_constant_is_squared_and_nothing_of_what_differs_around_0():
    torch.manual_seed(0)
    users, of = 400, (400, 30)
    counts, values = torch.rand(of) < 0.8, torch.randint(0, 5, of)
    constant = torch.full(of, 1.5)
    assert shared(constant, counts, values).item() == pytest.approx(1.5**2, rel=1e-5)
    taste = torch.randn(users, 5).gather(1, values)  # of each user for each value
    assert abs(shared(taste, counts, values).item()) < 0.01
    assert shared(taste + constant, counts, values).item() == pytest.approx(1.5**2, rel=0.1)


def test_shared_of_nothing_is_0():
    nothing = torch.zeros((2, 3), dtype=torch.bool)
    assert shared(torch.ones(2, 3), nothing, torch.zeros((2, 3), dtype=torch.long)).item() == 0.0
