"""Releases on disk: publish, list, verify, promote, roll back.

    <root>/<release id>/manifest.json, user_tower.onnx, ...
    <root>/aliases.json

A release appears by one atomic rename and is never written to again; an alias changes by one
atomic replacement (`qianmian.releases.aliases`). Nothing here imports torch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from pydantic import ValidationError

from qianmian.errors import NotFoundError, ReleaseError
from qianmian.releases.aliases import LATEST, Alias, AliasChange, AliasFile, checked_alias
from qianmian.releases.durable import describe, sync_folder, sync_tree
from qianmian.releases.manifest import MANIFEST_FILE, Manifest, ReleaseFacts
from qianmian.releases.staging import staging

LIVE = "live"


class ReleaseStore:
    """The releases of one data set below `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._aliases = AliasFile(root)

    # -- publishing ---------------------------------------------------------------------------

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """Give an empty folder beside the releases; what is not published is removed."""
        with staging(self.root) as folder:
            yield folder

    def publish(self, staging: Path, facts: ReleaseFacts) -> str:
        """Turn a folder of files (made by `staging`) into a release and return its id.

        The id is the moment of creation and the start of a hash of all content, so ids sort by
        age. The folder is moved, not copied.

        Raises:
            ReleaseError: the folder is empty, or the same release is there already.
        """
        files = {
            path.relative_to(staging).as_posix(): describe(path)
            for path in sorted(staging.rglob("*"))
            if path.is_file() and path.name != MANIFEST_FILE
        }
        if not files:
            raise ReleaseError(f"release folder {staging} is empty: expected exported models")
        content = hashlib.sha256(facts.model_dump_json().encode())
        for name, entry in files.items():
            content.update(f"{name}:{entry.sha256}".encode())
        release_id = f"{facts.created:%Y%m%dT%H%M%S}-{content.hexdigest()[:8]}"
        target = self.root / release_id
        if target.exists():
            raise ReleaseError(
                f"release {release_id} is already published; train anew to replace it"
            )
        manifest = Manifest(**dict(facts), id=release_id, files=files)
        (staging / MANIFEST_FILE).write_text(manifest.model_dump_json(indent=2) + "\n")
        staging.chmod(0o755)
        sync_tree(staging)
        staging.rename(target)
        sync_folder(self.root)
        return release_id

    # -- reading ------------------------------------------------------------------------------

    def ids(self) -> list[str]:
        """Ids of the published releases, the oldest first."""
        if not self.root.is_dir():
            return []
        return sorted(
            path.parent.name
            for path in self.root.glob(f"*/{MANIFEST_FILE}")
            if not path.parent.name.startswith(".")
        )

    def aliases(self) -> dict[str, Alias]:
        """Return every alias with its history."""
        return self._aliases.read()

    @property
    def aliases_path(self) -> Path:
        """The file that changes when an alias does; serving watches it."""
        return self._aliases.path

    def resolve(self, ref: str) -> str:
        """Return the release id that an id, an alias or `latest` stands for.

        Raises:
            NotFoundError: nothing has that name.
        """
        ids = self.ids()
        if ref in ids:
            return ref
        if ref == LATEST and ids:
            return ids[-1]
        aliases = self.aliases()
        if ref in aliases:
            return aliases[ref].release
        known = [*ids, *aliases, *([LATEST] if ids else [])]
        remedy = "publish one with `qianmian train`" if not ids else "see `qianmian release list`"
        raise NotFoundError("release", ref, known, remedy)

    def get(self, ref: str) -> Manifest:
        """Return the manifest of an id, an alias or `latest`."""
        return self._manifest(self.resolve(ref))

    def path(self, ref: str) -> Path:
        """Return the folder of a release."""
        return self.root / self.resolve(ref)

    def _manifest(self, release_id: str) -> Manifest:
        path = self.root / release_id / MANIFEST_FILE
        try:
            return Manifest.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            raise ReleaseError(f"release {release_id} has no {MANIFEST_FILE}: {path}") from None
        except OSError as error:
            raise ReleaseError(
                f"release {release_id}: {path} cannot be read: {error.strerror}"
            ) from error
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise ReleaseError(
                f"release {release_id}: {MANIFEST_FILE} is not readable at {where!r}: "
                f"{first['msg']}; publish the release anew"
            ) from error

    # -- trust --------------------------------------------------------------------------------

    def verify(self, ref: str, schema: Mapping[str, str]) -> Manifest:
        """Return the manifest of a release that may be served.

        Args:
            ref: id, alias or `latest`.
            schema: schema hash of each feature service as it stands in the feature store now.

        Raises:
            ReleaseError: a file is missing, foreign or changed, parity was not proven, or the
                features differ from those the models were trained on. All reasons are listed.
        """
        manifest = self.get(ref)
        folder = self.root / manifest.id
        faults = [*_file_faults(folder, manifest), *_proof_faults(manifest, schema)]
        if faults:
            listed = "\n".join(f"  - {fault}" for fault in faults)
            raise ReleaseError(f"release {manifest.id} cannot be used:\n{listed}")
        return manifest

    # -- aliases ------------------------------------------------------------------------------

    def promote(
        self, ref: str, alias: str = LIVE, *, schema: Mapping[str, str], at: datetime
    ) -> Manifest:
        """Point an alias at a verified release; promoting what is there already changes nothing.

        Raises:
            ReleaseError: the release does not verify, or the alias is not a usable name.
        """
        try:
            checked_alias(alias)
        except ValueError as error:
            raise ReleaseError(f"alias={alias!r}: {error}") from None
        manifest = self.verify(ref, schema)
        with self._aliases.changing() as aliases:
            before = aliases.get(alias)
            if before is None or before.release != manifest.id:
                change = AliasChange(release=manifest.id, at=at, action="promote")
                new = Alias(release=manifest.id, log=(change,))
                aliases[alias] = before.moved(change) if before else new
        return manifest

    def rollback(self, alias: str = LIVE, *, schema: Mapping[str, str], at: datetime) -> Manifest:
        """Point an alias back at the release before, which must verify too.

        Raises:
            NotFoundError: no such alias.
            ReleaseError: there is no release before, or it does not verify.
        """
        with self._aliases.changing() as aliases:
            if alias not in aliases:
                raise NotFoundError("alias", alias, aliases, "see `qianmian release list`")
            current = aliases[alias]
            earlier = current.earlier()
            if not earlier:
                raise ReleaseError(
                    f"alias {alias!r} has only ever been {current.release}: nothing to roll back to"
                )
            manifest = self.verify(earlier[-1], schema)
            change = AliasChange(release=manifest.id, at=at, action="rollback")
            aliases[alias] = current.moved(change)
        return manifest


def _file_faults(folder: Path, manifest: Manifest) -> Iterator[str]:
    present = {
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    } - {MANIFEST_FILE}
    for name, entry in manifest.files.items():
        if name not in present:
            yield f"file {name} is missing: publish the release anew"
        elif describe(folder / name) != entry:
            yield f"file {name} was changed after publishing (SHA-256 differs): publish anew"
    for name in sorted(present - set(manifest.files)):
        yield f"file {name} is not in the manifest: remove it"


def _proof_faults(manifest: Manifest, schema: Mapping[str, str]) -> Iterator[str]:
    parity = manifest.parity
    if not parity.passed:
        worst = max((output.max_abs_diff for output in parity.outputs), default=0.0)
        yield (
            f"parity was not proven: largest difference {worst:.2e} (allowed "
            f"{parity.tolerance:.0e}), top-{parity.top_k} agreement {parity.top_k_agreement:.4f}; "
            "train again"
        )
    for service, trained_on in manifest.feature_services.items():
        now = schema.get(service)
        if now is None:
            yield f"feature service {service!r} does not exist here: build the features first"
        elif now != trained_on:
            yield (
                f"feature service {service!r} has schema {now[:12]}, the models were trained on "
                f"{trained_on[:12]}: train anew, or go back to those features"
            )
