from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qianmian.errors import ConfigError, FieldError, ForgottenError
from qianmian.events.engine import Engine, SqliteEngine, open_engine
from qianmian.events.identify import Who
from qianmian.identity.gate import NOBODY, Gate, PrivacySettings
from qianmian.identity.pseudonyms import PATTERN, pseudonyms
from qianmian.identity.secret import Secret
from qianmian.workspace import Workspace

SECRET = Secret(b"s" * 32)
OTHER = Secret(b"t" * 32)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path, "shop")


@pytest.fixture
def engine(workspace: Workspace) -> Iterator[Engine]:
    engine = open_engine(SqliteEngine(), workspace)
    yield engine
    engine.close()


@given(st.text(min_size=1))
def test_a_pseudonym_is_made_once_and_by_its_key_alone(raw: str) -> None:
    of = pseudonyms(SECRET)
    made = of(raw)
    assert PATTERN.fullmatch(made)
    assert of(made) == made
    assert made.startswith(f"p{SECRET.key_id}.")
    assert pseudonyms(OTHER)(raw) != made
    assert pseudonyms(Secret(b"s" * 32))(raw) == made


def test_a_hash_for_one_purpose_tells_nothing_of_another() -> None:
    assert SECRET.mac("pseudonym", "anna") != SECRET.mac("forgotten", "anna")


def test_events_and_pages_know_pseudonyms_alone(workspace: Workspace, engine: Engine) -> None:
    gate = Gate.open(PrivacySettings(pseudonymise=True), workspace, engine.changes)
    who = gate.event("anna", "d-1")
    assert PATTERN.fullmatch(who.subject_id)
    assert who.user_id == who.subject_id
    assert PATTERN.fullmatch(str(who.visitor_id))
    assert gate.event(None, "d-1").subject_id == f"visitor:{who.visitor_id}"
    assert gate.page("anna", None).subject_id == who.subject_id
    assert gate.subject("anna") == who.subject_id
    assert gate.subject("visitor:d-1") == f"visitor:{who.visitor_id}"


def test_without_pseudonyms_ids_stay_as_they_are(workspace: Workspace, engine: Engine) -> None:
    gate = Gate.open(PrivacySettings(), workspace, engine.changes)
    assert gate.event("anna", "d-1") == Who("anna", "anna", "d-1")
    assert gate.page(None, "d-1") == ("visitor:d-1", None, "d-1", ("visitor:d-1",))
    assert gate.page(None, None) == NOBODY
    with pytest.raises(FieldError):
        gate.event(None, None)


def test_a_merged_visitor_asks_as_its_user_and_acts_as_itself(
    workspace: Workspace, engine: Engine
) -> None:
    gate = Gate.open(PrivacySettings(), workspace, engine.changes)
    gate.identity.set("visitor:d-1", "anna")
    assert gate.page(None, "d-1") == ("anna", None, "d-1", ("anna", "visitor:d-1"))
    assert gate.event(None, "d-1").subject_id == "visitor:d-1"


def test_who_is_forgotten_is_nobody_until_allowed_again(
    workspace: Workspace, engine: Engine
) -> None:
    gate = Gate.open(PrivacySettings(), workspace, engine.changes)
    gate.tombstones.add(["anna", "visitor:d-1"], engine.changes, account="anna")
    assert gate.page("anna", None) == NOBODY
    for ids in (("anna", None), (None, "d-1"), ("ben", "d-1"), ("anna", "d-2")):
        with pytest.raises(ForgottenError) as refused:
            gate.event(*ids)
        assert "anna" not in str(refused.value)
    assert gate.other("anna") is None
    assert gate.other("ben") == "ben"
    again = Gate.open(PrivacySettings(), workspace, engine.changes)
    assert again.page("anna", None) == NOBODY
    assert again.tombstones.remove(["anna", "never"], engine.changes) == 2
    assert again.event("anna", "d-1").subject_id == "anna"
    assert not any("anna" in key for key in engine.changes.get("forgotten"))


@pytest.mark.parametrize("by_itself_first", [True, False])
def test_a_device_that_was_forgotten_by_itself_stays_so(
    workspace: Workspace, engine: Engine, *, by_itself_first: bool
) -> None:
    device, account = ["visitor:d-1"], ["anna", "visitor:d-1", "visitor:d-2"]
    listed = Gate.open(PrivacySettings(), workspace, engine.changes).tombstones
    for own in (device, account) if by_itself_first else (account, device):
        listed.add(own, engine.changes, account=own[0])
    assert listed.remove(["anna"], engine.changes) == 2
    listed.reload(engine.changes)
    assert [one in listed for one in account] == [False, True, False]
    assert listed.remove(device, engine.changes) == 1
    assert len(listed) == 0


def test_an_older_list_of_the_forgotten_is_read(workspace: Workspace, engine: Engine) -> None:
    listed = Gate.open(PrivacySettings(), workspace, engine.changes).tombstones
    hashes = [listed.hash_of(one) for one in ("anna", "visitor:d-1")]
    engine.changes.put("forgotten", dict.fromkeys(hashes, b"1700000000.5"))
    assert listed.remove(["anna"], engine.changes) == 1
    assert listed.remove(["visitor:d-1"], engine.changes) == 1


def test_another_secret_than_the_first_is_refused(workspace: Workspace, engine: Engine) -> None:
    Gate.open(PrivacySettings(), workspace, engine.changes)
    Gate.open(PrivacySettings(), workspace, engine.changes)
    other = workspace.root / "other.key"
    other.write_bytes(b"x" * 32)
    with pytest.raises(ConfigError, match="every shopper is a stranger"):
        Gate.open(PrivacySettings(key_file=other), workspace, engine.changes)


def test_a_short_secret_is_refused(workspace: Workspace, engine: Engine) -> None:
    short = workspace.root / "short.key"
    short.write_bytes(b"x")
    with pytest.raises(ConfigError, match="32 random bytes"):
        Gate.open(PrivacySettings(key_file=short), workspace, engine.changes)
