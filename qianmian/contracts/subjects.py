"""The subject: whose event it is, whose features they are.

An account is its own subject. A pseudonymous device is the subject `visitor:<visitor_id>`, so that
the two can never be taken for one another, until `POST /v1/users:merge` says that they are one.
"""

from __future__ import annotations

from typing import Final

VISITOR_PREFIX: Final = "visitor:"


def visitor_subject(visitor_id: str) -> str:
    """Return the subject of a device.

    >>> visitor_subject("d-7")
    'visitor:d-7'
    """
    return VISITOR_PREFIX + visitor_id


def subject_of(user_id: str | None, visitor_id: str | None) -> str | None:
    """Return whose request or event it is: the account's where it is known, else the device's.

    >>> subject_of("u1", "d-7"), subject_of(None, "d-7"), subject_of(None, None)
    ('u1', 'visitor:d-7', None)
    """
    if user_id is not None:
        return user_id
    return visitor_subject(visitor_id) if visitor_id is not None else None


def is_visitor(subject_id: str) -> bool:
    """Return whether a subject is a device.

    >>> is_visitor("visitor:d-7"), is_visitor("u1")
    (True, False)
    """
    return subject_id.startswith(VISITOR_PREFIX)
