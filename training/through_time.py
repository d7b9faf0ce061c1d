"""Trains the two-tower model through time, and has it propose on the way.

Weeks come in the order in which they happened. At each of the ranker's moments the model, which has
seen nothing later, proposes candidates as of then; what followed labels them.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import numpy as np
import torch

from qianmian.contracts import features as f
from qianmian.distinct import distinct
from qianmian.errors import TrainingError
from qianmian.features.encoding import USER_ROW, item_dense
from qianmian.features.item_table import Int32
from qianmian.features.ranking_features import RankingFeatures
from qianmian.features.user_state import SECONDS_PER_DAY
from qianmian.retrieval.factors import Factors
from qianmian.retrieval.neighbours import Neighbours
from qianmian.retrieval.scale import ScoreScale
from qianmian.retrieval.sources import Pool
from training.actions import items_by_user
from training.checkpoint import Checkpoint
from training.draw import draw
from training.exposures import Exposures
from training.factors import fit_factors
from training.finite import must_be_finite
from training.history import History, weekly
from training.launches import launches
from training.neighbours import fit_neighbours
from training.profile import TrainingProfile
from training.proposals import Examples, closed_to, examples_at, labels_after
from training.run import Run, codes_at
from training.shown import shown_examples
from training.strangers import then_strangers
from training.two_tower import Week

_RATES: Final = "two_tower.table_lr or dense_lr"


def fit_two_tower(run: Run, checkpoint: Checkpoint | None) -> Examples:
    """Train through time; returns the proposals made and the pages met on the way, labelled."""
    history, profile = run.history, run.profile
    proposing = ranker_moments(history, profile)
    logged = logged_pages(run, proposing[0])
    tell_if_fewer(run, proposing)
    reached = checkpoint.restore(run.trainer, run.rng) if checkpoint else None
    if reached is not None:
        run.progress(f"going on after {_day(reached)}, where an earlier run was stopped")
    past: list[Week] = []
    parts: list[Examples] = []
    warm = reached is not None
    for start, end in weekly(history.moments, history.cut):
        week = read_week(run, start, end)
        if checkpoint and reached is not None and start <= reached:
            past += [week] if week else []
            parts += checkpoint.examples(start)
            continue
        made: list[Examples] = []
        if start in proposing:
            if not warm:
                warm_up(run, past)
                warm = True
            made.append(proposals(run, start))
            number = proposing.index(start) + 1
            run.progress(f"proposed candidates as of {_day(start)} ({number}/{len(proposing)})")
        made += logged_in(run, logged, start, end) if warm else []
        if made:
            parts.append(Examples.join(made))
            if checkpoint:
                checkpoint.keep_examples(start, parts[-1])
        if week and warm:
            learn(run, week, start, past)
        past += [week] if week else []
        if checkpoint and warm:
            checkpoint.save(start, run.trainer, run.rng)
    return Examples.join(parts)


def ranker_moments(history: History, profile: TrainingProfile) -> tuple[float, ...]:
    """The last moments whose horizon ends before the cut, with weeks before them to learn from.

    Raises:
        TrainingError: the history is shorter than one horizon and two moments.
    """
    horizon = profile.ranker.horizon_days * SECONDS_PER_DAY
    usable = [m for m in history.moments[1:] if m + horizon <= history.cut + 1.0]
    if not usable:
        raise TrainingError(
            f"no moment lies {profile.ranker.horizon_days:g} days before the split with a week "
            "before it: set ranker.horizon_days or snapshots.every_days lower in the profile, or "
            "snapshots.count higher"
        )
    return tuple(usable[-min(profile.ranker.snapshots, max(1, len(usable) // 2)) :])


def tell_if_fewer(run: Run, proposing: tuple[float, ...]) -> None:
    """Say that the history does not give the ranker as many moments as the profile asks for."""
    asked = run.profile.ranker.snapshots
    if len(proposing) < asked:
        run.progress(
            f"ranker.snapshots={asked}: candidates are proposed at {len(proposing)} moments, what "
            "lies before is for the towers; a higher snapshots.count gives more, as far as the "
            "data reach back"
        )


def warm_up(run: Run, past: list[Week]) -> None:
    """Learn the weeks before the ranker's span, several times, in the order of time."""
    if not past:
        run.progress(
            "two-tower: no target action in the weeks before the ranker's, so what it proposes "
            "first is by chance; a higher snapshots.count or a lower ranker.snapshots gives some"
        )
        return
    run.trainer.standardize(past)
    epochs = run.profile.two_tower.epochs
    for epoch in range(1, epochs + 1):
        lost = float(np.mean([loss for week in past for loss in run.trainer.fit(week)]))
        told = f"two-tower epoch {epoch}/{epochs} over {len(past)} weeks: loss {lost:.4f}"
        run.progress(must_be_finite(lost, told, _RATES))


