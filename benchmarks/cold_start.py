"""Cold start: items without any event and users without any, by holding out whole ones.

    python -m benchmarks.cold_start > cold_start.json
    python -m benchmarks.cold_start --profile standard --seeds 17 18 > cold_start.json

Progress goes to stderr, one JSON object to stdout. From Complete Journey every event before the
split of a tenth of its users and of a tenth of the items ordered in it is taken out, whether they
come back or not; both models are trained on what is left. Then

- `users` ranks all items for the held-out users, of whom nothing but their declared tags is known;
- `items` ranks the held-out items, known by their attributes alone, for the other users;
- `among_all` ranks them among all items, as serving proposes candidates, and says which share of
  the first 20 places and of the hits there is theirs, and which share of what was ordered.

Two baselines can rank such items: `attribute_affinity`, what the user acts on by attribute, then
how popular the attribute is; and `taste`, by which the source `unseen` proposes. A seed draws whom
and what is held out, too, so each has users of its own: rows as in `qianmian evaluate --json` are
means over the seeds, with an interval over users for a single seed; `ndcg_by_seed` tells how they
spread.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from benchmarks import command
from benchmarks.quality.cases import case_of, declare, declared, imported, prepare
from benchmarks.trained import trained
from qianmian.contracts import columns as c
from qianmian.data.record import record_in
from qianmian.data.store import Dataset
from qianmian.features.item_table import Int32
from qianmian.features.snapshots import build, schedule
from qianmian.features.store import FeatureRepo
from qianmian.releases.bundle import Bundle
from qianmian.retrieval.sources import SourceQuotas, top_k
from qianmian.workspace import DEFAULT_DATASET, Workspace
from training.baselines import popularity
from training.evaluate import catalogue_of, evaluate
from training.history import History
from training.profile import TrainingProfile, load_profile
from training.revision import source_hash
from training.slices import ALL, Ranking
from training.subjects import Subject, refuse_a_known_future, subjects_of
from training.systems import System, baselines, models, ranked_items

HELD_OUT: Final = "held_out.json"
SHARE: Final = 0.1
K: Final = 20


def main() -> None:
    """Hold out, train and judge with each seed, and print."""
    options = _options()
    profile = load_profile(options.profile)
    found = [
        _judged(options.home, profile.model_copy(update={"seed": seed})) for seed in options.seeds
    ]
    command.report({**joined(found), "profile": profile.name, "seeds": options.seeds})


def _judged(home: Path, profile: TrainingProfile) -> dict[str, Any]:
    """Train on what is left by the profile's seed, and judge what was held out."""
    workspace, held_out = prepared(home, profile)
    dataset, repo = Dataset.open(workspace), FeatureRepo.open(workspace)
    refuse_a_known_future(dataset)
    with trained(dataset, repo, profile, command.say) as (learned, bundle):
        history = learned.run.history
        cold = history.catalogue.indices_of(held_out["items"])
        pool = np.sort(cold[cold >= 0]).astype(np.int32)
        cold_users = set(held_out["users"])
        subjects = list(subjects_of(history, dataset))
        strangers = [s for s in subjects if s.user_id in cold_users]
        others = [s for s in subjects if s.user_id not in cold_users]
        of_pool = subjects_of(history, dataset, pool)
        askers = [s for s in of_pool if s.user_id not in cold_users and len(s.owned)]
        return {
            "users": _rows(history, strangers, _known(history, bundle), ranked_items(history)),
            "items": _rows(history, askers, _unknown(history, bundle, pool), pool),
            "among_all": _among_all(history, bundle, others, pool),
            "held_out": {name: len(ids) for name, ids in held_out.items()},
        }


