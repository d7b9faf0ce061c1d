"""What SASRec is given: whole histories as sequences, and what judges its loss."""

import pandas as pd
import pytest

from benchmarks.peers import environment
from benchmarks.peers.sasrec import HELD_OUT, LENGTH, SEQUENCES, last_of_some, sequences
from qianmian.errors import DataError


def actions(user: int, size: int) -> pd.DataFrame:
    """One item a second, item k at second k."""
    at = range(size)
    return pd.DataFrame({"user_id": user, "item_id": at, "timestamp": [float(t) for t in at]})


def test_a_long_history_is_several_sequences_and_the_newest_is_whole() -> None:
    size = 2 * (LENGTH + 1) + 7
    cut = sequences(pd.concat([actions(3, size), actions(4, 2)]).sample(frac=1, random_state=0))
    sizes = cut.groupby("user_id").size().to_dict()
    assert sizes == {
        3 * SEQUENCES: LENGTH + 1,
        3 * SEQUENCES + 1: LENGTH + 1,
        3 * SEQUENCES + 2: 7,
        4 * SEQUENCES: 2,
    }
    newest = cut[cut["user_id"] == 3 * SEQUENCES]
    assert newest["item_id"].tolist() == list(range(size - LENGTH - 1, size))
    assert newest["datetime"].is_monotonic_increasing


def test_an_item_stands_once_in_a_moment_and_again_in_another() -> None:
    table = pd.DataFrame({"user_id": 1, "item_id": [5, 5, 6, 5], "timestamp": [1.0, 1.0, 1.0, 2.0]})
    assert sequences(table)["item_id"].tolist() == [5, 6, 5]


def test_the_last_action_of_some_newest_sequences_judges() -> None:
    table = sequences(pd.concat([actions(user, LENGTH + 3) for user in (HELD_OUT, 3)]))
    judged = table[last_of_some(table)]
    assert judged["user_id"].tolist() == [HELD_OUT * SEQUENCES]
    assert judged["item_id"].tolist() == [LENGTH + 2]


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Has the peers lie elsewhere; what is given to it is run to install them."""
    monkeypatch.setattr(environment, "PEERS", tmp_path / "peers")
    monkeypatch.setattr(environment, "PROJECT_ROOT", tmp_path)

    def by(line: str) -> None:
        script = tmp_path / "install.sh"
        script.write_text(f"#!/bin/sh\nset -e\n{line}\n")
        script.chmod(0o755)
        monkeypatch.setattr(environment, "_INSTALL", script)

    return by


def test_peers_are_installed_once_for_each_list(install, tmp_path) -> None:
    peers, listed = environment.PEERS, environment.LIST
    install(f"mkdir -p {peers}; cp {listed} {peers}; echo >> {tmp_path}/times")
    times = tmp_path / "times"
    environment.have_peers()
    _, told = environment.peer_command("sasrec.py")
    assert told["PYTHONPATH"] == str(peers)
    assert len(times.read_text()) == 1
    (peers / listed.name).write_text("rectools==0.0\n")
    environment.have_peers()
    assert len(times.read_text()) == 2
    assert (peers / listed.name).read_bytes() == listed.read_bytes()


def test_peers_that_cannot_be_installed_are_told_with_what_is_expected(install) -> None:
    install("exit 3")
    with pytest.raises(DataError, match=r"ended with 3, as told above: expected `uv`"):
        environment.peer_command("sasrec.py")
