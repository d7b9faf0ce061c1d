"""The small shop as training sees it, and its release."""

import pytest


@pytest.fixture(scope="package")
def parts(small_shop):
    from qianmian.data.store import Dataset
    from qianmian.features.store import FeatureRepo
    from qianmian.releases.bundle import Bundle
    from qianmian.releases.store import ReleaseStore
    from training.history import History

    dataset, repo = Dataset.open(small_shop), FeatureRepo.open(small_shop)
    cut = dataset.spec.split.train_end.timestamp()
    history = History(dataset, repo, moments=(cut,), cut=cut)
    store = ReleaseStore(small_shop.releases)
    return dataset, repo, history, store, Bundle.load(store.path("live"))
