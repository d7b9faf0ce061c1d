"""The ranker on made examples, whose truth is known."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.training.made import made
from training.profile import RankerProfile
from training.proposals import Examples
from training.ranker import fit_ranker
from training.ranker_batch import in_order

PAGE, WIDTH = 10, 4
DAY = 86_400.0
PROFILE = RankerProfile.model_validate(
    {"hidden": [4], "epochs": 4, "groups_per_batch": 64, "lr": 2e-2, "dropout": 0.0}
)


def proposed(rng, *, groups=200, actions=2, moments=(0.0,)):
    rows = groups * PAGE
    features = rng.normal(size=(rows, WIDTH)).astype(np.float32)
    labels = np.zeros((rows, actions), dtype=np.float32)
    labels[:, -1] = rng.random(rows) < sigmoid(-2 + features[:, 1])
    return made(
        features,
        labels,
        size=PAGE,
        moments=np.repeat(np.array(moments), groups // len(moments)),
    )


def pages(rng, *, groups=3000, examination=1.0):
    """Pages ordered by what is wanted, but noisily; places are looked at as p ** -examination."""
    features = rng.normal(size=(groups, PAGE, WIDTH)).astype(np.float32)
    order = np.argsort(-(features[..., 0] + rng.normal(size=(groups, PAGE))), axis=1)
    features = np.take_along_axis(features, order[..., None], axis=1)
    positions = np.tile(np.arange(1, PAGE + 1, dtype=np.int32), groups)
    features = features.reshape(-1, WIDTH)
    chance = sigmoid(-1.5 + 0.8 * features[:, 0]) * positions ** -float(examination)
    labels = np.zeros((len(features), 2), dtype=np.float32)
    labels[:, 0] = rng.random(len(features)) < chance
    return made(
        features,
        labels,
        size=PAGE,
        moments=np.arange(groups) * 60.0,
        positions=positions,
        shown=np.ones(groups, dtype=bool),
    )


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def fit(examples, told=None):
    return trained(examples, told).model


def trained(examples, told=None, *, codes=None, **changed):
    torch.manual_seed(5)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # small matrices: a second thread costs more than it brings
    ranker = fit_ranker(
        examples,
        PROFILE.model_copy(update=changed),
        target=1,
        repeat=WIDTH - 1,
        rng=np.random.default_rng(5),
        progress=(told if told is not None else []).append,
        codes=codes,
    )
    torch.set_num_threads(threads)
    return ranker


def log_loss(ranker, logits, happened):
    p = torch.sigmoid(ranker.calibrate(logits))[:, 1].double().numpy()
    return -np.mean(np.where(happened, np.log(p), np.log(1 - p)))


def chances(ranker, features, *, on_page=True):
    with torch.no_grad():
        shown, expected = ranker.probabilities(torch.from_numpy(features))
    return (shown if on_page else expected).numpy()


def test_clicks_on_pages_teach_the_click_head_free_of_the_place():
    rng = np.random.default_rng(0)
    told = []
    ranker = fit(Examples.join([proposed(rng), pages(rng)]), told)
    fresh = rng.normal(size=(4000, WIDTH)).astype(np.float32)
    click = chances(ranker, fresh)[:, 0]
    truth = sigmoid(-1.5 + 0.8 * fresh[:, 0])  # were it looked at for sure, as the first place is
    assert np.corrcoef(click, truth)[0, 1] > 0.93
    assert click.mean() == pytest.approx(truth.mean(), rel=0.2)
    line = next(message for message in told if "by place" in message)
    pairs = (pair.split(": ") for pair in line.split("first: ")[1].split(", "))
    learned = {int(place): float(chance) for place, chance in pairs}
    assert learned[2] == pytest.approx(1 / 2, abs=0.12)
    assert learned[5] == pytest.approx(1 / 5, abs=0.08)
    assert learned[10] == pytest.approx(1 / 10, abs=0.06)


def test_the_target_is_still_that_of_the_proposals():
    rng = np.random.default_rng(1)
    with_pages = fit(Examples.join([proposed(rng), pages(rng)]))
    fresh = rng.normal(size=(4000, WIDTH)).astype(np.float32)
    truth = sigmoid(-2 + fresh[:, 1])
    order = chances(with_pages, fresh)[:, 1]
    assert np.corrcoef(order, truth)[0, 1] > 0.85
    assert order.mean() == pytest.approx(truth.mean(), rel=0.2)


def test_clicks_that_were_impossible_teach_nothing():
    """Proposals that nobody was shown hold no click: they must not pull the click head down."""
    rng = np.random.default_rng(2)
    few, many = (
        fit(Examples.join([proposed(np.random.default_rng(3), groups=n), pages(rng, groups=300)]))
        for n in (50, 500)
    )
    fresh = rng.normal(size=(2000, WIDTH)).astype(np.float32)
    ratio = chances(many, fresh)[:, 0].mean() / chances(few, fresh)[:, 0].mean()
    assert 0.6 < ratio < 1.6


def test_pages_do_not_disturb_the_calibration_by_a_rehearsal():
    rng = np.random.default_rng(4)
    apart = (0.0, 40 * DAY)
    told = []
    fit(Examples.join([proposed(rng, moments=apart), pages(rng, groups=100)]), told)
    assert any("rehearsal" in message for message in told)


def test_pages_may_all_be_later_than_the_moments():
    """The first pages of a young log: the rehearsal has none to learn from."""
    rng = np.random.default_rng(9)
    logged = pages(rng, groups=100)
    logged = replace(logged, moments=logged.moments + 50 * DAY)
    told = []
    ranker = fit(Examples.join([proposed(rng, moments=(0.0, 40 * DAY)), logged]), told)
    assert any("rehearsal" in message for message in told)
    assert np.isfinite(chances(ranker, rng.normal(size=(50, WIDTH)).astype(np.float32))).all()


def test_probabilities_hold_however_little_was_learned():
    rng = np.random.default_rng(11)
    examples = proposed(rng, groups=400, moments=(0.0, 40 * DAY))
    ranker = trained(examples, lr=1e-5).model
    order = chances(ranker, examples.features)[:, 1]
    assert order.mean() == pytest.approx(examples.labels[:, 1].mean(), rel=0.03)


@pytest.mark.parametrize(("old", "clicks_too"), [(True, True), (False, False)])
def test_pages_calibrate_their_heads_as_soon_as_a_rehearsal_can_learn_from_some(old, clicks_too):
    rng = np.random.default_rng(12)
    logged = pages(rng, groups=1200)
    at = np.linspace(0.0 if old else 41 * DAY, 60 * DAY, 1200)
    offered = proposed(rng, groups=1200, moments=(0.0, 40 * DAY))
    examples = Examples.join([offered, replace(logged, moments=at)])
    ranker = trained(examples)
    assert ranker.by_pages == (True, False)
    assert ranker.calibrated == (clicks_too, True)
    fresh = rng.normal(size=(4000, WIDTH)).astype(np.float32)
    truth = sigmoid(-1.5 + 0.8 * fresh[:, 0])
    assert chances(ranker.model, fresh)[:, 0].mean() == pytest.approx(truth.mean(), rel=0.15)


def test_a_rate_that_drifts_is_followed_by_the_rehearsal():
    """Both moments are learned, so the mean of both is predicted; the line says what comes next."""
    rng = np.random.default_rng(13)
    early, late = (proposed(rng, groups=1200, moments=(at,)) for at in (0.0, 40 * DAY))
    late.labels[:, 1] = rng.random(len(late.labels)) < sigmoid(-1 + late.features[:, 1])
    ranker = trained(Examples.join([early, late]))
    assert ranker.calibrated == (False, True)
    both = np.concatenate([early.labels[:, 1], late.labels[:, 1]]).mean()
    assert chances(ranker.model, late.features)[:, 1].mean() > 1.3 * both


@pytest.mark.parametrize(("old", "told"), [(True, True), (False, False)])
def test_an_order_is_calibrated_when_both_of_its_heads_are(old, told):
    rng = np.random.default_rng(14)
    logged = pages(rng, groups=1200)
    logged.labels[:, 1] = logged.labels[:, 0] * (rng.random(len(logged.labels)) < 0.6)
    at = np.linspace(0.0 if old else 41 * DAY, 60 * DAY, 1200)
    offered = proposed(rng, groups=1200, moments=(0.0, 40 * DAY))
    ranker = trained(Examples.join([offered, replace(logged, moments=at)]))
    assert ranker.by_pages == (True, True)
    assert ranker.calibrated == (told, told)


def test_pages_that_a_rehearsal_hardly_saw_do_not_calibrate():
    """What one early page leaves in the rehearsal is no matter of time."""
    rng = np.random.default_rng(15)
    logged = pages(rng, groups=1200)
    at = np.append(30 * DAY, np.linspace(41 * DAY, 60 * DAY, 1199))
    offered = proposed(rng, groups=1200, moments=(0.0, 40 * DAY))
    ranker = trained(Examples.join([offered, replace(logged, moments=at)]))
    fresh = rng.normal(size=(4000, WIDTH)).astype(np.float32)
    truth = sigmoid(-1.5 + 0.8 * fresh[:, 0])
    assert chances(ranker.model, fresh)[:, 0].mean() == pytest.approx(truth.mean(), rel=0.2)


def test_without_pages_there_is_no_bias_to_learn():
    told = []
    fit(proposed(np.random.default_rng(6)), told)
    assert not any("by place" in message for message in told)


def test_pages_without_places_teach_all_the_same():
    rng = np.random.default_rng(7)
    logged = pages(rng, groups=600, examination=0.0)
    logged = replace(logged, positions=np.zeros_like(logged.positions))
    ranker = fit(Examples.join([proposed(rng), logged]))
    fresh = rng.normal(size=(2000, WIDTH)).astype(np.float32)
    assert np.corrcoef(chances(ranker, fresh)[:, 0], sigmoid(fresh[:, 0]))[0, 1] > 0.8


def test_few_pages_leave_clicks_in_the_order_of_the_target():
    rng = np.random.default_rng(8)
    fresh = rng.normal(size=(2000, WIDTH)).astype(np.float32)
    few, many = (
        chances(fit(Examples.join([proposed(rng), pages(rng, groups=n)])), fresh)
        for n in (30, 3000)
    )
    assert np.corrcoef(few[:, 0], few[:, 1])[0, 1] > 0.9
    assert np.corrcoef(many[:, 0], many[:, 1])[0, 1] < 0.5  # on these pages clicks differ


def test_pages_teach_the_target_on_a_page_and_proposals_that_within_the_horizon():
    rng = np.random.default_rng(10)
    logged = pages(rng)
    clicks, orders = (sigmoid(rate + 0.8 * logged.features[:, 0]) for rate in (-1.5, -2.0))
    logged.labels[:, 1] = logged.labels[:, 0] * (rng.random(len(clicks)) < orders / clicks)
    ranker = fit(Examples.join([proposed(rng), logged]))
    fresh = rng.normal(size=(4000, WIDTH)).astype(np.float32)
    on_page, expected = (chances(ranker, fresh, on_page=where)[:, 1] for where in (True, False))
    assert np.corrcoef(on_page, sigmoid(0.8 * fresh[:, 0]))[0, 1] > 0.85
    assert on_page.mean() == pytest.approx(sigmoid(-2.0 + 0.8 * fresh[:, 0]).mean(), rel=0.2)
    truth = sigmoid(-2 + fresh[:, 1])
    assert np.corrcoef(expected, truth)[0, 1] > 0.85
    assert expected.mean() == pytest.approx(truth.mean(), rel=0.2)


def test_pages_leave_what_proposals_teach_of_the_target_as_it_is():
    """Ten pages for each proposal, and all of them say otherwise."""
    rng = np.random.default_rng(16)
    alone = proposed(rng, groups=300)
    logged = pages(rng, groups=3000)
    logged.labels[:, 1] = logged.labels[:, 0]
    fresh = rng.normal(size=(4000, WIDTH)).astype(np.float32)
    truth = -2 + fresh[:, 1]
    with_pages = chances(fit(Examples.join([alone, logged])), fresh, on_page=False)[:, 1]
    assert np.corrcoef(np.log(with_pages / (1 - with_pages)), truth)[0, 1] > 0.9


def test_pages_on_which_nothing_came_say_nothing_of_the_target():
    rng = np.random.default_rng(11)
    silent = pages(rng, groups=2000)
    silent.labels[:] = 0.0
    ranker = fit(Examples.join([proposed(rng), silent]))
    fresh = rng.normal(size=(2000, WIDTH)).astype(np.float32)
    truth = sigmoid(-2 + fresh[:, 1])
    assert chances(ranker, fresh)[:, 1].mean() == pytest.approx(truth.mean(), rel=0.2)


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
    remembered = np.zeros_like(examples.remembered)
    remembered[:, :3] = favourite[:, None]
    made_of = {"features": features, "labels": labels, "items": items, "remembered": remembered}
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
