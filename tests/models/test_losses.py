"""The losses against values worked out by hand."""

import math

import pytest
import torch

from models.losses import listwise_softmax, sampled_softmax, weighted_bce


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
