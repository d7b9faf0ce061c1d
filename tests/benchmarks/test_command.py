"""What mistakes on the command line of a benchmark give: a line that tells them, no traceback."""

import json
import subprocess
import sys

import pytest

from benchmarks import command


@pytest.mark.slow  # each imports all of training anew
@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["benchmarks.quality", "--cases", "campain-8"], "campaign-8"),
        (["benchmarks.headroom", "--case", "complete-journy"], "complete-journey"),
        (["benchmarks.cold_start", "--profile", "quik"], "quick"),
        (["benchmarks.loop", "--profile", "quik"], "quick"),
    ],
)
def test_a_typo_is_named_with_a_suggestion(arguments, meant, tmp_path):
    asked = [sys.executable, "-m", *arguments, "--home", str(tmp_path)]
    done = subprocess.run(asked, check=False, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: unknown ")
    assert f"did you mean '{meant}'" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["serving", "training", "replay", "sessions", "trust", "freshness", "ranker_graph"]
)
def test_a_data_set_that_is_not_there_is_told_in_a_line(name, tmp_path):
    asked = [sys.executable, "-m", f"benchmarks.{name}", "--home", str(tmp_path)]
    done = subprocess.run(asked, check=False, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "error: " in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("loop", "--rounds"),
        ("ranker_graph", "--repeats"),
        ("rerank", "--rounds"),
        ("scale", "--sizes"),
        ("serving", "--rounds"),
        ("training", "--rounds"),
    ],
)
def test_none_of_what_a_benchmark_repeats_is_refused(name, option):
    asked = [sys.executable, "-m", f"benchmarks.{name}", option, "0"]
    done = subprocess.run(asked, check=False, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stdout == ""
    assert f"argument {option}: expected 1 or more, got 0" in done.stderr


def test_a_report_is_one_object_that_says_where_it_was_made(capsys):
    command.say("on the way")
    command.report({"rows": [1]})
    told = capsys.readouterr()
    assert told.err == "on the way\n"
    assert json.loads(told.out) == {"rows": [1], "machine": command.machine()}
