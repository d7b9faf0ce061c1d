"""ReLU and dropout in one step say what PyTorch's two say."""

import pytest
import torch

from models.dropout import ReLUDropout

UNITS = 400_000


def given(*shape):
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(5))
    return x.requires_grad_()


@pytest.mark.parametrize("p", [0.1, 0.25, 0.5, 0.9])
def test_the_share_is_hidden_and_the_rest_scaled_up_to_the_same_mean(p):
    torch.manual_seed(1)
    y = ReLUDropout(p)(torch.ones(UNITS))
    hidden = float((y == 0).float().mean())
    assert hidden == pytest.approx(p, abs=5 * (p * (1 - p) / UNITS) ** 0.5)
    assert torch.allclose(y[y > 0], torch.tensor(1 / (1 - p)), rtol=1e-3)
    assert float(y.mean()) == pytest.approx(1.0, rel=0.02)


def test_neighbours_are_hidden_apart_from_each_other():
    torch.manual_seed(2)
    hidden = (ReLUDropout(0.5)(torch.ones(UNITS)) == 0).float()
    for apart in range(1, 9):
        both = float((hidden[apart:] * hidden[:-apart]).mean())
        assert both == pytest.approx(0.25, abs=0.01), apart


def test_what_is_hidden_or_below_0_takes_no_gradient_the_rest_the_scaled_one():
    torch.manual_seed(3)
    x = given(7, 33, 5)
    y = ReLUDropout(0.3)(x)
    y.backward(torch.full_like(y, 2.0))
    scale = y[y > 0] / x[y > 0]
    assert torch.allclose(x.grad[y > 0], 2.0 * scale)
    assert x.grad[y == 0].abs().max() == 0
    assert y[x <= 0].abs().max() == 0


def test_a_seed_repeats_what_is_hidden():
    x, layer = given(50, 9), ReLUDropout(0.5)
    drawn = []
    for _ in range(2):
        torch.manual_seed(4)
        drawn.append(layer(x))
    assert torch.equal(*drawn)
    assert not torch.equal(drawn[0], layer(x))


@pytest.mark.parametrize("layer", [ReLUDropout(0.4).eval(), ReLUDropout(0.0)])
def test_nothing_is_hidden_outside_training_or_without_a_share(layer):
    x = given(20, 3)
    assert torch.equal(layer(x), torch.relu(x))


@pytest.mark.parametrize("p", [-0.1, 1.0])
def test_a_share_outside_0_to_1_is_refused(p):
    with pytest.raises(ValueError, match="hidden"):
        ReLUDropout(p)
