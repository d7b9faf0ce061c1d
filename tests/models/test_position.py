import torch

from models.position import acting

CHANCE = torch.tensor([[1.0, 1.0], [1.0, 1.0], [0.5, 0.25]])
LOGITS = torch.tensor([[[0.3, -2.0], [0.3, -2.0], [0.3, -2.0]]])


def test_what_was_never_shown_keeps_its_logit():
    assert torch.equal(acting(LOGITS, torch.tensor([[0, 0, 0]]), CHANCE), LOGITS)


def test_the_chance_of_acting_is_that_of_looking_times_that_of_wanting():
    p = torch.sigmoid(acting(LOGITS, torch.tensor([[1, 2, 400]]), CHANCE))[0]
    wanted = torch.sigmoid(torch.tensor([0.3, -2.0]))
    torch.testing.assert_close(p[0], wanted)
    torch.testing.assert_close(p[1], wanted * torch.tensor([0.5, 0.25]))
    torch.testing.assert_close(p[2], p[1])  # far places share the last one


def test_extreme_logits_have_finite_gradients():
    logits = torch.tensor([[[80.0, -80.0], [80.0, -80.0]]], requires_grad=True)
    acting(logits, torch.tensor([[1, 2]]), CHANCE).sum().backward()
    assert torch.isfinite(logits.grad).all()
