import pytest
import torch

from models.position import Examined


@pytest.fixture
def examined():
    return Examined(
        chance_PA=torch.tensor([[1.0, 1.0], [1.0, 1.0], [0.5, 0.25]]),
        relative_A=torch.tensor([True, False]),
        level_A=torch.tensor([9.0, 1.0]),
    )


LOGITS = torch.tensor([[[0.3, -2.0], [0.3, -2.0], [0.3, -2.0]]])


def test_what_was_never_shown_keeps_its_logit(examined):
    assert torch.equal(examined(LOGITS, torch.tensor([[0, 0, 0]])), LOGITS)


def test_the_chance_of_acting_is_that_of_looking_times_that_of_wanting(examined):
    p = torch.sigmoid(examined(LOGITS, torch.tensor([[1, 2, 400]])))[0]
    wanted = torch.sigmoid(torch.tensor([0.3, -2.0 + 1.0]))  # the level is of the second alone
    torch.testing.assert_close(p[0], wanted)
    torch.testing.assert_close(p[1], wanted * torch.tensor([0.5, 0.25]))
    torch.testing.assert_close(p[2], p[1])  # far places share the last one


def test_only_the_level_learns(examined):
    assert [name for name, _ in examined.named_parameters()] == ["level"]


def test_extreme_logits_have_finite_gradients(examined):
    logits = torch.tensor([[[80.0, -80.0], [80.0, -80.0]]], requires_grad=True)
    examined(logits, torch.tensor([[1, 2]])).sum().backward()
    assert torch.isfinite(logits.grad).all()
