"""The ranker's heads: what leans on the target, and what it costs to differ from it."""

import torch

from models.losses import spread
from models.ranker import Ranker

FEATURES, CLICK, ORDER = 5, 0, 1


def ranker(**changed):
    torch.manual_seed(3)
    said = {"features": FEATURES, "actions": 2, "hidden": [8], "target": ORDER, "leaning": [CLICK]}
    return Ranker(**{**said, **changed}).eval()


def candidates():
    return torch.randn(2, 30, FEATURES, generator=torch.Generator().manual_seed(4))


def test_a_leaning_head_starts_in_the_order_of_the_target():
    logits = ranker()(candidates())
    assert torch.equal(logits[..., CLICK].argsort(dim=1), logits[..., ORDER].argsort(dim=1))


def test_a_head_of_its_own_does_not():
    logits = ranker(leaning=[])(candidates())
    assert not torch.equal(logits[..., CLICK].argsort(dim=1), logits[..., ORDER].argsort(dim=1))


def test_what_leans_does_not_pull_at_the_target():
    model = ranker()
    model(candidates())[..., CLICK].sum().backward()
    rest, apart = model.parts()
    assert all(part.grad is None or part.grad.abs().max() == 0 for part in rest)
    assert {id(part) for part in apart} >= {id(model.slope), id(model.differing.wide.weight)}
    assert model.differing.wide.weight.grad[CLICK].abs().max() > 0
    assert model.slope.grad[CLICK] != 0


def test_a_difference_costs_and_a_constant_is_free():
    rows = torch.tensor([[1.0, 3.0, 100.0]])
    counted = torch.tensor([[1.0, 1.0, 0.0]])
    assert spread(rows, counted) == 1.0
    assert spread(torch.full((1, 3), 7.0), counted) == 0.0
    assert spread(rows, torch.zeros(1, 3)) == 0.0


def test_the_target_has_a_head_more_once_pages_teach_it():
    model = ranker(leaning=[CLICK, 2], target_on_page=True)
    with torch.no_grad():
        model.differing.wide.bias[2] = 1.5  # the third head: an order on a page
        on_page, expected = model.probabilities(candidates())
    assert on_page.shape == expected.shape == (2, 30, 2)
    assert torch.equal(on_page[..., CLICK], expected[..., CLICK])
    assert (on_page[..., ORDER] > expected[..., ORDER]).all()


def test_without_pages_both_say_the_same():
    on_page, expected = ranker().probabilities(candidates())
    assert torch.equal(on_page, expected)