def learn(run: Run, week: Week, start: float, past: list[Week]) -> None:
    """Learn a new week, after some older ones drawn at random so that they are not forgotten."""
    if not past:  # nothing to warm up on
        run.trainer.standardize([week])
    replayed = min(len(past), run.profile.two_tower.replay)
    again = [past[i] for i in run.rng.choice(len(past), replayed, replace=False)]
    lost = float(np.mean([loss for one in (*again, week) for loss in run.trainer.fit(one)]))
    told = f"two-tower learned the week of {_day(start)}: loss {lost:.4f}"
    run.progress(must_be_finite(lost, told, _RATES))


def read_week(run: Run, start: float, end: float) -> Week | None:
    """Users with a target action in [start, end), as they were known at its start; None: no one."""
    acted = items_by_user(run.history.targets.between(start, end))
    if not acted:
        return None
    users = np.array(sorted(acted), dtype=np.int32)
    states = run.history.states(f.TWO_TOWER_SERVICE, users, start)
    positives = [acted[user] for user in users.tolist()]
    drawn = np.bincount(np.concatenate(positives), minlength=len(run.history.catalogue))
    share, seed = run.profile.two_tower.strangers, run.profile.seed
    twins = draw(len(users), share, what="strangers", seed=seed, moment=start)
    everyone = then_strangers(states, set(twins), run.history.catalogue)
    inputs = run.encoder.encode(((state, start) for state in everyone), len(users) + len(twins))
    inputs[USER_ROW][len(users) :] = 0
    return Week(
        inputs=inputs,
        positives=positives + [positives[twin] for twin in twins],
        item_dense=torch.from_numpy(item_dense(run.history.items(start), start)),
        codes=codes_at(run, start),
        share=torch.from_numpy(drawn / drawn.sum()).float(),
    )


def proposals(run: Run, moment: float) -> Examples:
    """Candidates for every user as of a moment, labelled by what followed.

    Users who came within the horizon take part as what they were then, unknown: the ranker meets
    such visitors in serving. Some items take part once more as if nobody had acted on them.
    """
    history = run.history
    items = history.items(moment)
    codes = codes_at(run, moment)
    vectors = run.trainer.item_vectors(torch.from_numpy(item_dense(items, moment)), codes)
    profile = run.profile.ranker
    negatives = None if moment == run.whole else profile.negatives
    labels = labels_after(history, moment, profile.horizon_days)
    end = moment + profile.horizon_days * SECONDS_PER_DAY
    known, came = history.known_users(moment), history.newcomers(moment, end)
    users = np.concatenate([known, came])
    states = list(history.states(f.RANKER_SERVICE, users, moment))
    inputs = run.encoder.encode(((state, moment) for state in states), len(states))
    inputs[USER_ROW][len(known) :] = 0  # nobody had an id row for them then
    user_vectors = run.trainer.user_vectors(inputs, len(states), codes)
    features = RankingFeatures(items, vectors, run.encoder.affinity_columns, moment)
    proposed = examples_at(
        zip(users.tolist(), states, user_vectors, strict=True),
        moment=moment,
        pool=Pool.build(
            items,
            vectors,
            neighbours_at(run, moment),
            factors_at(run, moment),
            features.families,
            ScoreScale.of(vectors, items.acted_on),
            seen_items(history, moment),
        ),
        closed=closed_to(states, again=history.again),
        features=features,
        labels=labels,
        quotas=profile.quotas,
        negatives=negatives,
        rng=run.rng,
    )
    met = launches(run, moment, items, vectors, known, states[: len(known)], labels)
    return proposed if met is None else Examples.join([proposed, met])


