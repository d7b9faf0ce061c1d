"""A ranker of several networks."""

import numpy as np
import pytest
import torch

from tests.training.made_ranker import (
    DAY,
    WIDTH,
    chances,
    log_loss,
    pages,
    proposed,
    sigmoid,
    trained,
)
from training.proposals import Examples


def test_members_learn_apart_and_are_together_no_worse_than_each_on_average():
    rng = np.random.default_rng(17)
    ranker = trained(proposed(rng, groups=1200), members=2).model
    fresh = rng.normal(size=(4000, WIDTH)).astype(np.float32)
    truth = -2 + fresh[:, 1]
    happened = rng.random(len(fresh)) < sigmoid(truth)
    with torch.no_grad():
        x = torch.from_numpy(fresh)
        together = ranker(x)
        each = [member(ranker.standardize(x)) for member in ranker.members]
    for logits in each:
        assert np.corrcoef(logits[:, 1], truth)[0, 1] > 0.8
    assert (each[0] - each[1])[:, 1].std() > 0.05
    alone = [log_loss(ranker, logits, happened) for logits in each]
    assert log_loss(ranker, together, happened) <= np.mean(alone)


def test_progress_names_the_network_where_there_are_several():
    examples = proposed(np.random.default_rng(18), moments=(0.0, 40 * DAY))
    one, two = [], []
    trained(examples, one, epochs=2)
    trained(examples, two, epochs=2, members=2)
    alone = ["ranker epoch 1/2", "ranker epoch 2/2"]
    assert [line.split(":")[0] for line in one if "epoch" in line] == 2 * alone  # and the rehearsal
    named = [f"ranker {member}/2 epoch {epoch}/2" for member in (1, 2) for epoch in (1, 2)]
    assert [line.split(":")[0] for line in two if "epoch" in line] == 2 * named


def test_pages_teach_every_member():
    rng = np.random.default_rng(19)
    ranker = trained(Examples.join([proposed(rng), pages(rng)]), members=2)
    assert ranker.by_pages == (True, False)
    fresh = rng.normal(size=(4000, WIDTH)).astype(np.float32)
    wanted, truth = sigmoid(-1.5 + 0.8 * fresh[:, 0]), sigmoid(-2 + fresh[:, 1])
    with torch.no_grad():
        x = ranker.model.standardize(torch.from_numpy(fresh))
        for member in ranker.model.members:
            assert np.corrcoef(torch.sigmoid(member(x))[:, 0], wanted)[0, 1] > 0.9
    click, order = chances(ranker.model, fresh).T
    assert np.corrcoef(click, wanted)[0, 1] > 0.93
    assert click.mean() == pytest.approx(wanted.mean(), rel=0.2)
    assert np.corrcoef(order, truth)[0, 1] > 0.85
    assert order.mean() == pytest.approx(truth.mean(), rel=0.2)


def test_every_member_starts_at_the_base_rate():
    examples = proposed(np.random.default_rng(20))
    ranker = trained(examples, members=2, lr=1e-9).model
    rate = examples.labels[:, 1].mean()
    for member in ranker.members:
        said = float(member.plain.wide.bias[1].detach())
        assert said == pytest.approx(np.log(rate / (1 - rate)), abs=1e-3)
