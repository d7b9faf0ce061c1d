import os
import subprocess
import sys

from qianmian.workspace import PROJECT_ROOT

OPENED = """
import sys
from qianmian.features.feast_import import import_feast

feast = import_feast()
assert "torch" not in sys.modules, "torch came in"
import typeguard

@typeguard.typechecked
def double(number: int) -> int:
    return 2 * number

try:
    double("2")
except typeguard.TypeCheckError:
    print(feast.__version__)
"""


def test_feast_comes_without_torch_and_leaves_nothing_changed(tmp_path):
    """In a process of its own: here Feast is imported already."""
    script = tmp_path / "opened.py"
    script.write_text(OPENED)
    environment = {**os.environ, "PYTHONPATH": str(PROJECT_ROOT)}
    done = subprocess.run(
        [sys.executable, script], check=True, capture_output=True, text=True, env=environment
    )
    assert done.stdout.strip() == "0.67.0"
