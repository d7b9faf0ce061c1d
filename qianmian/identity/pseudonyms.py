"""Pseudonyms: what stands for an id inside, so that what lies on disk names nobody.

A pseudonym is a keyed hash of the id with the id of the key before it; whoever has the key can tell
whether an id is behind it, and nobody can read the id off it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from qianmian.contracts.subjects import VISITOR_PREFIX, is_visitor
from qianmian.identity.secret import Secret

#: Makes the stored id of an id.
Pseudonymise = Callable[[str], str]

PATTERN: Final = re.compile(r"p[0-9a-f]{8}\.[0-9a-f]{32}")
_REMEMBERED: Final = 65_536


def pseudonyms(secret: Secret) -> Pseudonymise:
    """Return the function from ids to pseudonyms; what is one already stays as it is."""
    prefix = f"p{secret.key_id}."

    @lru_cache(maxsize=_REMEMBERED)
    def of(raw_id: str) -> str:
        if raw_id.startswith(prefix) and PATTERN.fullmatch(raw_id):
            return raw_id
        return prefix + secret.mac("pseudonym", raw_id)

    return of


def as_they_are(raw_id: str) -> str:
    """Make no pseudonyms."""
    return raw_id


def of_subject(subject_id: str, pseudonymise: Pseudonymise) -> str:
    """Return a subject with its id made a pseudonym.

    >>> of_subject("visitor:d-1", str.upper), of_subject("anna", str.upper)
    ('visitor:D-1', 'ANNA')
    """
    if is_visitor(subject_id):
        return VISITOR_PREFIX + pseudonymise(subject_id.removeprefix(VISITOR_PREFIX))
    return pseudonymise(subject_id)
