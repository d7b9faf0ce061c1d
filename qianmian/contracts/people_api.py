"""The HTTP contract of people: merging devices into accounts, and being forgotten."""

from __future__ import annotations

from typing import Final

from pydantic import AwareDatetime, TypeAdapter

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


MERGE_REQUEST: Final = TypeAdapter(MergeRequest)
UNMERGE_REQUEST: Final = TypeAdapter(UnmergeRequest)
