"""The retrain journey on a small shop: what it learns from, what it proves, what it publishes."""

import numpy as np
import pytest

from models.trees import OPERATOR
from qianmian.contracts import features as f
from qianmian.errors import TrainingError
from qianmian.releases.bundle import RANKER_FILE

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"
)


def test_the_manifest_says_what_was_proven(parts):
    *_, store, _ = parts
    manifest = store.get("live")
    assert manifest.parity.passed
    assert manifest.parity.top_k_agreement >= 0.999
    assert len(manifest.parity.batch_sizes) >= 3
    assert all(output.max_abs_diff <= 1e-5 for output in manifest.parity.outputs)
    assert {row.system for row in manifest.metrics} == {
        "popularity_all_time",
        "popularity",
        "personal_frequency",
        "item_knn",
        "ease",
        "ease_new",
        "two_tower",
        "two_stage",
    }


def test_the_trees_of_the_profile_are_in_the_graph(parts):
    *_, store, _ = parts
    assert OPERATOR.encode() in (store.path("live") / RANKER_FILE).read_bytes()


def test_newcomers_were_unknown_before_and_acted_since(parts):
    _, _, history, _, _ = parts
    first = float(history.targets.at[0])
    start, end = first + 86_400.0, first + 5 * 86_400.0
    came = set(history.newcomers(start, end).tolist())
    known = set(history.known_users(start).tolist())
    acted = set(history.targets.between(start, end).users.tolist())
    assert came
    assert came == acted - known


def test_every_action_that_the_data_holds_has_a_head(parts):
    *_, bundle = parts
    assert set(bundle.actions) == {"click", "order"}


def test_retrieval_has_learned_the_favourite_category(parts):
    _, _, history, _, bundle = parts
    users = history.known_users(history.cut)
    pool = bundle.pool()
    category = bundle.items.attributes["category"]
    shares = []
    for state in history.states(f.RANKER_SERVICE, users, history.cut):
        scores = pool.scores(bundle.user_vector(state, history.cut))
        first = np.argsort(-scores)[:10]
        favourite = f"category-{int(state.user_id[1:]) % 6}"
        shares.append(np.mean([category[i] == favourite for i in first]))
    assert np.mean(shares) > 0.5  # by chance: 1/6


def test_an_item_never_acted_on_has_a_vector_of_its_category(parts):
    *_, bundle = parts
    unseen = bundle.items.index_of("i125")
    assert unseen >= 0
    category = bundle.items.attributes["category"].codes
    unit = bundle.vectors / np.linalg.norm(bundle.vectors, axis=1, keepdims=True)
    near = unit[:120] @ unit[unseen]
    own = category[:120] == category[unseen]
    assert near[own].mean() > near[~own].mean()


def test_a_user_of_whom_nothing_is_known_is_ranked(parts):
    _, _, history, _, bundle = parts
    from qianmian.retrieval.sources import SourceQuotas

    nobody = bundle.user_state("nobody", None)
    vector = bundle.user_vector(nobody, history.cut)
    candidates = bundle.propose(nobody, vector, bundle.pool(), SourceQuotas())
    probabilities = bundle.rank(nobody, candidates, history.cut)
    assert len(candidates) > 0
    assert np.isfinite(probabilities).all()
    assert ((probabilities > 0) & (probabilities < 1)).all()


def test_online_and_offline_features_rank_alike(parts):
    _, repo, history, _, bundle = parts
    from qianmian.retrieval.sources import SourceQuotas

    users = history.known_users(history.cut)[:5]
    for offline in history.states(f.RANKER_SERVICE, users, history.cut):
        online = bundle.user_state(offline.user_id, repo.online_user(offline.user_id))
        ranked = []
        for state in (offline, online):
            vector = bundle.user_vector(state, history.cut)
            candidates = bundle.propose(state, vector, bundle.pool(), SourceQuotas())
            ranked.append((candidates.items, bundle.rank(state, candidates, history.cut)))
        assert np.array_equal(ranked[0][0], ranked[1][0])
        np.testing.assert_allclose(ranked[0][1], ranked[1][1], atol=1e-6)


