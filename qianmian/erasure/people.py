"""Who is erased: every id under which somebody is known here."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Self

from qianmian.contracts.subjects import VISITOR_PREFIX, is_visitor


class People(NamedTuple):
    """The ids of somebody: subject ids, user ids and visitor ids, all as they may be stored."""

    subjects: tuple[str, ...]

    @classmethod
    def of(cls, subject_ids: Iterable[str]) -> Self:
        """Return the people of these subject ids, each once."""
        return cls(tuple(dict.fromkeys(subject_ids)))

    @property
    def users(self) -> tuple[str, ...]:
        """Ids of accounts."""
        return tuple(subject for subject in self.subjects if not is_visitor(subject))

    @property
    def visitors(self) -> tuple[str, ...]:
        """Ids of devices, without the prefix."""
        return tuple(s.removeprefix(VISITOR_PREFIX) for s in self.subjects if is_visitor(s))
