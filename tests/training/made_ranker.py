"""Proposals and pages whose truth is known, and rankers that learn from them."""

import numpy as np
import torch

from tests.training.made import made
from training.profile import RankerProfile
from training.ranker import Task, fit_ranker

PAGE, WIDTH = 10, 4
DAY = 86_400.0
PROFILE = RankerProfile.model_validate(
    {
        "teacher": {"trees": 0},
        "hidden": [4],
        "epochs": 4,
        "groups_per_batch": 64,
        "lr": 2e-2,
        "dropout": 0.0,
    }
)


def proposed(rng, *, groups=200, actions=2, moments=(0.0,)):
    rows = groups * PAGE
    features = rng.normal(size=(rows, WIDTH)).astype(np.float32)
    labels = np.zeros((rows, actions), dtype=np.float32)
    labels[:, -1] = rng.random(rows) < sigmoid(-2 + features[:, 1])
    return made(
        features,
        labels,
        size=PAGE,
        moments=np.repeat(np.array(moments), groups // len(moments)),
    )


def pages(rng, *, groups=3000, examination=1.0):
    """Pages ordered by what is wanted, but noisily; places are looked at as p ** -examination."""
    features = rng.normal(size=(groups, PAGE, WIDTH)).astype(np.float32)
    order = np.argsort(-(features[..., 0] + rng.normal(size=(groups, PAGE))), axis=1)
    features = np.take_along_axis(features, order[..., None], axis=1)
    positions = np.tile(np.arange(1, PAGE + 1, dtype=np.int32), groups)
    features = features.reshape(-1, WIDTH)
    chance = sigmoid(-1.5 + 0.8 * features[:, 0]) * positions ** -float(examination)
    labels = np.zeros((len(features), 2), dtype=np.float32)
    labels[:, 0] = rng.random(len(features)) < chance
    return made(
        features,
        labels,
        size=PAGE,
        moments=np.arange(groups) * 60.0,
        positions=positions,
        shown=np.ones(groups, dtype=bool),
    )


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def fit(examples, told=None):
    return trained(examples, told).model


def trained(examples, told=None, *, codes=None, **changed):
    torch.manual_seed(5)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # small matrices: a second thread costs more than it brings
    ranker = fit_ranker(
        examples,
        PROFILE.model_copy(update=changed),
        Task(actions=examples.labels.shape[1], target=1, repeat=WIDTH - 1, codes=codes),
        rng=np.random.default_rng(5),
        progress=(told if told is not None else []).append,
    )
    torch.set_num_threads(threads)
    return ranker


def log_loss(ranker, logits, happened):
    p = torch.sigmoid(ranker.calibrate(logits))[:, 1].double().numpy()
    return -np.mean(np.where(happened, np.log(p), np.log(1 - p)))


def chances(ranker, features, *, on_page=True):
    with torch.no_grad():
        shown, expected = ranker.probabilities(torch.from_numpy(features))
    return (shown if on_page else expected).numpy()
