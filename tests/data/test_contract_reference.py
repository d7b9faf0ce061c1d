"""docs/reference/data-contract.md: complete, and its examples run."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from pydantic import BaseModel

from qianmian.config import parse_yaml
from qianmian.contracts.events import EventType
from qianmian.data.schemas import CONTRACT
from qianmian.data.spec import DeclaredSpec
from qianmian.workspace import PROJECT_ROOT

TEXT = (PROJECT_ROOT / "docs" / "reference" / "data-contract.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    return re.search(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)[1]


def keys(model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield name
        for inner in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                yield from keys(inner)


@pytest.mark.parametrize("file", CONTRACT)
def test_every_column_is_documented(file):
    section = re.split(r"^## ", TEXT, flags=re.MULTILINE)
    about = next(part for part in section if file in part.splitlines()[0])
    assert [column for column in CONTRACT[file] if f"`{column}`" not in about] == []


def test_every_event_type_and_key_is_documented():
    assert [event for event in EventType if f"`{event}`" not in TEXT] == []
    assert [key for key in keys(DeclaredSpec) if f"{key}:" not in block("yaml")] == []


def test_the_example_declaration_is_one():
    assert parse_yaml(block("yaml"), "data-contract.md", DeclaredSpec).name == "my-shop"


def test_the_example_folder_holds_to_the_contract(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(block("python"), "data-contract.md", "exec"), {})  # noqa: S102
    commands = re.findall(r"^\$ qianmian (.*?)(?:\s+#.*)?$", block("console"), re.MULTILINE)
    assert len(commands) == 3
    for command in commands:
        done = run(*command.split())
        assert done.exit_code == 0, done.output
    (tmp_path / "my-shop" / "dataset.yaml").write_text(block("yaml"), encoding="utf-8")
    assert "2 events before 2024-06-16 16:00:00" in run("data", "check", "my-shop").output
