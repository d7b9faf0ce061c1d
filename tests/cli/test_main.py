import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from qianmian.cli import lazy
from qianmian.cli.main import COMMANDS, app
from qianmian.cli.state import CliState
from qianmian.errors import DataError, FieldError
from qianmian.workspace import Workspace

HEAVY = ("torch", "ray", "feast", "pandas", "onnxruntime", "numpy")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "qianmian.cli.main", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_help_names_every_command_under_its_section():
    result = CliRunner().invoke(app, ["--help"])
    assert result.exit_code == 0
    for entry in COMMANDS:
        assert f"{entry.name} " in result.output
        assert entry.summary[:40] in result.output
        assert f"{entry.section}:" in result.output
    assert "--home" in result.output
    assert "QIANMIAN_DATASET" in result.output


def test_help_imports_no_heavy_library():
    code = (
        "import sys; from typer.testing import CliRunner; from qianmian.cli.main import app;"
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0;"
        f"print(sorted(set({HEAVY!r}) & set(sys.modules)))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert loaded.stdout.strip() == "[]"


@pytest.mark.parametrize("entry", COMMANDS, ids=lambda entry: entry.name)
def test_each_command_has_help(entry):
    result = CliRunner().invoke(app, [entry.name, "--help"])
    assert result.exit_code == 0, result.output
    assert f"{entry.name} [OPTIONS]" in result.output


def test_version():
    done = run("--version")
    assert done.stdout.startswith("qianmian 0.")


def test_an_unknown_command_is_met_with_a_suggestion():
    done = run("relase")
    assert done.returncode == 2
    assert "'release'" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_bad_dataset_name_is_refused_with_its_remedy():
    done = run("--dataset", "../elsewhere", "data", "list")
    assert done.returncode == 2
    assert done.stderr.startswith("error: --dataset='../elsewhere': expected lower-case letters")


@pytest.fixture
def one_command(monkeypatch):
    """An application whose only command fails as told."""

    def make(error: BaseException) -> typer.Typer:
        group = typer.Typer(cls=lazy.LazyGroup, pretty_exceptions_enable=False)

        @group.command()
        def fail() -> None:
            raise error

        @group.callback()
        def root() -> None:
            """Have a group although there is one command."""

        return group

    return make


def test_a_mistake_is_one_message_and_exit_code_2(one_command):
    result = CliRunner().invoke(one_command(DataError("events.parquet: missing")), ["fail"])
    assert result.exit_code == 2
    assert result.stderr == "error: events.parquet: missing\n"


def test_an_interrupt_ends_with_130(one_command):
    assert CliRunner().invoke(one_command(KeyboardInterrupt()), ["fail"]).exit_code == 130


def test_a_bug_keeps_its_traceback(one_command):
    result = CliRunner().invoke(one_command(ZeroDivisionError("bug")), ["fail"])
    assert isinstance(result.exception, ZeroDivisionError)


def test_an_optional_package_that_is_missing_is_named_with_its_extra(one_command):
    for module, extra in (
        ("implicit.als", "train"),
        ("redis", "redis"),
        ("fbgemm_gpu", "train-cpu"),
    ):
        missing = ModuleNotFoundError(f"No module named {module!r}", name=module)
        result = CliRunner().invoke(one_command(missing), ["fail"])
        assert result.exit_code == 2
        assert module in result.stderr
        assert f"qianmian[{extra}]" in result.stderr


def test_any_other_missing_module_keeps_its_traceback(one_command):
    missing = ModuleNotFoundError("No module named 'qianmian.gone'", name="qianmian.gone")
    result = CliRunner().invoke(one_command(missing), ["fail"])
    assert isinstance(result.exception, ModuleNotFoundError)


def test_global_options_reach_the_command(monkeypatch, tmp_path):
    monkeypatch.setenv("QIANMIAN_HOME", str(tmp_path))
    seen = []

    class Root(lazy.LazyGroup):
        pass

    probe = typer.Typer(cls=Root)
    probe.callback()(app.registered_callback.callback)

    @probe.command()
    def look(ctx: typer.Context) -> None:
        seen.append(CliState.of(ctx))

    result = CliRunner().invoke(probe, ["--dataset", "my-shop", "look"])
    assert result.exit_code == 0, result.output
    assert seen == [CliState(root=tmp_path, dataset="my-shop")]
    assert seen[0].workspace == Workspace(tmp_path, "my-shop")


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "a b", "-x", "Shop", "a.b", "a" * 64])
def test_a_dataset_is_the_name_of_a_folder(name):
    with pytest.raises(FieldError, match="qianmian data list"):
        CliState(root=Path(os.curdir), dataset=name)
