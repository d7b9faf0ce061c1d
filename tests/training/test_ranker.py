"""The ranker on made proposals, whose truth is known."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import training.ranker
from models.calibration import Platt
from qianmian.contracts.events import EVENT_CODE, EventType
from qianmian.errors import TrainingError
from qianmian.features.memory import HAD
from tests.training.made import remembering
from tests.training.made_ranker import DAY, PAGE, WIDTH, chances, fit, proposed, sigmoid, trained
from training import calibrate
from training.proposals import Examples
from training.ranker_batch import in_order

ACTIONS = (EventType.CLICK, EventType.ORDER)


def test_probabilities_hold_however_little_was_learned():
    rng = np.random.default_rng(11)
    examples = proposed(rng, groups=400, moments=(0.0, 40 * DAY))
    ranker = trained(examples, lr=1e-5).model
    order = chances(ranker, examples.features)[:, 1]
    assert order.mean() == pytest.approx(examples.labels[:, 1].mean(), rel=0.03)


def test_a_rate_that_drifts_is_followed_by_the_rehearsal():
    """Both moments are learned, so the mean of both is predicted; the line says what comes next."""
    rng = np.random.default_rng(13)
    early, late = (proposed(rng, groups=1200, moments=(at,)) for at in (0.0, 40 * DAY))
    late.labels[:, 1] = rng.random(len(late.labels)) < sigmoid(-1 + late.features[:, 1])
    ranker = trained(Examples.join([early, late]))
    assert ranker.calibrated == (False, True)
    both = np.concatenate([early.labels[:, 1], late.labels[:, 1]]).mean()
    assert chances(ranker.model, late.features)[:, 1].mean() > 1.3 * both


def test_a_rehearsal_tells_how_chances_held_by_segment():
    """The late users of one segment want twice as much as anybody foresaw; the line is of all."""
    rng = np.random.default_rng(14)
    early, late = (proposed(rng, groups=1200, moments=(at,)) for at in (0.0, 40 * DAY))
    eager = np.arange(1200) % 4 == 0
    late = replace(late, segments=np.where(eager, "age=young", "")[:, None])
    more = np.repeat(eager, PAGE) & (rng.random(len(late.labels)) < 0.1)
    late.labels[more, 1] = 1.0
    late.weights[:] = 3.0
    rows = {
        row.segment: row
        for row in trained(Examples.join([early, late])).rehearsed.rows(ACTIONS, "rehearsal")
        if row.action is ACTIONS[1]
    }
    assert [*rows] == ["all", "age=young"]
    assert {row.period for row in rows.values()} == {"rehearsal"}
    everybody, young = rows.values()
    assert everybody.candidates == 3 * len(late.labels)
    assert everybody.actual == pytest.approx(late.labels[:, 1].mean())
    assert everybody.ratio == pytest.approx(1.0, abs=0.05)
    assert young.ratio < 0.9
    assert young.ece > 0.02 > everybody.ece


def test_without_a_rehearsal_nothing_is_told_of_how_chances_held():
    known = trained(proposed(np.random.default_rng(15)))
    assert not [*known.rehearsed.rows(ACTIONS, "rehearsal")]


def test_no_line_is_judged_by_what_it_was_fitted_to(monkeypatch):
    """A line that is told the answers of its rows must not help what is foretold of them."""
    fitted = []

    def fit(self, logits, labels, weights, chances):
        fitted.append(labels)
        self.shift[:] = float(len(labels))
        return [True] * labels.shape[1]

    rng = np.random.default_rng(16)
    early, late = (proposed(rng, groups=100, moments=(at,)) for at in (0.0, 40 * DAY))
    late.labels[:, 0] = np.arange(len(late.labels))  # tells rows apart
    found = []
    monkeypatch.setattr(Platt, "fit", fit)
    monkeypatch.setattr(
        calibrate._Said, "chances", lambda self, line: found.append(self.labels) or self.logits
    )
    trained(Examples.join([early, late]))
    halves = [labels for labels in fitted if len(labels) < len(late.labels)]
    for judged, told in zip(found, halves, strict=True):
        both = torch.cat([judged, told])[:, 0]
        assert both.unique().tolist() == late.labels[:, 0].tolist()
        assert len(both) == len(late.labels)


@pytest.mark.parametrize("moments", [(0.0,), (0.0, 40 * 86_400.0)])  # without and with a rehearsal
def test_launches_do_not_move_the_chances_of_known_items(moments):
    rng = np.random.default_rng(0)
    known = proposed(rng, groups=600, moments=moments)
    more = proposed(rng, groups=300, moments=moments)
    launched = replace(more, labels=np.ones_like(more.labels), launched=np.ones_like(more.launched))
    order = chances(fit(Examples.join([known, launched])), known.features)[:, 1]
    assert order.mean() == pytest.approx(known.labels[:, 1].mean(), rel=0.1)


def test_launches_say_nothing_of_the_order_of_what_is_new_to_a_user():
    """The users of the shop had everything before: only launches could be new, and are not."""
    rng = np.random.default_rng(1)
    known, launched = proposed(rng), proposed(rng)
    known.features[:, -1], launched.features[:, -1] = 1.0, 0.0  # is_repeat
    examples = Examples.join([known, replace(launched, launched=np.ones_like(launched.launched))])
    without, heavy = (
        chances(trained(examples, new_weight=weight).model, known.features) for weight in (0.0, 9.0)
    )
    np.testing.assert_array_equal(without, heavy)
    told = Examples.join([known, launched])  # as if they were not marked
    assert not np.allclose(without, chances(trained(told, new_weight=9.0).model, known.features))


def followers(rng, *, groups=400, kinds=6):
    """Users who want what is of the kind that they remember; no feature tells it.

    Item number k is of kind k. Returns examples and, for each row, whether the kinds are the same.
    """
    examples = proposed(rng, groups=groups)
    rows = groups * PAGE
    features = examples.features.copy()
    features[:, WIDTH - 1] = 0.0  # all are new to the user
    items = rng.integers(1, kinds + 1, rows).astype(np.int32)
    favourite = rng.integers(1, kinds + 1, groups)
    same = items == np.repeat(favourite, PAGE)
    labels = np.zeros_like(examples.labels)
    labels[:, 1] = rng.random(rows) < np.where(same, 0.7, 0.05)
    memory = remembering(np.repeat(favourite[:, None], 3, axis=1))
    made_of = {"features": features, "labels": labels, "items": items, "memory": memory}
    return replace(examples, **made_of), same


def test_a_memory_tells_what_no_feature_tells():
    examples, _ = followers(np.random.default_rng(8), groups=1200)
    codes = np.arange(7, dtype=np.int32)[:, None]
    attending = trained(examples, codes=codes, interest=8, lr=1e-2, epochs=6).model
    blind = trained(examples, interest=0, epochs=6).model
    fresh, same = followers(np.random.default_rng(9))
    batch = next(in_order(fresh.first(200)))
    same = same[: 200 * PAGE].reshape(200, PAGE)
    with torch.no_grad():
        found = attending.probabilities(batch.features, batch.context)[1].numpy()[..., 1]
        guessed = blind.probabilities(batch.features)[1].numpy()[..., 1]
    assert found[same].mean() > 3 * found[~same].mean()
    assert guessed[same].mean() == pytest.approx(guessed[~same].mean(), rel=0.1)


def test_what_was_done_to_what_is_remembered_counts():
    """Users want more of what they clicked, not of what they have; both are as old."""
    rng, kinds = np.random.default_rng(12), 6
    examples, _ = followers(rng, groups=1200)
    groups = len(examples.starts) - 1
    clicked, had = (rng.integers(1, kinds + 1, (groups, 1)).repeat(3, axis=1) for _ in range(2))
    types = np.repeat([EVENT_CODE[EventType.CLICK], HAD], 3)
    memory = remembering(np.concatenate([clicked, had], axis=1), types=types)
    of_clicked = examples.items.reshape(groups, PAGE) == clicked[:, :1]
    of_had = (examples.items.reshape(groups, PAGE) == had[:, :1]) & ~of_clicked
    examples.labels[:, 1] = rng.random(groups * PAGE) < np.where(of_clicked.ravel(), 0.7, 0.05)
    examples = replace(examples, memory=memory)
    codes = np.arange(kinds + 1, dtype=np.int32)[:, None]
    ranker = trained(examples, codes=codes, interest=8, lr=1e-2, epochs=6).model
    batch = next(in_order(examples.first(200)))
    with torch.no_grad():
        found = ranker.probabilities(batch.features, batch.context)[1].numpy()[..., 1]
    assert found[of_clicked[:200]].mean() > 2.5 * found[of_had[:200]].mean()


def test_a_memory_does_not_learn_what_all_users_wanted_alike():
    """What was in fashion: kinds 1 to 3 sell better, whoever is asked; no feature tells it."""
    rng, codes = np.random.default_rng(10), np.arange(7, dtype=np.int32)[:, None]
    examples, _ = followers(rng, groups=1200)
    examples.labels[:, 1] = rng.random(len(examples.items)) < np.where(examples.items < 4, 0.5, 0.1)

    def told(price):
        ranker = trained(
            examples, codes=codes, interest=8, lr=1e-2, epochs=6, shared_weight=price
        ).model
        batch = next(in_order(examples.first(200)))
        with torch.no_grad():
            chance = ranker.probabilities(batch.features, batch.context)[1].numpy()[..., 1]
        liked = batch.context.items.numpy() < 4
        return chance[liked].mean() - chance[~liked].mean()

    assert told(0.0) > 0.3
    assert told(100.0) < 0.1


def test_a_loss_that_is_no_number_ends_the_training_with_a_remedy():
    examples = proposed(np.random.default_rng(1))
    examples.features[0, 0] = np.inf
    with pytest.raises(TrainingError, match=r"loss nan: expected a finite loss; set ranker\.lr"):
        trained(examples)


def test_a_chance_whose_own_line_was_not_fitted_is_not_called_calibrated(monkeypatch):
    """What a rehearsal found of it is not applied then."""
    settled = []

    def settle(*given):
        settled.append(given)
        fitted = calibrate.settle(*given)
        return fitted if len(settled) == 1 else [False, *fitted[1:]]

    monkeypatch.setattr(training.ranker, "settle", settle)
    rng = np.random.default_rng(3)
    examples = proposed(rng, moments=(0.0, 40 * DAY))
    examples.labels[:, 0] = rng.random(len(examples.labels)) < 0.2
    assert trained(examples).calibrated == (False, True)
    assert len(settled) == 2  # the rehearsal's, then the ranker's own
