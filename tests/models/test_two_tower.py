"""The two-tower model: shapes, what unknown users and items get, and seeded values."""

import pytest
import torch

from models import two_tower as m
from models.embeddings import Embeddings

WIDTH = 8


@pytest.fixture
def model():
    torch.manual_seed(3)
    specs = m.tables(items=20, users=5, tags=6, attributes={"brand": 4}, affinity=["brand"])
    return m.TwoTower(
        embeddings=Embeddings(tables=specs, width=WIDTH),
        user_tower=m.UserTower(
            width=WIDTH, hidden=(16,), dense_width=3, event_codes=8, affinity_columns=1
        ),
        item_tower=m.ItemTower(width=WIDTH, hidden=(16,), dense_width=2, attributes=1),
        attributes=("brand",),
        affinity=("brand",),
    ).eval()


def user_part(users, length=4):
    return {
        m.USER_ROWS: torch.arange(users) % 6,
        m.HISTORY_ROWS: torch.randint(0, 21, (users, length)),
        m.history_codes("brand"): torch.randint(0, 4, (users, length)),
        m.preference_codes("brand"): torch.randint(0, 4, (users, 3)),
        m.preference_shares("brand"): torch.full((users, 3), 1 / 3),
        m.TAG_TOKENS: torch.randint(0, 7, (users, 2)),
        "mask": torch.ones(users, length, dtype=torch.bool),
        "codes": torch.randint(1, 8, (users, length)),
        "days": torch.rand(users, length) * 4,
        "user_dense": torch.rand(users, 3),
    }


def item_part(rows, codes):
    return {
        m.ITEM_ROWS: torch.tensor(rows),
        m.item_codes("brand"): torch.tensor(codes),
        "item_dense": torch.zeros(len(rows), 2),
    }


def test_vectors_have_a_bias_coordinate(model):
    users, items = model({**user_part(3), **item_part([1, 2], [1, 2])})
    assert users.shape == (3, WIDTH + 1)
    assert items.shape == (2, WIDTH + 1)
    assert torch.equal(users[:, -1], torch.ones(3))


def test_either_side_can_be_left_out(model):
    assert model(item_part([1], [1]))[0] is None
    assert model(user_part(2))[1] is None


def test_an_item_without_an_id_row_gets_its_vector_from_its_attributes(model):
    _, items = model(item_part([0, 0, 0], [1, 1, 2]))
    assert torch.allclose(items[0], items[1])
    assert not torch.allclose(items[0], items[2])


def test_padding_does_not_change_a_user(model):
    batch = user_part(1)
    longer = {name: value.clone() for name, value in batch.items()}
    for name in (m.HISTORY_ROWS, m.history_codes("brand"), "codes", "days"):
        noise = torch.ones(1, 3, dtype=longer[name].dtype)
        longer[name] = torch.cat([longer[name], noise], dim=1)
    longer["mask"] = torch.cat([longer["mask"], torch.zeros(1, 3, dtype=torch.bool)], dim=1)
    assert torch.allclose(model(batch)[0], model(longer)[0], atol=1e-6)


def test_a_user_without_any_action_has_a_finite_vector(model):
    batch = user_part(1)
    batch["mask"] = torch.zeros_like(batch["mask"])
    assert torch.isfinite(model(batch)[0]).all()


def test_attributes_may_have_the_names_of_other_inputs_and_dots():
    names = ["details.brand", "rows", "dense"]
    specs = m.tables(items=20, users=5, tags=6, attributes=dict.fromkeys(names, 4), affinity=names)
    model = m.TwoTower(
        embeddings=Embeddings(tables=specs, width=WIDTH),
        user_tower=m.UserTower(
            width=WIDTH, hidden=(16,), dense_width=3, event_codes=8, affinity_columns=3
        ),
        item_tower=m.ItemTower(width=WIDTH, hidden=(16,), dense_width=2, attributes=3),
        attributes=names,
        affinity=names,
    ).eval()

    def vector(*codes):
        batch = {m.ITEM_ROWS: torch.tensor([1]), "item_dense": torch.zeros(1, 2)}
        for name, code in zip(names, codes, strict=True):
            batch[m.item_codes(name)] = torch.tensor([code])
        return model(batch)[1]

    plain = vector(1, 1, 1)
    for other in ((2, 1, 1), (1, 2, 1), (1, 1, 2)):
        assert not torch.allclose(vector(*other), plain)
