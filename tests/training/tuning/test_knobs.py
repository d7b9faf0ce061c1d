"""Knobs: where they may go, and that nothing is turned that does nothing."""

from __future__ import annotations

import pytest

from qianmian.errors import FieldError, NotFoundError
from training.profile import RankerProfile, load_profile
from training.tuning.knobs import KNOBS, as_drawn, chosen, own, turned
from training.tuning.search import library


def draws(profile: RankerProfile, name: str) -> set[object]:
    study = library().create_study()
    return {KNOBS[name].draw(study.ask(), name, own(profile, name)) for _ in range(40)}


@pytest.mark.parametrize("name", KNOBS)
def test_every_value_that_is_drawn_makes_a_profile(name: str) -> None:
    profile = load_profile("standard").ranker
    values = draws(profile, name)
    assert len(values) > 2
    for value in values:
        assert as_drawn(own(turned(profile, {name: value}), name)) == value


def test_the_profile_as_it_is_can_always_be_drawn() -> None:
    profile = RankerProfile(lr=0.05, hidden=(7,), epochs=20)
    assert "[7]" in draws(profile, "hidden")
    assert max(draws(profile, "lr")) > 0.005
    assert max(draws(profile, "epochs")) > 6


def test_knobs_of_what_is_not_there_are_left_out() -> None:
    quick = load_profile("quick").ranker
    assert not quick.teacher.trees
    assert not any(name.startswith("teacher.") for name in chosen(quick))
    assert "teacher.share" in chosen(load_profile("standard").ranker)
    with pytest.raises(FieldError, match=r"--knob='teacher.share'.*no trees"):
        chosen(quick, ["teacher.share"])
    with pytest.raises(NotFoundError, match="dropout"):
        chosen(quick, ["droput"])
    assert chosen(quick, ["lr", "dropout"]) == ("dropout", "lr")
