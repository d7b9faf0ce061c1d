"""How a release is judged: beside baselines, on held-out time, by lists others can read."""

from dataclasses import replace

import numpy as np
import pytest

from qianmian.contracts.events import EventType
from qianmian.errors import ReleaseError

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"
)


def test_the_manifest_tells_each_baseline_how_far_two_stage_is_ahead(parts):
    *_, store, _ = parts
    rows = {(r.system, r.slice, r.k): r for r in store.get("live").metrics}
    ours, theirs = rows["two_stage", "all", 10], rows["popularity", "all", 10]
    assert theirs.ratio == pytest.approx(ours.ndcg / theirs.ndcg)
    assert theirs.ratio_low < theirs.ratio < theirs.ratio_high
    assert ours.ratio is None
    assert 0 < ours.coverage <= 1
    assert 0 <= ours.gini <= 1
    assert {label for _, label, _ in rows} >= {"all", "repeat", "new", "activity_level=high"}


def test_the_manifest_tells_how_probabilities_held_after_the_split(parts):
    *_, store, _ = parts
    manifest = store.get("live")
    assert set(manifest.calibrated) == set(manifest.actions)
    # two weeks follow the split, so a horizon of four cannot be judged
    assert manifest.horizon_days == 28.0
    assert manifest.calibration == ()


@pytest.mark.parametrize("again", [True, False])
def test_where_nobody_acts_again_what_a_user_had_is_not_foretold(parts, monkeypatch, again):
    from qianmian.retrieval.sources import SourceQuotas
    from training import reliability
    from training.systems import ranked_items

    dataset, _, history, _, bundle = parts
    monkeypatch.setattr(history, "again", again)
    monkeypatch.setattr(reliability, "by_all_cores", map)
    expect, seen = bundle.expect, []

    def expected(state, candidates, moment):
        seen.append(np.isin(candidates.items, state.ledger.items))
        return expect(state, candidates, moment)

    monkeypatch.setattr(type(bundle), "expect", lambda _, *asked: expected(*asked))
    ranked = ranked_items(history)
    assert reliability.calibration_rows(
        bundle, history, dataset, ranked, quotas=SourceQuotas(), horizon_days=14.0
    )
    assert np.concatenate(seen).any() == again


def test_calibration_is_measured_where_the_horizon_fits(parts):
    from qianmian.retrieval.sources import SourceQuotas
    from training.reliability import calibration_rows
    from training.systems import ranked_items

    dataset, _, history, _, bundle = parts
    ranked = ranked_items(history)
    rows = calibration_rows(
        bundle, history, dataset, ranked, quotas=SourceQuotas(), horizon_days=14.0
    )
    overall = {row.action: row for row in rows if row.segment == "all"}
    assert set(overall) == set(bundle.actions)
    order = overall["order"]
    # the shop goes on as it was: in two of the four weeks a chance speaks of, half of it or more
    assert 1.0 < order.ratio < 2.5
    assert order.predicted - order.actual - 1e-9 <= order.ece < 0.1
    segments = [row for row in rows if row.action == "order" and "activity" in row.segment]
    assert sum(row.candidates for row in segments) == order.candidates
    of_orders = calibration_rows(
        bundle,
        history,
        dataset,
        ranked,
        quotas=SourceQuotas(),
        horizon_days=14.0,
        without={EventType.CLICK},
    )
    assert {row.action for row in of_orders} == {"order"}


def test_a_release_that_predicts_fewer_actions_is_held_against_its_own(parts):
    """Its data may have got other actions since."""
    from qianmian.retrieval.sources import SourceQuotas
    from training.reliability import calibration_rows
    from training.systems import ranked_items

    dataset, _, history, _, bundle = parts
    kept = bundle.actions.index(EventType.ORDER)
    assert kept > 0, "an action stands before the one that is kept"
    older = replace(bundle, actions=(EventType.ORDER,))

    def actual(judged):
        rows = calibration_rows(
            judged,
            history,
            dataset,
            ranked_items(history),
            quotas=SourceQuotas(),
            horizon_days=14.0,
        )
        return {row.segment: row.actual for row in rows if row.action == EventType.ORDER}

    assert actual(older) == actual(bundle)


def test_two_stage_is_ahead_of_popularity(parts):
    *_, store, _ = parts
    ndcg = {
        row.system: row.ndcg
        for row in store.get("live").metrics
        if row.slice == "all" and row.k == 10
    }
    assert ndcg["two_stage"] > 1.5 * ndcg["popularity"]