def test_the_graph_asks_the_memory_about_what_is_new_alone(parts):
    from qianmian.features.memory import MEMORY_ITEMS, Memory
    from qianmian.features.ranking_features import IS_REPEAT
    from qianmian.releases.bundle import CANDIDATES_INPUT, FEATURES_INPUT, HORIZON_OUTPUT
    from qianmian.retrieval.sources import SourceQuotas

    _, _, history, _, bundle = parts
    users, now = history.known_users(history.cut)[:5], history.cut
    for state in history.states(f.RANKER_SERVICE, users, now):
        vector = bundle.user_vector(state, now)
        candidates = bundle.propose(state, vector, bundle.pool(), SourceQuotas())
        rows = bundle.describe(state, candidates, now)
        memory = Memory.stack([Memory.of(state, now)])
        given = {
            FEATURES_INPUT: rows[None],
            CANDIDATES_INPUT: (candidates.items.astype(np.int64) + 1)[None],
            **memory.inputs(),
        }
        said = bundle.ranker.run([HORIZON_OUTPUT], given)[0][0]
        np.testing.assert_array_equal(said, bundle.expect(state, candidates, now))
        nothing = {**given, MEMORY_ITEMS: np.zeros_like(given[MEMORY_ITEMS])}
        changed = (bundle.ranker.run([HORIZON_OUTPUT], nothing)[0][0] != said).any(axis=1)
        new = rows[:, bundle.features.names.index(IS_REPEAT)] <= 0
        assert changed[new].any()
        assert not changed[~new].any()


def test_labels_never_reach_beyond_the_cut(parts):
    from training.proposals import labels_after

    _, _, history, *_ = parts
    with pytest.raises(ValueError, match="beyond the cut"):
        labels_after(history, history.cut - 86_400, 28)


def test_too_short_a_history_is_refused_with_the_remedy(parts):
    from training.profile import load_profile
    from training.through_time import ranker_moments

    _, _, history, *_ = parts
    with pytest.raises(TrainingError, match="horizon_days"):
        ranker_moments(history, load_profile("quick"))


def test_moments_without_features_are_refused_with_the_command(small_shop, parts):
    from training.profile import TrainingProfile
    from training.run import read_history

    dataset, repo, *_ = parts
    longer = {"name": "mine", "description": "more moments than were built"}
    profile = TrainingProfile(**longer, snapshots={"every_days": 3.5, "count": 6})
    expected = (
        r"features of \d of the profile's 6 moments.*`qianmian features build --profile mine`"
    )
    with pytest.raises(TrainingError, match=expected):
        read_history(dataset, repo, profile)


def test_nothing_but_clicks_trains_too(clicks_only):
    from qianmian.releases.bundle import Bundle
    from qianmian.releases.store import ReleaseStore

    bundle = Bundle.load(ReleaseStore(clicks_only.releases).path("live"))
    assert bundle.actions == ("click",)
    assert bundle.encoder.affinity_columns == ()


def test_a_killed_run_goes_on_and_gives_the_same_models(small_shop, tmp_path):
    from qianmian.releases.bundle import Bundle
    from qianmian.releases.store import ReleaseStore
    from tests.conftest import SMALL
    from training import pipeline
    from training.checkpoint import Checkpoint
    from training.profile import TrainingProfile

    class KilledError(Exception):
        pass

    said = []

    def killed_after_two_weeks(message):
        said.append(message)
        if sum("learned the week" in text for text in said) == 2:
            raise KilledError

    profile = TrainingProfile.model_validate(SMALL)
    checkpoint = Checkpoint(tmp_path / "run")
    with pytest.raises(KilledError):
        pipeline.train(small_shop, profile, killed_after_two_weeks, checkpoint)
    again = []
    release = pipeline.train(small_shop, profile, again.append, checkpoint)
    assert any("going on after" in message for message in again)
    assert not (tmp_path / "run").exists()
    store = ReleaseStore(small_shop.releases)
    whole, resumed = Bundle.load(store.path("live")), Bundle.load(store.path(release))
    np.testing.assert_allclose(whole.vectors, resumed.vectors, atol=1e-5)


