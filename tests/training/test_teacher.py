"""What trees tell the ranker, and which of its parts listen."""

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from qianmian.errors import TrainingError
from tests.training.made_ranker import DAY, PROFILE, WIDTH, pages, proposed, sigmoid, trained
from training import ranker_loss
from training.lesson import Lesson
from training.profile import TeacherProfile
from training.proposals import Examples
from training.ranker_batch import Batch
from training.ranker_loss import RankerLoss
from training.teacher import Taught, taught

TARGET = 1
SOME = TeacherProfile(trees=40, leaves=7, share=1.0)


def told_of(examples, profile=SOME, seed=3, said=None):
    progress = (said if said is not None else []).append
    return taught(examples, TARGET, profile, np.random.default_rng(seed), progress).soft


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


def attending(examples):
    examples.features[:, WIDTH - 1] = 0.0  # all are new to the user
    examples.memory.items[:] = 1
    codes = np.arange(3, dtype=np.int32)[:, None]
    return trained(examples, codes=codes, interest=8, epochs=1).model


def gradients(ranker, examples, groups, soft, *, labels=None):
    """What each part of a network is told by a batch: features, attention."""
    given = examples if labels is None else replace(examples, labels=labels)
    places = PROFILE.impressions.places
    alone = Taught(soft, np.zeros_like(soft), None)
    loss = RankerLoss.of(given, PROFILE, Lesson.of(given, TARGET, places=places), alone)
    batch, member = Batch.of(given, groups), ranker.members[0]
    member.zero_grad()
    x, new = ranker.standardize(batch.features), ranker.new(batch.features)
    loss.of_batch(member.eval(), x, new, batch).backward()
    return [
        torch.cat([p.grad.flatten() for p in part.parameters()]).numpy()
        for part in (member.plain, member.interest)
    ]


def test_features_listen_to_the_teacher_and_attention_to_what_happened():
    examples = proposed(np.random.default_rng(7))
    ranker, groups = attending(examples), np.arange(32)
    happened = examples.labels[:, TARGET]
    opposite = (1.0 - happened).astype(np.float32)
    labels = examples.labels.copy()
    labels[:, TARGET] = opposite

    plain, interest = gradients(ranker, examples, groups, happened)
    other_plain, same_interest = gradients(ranker, examples, groups, opposite)
    assert not np.allclose(plain, other_plain)
    np.testing.assert_array_equal(interest, same_interest)
    same_plain, other_interest = gradients(ranker, examples, groups, happened, labels=labels)
    np.testing.assert_array_equal(plain, same_plain)
    assert not np.allclose(interest, other_interest)


def test_pages_tell_attention_nothing():
    """Their clicks lean on a target that attention is a part of, and do not pull at it."""
    rng = np.random.default_rng(11)
    examples = Examples.join([proposed(rng, groups=64), pages(rng, groups=300)])
    ranker, of_pages = attending(examples), np.arange(64, 96)
    price = PROFILE.model_copy(update={"shared_weight": 0.0})
    soft = examples.labels[:, TARGET]
    alone = Taught(soft, np.zeros_like(soft), None)
    lesson = Lesson.of(examples, TARGET, places=10)
    assert lesson.by_pages.tolist() == [True, False]
    member, batch = ranker.members[0], Batch.of(examples, of_pages)
    member.zero_grad()
    x, new = ranker.standardize(batch.features), ranker.new(batch.features)
    RankerLoss.of(examples, price, lesson, alone).of_batch(member, x, new, batch).backward()
    assert all(p.grad is None or not p.grad.any() for p in member.interest.parameters())
    assert any(p.grad is not None and p.grad.any() for p in member.differing.parameters())


def test_labels_of_other_examples_are_refused():
    examples = proposed(np.random.default_rng(12))
    lesson, few = Lesson.of(examples, TARGET, places=10), np.zeros(5, dtype=np.float32)
    with pytest.raises(ValueError, match="expected 2000 soft labels, got 5"):
        RankerLoss.of(examples, PROFILE, lesson, Taught(few, few, None))


def test_a_rehearsal_has_a_teacher_of_its_own():
    examples, said = proposed(np.random.default_rng(13), moments=(0.0, 40 * DAY)), []
    trained(examples, said, teacher=SOME, epochs=1)
    learned = [line for line in said if "trees learn" in line]
    assert learned == [f"ranker: 40 trees learn from {n:,} candidates" for n in (1000, 2000)]


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


@pytest.mark.parametrize("part", [0.0, 0.5])
def test_trees_stand_beside_the_network_for_their_part(part):
    examples, profile = proposed(np.random.default_rng(14)), SOME.model_copy(update={"part": part})
    told = taught(examples, TARGET, profile, np.random.default_rng(3), [].append)
    assert (trained(examples, teacher=profile, epochs=1).model.trees is None) == (part == 0.0)
    rows, network = np.arange(20).reshape(2, 10), torch.randn(2, 10)
    if part == 0.0:
        assert told.beside(rows) is None
        return
    mean = 0.5 * network + 0.5 * torch.from_numpy(told.logits[rows])
    torch.testing.assert_close(told.beside(rows)(network), mean)
    with torch.no_grad():
        theirs = told.trees(torch.from_numpy(examples.features)).numpy()
    np.testing.assert_array_equal(theirs, told.logits)


def test_what_pages_teach_leans_on_trees_in_training_as_in_the_graph(monkeypatch):
    rng = np.random.default_rng(15)
    examples = Examples.join([proposed(rng, groups=400), pages(rng, groups=400)])
    profile = SOME.model_copy(update={"part": 0.5})
    lesson = Lesson.of(examples, TARGET, places=10)
    told = taught(examples, TARGET, profile, np.random.default_rng(3), [].append)
    ranker = trained(examples, epochs=1).model
    ranker.trees = told.trees
    member, batch = ranker.members[0], Batch.of(examples, np.arange(400, 432))
    heard = []
    monkeypatch.setattr(ranker_loss, "acting", lambda logits, *_: heard.append(logits) or logits)
    with torch.no_grad():
        x, new = ranker.standardize(batch.features), ranker.new(batch.features)
        RankerLoss.of(examples, PROFILE, lesson, told).of_batch(member, x, new, batch)
        released = ranker(batch.features)
    (learned,) = heard
    torch.testing.assert_close(learned[..., 0], released[..., 0])
    assert not torch.allclose(learned[..., TARGET], released[..., TARGET])


@pytest.mark.parametrize("days", [(0.0,), (0.0, 40 * DAY)])
def test_a_ranker_whose_trees_know_its_rows_by_heart_is_not_too_sure(days):
    """Of fresh rows as of those it learned from, with a rehearsal and without."""
    rng, width = np.random.default_rng(16), 12

    def shop(groups):
        examples = proposed(rng, groups=groups, moments=days)
        more = rng.normal(size=(len(examples.weights), width - WIDTH)).astype(np.float32)
        return replace(examples, features=np.hstack([more, examples.features]))

    said = {"teacher": TeacherProfile(min_rows=20), "hidden": [16], "epochs": 2}
    ranker, fresh = trained(shop(600), **said).model, shop(2000)
    with torch.no_grad():
        chance = ranker.probabilities(torch.from_numpy(fresh.features))[1][:, TARGET].numpy()
    surest = chance >= np.quantile(chance, 0.95)
    assert chance[surest].mean() < 1.25 * fresh.labels[surest, TARGET].mean()
