"""Lists of three users judged by hand, in every slice."""

from types import SimpleNamespace

import numpy as np
import pytest

from training.beyond_accuracy import Catalogue
from training.evaluate import evaluate
from training.segments import segments_of
from training.slices import COLD_ITEM_USERS, Ranking
from training.subjects import Subject

ITEMS = 8
#: Items 5, 6 and 7 are cold.
OWNERS = np.array([9, 9, 9, 9, COLD_ITEM_USERS, COLD_ITEM_USERS - 1, 1, 0])
UNKNOWN = -1  # an item that nobody knew before the cut


def subject(name: str, relevant: list[int], owned: list[int], **tags: str) -> Subject:
    code = 0 if owned else -1
    state = SimpleNamespace(tags=tags)
    segments = segments_of(state)
    wanted, had = (np.array(sorted(i), dtype=np.int32) for i in (relevant, owned))
    return Subject(code, name, wanted, had, state, segments)


SUBJECTS = [
    subject("again", [0, 6], [0, 1], activity_level="high"),
    subject("once", [2], [3], activity_level="low"),
    subject("stranger", [7, UNKNOWN], []),
]


def found(*, again: bool = True):
    """One system, which ranks the items as they are numbered."""
    scores = -np.arange(ITEMS, dtype=float)
    everything = np.arange(ITEMS, dtype=np.int32)
    catalogue = Catalogue(
        ranked=everything,
        owners=OWNERS,
        users=9,
        attributes=np.zeros((ITEMS, 0), dtype=np.int32),
        again=again,
    )
    ids = np.array([f"i{n}" for n in range(ITEMS)], dtype=object)
    in_order = {"numbered": lambda _: Ranking(everything, scores)}
    return evaluate(SUBJECTS, in_order, catalogue, item_ids=ids)


def gain(*places: int) -> float:
    return sum(1 / np.log2(place + 1) for place in places)


def of(evaluation, label: str) -> dict[str, float]:
    """NDCG of each user of a slice, by name."""
    names = [evaluation.users[i] for i in evaluation.members[label]]
    return dict(zip(names, evaluation.ndcg("numbered", label, 20), strict=True))


def test_every_slice_has_its_users_lists_and_relevant_items():
    judged = found()
    two = gain(1, 2)
    assert of(judged, "all") == pytest.approx(
        {"again": gain(1, 7) / two, "once": gain(3), "stranger": gain(8) / two}
    )
    assert of(judged, "repeat") == {"again": 1.0}
    # items 0 and 1 are taken out of the first list, item 3 of the second, nothing of the third
    assert of(judged, "new") == pytest.approx(
        {"again": gain(5), "once": gain(3), "stranger": gain(8) / two}
    )
    # of the cold items 5, 6 and 7 alone; item 2 is not cold, an item that nobody knew is
    assert of(judged, "cold_item") == pytest.approx({"again": gain(2), "stranger": gain(3) / two})
    assert of(judged, "cold_user") == pytest.approx({"stranger": gain(8) / two})
    known, everybody = of(judged, "known_user"), of(judged, "all")
    assert known == {user: ndcg for user, ndcg in everybody.items() if user != "stranger"}
    assert set(of(judged, "activity_level=high")) == {"again"}
    assert set(of(judged, "activity_level=low")) == {"once"}


def test_what_nobody_takes_twice_is_in_no_list():
    """Items 0 and 1 leave the first list and what is relevant: item 6 stands fifth of one."""
    judged = found(again=False)
    assert of(judged, "all")["again"] == pytest.approx(gain(5))
    assert "repeat" not in judged.members
    assert of(judged, "all")["stranger"] == of(found(), "all")["stranger"]
