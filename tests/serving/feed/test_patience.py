"""A store that hangs costs one page its patience, not each."""

from __future__ import annotations

import pytest

from qianmian.errors import FeatureStoreError
from serving.feed.patience import PATIENCE_SECONDS, PAUSE_SECONDS, patient


class Store:
    """An online store whose reads take as long, and end, as tests set."""

    def __init__(self) -> None:
        self.now = 0.0
        self.takes = 0.0
        self.error: Exception | None = None
        self.asked: list[str] = []
        self.read = patient(self._read, clock=lambda: self.now)

    def _read(self, user_id: str) -> dict[str, object]:
        self.asked.append(user_id)
        self.now += self.takes
        if self.error is not None:
            raise self.error
        return {"age": "30s"}


@pytest.fixture
def store() -> Store:
    return Store()


def test_who_waited_in_vain_spares_the_others_until_the_store_answers(store: Store) -> None:
    store.takes, store.error = PATIENCE_SECONDS, TimeoutError("no answer about anna")
    with pytest.raises(FeatureStoreError, match="TimeoutError"):
        store.read("anna")
    with pytest.raises(FeatureStoreError, match="not asked again yet") as refused:
        store.read("ben")
    assert "anna" not in str(refused.value), "ben's page would log it"
    store.now += PAUSE_SECONDS
    store.error = None
    assert store.read("cara") == store.read("dora") == {"age": "30s"}
    assert store.asked == ["anna", "cara", "dora"]


@pytest.mark.parametrize("kind", [ValueError, FeatureStoreError])
def test_what_fails_at_once_is_the_fault_of_one_row(store: Store, kind: type[Exception]) -> None:
    store.error = kind("a row that cannot be read")
    for user in ("anna", "anna", "ben"):
        with pytest.raises(kind, match="cannot be read"):
            store.read(user)
    assert store.asked == ["anna", "anna", "ben"]


def test_what_comes_late_is_taken(store: Store) -> None:
    store.takes = 10 * PATIENCE_SECONDS
    assert store.read("anna") == store.read("ben") == {"age": "30s"}