def logged_pages(run: Run, since: float) -> Exposures | None:
    """The pages that the ranker learns from, logged since a moment; None where they are too few."""
    knobs = run.profile.ranker.impressions
    exposures = run.history.exposures(window_hours=knobs.window_hours)
    if exposures is None:
        return None
    exposures = exposures.between(since, np.inf)
    pages = exposures.pages
    if pages < knobs.min_pages:
        run.progress(
            f"{pages:,} logged pages since {_day(since)} are left out: expected "
            f"ranker.impressions.min_pages={knobs.min_pages:,} or more"
        )
        return None
    return exposures.newest(knobs.max_pages)


def logged_in(run: Run, logged: Exposures | None, start: float, end: float) -> list[Examples]:
    """The pages of a week, described by what was known at its start; nothing where none were."""
    pages = logged.between(start, end) if logged is not None else None
    if not pages:
        return []
    described = shown(run, start, pages)
    run.progress(f"described {pages.pages:,} logged pages of the week of {_day(start)}")
    return [described]


def shown(run: Run, moment: float, pages: Exposures) -> Examples:
    """Logged pages after a moment, described by what was known at the moment."""
    history = run.history
    items = history.items(moment)
    codes = codes_at(run, moment)
    vectors = run.trainer.item_vectors(torch.from_numpy(item_dense(items, moment)), codes)
    users = np.unique(pages.users.astype(str)).astype(object)
    states = list(history.states_of(f.RANKER_SERVICE, users, moment))
    inputs = run.encoder.encode(((state, moment) for state in states), len(states))
    known = history.user_ids[history.known_users(moment)]
    inputs[USER_ROW][~np.isin(users, known)] = 0  # nobody had an id row for them then
    user_vectors = run.trainer.user_vectors(inputs, len(states), codes)
    features = RankingFeatures(items, vectors, run.encoder.affinity_columns, moment)
    return shown_examples(
        pages,
        {state.user_id: (state, v) for state, v in zip(states, user_vectors, strict=True)},
        pool=Pool.build(
            items,
            vectors,
            neighbours_at(run, moment),
            factors_at(run, moment),
            features.families,
            ScoreScale.of(vectors, items.acted_on),
            np.union1d(seen_items(history, moment), pages.items),
        ),
        features=features,
        again=history.again,
        profile=run.profile.ranker,
    )


def neighbours_at(run: Run, moment: float) -> Neighbours:
    """Item neighbours as the target actions before a moment teach them."""
    history = run.history
    return fit_neighbours(
        history.targets,
        users=len(history.user_ids),
        items=len(history.catalogue),
        moment=moment,
        profile=run.profile.neighbours,
    )


def factors_at(run: Run, moment: float) -> Factors:
    """Item factors as the target actions before a moment teach them."""
    history = run.history
    return fit_factors(
        history.targets,
        users=len(history.user_ids),
        items=len(history.catalogue),
        moment=moment,
        profile=run.profile.factors,
        regularization=run.regularization,
        seed=run.profile.seed,
    )


def seen_items(history: History, moment: float) -> Int32:
    """Items with a target action before a moment."""
    return distinct(history.targets.between(-np.inf, moment).items)


def _day(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment, tz=UTC):%Y-%m-%d}"
