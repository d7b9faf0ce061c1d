"""What logged pages teach the ranker, and what they leave to proposals."""

from dataclasses import replace

import numpy as np
import pytest

from tests.training.made_ranker import (
    DAY,
    PAGE,
    WIDTH,
    chances,
    fit,
    pages,
    proposed,
    sigmoid,
    trained,
)
from training.proposals import Examples


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


def test_a_rehearsal_judges_pages_by_the_heads_of_pages():
    """Orders on pages have a head of their own, behind those of the actions: it has no row."""
    rng = np.random.default_rng(16)
    logged = pages(rng, groups=1200)
    logged.labels[:, 1] = logged.labels[:, 0] * (rng.random(len(logged.labels)) < 0.6)
    at = np.linspace(0.0, 60 * DAY, 1200)
    offered = proposed(rng, groups=1200, moments=(0.0, 40 * DAY))
    ranker = trained(Examples.join([offered, replace(logged, moments=at)]))
    click, order = ranker.rehearsed.rows(("click", "order"), "rehearsal")
    last, later = offered.moments == 40 * DAY, at > 39 * DAY + 1.0  # its day had not ended
    assert (click.action, click.candidates) == ("click", PAGE * later.sum())
    assert (order.action, order.candidates) == ("order", PAGE * last.sum())
    assert click.actual == pytest.approx(logged.labels[np.repeat(later, PAGE), 0].mean())
    assert order.actual == pytest.approx(offered.labels[np.repeat(last, PAGE), 1].mean())
    assert (click.ratio, order.ratio) == pytest.approx((1.0, 1.0), abs=0.1)


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
