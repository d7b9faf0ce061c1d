import pytest
import torch

from models.position import PositionBias


@pytest.fixture
def bias():
    made = PositionBias(places=3, relative=torch.tensor([True, False]))
    with torch.no_grad():
        made.table.copy_(torch.tensor([[9.0, 9.0], [1.0, 2.0], [0.5, 1.5], [-1.0, 0.0]]))
    return made


def test_what_was_never_shown_has_no_bias(bias):
    assert bias(torch.tensor([[0, 0]])).tolist() == [[[0.0, 0.0], [0.0, 0.0]]]


def test_a_relative_action_means_if_it_stood_first(bias):
    assert bias(torch.tensor([[1, 2]])).tolist() == [[[0.0, 2.0], [-0.5, 1.5]]]


def test_far_places_share_the_last_one(bias):
    assert torch.equal(bias(torch.tensor([[3]])), bias(torch.tensor([[400]])))


def test_starts_at_the_odds_of_each_place():
    bias = PositionBias(places=2, relative=torch.tensor([True, False]))
    rates = torch.tensor([[0.5, 0.5], [0.5, 0.5], [0.25, 0.2]])
    bias.start_at(rates, torch.tensor([0.5, 0.2]))
    expected = torch.logit(torch.tensor([0.25, 0.2])) - torch.logit(torch.tensor([0.5, 0.2]))
    torch.testing.assert_close(bias(torch.tensor([2])), expected.unsqueeze(0))
