"""The gate: what is done to ids on their way in, for events, pages, merges and imports alike.

    raw ids -> pseudonyms (if configured) -> forgotten? -> subject -> (pages) the merged user

Behind it no raw id is known where pseudonyms are configured.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final, NamedTuple, Self

from pydantic import Field

from qianmian.config import ConfigModel
from qianmian.contracts.subjects import subject_of
from qianmian.errors import ForgottenError
from qianmian.events.changes import Changes
from qianmian.events.identify import Who, plainly
from qianmian.identity.mapping import Identity
from qianmian.identity.pseudonyms import Pseudonymise, as_they_are, of_subject, pseudonyms
from qianmian.identity.secret import KEY_FILE, Secret, keep_to
from qianmian.identity.tombstones import Tombstones
from qianmian.workspace import Workspace


class PrivacySettings(ConfigModel):
    """How ids of people are treated (`args.privacy`)."""

    pseudonymise: bool = False
    """Whether ids are made keyed hashes before anything is stored or looked up."""
    key_file: Path | None = None
    """File with the secret of pseudonyms, hashes and receipts; null: made once in `identity/` of
    the data set. Replicas on several machines need the same one."""
    merge_grace_days: Annotated[float, Field(ge=0)] = 30.0
    """How long a merge can be taken back."""
    settle_seconds: Annotated[float, Field(ge=0)] = 1.5
    """How long an erasure waits after it was asked for, until every replica knows of it and has
    written what it had taken before."""

    def secret(self, workspace: Workspace) -> Secret:
        """Return the secret.

        Raises:
            ConfigError: its file cannot be used, or it is not the one that ids were made with.
        """
        secret = Secret.read(self.key_file or workspace.identity / KEY_FILE)
        keep_to(secret, workspace.identity)
        return secret


class Asker(NamedTuple):
    """Who asks for a page; ids are as they are stored, all None for somebody unknown.

    `members` are the subjects that count as this one, itself first.
    """

    subject_id: str | None
    user_id: str | None
    visitor_id: str | None
    members: tuple[str, ...] = ()


#: Says who asks for a page, of a user id and a visitor id.
Ask = Callable[[str | None, str | None], Asker]

NOBODY: Final = Asker(None, None, None)


def plain_asker(user_id: str | None, visitor_id: str | None) -> Asker:
    """Take ids as they are; nobody is merged or forgotten."""
    subject_id = subject_of(user_id, visitor_id)
    members = () if subject_id is None else (subject_id,)
    return Asker(subject_id, user_id, visitor_id, members)


@dataclass(slots=True)
class Gate:
    """Turns the ids of requests into subjects."""

    tombstones: Tombstones
    pseudonymise: Pseudonymise = as_they_are
    identity: Identity = field(default_factory=Identity)

    @classmethod
    def open(cls, settings: PrivacySettings, workspace: Workspace, changes: Changes) -> Self:
        """Return the gate of a data set with the merges and tombstones of this moment.

        Raises:
            ConfigError: the secret cannot be used.
            EventStoreError: the engine does not answer.
        """
        secret = settings.secret(workspace)
        return cls(
            tombstones=Tombstones.load(secret, changes),
            pseudonymise=pseudonyms(secret) if settings.pseudonymise else as_they_are,
            identity=Identity.load(changes),
        )

    def event(self, user_id: str | None, visitor_id: str | None) -> Who:
        """Say whose event it is (`qianmian.events.identify.Identify`).

        The subject is the one that the event names; merges are followed when it is read.

        Raises:
            FieldError: the ids name nobody.
            ForgottenError: who is named asked to be forgotten.
        """
        plain = plainly(user_id, visitor_id)
        who = plain
        if self.pseudonymise is not as_they_are:
            who = plainly(self._stored(user_id), self._stored(visitor_id))
        if not len(self.tombstones):
            return who
        if self._forgotten(who.user_id, who.visitor_id):
            raise ForgottenError("user_id" if user_id is not None else "visitor_id")
        return who

    def page(self, user_id: str | None, visitor_id: str | None) -> Asker:
        """Say who asks for a page; who asked to be forgotten is nobody.

        Raises:
            FieldError: the user id would be taken for a device.
        """
        if user_id is None and visitor_id is None:
            return NOBODY
        try:
            who = self.event(user_id, visitor_id)
        except ForgottenError:
            return NOBODY
        subject_id = self.identity.canonical(who.subject_id)
        members = tuple(self.identity.members(subject_id))
        return Asker(subject_id, who.user_id, who.visitor_id, members)

    def subject(self, subject_id: str) -> str:
        """Return a subject that an operator names, as it is stored."""
        return of_subject(subject_id, self.pseudonymise)

    def other(self, user_id: str | None) -> str | None:
        """Return the id of somebody whom an event mentions, None where that one is forgotten."""
        stored = self._stored(user_id)
        return None if stored in self.tombstones else stored

    def _stored(self, raw_id: str | None) -> str | None:
        return None if raw_id is None else self.pseudonymise(raw_id)

    def _forgotten(self, user_id: str | None, visitor_id: str | None) -> bool:
        return user_id in self.tombstones or subject_of(None, visitor_id) in self.tombstones
