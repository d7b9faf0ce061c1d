"""What a typo on the command line of a benchmark gives: the name that was meant, no traceback."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow  # each imports all of training anew


@pytest.mark.parametrize(
    ("command", "meant"),
    [
        (["benchmarks.quality", "--cases", "campain-8"], "campaign-8"),
        (["benchmarks.headroom", "--case", "complete-journy"], "complete-journey"),
        (["benchmarks.cold_start", "--profile", "quik"], "quick"),
        (["benchmarks.loop", "--profile", "quik"], "quick"),
    ],
)
def test_a_typo_is_named_with_a_suggestion(command, meant, tmp_path):
    asked = [sys.executable, "-m", *command, "--home", str(tmp_path)]
    done = subprocess.run(asked, check=False, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: unknown ")
    assert f"did you mean '{meant}'" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


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