def test_where_no_horizon_follows_the_manifest_tells_how_the_rehearsal_went(small_shop):
    from typer.testing import CliRunner

    from qianmian.cli.main import app
    from qianmian.releases.store import ReleaseStore
    from tests.conftest import SMALL
    from training import pipeline
    from training.profile import TrainingProfile

    longer = {**SMALL["ranker"], "horizon_days": 21, "snapshots": 4}
    profile = TrainingProfile.model_validate({**SMALL, "ranker": longer})
    release = pipeline.train(small_shop, profile, lambda _: None)
    manifest = ReleaseStore(small_shop.releases).get(release)
    rows = manifest.calibration
    assert {row.period for row in rows} == {"rehearsal"}
    assert {row.action for row in rows} == {a for a, by in manifest.calibrated.items() if by}
    assert "order" in {row.action for row in rows if row.segment == "all"}
    assert {row.segment for row in rows} >= {"activity_level=high"}
    assert all(0 < row.predicted < 1 for row in rows)
    home = ["--home", str(small_shop.root), "--dataset", small_shop.dataset]
    told = CliRunner().invoke(app, [*home, "release", "show", release])
    assert told.exit_code == 0
    assert "in the rehearsal" in told.output
    assert "after the split" not in told.output


def test_somebody_erased_while_it_learns_is_not_named_in_the_release(small_shop, tmp_path):
    import shutil

    import pandas as pd

    from qianmian.releases.bundle import Bundle
    from qianmian.releases.store import ReleaseStore
    from qianmian.workspace import Workspace
    from tests.conftest import SMALL
    from training import pipeline
    from training.profile import TrainingProfile

    shutil.copytree(small_shop.root, tmp_path / "home")
    workspace = Workspace(tmp_path / "home", small_shop.dataset)
    store = ReleaseStore(workspace.releases)
    names = Bundle.load(store.path("live")).encoder.user_ids
    somebody, said = names[3], []

    def erased_at_the_export(message):
        said.append(message)
        if message == "exporting to ONNX":
            path = workspace.data / "events.parquet"
            events = pd.read_parquet(path)
            events[events["user_id"].astype(str) != somebody].to_parquet(path)

    profile = TrainingProfile.model_validate(SMALL)
    release = pipeline.train(workspace, profile, erased_at_the_export)
    named = Bundle.load(store.path(release)).encoder.user_ids
    assert [n for n in named if not n.startswith("erased:")] == [n for n in names if n != somebody]
    assert len(named) == len(names)
    assert any("erased while this run learned" in message for message in said)


def test_fewer_moments_than_asked_for_are_told(small_shop):
    from tests.conftest import SMALL
    from training import pipeline
    from training.profile import TrainingProfile

    class EnoughError(Exception):
        pass

    said = []

    def until_the_towers_learn(message):
        said.append(message)
        if message.startswith("two-tower epoch"):
            raise EnoughError

    asked = {**SMALL, "ranker": {**SMALL["ranker"], "snapshots": 50}}
    with pytest.raises(EnoughError):
        pipeline.train(small_shop, TrainingProfile.model_validate(asked), until_the_towers_learn)
    assert any("ranker.snapshots=50" in text and "snapshots.count" in text for text in said)


