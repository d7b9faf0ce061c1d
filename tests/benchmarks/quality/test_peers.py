"""What the rivals are given to learn from."""

from dataclasses import replace

import numpy as np
import pytest

from tests.training.made import made
from training.proposals import Examples


def test_ials_gives_popularity_to_whom_it_has_learned_nothing_of(small_shop):
    from benchmarks.quality.peers import IALS, IALS_NEW, ials
    from qianmian.data.store import Dataset
    from qianmian.features.store import FeatureRepo
    from training.baselines import popularity
    from training.history import History
    from training.subjects import subjects_of
    from training.systems import ranked_items

    dataset, repo = Dataset.open(small_shop), FeatureRepo.open(small_shop)
    cut = dataset.spec.split.train_end.timestamp()
    history = History(dataset, repo, moments=(cut,), cut=cut)
    ranked = ranked_items(history)
    systems = ials(history, ranked, seed=3)
    subject = next(subjects_of(history, dataset))
    popular = popularity(history.targets, len(history.catalogue), cut)[ranked]
    for name in (IALS, IALS_NEW):
        assert np.array_equal(systems[name](replace(subject, code=-1)).scores, popular)
        assert not np.allclose(systems[name](subject).scores, popular)


@pytest.mark.filterwarnings("ignore:Usage of np.ndarray subset")
def test_lambdarank_is_given_neither_pages_nor_launches(small_shop):
    from benchmarks.quality.peers import lambdarank
    from qianmian.data.store import Dataset
    from qianmian.features.store import FeatureRepo
    from qianmian.releases.bundle import Bundle
    from qianmian.releases.store import ReleaseStore
    from qianmian.retrieval.sources import SourceQuotas
    from training.history import History
    from training.subjects import subjects_of
    from training.systems import ranked_items

    dataset, repo = Dataset.open(small_shop), FeatureRepo.open(small_shop)
    cut = dataset.spec.split.train_end.timestamp()
    history = History(dataset, repo, moments=(cut,), cut=cut)
    bundle = Bundle.load(ReleaseStore(small_shop.releases).path("live"))
    subject = next(subjects_of(history, dataset))
    proposed, others = (_examples(seed, bundle, history) for seed in (0, 1))
    yes = np.ones_like(others.shown)

    def scores(*parts):
        system = lambdarank(
            Examples.join(parts), history, bundle, ranked_items(history), SourceQuotas(), seed=3
        )
        return system(subject).scores

    alone = scores(proposed)
    assert np.ptp(alone) > 0
    for left_out in (replace(others, launched=yes), replace(others, shown=yes)):
        np.testing.assert_allclose(scores(proposed, left_out), alone, rtol=1e-6)
    assert not np.allclose(scores(proposed, others), alone, rtol=1e-3)


def _examples(seed, bundle, history):
    """Groups whose target goes with a feature drawn by the seed."""
    rng, groups, size = np.random.default_rng(seed), 100, 20
    features = rng.normal(size=(groups * size, len(bundle.features.names))).astype(np.float32)
    labels = np.zeros((len(features), len(history.predicted)), dtype=np.float32)
    wanted = features[:, rng.permutation(features.shape[1])[:8]].sum(axis=1)
    labels[:, history.predicted.index(history.target)] = wanted > 3.0
    return made(features, labels, size=size)
