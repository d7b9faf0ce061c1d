"""What trees tell the ranker, and which of its parts listen."""

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from qianmian.errors import TrainingError
from tests.training.made_ranker import PROFILE, WIDTH, pages, proposed, sigmoid, trained
from training.lesson import Lesson
from training.profile import TeacherProfile
from training.proposals import Examples
from training.ranker_batch import Batch
from training.ranker_loss import RankerLoss
from training.teacher import soft_labels

TARGET = 1
SOME = TeacherProfile(trees=40, leaves=7, share=1.0)


def told_of(examples, profile=SOME, seed=3, said=None):
    progress = (said if said is not None else []).append
    return soft_labels(examples, TARGET, profile, np.random.default_rng(seed), progress)


def test_trees_tell_chances_that_are_nearer_the_truth_than_what_happened():
    examples = proposed(np.random.default_rng(1), groups=1200)
    told, truth = told_of(examples), sigmoid(-2 + examples.features[:, 1])
    assert ((told > 0) & (told < 1)).all()
    assert told.mean() == pytest.approx(truth.mean(), rel=0.05)
    assert np.abs(told - truth).mean() < 0.3 * np.abs(examples.labels[:, TARGET] - truth).mean()


def test_a_row_counts_for_the_candidates_that_it_stands_for():
    examples = proposed(np.random.default_rng(2), groups=1200)
    weights = np.where(examples.labels[:, TARGET] > 0, 1.0, 5.0).astype(np.float32)
    rate = np.average(examples.labels[:, TARGET], weights=weights)
    told = told_of(replace(examples, weights=weights))
    assert np.average(told, weights=weights) == pytest.approx(rate, rel=0.05)
    assert told.mean() < 0.5 * told_of(examples).mean()


def test_pages_and_launches_are_told_as_they_happened():
    rng = np.random.default_rng(4)
    known, launched, shown = proposed(rng), proposed(rng), pages(rng, groups=50)
    launched = replace(launched, launched=np.ones_like(launched.launched))
    rows = len(known.weights)
    told = told_of(Examples.join([known, launched, shown]))
    np.testing.assert_array_equal(told[:rows], told_of(known))  # nor do trees learn from the rest
    happened = np.concatenate([launched.labels, shown.labels])[:, TARGET]
    np.testing.assert_array_equal(told[rows:], happened)


def test_a_share_of_what_is_told_is_the_trees_and_the_rest_happened():
    examples = proposed(np.random.default_rng(10))
    half = told_of(examples, SOME.model_copy(update={"share": 0.5}))
    mean = (told_of(examples) + examples.labels[:, TARGET]) / 2
    np.testing.assert_allclose(half, mean, atol=1e-6)


@pytest.mark.parametrize("why", ["no trees", "nothing was ordered"])
def test_without_a_teacher_what_happened_is_told(why):
    examples, said = proposed(np.random.default_rng(5)), []
    profile = SOME.model_copy(update={"trees": 0}) if why == "no trees" else SOME
    if why == "nothing was ordered":
        examples.labels[:, TARGET] = 0.0
    told = told_of(examples, profile, said=said)
    np.testing.assert_array_equal(told, examples.labels[:, TARGET])
    assert said == []


def test_the_same_draw_tells_the_same():
    examples = proposed(np.random.default_rng(6))
    np.testing.assert_array_equal(told_of(examples, seed=1), told_of(examples, seed=1))
    assert not np.array_equal(told_of(examples, seed=1), told_of(examples, seed=2))


def test_features_listen_to_the_teacher_and_attention_to_what_happened():
    rng = np.random.default_rng(7)
    examples = proposed(rng)
    examples.features[:, WIDTH - 1] = 0.0  # all are new to the user
    examples.remembered[:] = 1
    codes = np.arange(3, dtype=np.int32)[:, None]
    ranker = trained(examples, codes=codes, interest=8, epochs=1).model
    member, batch = ranker.members[0], Batch.of(examples, np.arange(32))
    lesson = Lesson.of(examples, TARGET, places=10)
    happened = examples.labels[:, TARGET]
    opposite = (1.0 - happened).astype(np.float32)

    def gradients(told, labels):
        given = examples.labels.copy()
        given[:, TARGET] = labels
        loss = RankerLoss.of(examples, PROFILE, lesson, told)
        x, new = ranker.standardize(batch.features), ranker.new(batch.features)
        given = replace(batch, labels=torch.from_numpy(given)[batch.rows])
        member.zero_grad()
        loss.of_batch(member.eval(), x, new, given).backward()
        return [
            torch.cat([p.grad.flatten() for p in part.parameters()]).numpy()
            for part in (member.plain, member.interest)
        ]

    plain, interest = gradients(happened, happened)
    other_plain, same_interest = gradients(opposite, happened)
    assert not np.allclose(plain, other_plain)
    np.testing.assert_array_equal(interest, same_interest)
    same_plain, other_interest = gradients(happened, opposite)
    np.testing.assert_array_equal(plain, same_plain)
    assert not np.allclose(interest, other_interest)


def test_a_ranker_that_was_told_keeps_its_chances_and_its_order():
    rng = np.random.default_rng(8)
    examples, said = proposed(rng, groups=1200), []
    ranker = trained(examples, said, teacher=SOME).model
    assert "ranker: 40 trees learn from 12,000 candidates" in said
    fresh = rng.normal(size=(4000, WIDTH)).astype(np.float32)
    with torch.no_grad():
        order = ranker.probabilities(torch.from_numpy(fresh))[1][:, TARGET].numpy()
    truth = sigmoid(-2 + fresh[:, 1])
    assert np.corrcoef(order, truth)[0, 1] > 0.85
    assert order.mean() == pytest.approx(truth.mean(), rel=0.1)


def test_where_lightgbm_is_missing_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    examples = proposed(np.random.default_rng(9))
    with pytest.raises(TrainingError, match=r"set ranker.teacher.trees to 0"):
        told_of(examples)