def test_lists_can_be_judged_with_other_tools(parts, tmp_path):
    import pandas as pd

    dataset, _, history, _, bundle = parts
    from qianmian.retrieval.sources import SourceQuotas
    from training.judge import measure

    path = tmp_path / "lists.parquet"
    rows = measure(
        bundle, history, dataset, quotas=SourceQuotas(), horizon_days=None, lists=path
    ).metrics
    lists = pd.read_parquet(path)
    assert list(lists.columns) == ["system", "user_id", "item_id", "rank", "score"]
    assert not lists.duplicated(["system", "user_id", "item_id"]).any()
    assert not lists.duplicated(["system", "user_id", "rank"]).any()
    events = dataset.events(["user_id", "item_id", "event_type", "timestamp"])
    orders = events[events["event_type"] == "order"].astype({"user_id": str, "item_id": str})
    cut = dataset.spec.split.train_end
    had = orders[orders["timestamp"] < cut].groupby("user_id")["item_id"].agg(set)
    wanted = orders[orders["timestamp"] >= cut].groupby("user_id")["item_id"].agg(set)
    for label in ("all", "repeat", "new"):
        for system in ("popularity", "two_stage"):
            recalls = []
            for user, relevant in wanted.items():
                ranked = lists[(lists["system"] == system) & (lists["user_id"] == user)]
                items = ranked.sort_values("rank")["item_id"].tolist()
                keep = {
                    "all": lambda _item: True,
                    "repeat": lambda item, user=user: item in had[user],
                    "new": lambda item, user=user: item not in had[user],
                }[label]
                held = {item for item in relevant if keep(item)}
                if held:
                    top = [item for item in items if keep(item)][:10]
                    recalls.append(len(held & set(top)) / min(10, len(held)))
            reported = next(
                r.recall for r in rows if (r.system, r.slice, r.k) == (system, label, 10)
            )
            assert np.mean(recalls) == pytest.approx(reported, abs=1e-9)
    _same_by_ir_measures(lists, wanted, rows)


def _same_by_ir_measures(lists, wanted, rows):
    """NDCG and reciprocal rank of the written lists, by a library that knows nothing of ours."""
    import ir_measures
    from ir_measures import RR, nDCG

    measures = {"ndcg": nDCG @ 10, "mrr": RR @ 10}
    qrels = [
        ir_measures.Qrel(user, item, 1) for user, relevant in wanted.items() for item in relevant
    ]
    for system in ("popularity", "personal_frequency", "two_stage"):
        of_system = lists[lists["system"] == system]
        run = [
            ir_measures.ScoredDoc(user, item, float(-rank))
            for user, item, rank in zip(
                of_system["user_id"], of_system["item_id"], of_system["rank"], strict=True
            )
        ]
        found = ir_measures.calc_aggregate(list(measures.values()), qrels, run)
        row = next(r for r in rows if (r.system, r.slice, r.k) == (system, "all", 10))
        for name, measure in measures.items():
            assert found[measure] == pytest.approx(getattr(row, name), abs=1e-6)


def test_a_release_that_saw_the_test_is_not_evaluated(small_shop, parts):
    from datetime import timedelta

    from training import judge as judging

    dataset, *_ = parts
    path = small_shop.data / "dataset.yaml"
    text = path.read_text()
    earlier = dataset.spec.split.train_end - timedelta(days=7)
    shown = f"{dataset.spec.split.train_end:%Y-%m-%d}"
    path.write_text(text.replace(shown, f"{earlier:%Y-%m-%d}", 1))
    try:
        with pytest.raises(ReleaseError, match="measure memory"):
            judging.judge(small_shop, "live")
    finally:
        path.write_text(text)


def test_a_split_of_the_datas_own_says_that_what_is_marked_valid_was_learned(
    small_shop, monkeypatch, tmp_path
):
    import shutil

    import pandas as pd

    from qianmian.workspace import Workspace
    from training import judge as judging

    shutil.copytree(small_shop.path, tmp_path / small_shop.dataset, symlinks=True)
    marked = Workspace(tmp_path, small_shop.dataset)
    declared, events = marked.data / "dataset.yaml", marked.data / "events.parquet"
    declared.write_text(declared.read_text().replace("by: time", "by: column"))
    rows = pd.read_parquet(events)
    cut = judging.Dataset.open(marked).spec.split.train_end
    days = (rows["timestamp"] - cut).dt.days
    rows["split"] = np.select([days >= 0, days >= -7], ["test", "valid"], "train")
    rows.to_parquet(events, index=False)
    monkeypatch.setattr(judging.snapshots, "missing", lambda *_: [])  # they are of the same events
    said: list[str] = []
    judging.judge(marked, "live", progress=said.append)
    assert said[0] == "the data set's own split: what it marks `valid` was trained on"


