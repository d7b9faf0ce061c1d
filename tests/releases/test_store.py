"""Publishing, trusting and moving between releases."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from qianmian.contracts.events import EventType
from qianmian.errors import NotFoundError, ReleaseError
from qianmian.releases.aliases import Alias, AliasChange
from qianmian.releases.manifest import DataWindow, Parity, ParityOutput, ReleaseFacts
from qianmian.releases.store import ReleaseStore

DAY = datetime(2017, 12, 4, 5, tzinfo=UTC)
SCHEMA = {"two_tower": "a" * 64, "ranker": "b" * 64}


def facts(*, age_days: int = 0, passed: bool = True, difference: float = 2e-7) -> ReleaseFacts:
    """What a small training run would say of its release."""
    return ReleaseFacts(
        created=DAY - timedelta(days=age_days),
        dataset="tiny",
        profile="quick",
        code_revision="0000000",
        data_window=DataWindow(start=DAY - timedelta(days=300), end=DAY),
        feature_services=SCHEMA,
        actions=(EventType.ORDER,),
        dimensions={"items": 3, "width": 8},
        parity=Parity(
            batch_sizes=(1, 3, 64),
            outputs=(
                ParityOutput(
                    graph="ranker.onnx",
                    name="probabilities",
                    shape=("candidates", 1),
                    max_abs_diff=difference,
                ),
            ),
            top_k=20,
            top_k_agreement=1.0,
            passed=passed,
        ),
    )


def publish(store: ReleaseStore, what: ReleaseFacts, content: bytes = b"weights") -> str:
    with store.staging() as folder:
        (folder / "ranker.onnx").write_bytes(content)
        (folder / "tables").mkdir()
        (folder / "tables" / "items.npy").write_bytes(content * 3)
        return store.publish(folder, what)


@pytest.fixture
def store(tmp_path: Path) -> ReleaseStore:
    return ReleaseStore(tmp_path / "releases")


def test_published_release_is_listed_with_its_hashes(store: ReleaseStore) -> None:
    release = publish(store, facts())
    manifest = store.get("latest")
    assert store.ids() == [release]
    assert manifest.id == release
    assert release.startswith("20171204T050000-")
    assert set(manifest.files) == {"ranker.onnx", "tables/items.npy"}
    assert manifest.files["ranker.onnx"].bytes == 7
    assert store.verify("latest", SCHEMA) == manifest


def test_nothing_is_left_of_a_staging_that_failed(store: ReleaseStore) -> None:
    def fail() -> None:
        with store.staging() as folder:
            (folder / "half").write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert list(store.root.iterdir()) == []
    assert store.ids() == []


def test_latest_is_the_newest_whatever_the_order_of_publishing(store: ReleaseStore) -> None:
    new = publish(store, facts())
    old = publish(store, facts(age_days=3))
    assert store.ids() == [old, new]
    assert store.resolve("latest") == new


def test_same_release_twice_is_refused(store: ReleaseStore) -> None:
    release = publish(store, facts())
    with pytest.raises(ReleaseError, match=f"{release} is already published"):
        publish(store, facts())
    assert publish(store, facts(), content=b"other") != release


def test_empty_release_is_refused(store: ReleaseStore) -> None:
    with store.staging() as folder, pytest.raises(ReleaseError, match="is empty"):
        store.publish(folder, facts())


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: (folder / "ranker.onnx").write_bytes(b"Weights"), "was changed after"),
        (lambda folder: (folder / "ranker.onnx").unlink(), "ranker.onnx is missing"),
        (
            lambda folder: (folder / "more.onnx").write_bytes(b""),
            "more.onnx is not in the manifest",
        ),
    ],
)
def test_damaged_release_is_not_served(store: ReleaseStore, damage: object, said: str) -> None:
    release = publish(store, facts())
    damage(store.path(release))  # type: ignore[operator]
    with pytest.raises(ReleaseError, match=said):
        store.verify(release, SCHEMA)
    with pytest.raises(ReleaseError, match=said):
        store.promote(release, schema=SCHEMA, at=DAY)
    assert store.aliases() == {}


def test_unproven_release_cannot_be_promoted(store: ReleaseStore) -> None:
    publish(store, facts(passed=False, difference=0.5))
    with pytest.raises(ReleaseError, match=r"parity was not proven: largest difference 5.00e-01"):
        store.promote("latest", schema=SCHEMA, at=DAY)


def test_release_of_other_features_cannot_be_promoted(store: ReleaseStore) -> None:
    publish(store, facts())
    with pytest.raises(ReleaseError, match="'ranker' has schema cccccccccccc") as caught:
        store.promote("latest", schema={"ranker": "c" * 64}, at=DAY)
    assert "'two_tower' does not exist here" in str(caught.value), "all faults are listed"


def test_promote_and_roll_back_keep_the_history(store: ReleaseStore) -> None:
    first, second, third = (publish(store, facts(age_days=-n)) for n in range(3))
    for release in (first, second, third, third):
        store.promote(release, schema=SCHEMA, at=DAY)
    assert store.resolve("live") == third
    assert store.rollback(schema=SCHEMA, at=DAY).id == second
    assert store.rollback(schema=SCHEMA, at=DAY).id == first
    with pytest.raises(ReleaseError, match="nothing to roll back to"):
        store.rollback(schema=SCHEMA, at=DAY)
    log = store.aliases()["live"].log
    assert [(c.action, c.release) for c in log] == [
        ("promote", first),
        ("promote", second),
        ("promote", third),
        ("rollback", second),
        ("rollback", first),
    ]


def test_roll_back_to_a_damaged_release_is_refused(store: ReleaseStore) -> None:
    first, second = publish(store, facts()), publish(store, facts(age_days=-1))
    for release in (first, second):
        store.promote(release, schema=SCHEMA, at=DAY)
    (store.path(first) / "ranker.onnx").unlink()
    with pytest.raises(ReleaseError, match="missing"):
        store.rollback(schema=SCHEMA, at=DAY)
    assert store.resolve("live") == second


@given(st.lists(st.sampled_from(["promote", "rollback"]), min_size=1, max_size=20))
def test_rollback_goes_where_a_stack_would(actions: list[str]) -> None:
    stack: list[str] = ["r0"]
    alias = Alias(release="r0", log=(AliasChange(release="r0", at=DAY, action="promote"),))
    for number, action in enumerate(actions, start=1):
        if action == "promote":
            stack.append(f"r{number}")
        elif len(stack) > 1:
            stack.pop()
        else:
            continue
        alias = alias.moved(AliasChange(release=stack[-1], at=DAY, action=action))  # type: ignore[arg-type]
        assert alias.release == stack[-1]
        assert alias.earlier() == tuple(stack[:-1])


def test_promotions_at_once_all_count(store: ReleaseStore) -> None:
    releases = [publish(store, facts(age_days=-n)) for n in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda r: store.promote(r, f"a_{r[-8:]}", schema=SCHEMA, at=DAY), releases))
    assert {alias.release for alias in store.aliases().values()} == set(releases)


def test_unknown_release_names_what_there_is(store: ReleaseStore) -> None:
    with pytest.raises(NotFoundError, match="unknown release 'live'; known: none; publish one"):
        store.get("live")
    publish(store, facts())
    store.promote("latest", schema=SCHEMA, at=DAY)
    with pytest.raises(NotFoundError, match="did you mean 'live'"):
        store.get("life")


@pytest.mark.parametrize("alias", ["latest", "a b", "../x", "", "New", "a\n", "été", "a" * 65])
def test_alias_must_be_a_word(store: ReleaseStore, alias: str) -> None:
    publish(store, facts())
    with pytest.raises(ReleaseError, match=r"expected a lower-case letter, .* and not 'latest'"):
        store.promote("latest", alias, schema=SCHEMA, at=DAY)


def test_alias_of_two_words_is_one(store: ReleaseStore) -> None:
    publish(store, facts())
    store.promote("latest", "next-model_2", schema=SCHEMA, at=DAY)
    assert set(store.aliases()) == {"next-model_2"}


def test_damaged_files_are_named(store: ReleaseStore) -> None:
    release = publish(store, facts())
    store.promote(release, schema=SCHEMA, at=DAY)
    (store.root / "aliases.json").write_text("{")
    with pytest.raises(ReleaseError, match=r"aliases.json is damaged"):
        store.aliases()
    manifest = store.path(release) / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"profil": "quick"}))
    with pytest.raises(ReleaseError, match="not readable at 'profil'"):
        store.get("latest")


def test_manifest_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        facts().dataset = "other"  # type: ignore[misc]


def test_store_needs_no_torch() -> None:
    code = "import sys, qianmian.releases.store; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
