"""The tables of a report: every system that is in it, numbers as they are."""

import json
import subprocess
import sys

import pytest

from benchmarks.quality.table import NAMES, K, lines


def row(system, label, ndcg):
    return {
        "system": system,
        "slice": label,
        "k": 20,
        "ndcg": ndcg,
        "ci_low": ndcg - 0.01,
        "ci_high": ndcg + 0.01,
        "users": 1234,
        "recall": 0.3,
        "mrr": 0.6,
        "map": 0.2,
        "coverage": 0.05 if label == "all" else None,
        "gini": 0.99,
        "novelty": 6.27,
        "diversity": None,
    }


def over(name, ratio):
    return {"baseline": name, "ratio": ratio, "ci_low": ratio - 0.1, "ci_high": ratio + 0.1}


@pytest.fixture
def case():
    measured = {"two_stage": 0.37, "ease": 0.2182}
    rows = [row(name, label, ndcg) for name, ndcg in measured.items() for label in ("all", "new")]
    order = {"action": "order", "segment": "all", "ece": 0.0071, "ratio": 1.004}
    return {
        "seeds": [17, 18],
        "rows": [*rows, {**row("ease", "all", 0.9), "k": 10}],
        "ratio_to_best": {"all": over("ease", 1.695), "new": over("ease", 1.695)},
        "ratio_to_each": {label: {"ease": over("ease", 1.695)} for label in ("all", "new")},
        "by_seed": [{"all": 0.3695, "new": 0.0508}, {"all": 0.3705, "new": 0.0502}],
        "calibration": [order, {**order, "segment": "activity_level=high", "ece": 0.5}],
    }


def test_every_system_of_the_report_has_a_line_and_ours_is_the_last(case):
    table = list(lines(case))[:4]
    assert [len(line.split("|")) for line in table] == [6] * 4
    assert table[0].startswith("| system | all (1,234 users) | new (1,234 users) |")
    assert table[2] == "| EASE | .218 (.208-.228) | .218 (.208-.228) | 1.695 / 1.695 |"
    assert table[3].startswith("| **two-stage** | **.370 (.360-.380)** |")


def test_what_is_told_below_is_of_all_users(case):
    said = list(lines(case))
    assert "- all: 1.695 (1.595 to 1.795) times EASE" in said
    assert "- all by seed: .3695, .3705" in said
    assert "| EASE | .300 | .600 | .200 | .050 | .990 | 6.3 | - |" in said


def test_chances_are_told_by_segment_with_the_seeds_in_their_order(case):
    case["calibration"].append({**case["calibration"][0], "ece": 0.005, "ratio": None})
    said = list(lines(case))
    assert "| order | all | .0071, .0050 | 1.004, - |" in said
    assert "| order | activity_level=high | .5000 | 1.004 |" in said
    case["calibration"] = []
    assert not any("chance of" in line for line in lines(case)), "a venue's are not measured"


def test_a_ratio_to_nothing_is_none(case):
    case["ratio_to_best"]["new"] |= {"ratio": None, "ci_high": None}
    assert "- new: - (1.595 to -) times EASE" in lines(case)


def test_it_knows_every_system_that_is_measured():
    from benchmarks.quality import report
    from benchmarks.quality.peers import IALS, IALS_NEW, LAMBDARANK, TREES
    from benchmarks.quality.sequence import SASREC
    from training.systems import SYSTEMS

    assert set(NAMES) == {*SYSTEMS, IALS, IALS_NEW, LAMBDARANK, TREES, SASREC}
    assert report.K == K


def test_a_file_that_is_no_report_is_told_in_a_line(case, tmp_path):
    path = tmp_path / "quality.json"
    asked = [sys.executable, "-m", "benchmarks.quality.table", str(path)]
    for text in (None, "{", "[]", '{"cases": []}', '{"cases": {"a": {"seeds": []}}}'):
        if text is not None:
            path.write_text(text)
        done = subprocess.run(asked, check=False, capture_output=True, text=True)
        assert done.returncode == 2
        assert done.stderr.startswith("error: report=")
    path.write_text(json.dumps({"cases": {"complete-journey": case}}))
    done = subprocess.run(asked, check=False, capture_output=True, text=True)
    assert done.stdout.startswith("## complete-journey, 2 seeds\n\n| system |")
