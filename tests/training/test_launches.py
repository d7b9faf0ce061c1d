"""Known items as if nobody had acted on them: nothing of their past is left, what followed is."""

import numpy as np
import pytest

from qianmian.contracts import features as f
from qianmian.features.families import Families

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"
)


@pytest.fixture(scope="module")
def met(small_shop):
    """(run, states, launched examples) of the last moment that has labels; the towers are fresh."""
    import torch

    from qianmian.data.store import Dataset
    from qianmian.features.encoding import item_dense
    from qianmian.features.store import FeatureRepo
    from tests.conftest import SMALL
    from training.launches import launches
    from training.profile import TrainingProfile
    from training.proposals import labels_after
    from training.run import codes_at, prepare, read_history

    ranker = {**SMALL["ranker"], "launched_items": 0.5, "launch_users": 1.0, "negatives": 1000}
    profile = TrainingProfile.model_validate({**SMALL, "ranker": ranker})
    history = read_history(Dataset.open(small_shop), FeatureRepo.open(small_shop), profile)
    run = prepare(history, profile, lambda _: None)
    moment = history.moments[-5]
    items, codes = history.items(moment), codes_at(run, moment)
    vectors = run.trainer.item_vectors(torch.from_numpy(item_dense(items, moment)), codes)
    users = history.known_users(moment)
    states = list(history.states(f.RANKER_SERVICE, users, moment))
    labels = labels_after(history, moment, profile.ranker.horizon_days)
    examples = launches(run, moment, items, vectors, users, states, labels)
    assert examples is not None
    return run, states, examples


def columns(run, examples, *names):
    from qianmian.features.ranking_features import feature_names

    known = feature_names(run.encoder.affinity_columns)
    return examples.features[:, [known.index(name) for name in names]]


def test_nothing_is_known_of_a_launched_item_but_its_attributes(met):
    from qianmian.features.encoding import ITEM_DENSE_FEATURES, unseen_dense

    run, _, examples = met
    of_items = columns(run, examples, *(f"item_{name}" for name in ITEM_DENSE_FEATURES))
    np.testing.assert_array_equal(of_items, np.tile(unseen_dense(), (len(of_items), 1)))
    assert not columns(run, examples, "neighbour_score", "factor_score", "source_two_tower").any()
    assert columns(run, examples, "source_unseen").all()
    assert columns(run, examples, "category_affinity_known").any()


def test_nobody_has_a_launched_item(met):
    run, _, examples = met
    assert not columns(run, examples, "is_repeat", "bought_count", "source_repeat").any()


def test_preferences_do_not_remember_what_was_launched(met):
    """A user who acted on launched items of a category alone has no preference for it."""
    run, states, examples = met
    families = Families.of(run.history.catalogue, run.encoder.affinity_columns)
    launched = np.unique(examples.items) - 1
    others = np.ones(len(run.history.catalogue), dtype=np.bool_)
    others[launched] = False
    found = columns(run, examples, "category_affinity_weight")[:, 0]
    changed = 0
    for group, state in enumerate(states):
        rows = slice(examples.starts[group], examples.starts[group + 1])
        codes = families.codes["category"][examples.items[rows] - 1]
        left = families.without(state, others).affinity["category"]
        weights = dict(zip(left.codes.tolist(), left.weights.tolist(), strict=True))
        wanted = np.log1p([weights.get(code, 0.0) for code in codes.tolist()])
        np.testing.assert_allclose(found[rows], wanted, rtol=1e-5)
        changed += len(left.codes) < len(state.affinity["category"].codes)
    assert changed


def test_every_user_is_labelled_with_what_followed_of_the_launched_items(met):
    from training.draw import draw
    from training.proposals import labels_after

    run, states, examples = met
    history, moment = run.history, run.history.moments[-5]
    seen = np.flatnonzero(history.items(moment).first_seen_at > 0)
    chosen = draw(len(seen), 0.5, what="launched items", seed=run.profile.seed, moment=moment)
    target = history.predicted.index(history.target)
    followed = labels_after(history, moment, run.profile.ranker.horizon_days)[target]
    wanted = [
        np.isin(followed.get(user, []), seen[chosen]).sum()
        for user in history.known_users(moment).tolist()
    ]
    assert len(examples.starts) - 1 == len(states)
    found = np.add.reduceat(examples.labels[:, target], examples.starts[:-1])
    np.testing.assert_array_equal(found, wanted)  # the pool is small: every item is proposed
    assert len(set(wanted)) > 1
    assert examples.launched.all()


def test_the_towers_know_of_a_launched_item_by_its_attributes_alone(met):
    """What is alike in attributes is alike to the towers, whatever was known of it."""
    run, _, examples = met
    scores = columns(run, examples, "retrieval_score")[:, 0]
    affinity = columns(run, examples, "category_affinity_weight", "brand_affinity_weight")
    group = slice(examples.starts[0], examples.starts[1])
    kinds = np.unique(affinity[group], axis=0)
    assert len(np.unique(scores[group].round(4))) < len(scores[group])
    assert len(kinds) > 1


def test_an_unseen_item_looks_like_one_without_events(met):
    from qianmian.features.encoding import item_dense, unseen_dense

    run, _, _ = met
    table = run.history.items(run.history.cut)
    seen = np.flatnonzero(table.first_seen_at > 0)
    never = np.flatnonzero(table.first_seen_at <= 0)
    blank = table.unseen(seen[:3].astype(np.int32))
    rows = item_dense(blank, run.history.cut)
    for item in (*seen[:3], *never):
        np.testing.assert_array_equal(rows[item], unseen_dense())
    np.testing.assert_array_equal(rows[seen[3:]], item_dense(table, run.history.cut)[seen[3:]])
    assert len(never)
