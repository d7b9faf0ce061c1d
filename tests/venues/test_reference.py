"""docs/reference/venues.md: complete, and its example is a venue file."""

from __future__ import annotations

import re
import typing
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from qianmian.config import parse_yaml
from qianmian.contracts import features as f
from qianmian.venues import Sources, VenueBook
from qianmian.venues.blocks import BlockKind
from qianmian.venues.conditions import Kind, Vocabulary, vocabularies
from qianmian.venues.schema import VenueFile
from qianmian.venues.vocabulary import VENUE_COLUMNS
from qianmian.workspace import PROJECT_ROOT
from serving.feed import eligibility, ladder

DOCS = PROJECT_ROOT / "docs"
TEXT = (DOCS / "reference" / "venues.md").read_text(encoding="utf-8")
HOW_TO = (DOCS / "how-to" / "write-a-venue.md").read_text(encoding="utf-8")
ELSEWHERE = {"rules", "sponsored", "racing"}  # described by their own schemas


def example(text: str) -> str:
    block = re.search(r"^ *```yaml\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE)[1]
    indent = len(block) - len(block.lstrip())
    return "\n".join(line[indent:] for line in block.splitlines()) + "\n"


def keys(model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield name
        if name not in ELSEWHERE:
            for below in models(field.annotation):
                yield from keys(below)


def models(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in typing.get_args(annotation):
        yield from models(inner)


def test_every_key_kind_and_reason_is_documented() -> None:
    assert [k for k in keys(VenueFile) if f"{k}:" not in TEXT and f"`{k}`" not in TEXT] == []
    assert [kind for kind in BlockKind if f"`{kind}`" not in TEXT] == []
    reasons = [value for name, value in vars(eligibility).items() if name.isupper()]
    assert [r for r in reasons if isinstance(r, str) and f"`{r}`" not in TEXT] == []
    assert [
        r for r in (ladder.NO_RANKER, ladder.NO_RETRIEVAL, ladder.NO_POPULARITY) if r not in TEXT
    ] == []
    assert [
        column for column in (*VENUE_COLUMNS, *f.DERIVED_TAGS) if f"`{column}`" not in TEXT
    ] == []


@pytest.mark.parametrize("text", [TEXT, HOW_TO])
def test_examples_are_venue_files(tmp_path: Path, text: str) -> None:
    texts = dict.fromkeys(("category", "brand", "coupon_id", "department"), Kind.TEXT)
    numbers = dict.fromkeys(("price", "discount"), Kind.NUMBER)
    users = dict.fromkeys(("age", *f.DERIVED_TAGS), Kind.TEXT)
    context = vocabularies(Vocabulary("items", {**texts, **numbers}), Vocabulary("users", users))
    parse_yaml(example(text), "venues.md", VenueFile, context=context)
    (tmp_path / "shop").mkdir()
    (tmp_path / "default.yaml").write_text("")
    (tmp_path / "shop" / "example.yaml").write_text(example(text))
    sources = Sources(tmp_path, "shop", context=context, segments=frozenset({"age"}))
    assert VenueBook.open(sources).refused == {}
