"""The ranker's heads: what leans on the target, what it costs to differ from it; its members."""

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
    (member,) = model.members
    rest, apart, _ = member.parts()
    assert all(part.grad is None or part.grad.abs().max() == 0 for part in rest)
    assert {id(part) for part in apart} >= {id(member.slope), id(member.differing.wide.weight)}
    assert member.differing.wide.weight.grad[CLICK].abs().max() > 0
    assert member.slope.grad[CLICK] != 0


def test_a_difference_costs_and_a_constant_is_free():
    rows = torch.tensor([[1.0, 3.0, 100.0]])
    counted = torch.tensor([[1.0, 1.0, 0.0]])
    assert spread(rows, counted) == 1.0
    assert spread(torch.full((1, 3), 7.0), counted) == 0.0
    assert spread(rows, torch.zeros(1, 3)) == 0.0


def test_the_target_has_a_head_more_once_pages_teach_it():
    model = ranker(leaning=[CLICK, 2], target_on_page=True)
    with torch.no_grad():
        model.members[0].differing.wide.bias[2] = 1.5  # the third head: an order on a page
        on_page, expected = model.probabilities(candidates())
    assert on_page.shape == expected.shape == (2, 30, 2)
    assert torch.equal(on_page[..., CLICK], expected[..., CLICK])
    assert (on_page[..., ORDER] > expected[..., ORDER]).all()


def test_without_pages_both_say_the_same():
    on_page, expected = ranker().probabilities(candidates())
    assert torch.equal(on_page, expected)


def test_members_start_apart_and_their_logits_are_averaged():
    model = ranker(members=3)
    x = model.standardize(candidates())
    logits = torch.stack([member(x) for member in model.members])
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert (logits[a] - logits[b]).abs().max() > 0.1
    torch.testing.assert_close(model(candidates()), logits.sum(dim=0) / 3)


def test_calibration_stands_behind_the_mean_of_the_members():
    model = ranker(members=2)
    model.calibrate.scale[:], model.calibrate.shift[:] = 0.5, -1.0
    x = model.standardize(candidates())
    mean = sum(member(x) for member in model.members) / 2
    _, expected = model.probabilities(candidates())
    torch.testing.assert_close(expected, torch.sigmoid(0.5 * mean - 1.0))


def test_the_only_member_says_what_the_ranker_says():
    model = ranker()
    assert torch.equal(model(candidates()), model.members[0](model.standardize(candidates())))


def test_each_member_leans_on_its_own_target():
    model = ranker(members=2)
    before = model(candidates())
    with torch.no_grad():
        model.members[0].plain.wide.bias[ORDER] += 3.0
    torch.testing.assert_close(model(candidates()), before + 1.5)
