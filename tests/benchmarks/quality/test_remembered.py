"""What is there already is kept as long as nothing that decides it has changed, and no longer."""

import numpy as np
import pandas as pd
import pytest

from benchmarks.quality import seeds
from benchmarks.quality.cases import Case, imported
from benchmarks.quality.seeds import Result, result_of
from benchmarks.remembered import Code
from qianmian.contracts import columns as c
from qianmian.data.importing import import_source
from qianmian.data.source import find_source
from qianmian.workspace import Workspace
from tests.conftest import SMALL
from tests.small_shop import write_shop
from training.profile import TrainingProfile

CASE = Case("small", "the shop", "small-shop")
PROFILE = TrainingProfile.model_validate(SMALL)


@pytest.fixture
def workspace(tmp_path):
    workspace = Workspace(tmp_path / "home", CASE.dataset)
    source = find_source(str(write_shop(tmp_path / "source")), CASE.dataset)
    import_source(source, workspace, lambda _: None)
    return workspace


@pytest.fixture
def runs(monkeypatch):
    """The runs that were made instead of remembered: a seed each."""
    made = []

    def run(case, workspace, profile, *, with_sequence, progress):
        made.append(profile.seed)
        key = ("two_stage", "all", 20)
        rows = [{"system": "two_stage", "ratio": None}]
        return Result(profile.seed, rows, [], {"all": 1.0}, {key: np.linspace(0, 1, 3)})

    monkeypatch.setattr(seeds, "_run", run)
    return made


def ask(workspace, profile=PROFILE, *, with_sequence=False, told=None):
    say = (told if told is not None else []).append
    return result_of(CASE, workspace, profile, with_sequence=with_sequence, progress=say)


def test_a_result_is_of_its_seed_profile_peers_and_data(workspace, runs):
    other = PROFILE.model_copy(update={"seed": PROFILE.seed + 1})
    for _ in range(2):  # the second time all of them are remembered
        ask(workspace)
        ask(workspace, other)
        ask(workspace, PROFILE.model_copy(update={"name": "another"}))
        ask(workspace, with_sequence=True)
    assert len(runs) == 4
    assert ask(workspace, other).seed == other.seed
    spec = workspace.data / c.DATASET_FILE
    spec.write_text(spec.read_text() + "# declared otherwise\n")
    ask(workspace)
    assert len(runs) == 5


def test_a_result_comes_back_from_disk_as_it_was(workspace, runs):
    first, again = ask(workspace), ask(workspace)
    assert runs == [PROFILE.seed]
    assert (again.seed, again.rows, again.calibration, again.seconds) == (
        (first.seed, first.rows, first.calibration, first.seconds)
    )
    assert again.ndcg.keys() == first.ndcg.keys()
    for key, values in first.ndcg.items():
        assert np.array_equal(again.ndcg[key], values)


def test_a_moved_split_is_another_result(workspace, runs):
    from qianmian.data.splitting import move_split
    from qianmian.data.store import Dataset

    ask(workspace)
    split = Dataset.open(workspace).spec.split
    move_split(workspace, split.train_end - pd.Timedelta(days=7), split.train_end)
    ask(workspace)
    assert len(runs) == 2


def test_a_result_of_code_that_changed_meanwhile_is_told_and_not_kept(workspace, runs, monkeypatch):
    told = []
    with monkeypatch.context() as patched:
        patched.setattr(Code, "now", lambda _: "edited")
        ask(workspace, told=told)
    assert "not kept" in told[-1]
    ask(workspace)
    assert len(runs) == 2
    ask(workspace)
    assert len(runs) == 2


def test_data_are_written_and_imported_anew_for_another_recipe(tmp_path):
    workspace, folder = Workspace(tmp_path / "home", "small-shop"), tmp_path / "sources" / "shop"
    written = []

    def write(place):
        assert not list(place.iterdir())
        write_shop(place)
        written.append(place)

    for recipe in ("a tenth", "a tenth", "a fifth", "a fifth"):
        imported(workspace, folder, recipe, write, lambda _: None)
    assert written == [folder, folder]
    assert (workspace.data / c.IMPORT_FILE).is_file()
