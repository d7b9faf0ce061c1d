"""Target attention: what a memory may say of a candidate, and what it may not."""

import pytest
import torch

from models.interest import Context, Interest
from models.ranker import Ranker

USERS, CANDIDATES, MEMORY, ITEMS, FEATURES, REPEAT, TYPES = 3, 4, 6, 20, 5, 2, 4


def codes():
    """Two attributes of every item, row 0 padding."""
    torch.manual_seed(1)
    return torch.cat([torch.zeros(1, 2), torch.randint(1, 7, (ITEMS, 2))]).int()


def context(*, remembered=4):
    """Users who remember so many items each, the rest padding."""
    torch.manual_seed(2)
    items = torch.randint(1, ITEMS + 1, (USERS, MEMORY))
    items[:, remembered:] = 0
    types = torch.randint(1, TYPES, (USERS, MEMORY)) * (items > 0)
    candidates = torch.randint(1, ITEMS + 1, (USERS, CANDIDATES))
    return Context(candidates, items, torch.rand(USERS, MEMORY), types)


def interest():
    torch.manual_seed(3)
    module = Interest(features=FEATURES, codes=codes(), types=TYPES, width=8)
    module.out.head.weight.data.normal_()
    module.type_tokens.weight.data.normal_()
    return module.eval()


def ranker():
    torch.manual_seed(4)
    model = Ranker(
        features=FEATURES,
        actions=2,
        hidden=(4,),
        target=1,
        repeat=REPEAT,
        interest=8,
        codes=codes(),
        types=TYPES,
    )
    model.members[0].interest.out.head.weight.data.normal_()
    return model.eval()


def features():
    torch.manual_seed(5)
    return torch.randn(USERS, CANDIDATES, FEATURES)


def test_it_says_nothing_before_it_has_learned():
    fresh = Interest(features=FEATURES, codes=codes(), types=TYPES, width=8).eval()
    said = fresh(features(), context())
    assert torch.equal(said, torch.zeros(USERS, CANDIDATES))


def test_padding_says_nothing_whatever_its_days_and_types_are():
    asked = context()
    there = asked.remembered > 0
    later = asked._replace(
        days=torch.where(there, asked.days, asked.days + 9.0),
        types=torch.where(there, asked.types, 1),
    )
    assert torch.allclose(interest()(features(), asked), interest()(features(), later), atol=1e-6)
    shorter = Context(asked.items, *(side[:, :4] for side in asked[1:]))
    assert torch.allclose(interest()(features(), asked), interest()(features(), shorter), atol=1e-6)


def test_the_order_of_what_is_remembered_does_not_matter_but_when_it_was_and_what():
    asked, turned = context(), [3, 1, 0, 2, 4, 5]
    same = Context(asked.items, *(side[:, turned] for side in asked[1:]))
    said = interest()(features(), asked)
    assert torch.allclose(said, interest()(features(), same), atol=1e-6)
    for changed in ({"days": asked.days + 2.0}, {"types": asked.types % (TYPES - 1) + 1}):
        other = asked._replace(**changed)
        assert not torch.allclose(said, interest()(features(), other), atol=1e-3)


def test_items_of_the_same_attributes_are_told_alike():
    module, table = interest(), codes()
    table[2] = table[1]
    module.codes = table
    asked = context()
    one, two = (asked._replace(items=torch.full((USERS, CANDIDATES), i)) for i in (1, 2))
    assert torch.equal(module(features(), one), module(features(), two))


def test_once_settled_it_says_the_same():
    module, asked = interest(), context()
    said = module(features(), asked)
    module.settle()
    assert torch.equal(module(features(), asked), said)


def test_only_the_target_of_candidates_that_are_new_takes_it():
    model, x, asked = ranker(), features(), context()
    other = asked._replace(remembered=asked.remembered.roll(1, 0))
    changed = (model(x, asked) - model(x, other)).abs() > 1e-6
    assert not changed[..., 0].any()
    assert torch.equal(changed[..., 1], x[..., REPEAT] <= 0)


def test_a_memory_must_be_given_to_one_that_attends():
    with pytest.raises(ValueError, match="must be given"):
        ranker()(features())


def test_without_attributes_there_is_nothing_to_attend_by():
    none = torch.zeros((ITEMS + 1, 0), dtype=torch.int32)
    model = Ranker(features=FEATURES, actions=1, hidden=(4,), interest=8, codes=none).eval()
    assert not model.attends
    assert model(features()).shape == (USERS, CANDIDATES, 1)


def test_every_weight_belongs_to_one_part_that_learns():
    model = Ranker(
        features=FEATURES,
        actions=2,
        hidden=(4,),
        target=1,
        leaning=[0],
        interest=8,
        codes=codes(),
        types=TYPES,
    )
    member = model.members[0]
    parts = [id(weight) for part in member.parts() for weight in part]
    assert sorted(parts) == sorted(id(weight) for weight in member.parameters())
