"""Receipts: what was erased where and when, signed, without any id.

    receipt = Receipts(path, secret).get(receipt_id)
    receipt.holds(secret)

A receipt names its subject by a keyed hash: whoever has the secret and the id can check that they
belong together. While an erasure is under way the ids lie beside the receipt, for it must go on
after a crash; they go with its last step.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Final, Literal

import orjson
from pydantic import BaseModel, ConfigDict

from qianmian.erasure.people import People
from qianmian.errors import NotFoundError
from qianmian.events.sqlite_file import SqliteFile
from qianmian.identity.secret import Secret

ERASURES_FILE: Final = "erasures.db"
_VERSION: Final = 1
_SCHEMA: Final = """
CREATE TABLE erasures (
    id TEXT PRIMARY KEY,
    requested_at REAL NOT NULL,
    people TEXT,
    receipt BLOB NOT NULL
)
"""
_PURPOSE: Final = "receipt"


class Erased(BaseModel):
    """What was removed from one store."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    store: str
    removed: int
    """Rows, entries or events."""
    finished_at: float | None
    """Seconds since the epoch; null while it is under way."""


class Receipt(BaseModel):
    """What came of one request to be forgotten."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    receipt_id: str
    subject: str
    """Keyed hash of the subject."""
    key_id: str
    """Name of the key of the hash and the signature."""
    state: Literal["accepted", "running", "done"]
    waiting_for: str | None = None
    """What keeps the erasure from going on, null if nothing does."""
    requested_at: float
    finished_at: float | None = None
    stores: tuple[Erased, ...] = ()
    signature: str | None = None
    """Over all of the above, once done."""

    def signed(self, secret: Secret) -> Receipt:
        """Return the receipt with its signature."""
        return self.model_copy(update={"signature": self._signature(secret)})

    def holds(self, secret: Secret) -> bool:
        """Return whether the receipt is done and is what was signed."""
        if self.state != "done" or self.signature is None:
            return False
        return secrets.compare_digest(self.signature, self._signature(secret))

    def removed(self, store: str) -> int | None:
        """Return what was removed from a store, None where that is not finished."""
        found = {one.store: one.removed for one in self.stores if one.finished_at is not None}
        return found.get(store)

    def counted(self, store: str, removed: int, finished_at: float | None) -> Receipt:
        """Return the receipt with more removed from a store."""
        before = next((one.removed for one in self.stores if one.store == store), 0)
        others = tuple(one for one in self.stores if one.store != store)
        entry = Erased(store=store, removed=before + removed, finished_at=finished_at)
        return self.model_copy(update={"stores": (*others, entry)})

    def _signature(self, secret: Secret) -> str:
        content = self.model_dump(exclude={"signature"})
        return secret.seal(_PURPOSE, orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hex()


class Receipts:
    """The erasures of one data set."""

    def __init__(self, folder: Path, secret: Secret) -> None:
        """`folder` is `identity/` of the data set.

        Raises:
            EventStoreError: the file cannot be used.
        """
        self._file = SqliteFile(folder / ERASURES_FILE, schema=_SCHEMA, version=_VERSION)
        self._secret = secret

    def open_for(self, subject_hash: str, people: People, *, now: float) -> Receipt:
        """Take an erasure down, durably."""
        receipt = Receipt(
            receipt_id=secrets.token_urlsafe(12),
            subject=subject_hash,
            key_id=self._secret.key_id,
            state="accepted",
            requested_at=now,
        )
        with self._file.writing() as db:
            db.execute(
                "INSERT INTO erasures VALUES (?, ?, ?, ?)",
                (receipt.receipt_id, now, orjson.dumps(people.subjects), _bytes(receipt)),
            )
        return receipt

    def get(self, receipt_id: str) -> Receipt:
        """Return a receipt.

        Raises:
            NotFoundError: there is no such receipt.
        """
        with self._file.reading() as db:
            row = db.execute("SELECT receipt FROM erasures WHERE id = ?", (receipt_id,)).fetchone()
        if row is None:
            raise NotFoundError("receipt", receipt_id, (), "the answer to :forget names it")
        return Receipt.model_validate_json(row[0])

    def all(self) -> list[Receipt]:
        """Return every receipt, the oldest first."""
        with self._file.reading() as db:
            rows = db.execute("SELECT receipt FROM erasures ORDER BY requested_at").fetchall()
        return [Receipt.model_validate_json(row[0]) for row in rows]

    def pending(self) -> list[tuple[Receipt, People]]:
        """Return the erasures that are not done, the oldest first."""
        with self._file.reading() as db:
            rows = db.execute(
                "SELECT receipt, people FROM erasures WHERE people IS NOT NULL "
                "ORDER BY requested_at"
            ).fetchall()
        return [
            (Receipt.model_validate_json(receipt), People.of(orjson.loads(people)))
            for receipt, people in rows
        ]

    def keep(self, receipt: Receipt) -> Receipt:
        """Write down how far an erasure has come."""
        with self._file.writing() as db:
            db.execute(
                "UPDATE erasures SET receipt = ? WHERE id = ?",
                (_bytes(receipt), receipt.receipt_id),
            )
        return receipt

    def finish(self, receipt: Receipt, *, now: float) -> Receipt:
        """Sign the receipt, and forget whom it was about."""
        done = receipt.model_copy(
            update={"state": "done", "waiting_for": None, "finished_at": now}
        ).signed(self._secret)
        with self._file.writing() as db:
            db.execute(
                "UPDATE erasures SET receipt = ?, people = NULL WHERE id = ?",
                (_bytes(done), done.receipt_id),
            )
        self._file.checkpoint()
        return done

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _bytes(receipt: Receipt) -> bytes:
    return receipt.model_dump_json().encode()
