"""Training profiles: those that are shipped, and docs/reference/training-profiles.md."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from qianmian.errors import ConfigError, NotFoundError
from qianmian.retrieval.sources import SourceQuotas
from qianmian.workspace import PROJECT_ROOT
from training import profile as profiles
from training.profile import PROFILES, TrainingProfile, load_profile

TEXT = (PROJECT_ROOT / "docs" / "reference" / "training-profiles.md").read_text(encoding="utf-8")


def rows(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """One row of the reference for each key, in the order of the file."""
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel) and not field.description:
            yield from rows(inner, f"{prefix}{name}.")
        else:
            yield f"| `{prefix}{name}` | {default(field)} | {field.description} |"


def default(field) -> str:
    value = field.get_default()
    if field.is_required():
        return "required"
    if isinstance(value, BaseModel):
        return "`{" + ", ".join(f"{k}: {v}" for k, v in value.model_dump().items()) + "}`"
    return f"[{', '.join(map(str, value))}]" if isinstance(value, tuple) else f"{value:g}"


def test_every_key_stands_in_the_reference_with_its_default() -> None:
    assert [row for row in rows(TrainingProfile) if row not in TEXT] == []
    shipped = [path.stem for path in PROFILES.glob("*.yaml")]
    counts = {name: load_profile(name).snapshots.count for name in shipped}
    assert [name for name, n in counts.items() if f"| `{name}` | {n}" not in TEXT] == []


def test_a_file_and_its_profile_have_one_name(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(profiles, "PROFILES", tmp_path)
    (tmp_path / "mine.yaml").write_text("name: full\ndescription: a copy\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"mine\.yaml: name='full': expected 'mine'"):
        load_profile("mine")
    with pytest.raises(NotFoundError, match="did you mean 'mine'"):
        load_profile("mien")


def test_a_source_left_out_of_the_quotas_proposes_as_much_as_training_wants(
    tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(profiles, "PROFILES", tmp_path)
    text = "name: mine\ndescription: more repeats\nranker: {quotas: {repeat: 200}}\n"
    (tmp_path / "mine.yaml").write_text(text, encoding="utf-8")
    whole = TrainingProfile(name="mine", description="as it is").ranker.quotas
    assert load_profile("mine").ranker.quotas == whole.model_copy(update={"repeat": 200})


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("seed: -1", "seed=-1"),
        ("ranker: {hidden: [0]}", "ranker.hidden[0]=0"),
        ("two_tower: {user_hidden: [-8]}", "two_tower.user_hidden[0]=-8"),
        ("ranker: {lr: .inf}", "ranker.lr=inf"),
        ("ranker: {impressions: {prior_pages: .inf}}", "ranker.impressions.prior_pages=inf"),
        ("ranker: {teacher: {leaves: 200000}}", "ranker.teacher.leaves=200000"),
        ("neighbours: {regularization: 1.0e-6}", "neighbours.regularization=1e-06"),
        (
            "ranker: {quotas: {"
            + ", ".join(f"{source}: 0" for source in SourceQuotas.model_fields)
            + "}}",
            "expected a source above 0",
        ),
    ],
)
def test_what_could_not_be_trained_is_refused_when_it_is_read(
    tmp_path: Path, monkeypatch, text: str, path: str
) -> None:
    monkeypatch.setattr(profiles, "PROFILES", tmp_path)
    (tmp_path / "mine.yaml").write_text(f"name: mine\ndescription: wrong\n{text}\n", "utf-8")
    with pytest.raises(ConfigError) as refused:
        load_profile("mine")
    assert path in str(refused.value)
