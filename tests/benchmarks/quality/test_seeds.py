"""One seed of one case, whole: models and peers trained, judged, remembered."""

import numpy as np
import pytest

from benchmarks.quality.cases import Case
from benchmarks.quality.report import report_of
from benchmarks.quality.seeds import result_of
from tests.conftest import SMALL
from training.profile import TrainingProfile

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings(
        "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"
    ),
]


def test_a_seed_is_judged_beside_every_peer_and_not_run_twice(small_shop, monkeypatch):
    case = Case("small", "half of the shop", small_shop.dataset, "half")
    profile = TrainingProfile.model_validate(SMALL)
    told: list[str] = []
    result = result_of(case, small_shop, profile, with_sequence=False, progress=told.append)
    systems = {row["system"] for row in result.rows}
    assert systems >= {"personal_frequency", "ease", "ials", "lambdarank", "two_stage"}
    best = report_of([result])["ratio_to_best"]["all"]
    assert best["baseline"] in systems - {"two_stage", "two_tower"}
    assert best["ci_low"] <= best["ratio"] <= best["ci_high"]

    monkeypatch.setattr("benchmarks.quality.seeds._run", None)
    again = result_of(case, small_shop, profile, with_sequence=False, progress=told.append)
    assert told[-1].endswith("remembered")
    assert again.rows == result.rows
    key = ("two_stage", "all", 20)
    assert np.array_equal(again.ndcg[key], result.ndcg[key])
