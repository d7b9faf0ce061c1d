"""What every test may count on: no setting of the caller's shell, and repeatable properties."""

import pytest
from hypothesis import settings

from qianmian.leave import leave_quietly

leave_quietly()
settings.register_profile("house", deadline=None, print_blob=True)
settings.load_profile("house")


@pytest.fixture(autouse=True)
def _no_settings_from_the_shell(monkeypatch):
    for name in ("QIANMIAN_HOME", "QIANMIAN_DATASET"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def log(tmp_path):
    """An event log of its own for each test."""
    from qianmian.events.sqlite_store import SqliteEventStore

    store = SqliteEventStore(tmp_path / "events.db")
    yield store
    store.close()


SMALL = {
    "name": "quick",
    "description": "The default profile, smaller",
    "snapshots": {"every_days": 7, "count": 12},
    "two_tower": {
        "width": 16,
        "user_hidden": [32],
        "item_hidden": [32],
        "users_per_batch": 32,
        "uniform_negatives": 32,
        "epochs": 2,
    },
    "ranker": {
        "teacher": {"trees": 30},
        "hidden": [32],
        "snapshots": 2,
        "epochs": 6,
        "negatives": 24,
        "groups_per_batch": 8,
    },
}


@pytest.fixture(scope="session")
def small_shop(tmp_path_factory):
    """Workspace of the small shop: imported, features built and materialized, a live release."""
    return _make(tmp_path_factory.mktemp("home"), "small-shop", events_only=False)


@pytest.fixture(scope="session")
def clicks_only(tmp_path_factory):
    """The same of a shop of which nothing but clicks is known."""
    return _make(tmp_path_factory.mktemp("home"), "clicks-only", events_only=True)


def _make(home, name, *, events_only):
    from datetime import UTC, datetime

    from qianmian.data.importing import import_source
    from qianmian.data.source import find_source
    from qianmian.data.store import Dataset
    from qianmian.features.snapshots import build, schedule
    from qianmian.features.store import FeatureRepo
    from qianmian.releases.schema import current_schema
    from qianmian.releases.store import ReleaseStore
    from qianmian.workspace import Workspace
    from tests.small_shop import write_shop
    from training import pipeline
    from training.profile import TrainingProfile

    workspace = Workspace(home, name)
    source = write_shop(home / "source", events_only=events_only)
    import_source(find_source(str(source), name), workspace, lambda _: None)
    profile = TrainingProfile.model_validate(SMALL)
    dataset = Dataset.open(workspace)
    cut = dataset.spec.split.train_end.timestamp()
    moments = schedule(cut, profile.snapshots.every_days, profile.snapshots.count)
    build(workspace, dataset, moments)
    repo = FeatureRepo.open(workspace)
    repo.materialize(cut)
    release = pipeline.train(workspace, profile, lambda _: None)
    store = ReleaseStore(workspace.releases)
    store.promote(release, schema=current_schema(workspace), at=datetime.now(UTC))
    return workspace
