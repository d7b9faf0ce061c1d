"""Taking people out of published releases: the encoder's list of users is the one place that names.

A name is replaced by a keyed hash in its place, so that every other row keeps its number; the row
of the embedding table stays and belongs to nobody. Manifest and encoder change one after the other;
a release that is looked at in between does not verify and is looked at again. What a crash left
half done is finished by the next call.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Final

from qianmian.releases.bundle import ENCODER_FILE
from qianmian.releases.durable import describe, replace_text, sync_file, sync_folder
from qianmian.releases.manifest import MANIFEST_FILE, Manifest

_USERS: Final = "user_ids"
_ERASED: Final = "erased:"


def erase_users(root: Path, user_ids: Collection[str], mac: Callable[[str], str]) -> int:
    """Take users out of every release below `root`; returns how many names went.

    `mac` gives the keyed hash of an id.
    """
    gone = set(user_ids)
    return sum(
        _erase(path.parent, gone, mac) for path in sorted(root.glob(f"[!.]*/{MANIFEST_FILE}"))
    )


def _erase(release: Path, gone: set[str], mac: Callable[[str], str]) -> int:
    encoder = release / ENCODER_FILE
    draft = release.parent / f".{release.name}.{ENCODER_FILE}"
    manifest = Manifest.model_validate_json((release / MANIFEST_FILE).read_bytes())
    if draft.exists() and describe(draft) == manifest.files[ENCODER_FILE]:
        draft.replace(encoder)  # a crash came between the two
    if not encoder.is_file():
        return 0
    held = json.loads(encoder.read_bytes())
    names = [f"{_ERASED}{mac(one)}" if one in gone else one for one in held.get(_USERS, ())]
    count = sum(1 for one, before in zip(names, held.get(_USERS, ()), strict=True) if one != before)
    if not count:
        draft.unlink(missing_ok=True)
        return 0
    text = json.dumps({**held, _USERS: names}, ensure_ascii=False, separators=(",", ":"))
    draft.write_text(text, encoding="utf-8")
    sync_file(draft)
    entry = {**manifest.files, ENCODER_FILE: describe(draft)}
    changed = manifest.model_copy(update={"files": entry})
    replace_text(release / MANIFEST_FILE, changed.model_dump_json(indent=2) + "\n")
    draft.replace(encoder)
    sync_folder(release)
    return count
