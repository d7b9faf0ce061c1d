"""What a search may turn: the ranker's knobs, and where each may go.

Knobs of what is ranked at all (moments, quotas, horizon) are not among them, nor whether trees and
attention are there: a trial must learn from the same candidates as every other, and a search that
makes pages dearer should be asked for by a profile, not found.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias

from qianmian.errors import FieldError, NotFoundError
from training.profile import RankerProfile

Value: TypeAlias = "float | int | tuple[int, ...]"
Drawn: TypeAlias = "float | int | str"  # a value as a trial holds it


class Trial(Protocol):
    """What draws: a trial of Optuna."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """Draw a number."""

    def suggest_int(self, name: str, low: int, high: int) -> int:
        """Draw a whole number."""

    def suggest_categorical(self, name: str, choices: tuple[str, ...]) -> Any:
        """Draw one of several."""


@dataclass(frozen=True, slots=True)
class Span:
    """Numbers between two, evenly in their logarithm where `log` says so."""

    low: float
    high: float
    log: bool = False

    def draw(self, trial: Trial, name: str, own: Any) -> Drawn:
        """Draw a value; the span reaches as far as the profile's own."""
        low, high = min(self.low, own), max(self.high, own)
        if isinstance(own, int):
            return trial.suggest_int(name, int(low), int(high))
        return trial.suggest_float(name, low, high, log=self.log and low > 0)


@dataclass(frozen=True, slots=True)
class Layers:
    """Widths of hidden layers, one of several."""

    choices: tuple[tuple[int, ...], ...]

    def draw(self, trial: Trial, name: str, own: Any) -> Drawn:
        """Draw a value; the profile's own is one of them."""
        texts = dict.fromkeys(json.dumps(choice) for choice in (*self.choices, own))
        drawn: str = trial.suggest_categorical(name, tuple(texts))
        return drawn


KNOBS: Final[Mapping[str, Span | Layers]] = {
    "hidden": Layers(((128, 64), (256, 128), (512, 256))),
    "dropout": Span(0.0, 0.4),
    "lr": Span(3e-4, 3e-3, log=True),
    "epochs": Span(2, 6),
    "groups_per_batch": Span(32, 128),
    "listwise_weight": Span(0.1, 2.0, log=True),
    "new_weight": Span(0.0, 1.0),
    "shared_weight": Span(1.0, 16.0, log=True),
    "teacher.share": Span(0.1, 1.0),
    "teacher.part": Span(0.2, 0.8),
    "teacher.learning_rate": Span(0.03, 0.12, log=True),
    "teacher.min_rows": Span(20, 400),
}
_OF_ATTENTION: Final = "shared_weight"
_OF_TREES: Final = "teacher."


def chosen(profile: RankerProfile, names: Collection[str] = ()) -> tuple[str, ...]:
    """The knobs to turn, in their order: those that are asked for, by default all that do anything.

    Raises:
        NotFoundError: there is no such knob.
        FieldError: a knob that is asked for does nothing in this profile.
    """
    for name in names:
        if name not in KNOBS:
            raise NotFoundError("knob", name, KNOBS)
        if reason := _idle(profile, name):
            raise FieldError(
                "--knob", name, f"a knob that does something; {reason}", "leave it out"
            )
    return tuple(n for n in KNOBS if (n in names if names else not _idle(profile, n)))


def _idle(profile: RankerProfile, name: str) -> str:
    """Why a knob does nothing; empty where it does something."""
    if name == _OF_ATTENTION and not profile.interest:
        return "the profile has no attention (ranker.interest is 0)"
    if name.startswith(_OF_TREES) and not profile.teacher.trees:
        return "the profile has no trees (ranker.teacher.trees is 0)"
    if name == "teacher.part" and not profile.teacher.part:
        return "the profile leaves trees out of the graph (ranker.teacher.part is 0)"
    return ""


def own(profile: RankerProfile, name: str) -> Value:
    """What the profile says."""
    found: Any = profile
    for part in name.split("."):
        found = getattr(found, part)
    return found  # type: ignore[no-any-return]


def as_drawn(value: Value) -> Drawn:
    """A value as a trial would hold it."""
    return json.dumps(value) if isinstance(value, tuple) else value


def turned(profile: RankerProfile, drawn: Mapping[str, Drawn]) -> RankerProfile:
    """The profile with these values, checked as if they had been read."""
    said = profile.model_dump()
    for name, value in drawn.items():
        *outer, last = name.split(".")
        into = said
        for part in outer:
            into = into[part]
        into[last] = json.loads(value) if isinstance(value, str) else value
    return RankerProfile.model_validate(said)
