"""What mistakes on the command line of a benchmark give: a line that tells them, no traceback."""

import json
import subprocess
import sys

import pytest

from benchmarks import command
from qianmian.errors import NotFoundError


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
        ("dropout", "--rounds"),
        ("ingestion", "--rounds"),
        ("ranker_graph", "--rounds"),
        ("rerank", "--rounds"),
        ("scale", "--sizes"),
        ("serving", "--rounds"),
        ("training", "--rounds"),
    ],
)
def test_zero_repeats_are_refused(name, option):
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


def test_how_many_has_a_least(capsys):
    parser = command.parser("some", "What it measures.")
    parser.add_argument("--repeats", type=command.at_least(2))
    assert parser.parse_args(["--repeats", "2"]).repeats == 2
    for given, told in (("1", "expected 2 or more, got 1"), ("two", "invalid count value: 'two'")):
        with pytest.raises(SystemExit) as ended:
            parser.parse_args(["--repeats", given])
        assert ended.value.code == 2
        assert told in capsys.readouterr().err


@pytest.mark.parametrize("name", ["quality", "cold_start", "distributed"])
def test_a_seed_named_twice_is_refused(name):
    asked = [sys.executable, "-m", f"benchmarks.{name}", "--seeds", "17", "18", "17"]
    done = subprocess.run(asked, check=False, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "argument --seeds: expected different ones, got 17 18 17" in done.stderr


def test_the_workspace_is_the_one_of_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("QIANMIAN_HOME", str(tmp_path))
    parser = command.parser("some", None)
    command.add_workspace(parser)
    assert parser.parse_args([]).home == tmp_path.resolve()
    monkeypatch.chdir(tmp_path)
    assert parser.parse_args(["--home", "other"]).home == (tmp_path / "other").resolve()


def test_a_benchmark_ends_with_the_code_that_it_gives():
    command.run(lambda: 0)
    command.run(lambda: None)
    with pytest.raises(SystemExit) as ended:
        command.run(lambda: 1)
    assert ended.value.code == 1


def test_a_mistake_ends_with_a_line(capsys):
    def mistaken():
        raise NotFoundError("case", "eary", ["early"])

    with pytest.raises(SystemExit) as ended:
        command.run(mistaken)
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("error: unknown case")
