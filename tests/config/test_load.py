"""YAML to model: what an author reads when a file is wrong, and what values it may hold."""

from __future__ import annotations

import re
import textwrap
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, ValidationError, field_validator

from qianmian.config import ConfigModel, dump_yaml, load_yaml, parse_yaml
from qianmian.errors import ConfigError


class Colour(StrEnum):
    RED = "red"
    GREEN = "green"


class Square(ConfigModel):
    shape: Literal["square"]
    side: float


class Circle(ConfigModel):
    shape: Literal["circle"]
    radius: float


class Block(ConfigModel):
    name: str
    """The block's id."""
    page_size: int = Field(default=10, ge=1, le=100)
    colour: Colour = Colour.RED
    weights: dict[str, float] = Field(default={})
    starts_at: datetime | None = None


class Page(ConfigModel):
    title: str
    blocks: tuple[Block, ...] = ()
    clock: str = "now"
    ratio: float = 0.5
    figure: Annotated[Square | Circle, Field(discriminator="shape")] | None = None

    @field_validator("clock")
    @classmethod
    def _clock(cls, value: str) -> str:
        if value == "never":
            raise ValueError("expected 'now' or a moment")
        return value


def parse(text: str) -> Page:
    return parse_yaml(textwrap.dedent(text), "page.yaml", Page)


def faults(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    return str(caught.value).splitlines()


def test_a_good_file_becomes_a_frozen_model(tmp_path: Path) -> None:
    path = tmp_path / "page.yaml"
    path.write_text(
        "title: 会场\nblocks:\n  - name: top\n    page_size: 20\n    colour: green\n"
        "    weights: {click: 1e-3, order: 1}\n    starts_at: 2017-10-30T04:00:00Z\n",
        encoding="utf-8",
    )
    page = load_yaml(path, Page)
    block = page.blocks[0]
    assert (page.title, block.page_size, block.colour) == ("会场", 20, Colour.GREEN)
    assert block.weights == {"click": 0.001, "order": 1.0}
    assert block.starts_at == datetime(2017, 10, 30, 4, tzinfo=UTC)
    with pytest.raises(ValidationError):
        page.title = "other"  # type: ignore[misc]


def test_all_faults_are_reported_together_by_line() -> None:
    assert faults(
        """\
        titel: a
        clock: never
        blocks:
          - name: top
            page_size: 0
            colour: gren
          - pgae_size: 20
            weights:
              click: much
        """
    ) == [
        (
            "page.yaml:1: titel='a': unknown key; expected one of blocks, clock, figure, ratio, "
            "title; did you mean 'title'?"
        ),
        "page.yaml:1: title: missing; expected this key, it has no default",
        "page.yaml:2: clock='never': expected 'now' or a moment",
        "page.yaml:5: blocks[0].page_size=0: expected greater than or equal to 1",
        "page.yaml:6: blocks[0].colour='gren': expected 'red' or 'green'; did you mean 'green'?",
        "page.yaml:7: blocks[1].name: missing; expected The block's id",
        (
            "page.yaml:7: blocks[1].pgae_size=20: unknown key; expected one of colour, name, "
            "page_size, starts_at, weights; did you mean 'page_size'?"
        ),
        "page.yaml:9: blocks[1].weights.click='much': expected a valid number",
    ]


def test_members_of_a_union_are_named_by_their_path_in_the_file() -> None:
    assert faults("title: a\nfigure:\n  shape: circle\n  radius: big\n") == [
        "page.yaml:4: figure.radius='big': expected a valid number"
    ]
    assert "did you mean 'circle'" in faults("title: a\nfigure: {shape: circel}\n")[0]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("title: a\ntitle: b\n", "page.yaml:2: title: expected each key once; it stands on line 1"),
        ("title: [a\n", "page.yaml:2: cannot be read as YAML"),
        ("title: a\n\tclock: b\n", "page.yaml:2: cannot be read as YAML"),
        ("- a\n- b\n", "page.yaml:1: expected a mapping"),
        ("title: a\x07\n", "page.yaml:1: cannot be read as YAML: character #x0007"),
        ("title: a\n---\ntitle: b\n", "page.yaml:2: cannot be read as YAML"),
        ("title: !!python/object:os.system x\n", "page.yaml:1: title: expected a plain value"),
        ("title: a\nblocks: &b [*b]\n", "page.yaml:2: blocks[0]: an alias holds itself"),
        ("? [a]\n: b\n", "page.yaml:1: file: expected keys that are text"),
        ("", "page.yaml:1: title: missing"),
        ("title: 18\n", 'page.yaml:1: title=18: expected a valid string; quote it: "18"'),
        ('title: a\nratio: "0.5"\n', "page.yaml:2: ratio='0.5': expected a valid number"),
        ("title: a\nratio: true\n", "page.yaml:2: ratio=True: expected a valid number"),
    ],
)
def test_each_fault_names_its_line(text: str, fault: str) -> None:
    assert faults(text)[0].startswith(fault)


def test_scalars_follow_yaml_1_2() -> None:
    assert parse("title: no\nclock: 12:30\n").title == "no"
    assert parse("title: a\nclock: 12:30\n").clock == "12:30"
    assert parse("title: a\nclock: 2017-10-30\n").clock == "2017-10-30"
    assert parse("title: a\nratio: 1e-3\n").ratio == 0.001
    assert parse("title: a\nratio: .5\n").ratio == 0.5
    assert faults("title: a\nratio: -.inf\n") == [
        "page.yaml:2: ratio=-inf: expected a finite number"
    ]  # a number, and no text, but none that a schema takes


def test_a_missing_file_names_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "full.yaml").write_text("title: a\n")
    with pytest.raises(ConfigError, match=r"fulll.yaml: no such file; the folder holds full.yaml"):
        load_yaml(tmp_path / "fulll.yaml", Page)
    with pytest.raises(ConfigError, match="expected a file, this is a folder"):
        load_yaml(tmp_path, Page)
    (tmp_path / "latin.yaml").write_bytes("title: caf\xe9\n".encode("latin-1"))
    with pytest.raises(ConfigError, match="expected UTF-8 text; byte 10 is not"):
        load_yaml(tmp_path / "latin.yaml", Page)


@given(st.text())
def test_any_text_gives_a_model_or_faults_with_lines(text: str) -> None:
    outcome = ""
    try:
        parse_yaml(text, "x.yaml", Page)
    except ConfigError as error:
        outcome = str(error)
    assert re.match(r"x\.yaml:\d+: |$", outcome)


@given(
    st.builds(
        Page,
        title=st.text() | st.sampled_from(["no", "1e3", "12:30", "2017-10-30", "~", "=", "\x85"]),
        ratio=st.floats(allow_nan=False, allow_infinity=False),
        blocks=st.lists(
            st.builds(Block, name=st.text(), starts_at=st.none() | st.datetimes()), max_size=2
        ).map(tuple),
    )
)
def test_what_is_dumped_reads_back_equal(page: Page) -> None:
    assert parse_yaml(dump_yaml(page), "x.yaml", Page) == page
