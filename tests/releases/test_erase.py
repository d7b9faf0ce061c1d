"""Taking people out of published releases, whatever moment it is killed at."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from qianmian.releases import durable, erase
from qianmian.releases.bundle import ENCODER_FILE
from qianmian.releases.erase import erase_users
from qianmian.releases.store import ReleaseStore
from tests.serving import tiny


@pytest.fixture
def store(tmp_path: Path) -> ReleaseStore:
    return tiny.publish(tmp_path / "releases")


def names(store: ReleaseStore) -> list[str]:
    held = json.loads((store.path("live") / ENCODER_FILE).read_text())
    return held["user_ids"]


class KilledError(Exception):
    """Stands for a kill: nothing behind it runs."""


def killed(*_: object) -> None:
    raise KilledError


@pytest.mark.parametrize(
    ("module", "step", "verifies"),
    [
        (erase, "sync_file", True),  # the encoder is a draft
        (durable, "sync_file", True),  # the manifest is a draft
        (durable, "sync_folder", False),  # the manifest is the new one, the encoder a draft
        (erase, "sync_folder", True),  # both are new
    ],
)
def test_a_killed_erasure_leaves_a_release_that_the_next_one_makes_whole(
    store: ReleaseStore, monkeypatch: pytest.MonkeyPatch, module, step: str, *, verifies: bool
) -> None:
    assert names(store) == ["anna"]
    with monkeypatch.context() as patched:
        patched.setattr(module, step, killed)
        with pytest.raises(KilledError):
            erase_users(store.root, ["anna"], lambda _: "mac")
    if verifies:
        store.verify("live", tiny.SCHEMA)
    erase_users(store.root, ["anna"], lambda _: "mac")
    store.verify("live", tiny.SCHEMA)
    assert names(store) == ["erased:mac"]
    assert not list(store.root.glob(".*.json"))


def test_what_a_kill_left_goes_though_the_next_erasure_is_of_others(
    store: ReleaseStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(durable, "sync_file", killed)
        with pytest.raises(KilledError):
            erase_users(store.root, ["anna"], lambda _: "mac")
    assert erase_users(store.root, ["ben"], lambda _: "mac") == 0
    store.verify("live", tiny.SCHEMA)
    assert not list(store.root.glob(".*.json"))
