"""Every error that qianmian raises for a mistake somebody can mend, in one tree.

Each carries what was wrong (`field`, `value`), what was expected and the remedy, so that the
command line, the HTTP service and the tests all read the same facts.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_SHOWN_NAMES = 10


class QianmianError(Exception):
    """A mistake that its maker can mend; shown without a traceback, exit code 2."""


class FieldError(QianmianError):
    """One field holds a value that cannot be used.

    The message reads `field=value: expected ...; remedy`.
    """

    def __init__(self, field: str, value: object, expected: str, remedy: str = "") -> None:
        self.field = field
        self.value = value
        self.expected = expected
        self.remedy = remedy
        tail = f"; {remedy}" if remedy else ""
        super().__init__(f"{field}={value!r}: expected {expected}{tail}")


class ForgottenError(FieldError):
    """Somebody who asked to be forgotten is named; the message does not say who."""

    def __init__(self, field: str) -> None:
        super().__init__(
            field,
            "(erased)",
            "somebody who did not ask to be forgotten",
            "allow the id again with POST /v1/users/{id}:allow, if it is to be known again",
        )


class ConflictError(QianmianError):
    """What is asked for contradicts what is; `kind` names the sort of problem. Names nobody."""

    def __init__(self, kind: str, message: str) -> None:
        self.kind = kind
        super().__init__(message)


class ConfigError(QianmianError):
    """A configuration file holds faults; all of them are listed."""


class ConditionError(QianmianError):
    """A condition cannot be read, or does not fit the columns that there are."""

    def __init__(self, expected: str, column: int, found: object, remedy: str = "") -> None:
        super().__init__(f"expected {expected} at column {column}, found {found}{remedy}")


class DataError(QianmianError):
    """A data set folder breaks the data contract; all its faults are listed."""


class FeatureStoreError(QianmianError):
    """The feature store is missing, empty, or differs from what was asked of it."""


class OnlineStoreError(FeatureStoreError):
    """The online store cannot be written now."""


class EventStoreError(QianmianError):
    """The event log or the topics cannot be read or written now; nothing was half done."""


class ReleaseError(QianmianError):
    """A release is missing, damaged, unproven, or does not fit this installation."""


class TrainingError(QianmianError):
    """The data at hand does not allow the training that was asked for."""


class NotFoundError(QianmianError):
    """Something asked for by name does not exist; close names are suggested."""

    def __init__(self, kind: str, name: str, known: Iterable[str], remedy: str = "") -> None:
        self.kind = kind
        self.name = name
        names = sorted(known)
        hint = suggest(name, names)
        shown = (
            ", ".join(names[:_SHOWN_NAMES]) + (", ..." if len(names) > _SHOWN_NAMES else "")
            or "none"
        )
        tail = f"; {remedy}" if remedy else ""
        super().__init__(f"unknown {kind} {name!r}{hint}; known: {shown}{tail}")


class VenueNotFoundError(NotFoundError):
    """The venue asked for is not known to this service."""


def suggest(word: str, known: Iterable[str]) -> str:
    """Return `, did you mean 'x'?` for the closest known word, or an empty string.

    >>> suggest("clik", ["click", "cart"])
    ", did you mean 'click'?"
    >>> suggest("zzz", ["click", "cart"])
    ''
    """
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f", did you mean {close[0]!r}?" if close else ""
