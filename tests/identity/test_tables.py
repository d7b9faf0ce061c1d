from __future__ import annotations

import pyarrow as pa

from qianmian.identity.gate import Gate
from qianmian.identity.pseudonyms import pseudonyms
from qianmian.identity.secret import Secret
from qianmian.identity.tables import through
from qianmian.identity.tombstones import Tombstones

SECRET = Secret(b"s" * 32)
TABLE = pa.table({"user_id": ["anna", "ben", None, "anna"], "n": [1, 2, 3, 4]})


def test_rows_of_the_forgotten_are_left_out_and_faulty_ones_stay_for_the_check() -> None:
    tombstones = Tombstones(SECRET)
    tombstones._hashes.add(tombstones.hash_of("anna"))
    kept = through(Gate(tombstones))(TABLE)
    assert kept.to_pydict() == {"user_id": ["ben", None], "n": [2, 3]}
    assert kept.schema == TABLE.schema


def test_users_get_the_pseudonyms_that_events_give_them() -> None:
    gate = Gate(Tombstones(SECRET), pseudonymise=pseudonyms(SECRET))
    made = through(gate)(TABLE)["user_id"].to_pylist()
    assert made == [
        gate.event("anna", None).user_id,
        gate.event("ben", None).user_id,
        None,
        made[0],
    ]


def test_tables_without_users_stay_as_they_are() -> None:
    items = pa.table({"item_id": ["i1"]})
    assert through(Gate(Tombstones(SECRET)))(items) is items
