"""The Serve app: settings from its config file, no torch in it, and the real thing once."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from qianmian.errors import ConfigError, FieldError
from serving.clock import ClockSettings, parse_clock
from serving.environment import check_port, free_port, prepare, read_environment
from serving.launch import SERVE_FILE, ServeFile
from serving.settings import serve_settings

LAZY = """
import sys
import serving.app, serving.cluster
print(sorted({"torch", "torchrec", "models", "training", "onnx"} & set(sys.modules)))
"""


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_no_training_library_in_a_replica() -> None:
    assert run(LAZY) == "[]"


def test_environment_is_set_before_numpy_and_ray() -> None:
    code = "import sys, serving.environment; print({'numpy', 'ray'} & set(sys.modules))"
    assert run(code) == "set()"


def test_the_fast_ingress_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in read_environment():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RAY_SERVE_HAPROXY_NBTHREAD", "4")
    import os

    before = dict(os.environ)
    try:
        prepare(free_port())
        assert os.environ["RAY_SERVE_ENABLE_HA_PROXY"] == "1"
        assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
        assert os.environ["RAY_SERVE_HAPROXY_NBTHREAD"] == "4", "what is set already stays"
    finally:
        os.environ.clear()
        os.environ.update(before)


def test_shipped_file_is_good_and_serves_this_machine_only() -> None:
    file = ServeFile.read(SERVE_FILE)
    assert (file.host, file.port) == ("127.0.0.1", 8000)
    assert file.settings.dataset == "complete-journey"
    assert file.settings.home is not None
    assert file.settings.home.is_absolute()
    assert file.live.feed.release == "live"
    deployment = file.raw["applications"][0]["deployments"][0]
    assert deployment["max_ongoing_requests"] > 5
    assert deployment["max_queued_requests"] > 0


def test_serve_reads_the_shipped_file_too() -> None:
    code = (
        "from ray.serve.schema import ServeDeploySchema; import yaml, pathlib;"
        f"raw = yaml.safe_load(pathlib.Path({str(SERVE_FILE)!r}).read_text());"
        "print(ServeDeploySchema.model_validate(raw).applications[0].import_path)"
    )
    assert run(code) == "serving.app:build"


def test_changes_leave_the_file_as_it_was() -> None:
    file = ServeFile.read(SERVE_FILE)
    changed = file.changed(
        args={"dataset": "other"}, http={"port": 9}, clock=parse_clock("2017-12-05"), replicas=2
    )
    assert (changed.settings.dataset, changed.port) == ("other", 9)
    assert changed.live.clock.mode == "fixed"
    assert file.settings.dataset == "complete-journey"
    assert file.live.clock == ClockSettings()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda app: app["args"].update(thread=2), r"args.thread=2: Extra inputs"),
        (lambda app: app["args"].update(provider="tpu"), r"args.provider='tpu'"),
        (
            lambda app: app["deployments"][0]["user_config"]["feed"].update(relase="x"),
            r"user_config.feed.relase='x'",
        ),
        (
            lambda app: app["deployments"][0]["user_config"].update(clock={"mode": "fixed"}),
            "expected `at` with mode fixed",
        ),
        (lambda app: app.update(args=None), "args"),
        (lambda app: app.pop("deployments"), "expected http_options and one application"),
    ],
)
def test_faults_of_a_serve_file_are_named(tmp_path: Path, change, said: str) -> None:
    raw = yaml.safe_load(SERVE_FILE.read_text())
    change(raw["applications"][0])
    path = tmp_path / "serve.yaml"
    path.write_text(yaml.safe_dump(raw))
    with pytest.raises(ConfigError, match=said) as caught:
        ServeFile.read(path)
    assert str(path) in str(caught.value)


def test_a_moment_may_stand_without_quotes(tmp_path: Path) -> None:
    moment = "2017-12-05T12:00:00Z"
    text = SERVE_FILE.read_text()
    path = tmp_path / "serve.yaml"
    path.write_text(text.replace("{mode: system}", f"{{mode: fixed, at: {moment}}}"))
    file = ServeFile.read(path)
    assert file.live.clock == parse_clock(moment)
    assert json.loads(json.dumps(file.raw)) == file.raw, "Serve passes it on as JSON"


def test_a_key_of_a_serve_file_stands_once(tmp_path: Path) -> None:
    path = tmp_path / "serve.yaml"
    path.write_text(SERVE_FILE.read_text() + "proxy_location: EveryNode\n")
    with pytest.raises(ConfigError, match=r"proxy_location: expected each key once; it stands on"):
        ServeFile.read(path)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("ingest.accept.horizon_days", -1),
        ("ingest.accept.horizon_days", 0),
        ("ingest.accept.skew_seconds", -600),
        ("privacy.merge_grace_days", -1),
        ("privacy.settle_seconds", -1),
    ],
)
def test_a_time_that_nothing_fits_into_is_refused(key: str, value: float) -> None:
    *parts, last = key.split(".")
    args: dict[str, object] = {last: value}
    for part in reversed(parts):
        args = {part: args}
    with pytest.raises(ConfigError, match=rf"^args\.{key}={value}: .* greater than"):
        serve_settings(args)


def test_missing_serve_file_points_to_the_shipped_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no such file; .*serve.yaml is one"):
        ServeFile.read(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "this is a folder"),
        (b"\xff\xfe", "expected UTF-8 text; byte 0"),
        (b"[]", "serve.yaml:1: expected a mapping"),
        (b"", "as in"),
        (b"a: [", "serve.yaml:1: cannot be read as YAML"),
    ],
)
def test_what_is_no_serve_file_is_said(tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "serve.yaml"
    path.mkdir() if content is None else path.write_bytes(content)
    with pytest.raises(ConfigError, match=said):
        ServeFile.read(path)


@pytest.mark.parametrize("port", [0, 99_999, -1])
def test_a_port_is_within_its_range(tmp_path: Path, port: int) -> None:
    raw = yaml.safe_load(SERVE_FILE.read_text())
    raw["http_options"]["port"] = port
    path = tmp_path / "serve.yaml"
    path.write_text(yaml.safe_dump(raw))
    with pytest.raises(ConfigError, match=rf"http_options.port={port}: expected 1..65535"):
        ServeFile.read(path)
    with pytest.raises(FieldError, match=r"expected 1..65535; choose --port"):
        check_port("127.0.0.1", port)


def test_a_taken_port_is_said_in_one_line() -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(FieldError, match=rf"port={port}: expected one that is free on 127"):
            check_port("127.0.0.1", port)


@pytest.mark.parametrize(
    ("text", "mode"),
    [("system", "system"), ("2017-12-05T12:00Z", "fixed"), ("replay:2017-12-05", "replay")],
)
def test_clock_of_the_command_line(text: str, mode: str) -> None:
    assert parse_clock(text).mode == mode