def test_a_release_of_an_earlier_split_is_told_to_know_less_than_the_baselines(
    small_shop, tmp_path
):
    import json
    import shutil

    from qianmian.releases.store import ReleaseStore
    from qianmian.workspace import Workspace
    from training.judge import judge

    shutil.copytree(small_shop.path, tmp_path / small_shop.dataset, symlinks=True)
    shop = Workspace(tmp_path, small_shop.dataset)
    path = ReleaseStore(shop.releases).path("live") / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["data_window"]["end"] = "2024-04-01T00:00:00Z"
    path.write_text(json.dumps(manifest))
    said: list[str] = []
    judge(shop, "live", progress=said.append)
    assert "events up to 2024-04-01 00:00, the baselines up to the split at 2024-04-08" in said[0]


def test_a_release_that_knows_other_items_is_not_evaluated(small_shop, monkeypatch):
    from training import judge as judging

    def grown(*args, **knobs):
        history = type(judged_history)(*args, **knobs)
        ids = history.catalogue.item_ids
        history.catalogue = replace(history.catalogue, item_ids=np.concatenate([["a"], ids[1:]]))
        return history

    judged_history = judging.History.__new__(judging.History)
    monkeypatch.setattr(judging, "History", grown)
    with pytest.raises(ReleaseError, match="knows 130 items, the data set now has 130"):
        judging.judge(small_shop, "live")


def test_a_split_without_features_is_not_evaluated(small_shop, monkeypatch):
    from training import judge as judging

    monkeypatch.setattr(judging.snapshots, "missing", lambda _, moments: list(moments))
    with pytest.raises(ReleaseError, match="run `qianmian features build` and evaluate again"):
        judging.judge(small_shop, "live")


def test_too_short_a_test_says_that_calibration_is_not_measured(parts):
    from qianmian.retrieval.sources import SourceQuotas
    from training.judge import measure

    dataset, _, history, _, bundle = parts
    said: list[str] = []
    found = measure(
        bundle, history, dataset, quotas=SourceQuotas(), horizon_days=28.0, progress=said.append
    )
    assert found.calibration == []
    assert any("14.00 days follow the split, and a probability speaks of 28" in t for t in said)


def test_a_release_whose_ranker_tells_no_horizon_is_not_evaluated(small_shop, parts, monkeypatch):
    from training import judge as judging

    assert parts[-1].tells_horizon
    monkeypatch.setattr(type(parts[-1]), "tells_horizon", False)
    with pytest.raises(ReleaseError, match="train again"):
        judging.judge(small_shop, "live")


def test_where_nothing_is_repeated_sources_propose_what_the_user_does_not_have(parts, monkeypatch):
    from qianmian.retrieval.sources import SourceQuotas
    from training.subjects import subjects_of
    from training.systems import proposing, ranked_items

    dataset, _, history, _, bundle = parts
    quotas = SourceQuotas(
        repeat=10, neighbours=5, factors=5, two_tower=5, trending=5, new=2, unseen=2
    )
    subject = max(subjects_of(history, dataset), key=lambda one: len(one.owned))

    def proposed(*, again):
        monkeypatch.setattr(history, "again", again)
        return proposing(history, bundle, ranked_items(history), quotas)(subject)

    assert np.isin(subject.owned, proposed(again=True).items).any()
    once = proposed(again=False)
    assert not np.isin(subject.owned, once.items).any()
    of_trending = int((once.source == proposed(again=True).source.max()).sum())
    assert len(once) >= quotas.two_tower + of_trending


def test_one_core_and_two_find_the_same(parts, monkeypatch):
    from qianmian.retrieval.sources import SourceQuotas
    from training import workers
    from training.judge import measure

    dataset, _, history, _, bundle = parts
    monkeypatch.setattr(workers, "_WORTH_A_FORK", 1)
    found = []
    for cores in (1, 2):
        monkeypatch.setattr(workers, "cores", lambda cores=cores: cores)
        found.append(measure(bundle, history, dataset, quotas=SourceQuotas(), horizon_days=7.0))
    one, two = found
    assert one.metrics == two.metrics
    assert one.calibration == two.calibration
    assert one.calibration