def test_parity_of_numbers_that_are_none_is_not_proven(small_shop, parts):
    import torch

    from models.ranker import Ranker
    from qianmian.releases.store import ReleaseStore
    from tests.training.made import made
    from training.export import RankerExport, export_ranker, prove_parity
    from training.quiet import quiet_libraries

    _, _, history, _, bundle = parts
    folder = ReleaseStore(small_shop.releases).path("live")
    ranker = Ranker(features=3, actions=1, hidden=(4,)).eval()
    asked = made(np.zeros((8, 3), np.float32), np.zeros((8, 1), np.float32), size=4)
    with torch.no_grad():
        ranker.members[0].plain.wide.bias.fill_(float("nan"))
    assert all(torch.isnan(p).all() for p in RankerExport(ranker)(torch.zeros(1, 1, 3)))
    users = history.known_users(history.cut)[:4]
    states = history.states(f.TWO_TOWER_SERVICE, users, history.cut)
    inputs = bundle.encoder.encode(((state, history.cut) for state in states), 4)
    staging = small_shop.releases / "nan"
    staging.mkdir()
    for name in ("user_tower.onnx", "user_tower.onnx.data"):
        (staging / name).write_bytes((folder / name).read_bytes())
    with quiet_libraries():
        export_ranker(ranker, asked, staging)

    def tower(*batch):
        named = {name: a.numpy() for name, a in zip(inputs, batch, strict=True)}
        return torch.from_numpy(bundle.user_tower.run(None, named)[0])

    parity = prove_parity(tower, ranker, inputs, bundle.vectors, asked, staging)
    assert not parity.passed


def test_a_declared_user_without_events_is_read_alike_on_both_sides(small_shop, parts):
    _, _, history, _, bundle = parts
    first = history.repo.moments()[0]
    ids = np.array(["u000", "nobody"], dtype=object)
    known, nobody = history.states_of(f.RANKER_SERVICE, ids, first)
    assert known.tags["age"] == "20s"
    assert (nobody.known, nobody.tags.get("age")) == (False, None)
    row = {"age": "20s", "points": 0.0, "activity_level": "none"}
    offline_like = bundle.user_state("newcomer", row)
    assert not offline_like.known
    assert offline_like.tags["age"] == "20s"


def test_a_split_of_its_own_keeps_test_rows_out_of_training(tmp_path):
    import pandas as pd

    from qianmian.data.importing import import_source
    from qianmian.data.source import find_source
    from qianmian.data.store import Dataset
    from qianmian.features.snapshots import build, schedule
    from qianmian.features.store import FeatureRepo
    from qianmian.workspace import Workspace
    from tests.small_shop import write_shop
    from training.history import History
    from training.subjects import held_out_items, refuse_a_known_future

    source = write_shop(tmp_path / "source", events_only=True)
    events = pd.read_parquet(source / "events.parquet")
    events["split"] = np.where(np.arange(len(events)) % 5 == 0, "test", "train")
    events.to_parquet(source / "events.parquet")
    workspace = Workspace(tmp_path, "own-split")
    import_source(find_source(str(source), "own-split"), workspace, lambda _: None)
    dataset = Dataset.open(workspace)
    assert dataset.spec.split.by == "column"
    cut = dataset.spec.split.train_end.timestamp()
    build(workspace, dataset, schedule(cut, 7, 2))
    history = History(dataset, FeatureRepo.open(workspace), moments=(cut,), cut=cut)
    train = events[events["split"] == "train"]
    assert 0 < len(history.targets.items) <= len(train)
    test_users = set(events.loc[events["split"] == "test", "user_id"])
    assert set(held_out_items(history, dataset)) == test_users
    with pytest.raises(TrainingError, match="precedes a training event"):
        refuse_a_known_future(dataset)


@pytest.mark.parametrize("undated", [["train", "test"], ["test"]])
def test_events_without_a_time_cannot_be_judged(tmp_path, undated):
    import pandas as pd

    from qianmian.data.importing import import_source
    from qianmian.data.source import find_source
    from qianmian.data.store import Dataset
    from qianmian.workspace import Workspace
    from tests.small_shop import write_shop
    from training.subjects import refuse_a_known_future

    source = write_shop(tmp_path / "source", events_only=True)
    events = pd.read_parquet(source / "events.parquet")
    events["split"] = np.where(np.arange(len(events)) % 5 == 0, "test", "train")
    events.loc[events["split"].isin(undated), "timestamp"] = pd.NaT
    events.to_parquet(source / "events.parquet")
    workspace = Workspace(tmp_path, "undated")
    import_source(find_source(str(source), "undated"), workspace, lambda _: None)
    with pytest.raises(TrainingError, match=r"[\d,]+ events without a time leave open"):
        refuse_a_known_future(Dataset.open(workspace))
