"""The key ring: made once, kept secret, rotated without losing what older keys signed."""

from __future__ import annotations

import stat
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from qianmian.errors import ConfigError, NotFoundError
from serving.feed.keys import KeyFile
from serving.feed.seal import BadTokenError, Seal

NOW = datetime(2017, 12, 5, tzinfo=UTC)
NEVER = datetime(2000, 1, 1, tzinfo=UTC)


@pytest.fixture
def keys(tmp_path: Path) -> KeyFile:
    return KeyFile(tmp_path / "deep" / "keys.json")


def test_the_first_key_is_made_once_and_kept_secret(keys: KeyFile) -> None:
    rings = []
    threads = [threading.Thread(target=lambda: rings.append(keys.ring)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({ring.active.id for ring in rings}) == 1
    assert len(bytes.fromhex(rings[0].active.secret)) == 32
    assert stat.S_IMODE(keys.path.stat().st_mode) == 0o600


def test_after_rotation_older_keys_open_until_they_are_retired(keys: KeyFile) -> None:
    old = Seal(keys.ring)
    text = old.close(b"page", b"what was shown")
    ring = keys.rotate(at=NOW, retire_before=NEVER)
    assert len(ring.keys) == 2
    new = Seal(keys.ring)
    assert new.open(b"page", text) == b"what was shown"
    assert new.close(b"page", b"") != old.close(b"page", b"")
    later = keys.rotate(at=NOW + timedelta(days=9), retire_before=NOW + timedelta(days=1))
    assert [key.secret is None for key in later.keys] == [True, False, False]
    with pytest.raises(BadTokenError, match="expired: signed by a key that is retired"):
        Seal(keys.ring).open(b"page", text)


def test_a_key_that_another_replica_made_is_looked_up(keys: KeyFile) -> None:
    here = Seal(keys.ring, reread=lambda: keys.ring)
    keys.rotate(at=NOW, retire_before=NEVER)
    text = Seal(keys.ring).close(b"page", b"x")
    assert here.open(b"page", text) == b"x"


def test_retiring_by_name(keys: KeyFile) -> None:
    first = keys.ring.active.id
    with pytest.raises(ConfigError, match="signs; `qianmian keys rotate`"):
        keys.retire(first)
    with pytest.raises(NotFoundError, match="unknown key 'ffffffff'"):
        keys.retire("ffffffff")
    keys.rotate(at=NOW, retire_before=NEVER)
    assert keys.retire(first).keys[0].secret is None


def test_a_broken_file_is_told(keys: KeyFile) -> None:
    keys.path.parent.mkdir()
    keys.path.write_text("{}")
    with pytest.raises(ConfigError, match=r"keys\.json: expected a key ring"):
        _ = keys.ring