def joined(found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Means over the seeds of all numbers; of each row its NDCG with each seed besides.

    Intervals over users are told of a single seed alone: each has users of its own.
    """
    report: dict[str, Any] = _mean([dict(one) for one in found])
    for part in ("users", "items"):
        for i, row in enumerate(report[part]):
            row["ndcg_by_seed"] = [one[part][i]["ndcg"] for one in found]
    return report


def _mean(same: Sequence[Any]) -> Any:
    """The mean of values of the same form, leaf by leaf; text is what the first says."""
    first = same[0]
    if isinstance(first, Mapping):
        names = [name for name in first if len(same) == 1 or name not in _OVER_USERS]
        return {name: _mean([one[name] for one in same if name in one]) for name in names}
    if isinstance(first, list):
        return [_mean(each) for each in zip(*same, strict=True)]
    if isinstance(first, str):
        return first
    mean = float(np.mean(same))
    return round(mean) if isinstance(first, int) else mean


_OVER_USERS: Final = ("ci_low", "ci_high", "ratio_low", "ratio_high")


def _known(history: History, bundle: Bundle) -> dict[str, System]:
    """Systems for the users of whom nothing is known, over all trained items."""
    ranked = ranked_items(history)
    every = {
        **baselines(history, bundle, ranked),
        **models(history, bundle, ranked, SourceQuotas()),
    }
    return {n: every[n] for n in ("popularity_all_time", "popularity", "two_tower", "two_stage")}


def _unknown(history: History, bundle: Bundle, pool: Int32) -> dict[str, System]:
    """Systems for the items without an event."""
    popular = popularity(history.targets, len(history.catalogue), history.cut)
    columns = {n: history.catalogue.attributes[n].codes for n in history.affinity_columns}
    by_value = {n: np.bincount(codes, weights=popular) for n, codes in columns.items()}
    prior = sum((by_value[n] / by_value[n].max())[codes[pool]] for n, codes in columns.items())
    chance, families = np.random.default_rng(0), bundle.features.families

    def attribute_affinity(subject: Subject) -> Ranking:
        scores = 1e-3 * np.asarray(prior)
        for name, affinity in subject.state.affinity.items():
            shares = np.zeros(len(by_value[name]))
            shares[affinity.codes] = affinity.weights / max(float(affinity.weights.sum()), 1e-9)
            scores = scores + shares[columns[name][pool]]
        return Ranking(pool, scores)

    return {
        "random": lambda _: Ranking(pool, chance.random(len(pool))),
        "attribute_popularity": lambda _: Ranking(pool, np.asarray(prior)),
        "attribute_affinity": attribute_affinity,
        "taste": lambda s: Ranking(pool, families.taste(s.state.ledger, pool)),
        **models(history, bundle, pool, SourceQuotas.only(unseen=1000)),  # of these items alone
    }


def _among_all(
    history: History, bundle: Bundle, subjects: list[Subject], cold: Int32
) -> dict[str, dict[str, float]]:
    """Shares that belong to the held-out items: of the first places, the hits, what was ordered."""
    every = np.union1d(ranked_items(history), cold).astype(np.int32)
    relevant = np.concatenate([s.relevant for s in subjects])
    found = {"ordered": {"share": float(np.isin(relevant, cold).mean())}}
    for name, system in models(history, bundle, every, SourceQuotas()).items():
        places, hits = [], []
        for subject in subjects:
            ranking = system(subject)
            items = ranking.items[top_k(ranking.scores, K)]
            places.append(items)
            hits.append(items[np.isin(items, subject.relevant)])
        found[name] = {
            "places": float(np.isin(np.concatenate(places), cold).mean()),
            "hits": float(np.isin(np.concatenate(hits), cold).mean()),
        }
    return found


def _rows(
    history: History, subjects: list[Subject], systems: dict[str, System], ranked: Int32
) -> list[dict[str, Any]]:
    evaluation = evaluate(
        subjects,
        systems,
        catalogue_of(history, ranked),
        item_ids=history.catalogue.item_ids,
        progress=command.say,
    )
    rows = evaluation.rows(np.random.default_rng(0))
    return [row.model_dump(exclude_none=True) for row in rows if row.slice == ALL]


def prepared(home: Path, profile: TrainingProfile) -> tuple[Workspace, dict[str, list[str]]]:
    """The workspace without the held-out events, and the held-out ids."""
    whole = prepare(case_of(DEFAULT_DATASET), home, profile, command.say)
    name = f"cold-start-{profile.seed}"
    workspace, source = Workspace(home, name), home / "sources" / name
    recipe = Path(__file__).read_text(encoding="utf-8") + record_in(whole.data).fingerprint
    recipe += source_hash(("benchmarks/quality",))
    taken_out = partial(hold_out, Dataset.open(whole), seed=profile.seed)
    imported(workspace, source, recipe, taken_out, command.say)
    dataset = Dataset.open(workspace)
    cut = dataset.spec.split.train_end.timestamp()
    build(workspace, dataset, schedule(cut, profile.snapshots.every_days, profile.snapshots.count))
    held_out: dict[str, list[str]] = json.loads((source / HELD_OUT).read_text(encoding="utf-8"))
    return workspace, held_out


def hold_out(dataset: Dataset, folder: Path, *, seed: int) -> None:
    """Write the data set without any past of some users and items, and who and what they are."""
    for path in dataset.folder.glob("*.parquet"):
        shutil.copy(path, folder)
    events = pd.read_parquet(dataset.folder / c.EVENTS_FILE)
    split, rng = dataset.spec.split, np.random.default_rng(seed)
    before = events[c.TIMESTAMP] < split.train_end
    known = events[before & (events[c.EVENT_TYPE] == dataset.spec.target.value)]
    chosen = {
        name: rng.permutation(np.sort(known[column].unique()))[
            : int(SHARE * known[column].nunique())
        ].tolist()
        for name, column in (("users", c.USER_ID), ("items", c.ITEM_ID))
    }
    gone = events[c.USER_ID].isin(chosen["users"]) | events[c.ITEM_ID].isin(chosen["items"])
    events[~(before & gone)].to_parquet(folder / c.EVENTS_FILE, index=False)
    said = {"train_end": split.train_end.isoformat(), "test_end": split.test_end.isoformat()}
    declare(folder, {**declared(dataset.spec), "split": said})
    (folder / HELD_OUT).write_text(json.dumps(chosen), encoding="utf-8")


def _options() -> argparse.Namespace:
    parser = command.parser("cold_start", __doc__)
    parser.add_argument("--home", type=Path, default=Path("var/benchmarks/quality"))
    parser.add_argument("--profile", default="quick", help="a file of configs/training/")
    command.add_seeds(parser, [17])
    return parser.parse_args()


if __name__ == "__main__":
    command.run(main)
