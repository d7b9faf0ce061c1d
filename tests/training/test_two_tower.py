"""What the two-tower trainer hides from the towers, so that they learn to do without."""

import numpy as np
import pytest
import torch

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"
)


@pytest.fixture
def batch():
    from models.two_tower import ITEM_ROWS, USER_ROWS
    from qianmian.features.encoding import ITEM_DENSE_FEATURES

    return {
        ITEM_ROWS: torch.arange(1, 401),
        USER_ROWS: torch.arange(1, 401),
        "item_dense": torch.ones(400, len(ITEM_DENSE_FEATURES)),
    }


def hidden(batch, **shares):
    from training.profile import TwoTowerProfile
    from training.two_tower import hide

    given = dict(batch)
    hide(given, TwoTowerProfile(**shares), np.random.default_rng(1))
    return given


def test_nothing_is_hidden_where_the_profile_says_so(batch):
    given = hidden(batch, id_dropout=0.0, unseen_items=0.0)
    assert all(torch.equal(given[name], batch[name]) for name in batch)


def test_an_unseen_item_has_neither_id_row_nor_statistics(batch):
    from models.two_tower import ITEM_ROWS, USER_ROWS
    from qianmian.features.encoding import unseen_dense

    given = hidden(batch, id_dropout=0.0, unseen_items=0.3)
    unseen = given[ITEM_ROWS] == 0
    assert 80 < int(unseen.sum()) < 160
    assert torch.equal(given["item_dense"][unseen][0], torch.from_numpy(unseen_dense()))
    assert (given["item_dense"][unseen] == given["item_dense"][unseen][0]).all()
    assert (given["item_dense"][~unseen] == 1).all()
    assert torch.equal(given[USER_ROWS], batch[USER_ROWS])
    assert (batch["item_dense"] == 1).all()  # the week's statistics stay as they were


def test_a_hidden_id_leaves_the_statistics(batch):
    from models.two_tower import ITEM_ROWS, USER_ROWS

    given = hidden(batch, id_dropout=0.3, unseen_items=0.0)
    for name in (ITEM_ROWS, USER_ROWS):
        assert 80 < int((given[name] == 0).sum()) < 160
    assert torch.equal(given["item_dense"], batch["item_dense"])


def test_items_that_nothing_happened_with_have_no_say_in_the_scales():
    from types import SimpleNamespace

    from models.layers import Standardize
    from qianmian.features.encoding import ITEM_DENSE_FEATURES, unseen_dense
    from training.two_tower import TwoTowerTrainer

    users, items = Standardize(width=2), Standardize(width=len(ITEM_DENSE_FEATURES))
    towers = SimpleNamespace(
        user_tower=SimpleNamespace(standardize=users), item_tower=SimpleNamespace(standardize=items)
    )
    seen = torch.rand(20, len(ITEM_DENSE_FEATURES)) + 1.0
    never = torch.from_numpy(unseen_dense()).expand(980, -1)
    week = SimpleNamespace(
        inputs={"user_dense": np.ones((3, 2), dtype=np.float32)},
        item_dense=torch.cat([never, seen]),
    )
    trainer = SimpleNamespace(_model=SimpleNamespace(module=towers))
    TwoTowerTrainer.standardize(trainer, [week])
    assert torch.allclose(items.mean, seen.mean(dim=0))
    assert torch.allclose(items.scale, 1 / seen.std(dim=0))
    week.item_dense = never  # nothing had happened with anything yet
    TwoTowerTrainer.standardize(trainer, [week])
    assert torch.allclose(items.mean, never[0])
    assert torch.isfinite(items.scale).all()
