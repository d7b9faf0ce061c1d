"""Assignment is deterministic, proportional and independent; files are refused with their fault."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from qianmian.errors import ConfigError
from qianmian.experiments import Experiments, FeedOverrides, FeedParams, Layer, load_experiments
from qianmian.experiments.assignment import BUCKETS, bucket
from qianmian.experiments.params import SourceOverrides
from qianmian.experiments.schema import ExperimentFile
from qianmian.retrieval.sources import SourceQuotas
from qianmian.workspace import CONFIGS, PROJECT_ROOT

BASE = FeedParams()


def layer(*shares: float, name: str = "ranking", salt: str = "s", unit: str = "user") -> Layer:
    arms = [{"name": f"a{i}", "share": share} for i, share in enumerate(shares)]
    return Layer(
        ExperimentFile.model_validate(
            {"experiment": "e", "layer": name, "salt": salt, "unit": unit, "arms": arms},
            strict=False,
        )
    )


def write(folder: Path, name: str, text: str) -> None:
    (folder / f"{name}.yaml").write_text(text)


GOOD = """\
experiment: {name}
layer: {name}
salt: pepper
arms:
  - {{name: control, share: 0.5}}
  - name: treated
    share: 0.5
    overrides: {overrides}
"""


@given(user=st.text(min_size=1), salt=st.text(min_size=1, max_size=20))
def test_same_user_same_arm(user: str, salt: str) -> None:
    one, two = layer(0.3, 0.3, salt=salt), layer(0.3, 0.3, salt=salt)
    assert one.arm_of(user, None) == two.arm_of(user, "another device")
    assert 0 <= bucket(salt, "ranking", user) < BUCKETS


def test_salt_changes_who_lands_where() -> None:
    users = [str(n) for n in range(500)]
    moved = sum(
        layer(0.5, 0.5, salt="a").arm_of(u, None) != layer(0.5, 0.5, salt="b").arm_of(u, None)
        for u in users
    )
    assert 200 < moved < 300


@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=5).map(
        lambda parts: [part / (sum(parts) + 5) for part in parts]
    )
)
def test_arms_own_their_share_of_the_buckets(shares: list[float]) -> None:
    ends = layer(*shares)._ends
    sizes = [end - start for start, end in zip([0, *ends], ends, strict=False)]
    assert all(
        abs(size - share * BUCKETS) < 1 + 1e-6 for size, share in zip(sizes, shares, strict=True)
    )
    assert ends[-1] <= BUCKETS


def test_shares_come_true_on_users() -> None:
    arms = [layer(0.2, 0.5).arm_of(f"user-{n}", None) for n in range(20_000)]
    counts = {name: sum(a is not None and a.name == name for a in arms) for name in ("a0", "a1")}
    assert abs(counts["a0"] / 20_000 - 0.2) < 0.015
    assert abs(counts["a1"] / 20_000 - 0.5) < 0.015


def test_layers_are_independent() -> None:
    first, second = layer(0.5, 0.5, name="one"), layer(0.5, 0.5, name="two")
    users = [f"u{n}" for n in range(8_000)]
    held = [(first.arm_of(u, None), second.arm_of(u, None)) for u in users]
    both = held.count((first.arms[0], second.arms[0]))
    assert abs(both / 8_000 - 0.25) < 0.02


def test_unit_decides_which_id_counts() -> None:
    by_user, by_visitor = layer(1.0), layer(1.0, unit="visitor")
    assert by_user.arm_of(None, "device") is not None
    assert by_user.arm_of(None, None) is None
    assert by_visitor.arm_of("u1", None) is None
    mixed = layer(0.5, 0.5, unit="visitor")
    assert len({mixed.arm_of(f"u{n}", "device") for n in range(50)}) == 1
    everyone = [layer(0.5, 0.5).arm_of(None, f"x{n}") for n in range(100)]
    accounts = [layer(0.5, 0.5).arm_of(f"x{n}", None) for n in range(100)]
    assert everyone != accounts, "an account and a device of the same name are two units"


def test_arm_overrides_only_what_it_names() -> None:
    overrides = FeedOverrides(sources=SourceOverrides(repeat=5), candidates_ranked=50)
    base = FeedParams(sources=SourceQuotas(two_tower=77))
    made = overrides.apply(base)
    assert made.sources == SourceQuotas(repeat=5, two_tower=77)
    assert (made.candidates_ranked, made.release) == (50, "live")
    assert overrides.paths() == {"sources.repeat", "candidates_ranked"}
    assert FeedOverrides().apply(base) == base


def test_a_file_of_another_ending_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text(GOOD.format(name="m", overrides="{candidates_ranked: 50}"))
    with pytest.raises(ConfigError, match=r"a.yml: expected .* rename it to a.yaml"):
        load_experiments(tmp_path, "shop", BASE)


@pytest.mark.parametrize("alias", ["latest", "Live", "a b"])
def test_settings_and_arms_name_aliases_as_promotion_does(tmp_path: Path, alias: str) -> None:
    with pytest.raises(ValidationError, match=r"expected a lower-case letter, .* not 'latest'"):
        FeedParams(release=alias)
    write(tmp_path, "a", GOOD.format(name="m", overrides=f"{{release: {alias}}}"))
    with pytest.raises(ConfigError, match=r"overrides.release=.*and not 'latest'"):
        load_experiments(tmp_path, "shop", BASE)


def test_overrides_cover_every_source() -> None:
    assert set(SourceOverrides.model_fields) == set(SourceQuotas.model_fields)
    assert set(FeedOverrides.model_fields) == set(FeedParams.model_fields)


def test_several_layers_add_up(tmp_path: Path) -> None:
    write(tmp_path, "a", GOOD.format(name="sources", overrides="{sources: {repeat: 1}}"))
    write(tmp_path, "b", GOOD.format(name="models", overrides="{release: candidate}"))
    experiments = load_experiments(tmp_path, "shop", BASE)
    assert [one.name for one in experiments.layers] == ["models", "sources"]
    assert experiments.release_aliases() == {"live", "candidate"}
    treated = next(
        arms
        for arms in (experiments.assign(f"u{n}", None) for n in range(100))
        if [arm.name for arm in arms] == ["treated", "treated"]
    )
    params = experiments.params(treated)
    assert (params.release, params.sources.repeat) == ("candidate", 1)
    assert experiments.params(treated) is params
    assert experiments.params(()) is BASE


def test_experiment_of_another_data_set_does_not_run(tmp_path: Path) -> None:
    write(tmp_path, "a", GOOD.format(name="sources", overrides="{}") + "datasets: [other]\n")
    assert load_experiments(tmp_path, "shop", BASE).layers == ()
    assert Experiments((), BASE).assign("u", "v") == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            GOOD.format(name="x", overrides="{sorces: {repeat: 1}}"),
            r"a.yaml:8: arms\[1\].overrides.sorces=.*unknown key.*did you mean 'sources'",
        ),
        (
            GOOD.format(name="x", overrides="{sources: {repat: 1}}"),
            r"arms\[1\].overrides.sources.repat=1.*did you mean 'repeat'",
        ),
        (
            GOOD.format(name="x", overrides="{candidates_ranked: lots}"),
            r"arms\[1\].overrides.candidates_ranked='lots'",
        ),
        (GOOD.format(name="x", overrides="{}").replace("0.5", "0.6"), "sum to at most 1, not 1.2"),
        (GOOD.format(name="x", overrides="{}").replace("treated", "control"), "different names"),
        (GOOD.format(name="x", overrides="{}") + "unit: usr\n", "unit='usr'"),
        ("experiment: x\n", "missing"),
    ],
)
def test_faults_name_file_line_and_path(tmp_path: Path, text: str, said: str) -> None:
    write(tmp_path, "a", text)
    with pytest.raises(ConfigError, match=said):
        load_experiments(tmp_path, "shop", BASE)


def test_layers_must_not_share_names_or_parameters(tmp_path: Path) -> None:
    write(tmp_path, "a", GOOD.format(name="one", overrides="{sources: {new: 1}}"))
    write(tmp_path, "b", GOOD.format(name="two", overrides="{sources: {new: 2}}"))
    write(tmp_path, "c", GOOD.format(name="one", overrides="{}"))
    with pytest.raises(ConfigError) as caught:
        load_experiments(tmp_path, "shop", BASE)
    assert "b.yaml: arms change sources.new, as" in str(caught.value)
    assert "c.yaml: layer='one': expected a layer of its own" in str(caught.value)


def test_shipped_experiment_holds_everybody() -> None:
    experiments = load_experiments(CONFIGS / "experiments", "complete-journey", BASE)
    arms = {experiments.assign(f"{n}", None)[0].name for n in range(50)}
    assert arms == {"control", "discovery"}


@pytest.mark.parametrize("page", ["how-to/run-an-experiment.md", "reference/api.md"])
def test_documents_name_the_defaults_of_the_sources(page):
    text = (PROJECT_ROOT / "docs" / page).read_text(encoding="utf-8").replace("`", "")
    said = ", ".join(f"{name} {quota}" for name, quota in SourceQuotas().model_dump().items())
    assert said in " ".join(text.split())
