"""The HTTP contract of people: merging devices into accounts, and being forgotten."""

from __future__ import annotations

from typing import Final, Literal, Self

from pydantic import AwareDatetime, TypeAdapter, model_validator

from qianmian.contracts.api import Id, _Contract


class MergeRequest(_Contract):
    """Body of `POST /v1/users:merge`."""

    visitor_id: Id
    """The device whose history joins the account's."""
    user_id: Id
    """The account."""


class MergeResponse(_Contract):
    """Answer of `POST /v1/users:merge`."""

    merged: bool
    """True if this request merged them, false if they were merged before."""
    merged_at: AwareDatetime
    """Since when the device counts as the account."""
    reversible_until: AwareDatetime
    """Until when `POST /v1/users:unmerge` takes it back."""


class UnmergeRequest(_Contract):
    """Body of `POST /v1/users:unmerge`."""

    visitor_id: Id
    """The device that shall count as itself again."""


class UnmergeResponse(_Contract):
    """Answer of `POST /v1/users:unmerge`."""

    unmerged: bool
    """True."""
    merged_at: AwareDatetime
    """When the merge had been made."""


class ForgetRequest(_Contract):
    """Body of `POST /v1/users:forget`: one of the two."""

    user_id: Id | None = None
    """The account, with every device merged into it."""
    visitor_id: Id | None = None
    """The device alone."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.user_id is None) == (self.visitor_id is None):
            raise ValueError("expected user_id or visitor_id")
        return self


class ErasedStore(_Contract):
    """What was removed from one store."""

    store: str
    removed: int
    """Rows, entries or events."""
    finished_at: AwareDatetime | None
    """Null while it is under way."""


class ErasureReceipt(_Contract):
    """Answer of `POST /v1/users/{id}:forget` and `GET /v1/receipts/{receipt_id}`: names nobody."""

    receipt_id: str
    subject: str
    """Keyed hash of the subject."""
    key_id: str
    """Name of the key of the hash and the signature."""
    state: Literal["accepted", "running", "done"]
    waiting_for: str | None
    """What keeps the erasure from going on, null if nothing does."""
    requested_at: AwareDatetime
    finished_at: AwareDatetime | None
    stores: list[ErasedStore]
    signature: str | None
    """Null until it is done."""


class AllowResponse(_Contract):
    """Answer of `POST /v1/users/{id}:allow`."""

    allowed: bool
    """True if the id was on the list of the forgotten."""


MERGE_REQUEST: Final = TypeAdapter(MergeRequest)
FORGET_REQUEST: Final = TypeAdapter(ForgetRequest)
UNMERGE_REQUEST: Final = TypeAdapter(UnmergeRequest)
