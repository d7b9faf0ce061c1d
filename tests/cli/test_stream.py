"""`qianmian stream` and `qianmian events archive` on a real shop."""

import json
import os
import signal
import subprocess
import sys

import pytest

from qianmian.contracts import features as f
from tests.stream.conftest import built_shop, home, run_cli, sent, shop  # noqa: F401 - fixtures


def test_work_in_what_is_there_and_say_so(shop, run_cli):  # noqa: F811
    assert "no stream has run yet" in run_cli(shop.workspace, "stream", "--status").output
    shop.send(sent(1, "u1", "i19"), sent(2, "u1", "i18", "impression"))
    done = run_cli(shop.workspace, "stream", "--once", "--clock", "2024-08-22T12:10")
    assert "worked in 2 events" in done.output
    assert shop.user("u1")[f.LEDGER_ITEM_IDS][0] == "i19"
    text = run_cli(shop.workspace, "stream", "--status").output
    assert "state       stopped" in text
    assert "lag         0 events" in text
    status = json.loads(run_cli(shop.workspace, "stream", "--status", "--json").output)
    assert (status["events"], status["subjects"], status["running"]) == (2, 1, False)
    done = run_cli(shop.workspace, "events", "archive", "--json")
    assert json.loads(done.output) == {"archived": 2, "left": 0, "events": 2, "parts": 1}
    assert "archived 0 events; 0 are left" in run_cli(shop.workspace, "events", "archive").output


@pytest.mark.slow  # two processes that import everything
def test_a_running_stream_ends_in_order_when_asked(shop):  # noqa: F811
    command = [sys.executable, "-m", "qianmian.cli.main", "--home", str(shop.workspace.root)]
    command += ["--dataset", shop.workspace.dataset, "stream", "--clock", "2024-08-22T12:10"]
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stderr is not None
        assert any(line.startswith("streaming shop") for line in process.stderr)
        second = subprocess.run(
            command, capture_output=True, text=True, env=environment, check=False
        )
        assert second.returncode == 2
        holder = f"another stream of this data set is running (process {process.pid})"
        assert holder in second.stderr
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
