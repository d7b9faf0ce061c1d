"""Taking people out of published releases: the encoder's list of users is the one place that names.

A name is replaced by a keyed hash in its place, so that every other row keeps its number; the row
of the embedding table stays and belongs to nobody. Manifest and encoder change one after the other;
a release that is looked at in between does not verify and is looked at again. What a crash left
half done is finished by the next call; drafts lie beside the release, which with a foreign file
would not verify. A release whose manifest cannot be read loses the name all the same: nobody can
load it, and it must not keep the others from being looked at. An encoder that is no JSON goes as a
whole where its bytes hold the name.

A training that began before an erasure and ends after it still knows the name: it asks once more
before it publishes (`keep_users`).
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from qianmian.releases.bundle import ENCODER_FILE
from qianmian.releases.durable import describe, replace_text, sync_file, sync_folder
from qianmian.releases.manifest import MANIFEST_FILE, Manifest
from qianmian.releases.staging import clear_abandoned

_USERS: Final = "user_ids"
_ERASED: Final = "erased:"


def erase_users(root: Path, user_ids: Collection[str], mac: Callable[[str], str]) -> int:
    """Take users out of every release below `root`; returns how many names went.

    `mac` gives the keyed hash of an id.
    """
    gone = set(user_ids)
    clear_abandoned(root)
    return sum(
        _erase(path.parent, gone, mac) for path in sorted(root.glob(f"[!.]*/{MANIFEST_FILE}"))
    )


def keep_users(staging: Path, user_ids: Collection[str]) -> int:
    """Leave only these users' names in a release that is not published; returns how many went."""
    encoder, there = staging / ENCODER_FILE, set(user_ids)
    held = json.loads(encoder.read_bytes())
    names = [one if one in there else f"{_ERASED}{secrets.token_hex(16)}" for one in held[_USERS]]
    gone = sum(1 for one in held[_USERS] if one not in there)
    if gone:
        encoder.write_text(_encoded({**held, _USERS: names}), encoding="utf-8")
    return gone


def _encoded(held: object) -> str:
    return json.dumps(held, ensure_ascii=False, separators=(",", ":"))


def _manifest(release: Path) -> Manifest | None:
    try:
        return Manifest.model_validate_json((release / MANIFEST_FILE).read_bytes())
    except ValidationError:
        return None


def _erase(release: Path, gone: set[str], mac: Callable[[str], str]) -> int:
    encoder = release / ENCODER_FILE
    draft, manifest_draft = (
        release.parent / f".{release.name}.{name}" for name in (ENCODER_FILE, MANIFEST_FILE)
    )
    manifest = _manifest(release)
    if manifest and draft.exists() and describe(draft) == manifest.files[ENCODER_FILE]:
        draft.replace(encoder)  # a crash came between the two
    if not encoder.is_file():
        return 0
    try:
        held = json.loads(encoder.read_bytes())
    except ValueError:
        return _drop_broken(encoder, gone)
    names = [f"{_ERASED}{mac(one)}" if one in gone else one for one in held.get(_USERS, ())]
    count = sum(1 for one, before in zip(names, held.get(_USERS, ()), strict=True) if one != before)
    if not count:
        draft.unlink(missing_ok=True)
        manifest_draft.unlink(missing_ok=True)
        return 0
    draft.write_text(_encoded({**held, _USERS: names}), encoding="utf-8")
    sync_file(draft)
    if manifest:
        entry = {**manifest.files, ENCODER_FILE: describe(draft)}
        changed = manifest.model_copy(update={"files": entry})
        text = changed.model_dump_json(indent=2) + "\n"
        replace_text(release / MANIFEST_FILE, text, draft=manifest_draft)
    draft.replace(encoder)
    sync_folder(release)
    return count


def _drop_broken(encoder: Path, gone: set[str]) -> int:
    """Remove an encoder that nobody can read where it names one of the users."""
    held = encoder.read_text(encoding="utf-8", errors="replace")
    count = sum(_encoded(one)[:-1] in held for one in gone)  # the end may be torn off
    if count:
        encoder.unlink()
        sync_folder(encoder.parent)
    return count
