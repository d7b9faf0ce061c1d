"""Training profiles: every knob of a training run, as YAML in `configs/training/`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from qianmian.config import ConfigModel, load_yaml
from qianmian.config.document import write_document
from qianmian.errors import ConfigError, NotFoundError
from qianmian.retrieval.sources import LONGEST, SourceQuotas
from qianmian.workspace import CONFIGS

PROFILES = CONFIGS / "training"

Units = Annotated[int, Field(ge=1)]


class Snapshots(ConfigModel):
    """When features are taken: every `every_days`, `count` times, counted back from the cut."""

    every_days: float = Field(default=7.0, gt=0, description="days from one moment to the next")
    count: int = Field(default=20, ge=2, description="moments, counted back from the split")


class TwoTowerProfile(ConfigModel):
    """Knobs of the two-tower model and its training."""

    width: int = Field(
        default=64, ge=4, multiple_of=4, description="of a vector, without the bias coordinate"
    )
    user_hidden: tuple[Units, ...] = Field(default=(256,), description="units of each layer")
    item_hidden: tuple[Units, ...] = Field(default=(128,), description="units of each layer")
    heads: int = Field(default=2, ge=1, description="of attention over recent actions")
    dropout: float = Field(default=0.1, ge=0, lt=1, description="share of units hidden")
    id_dropout: float = Field(
        default=0.15, ge=0, lt=1, description="share of ids hidden in training"
    )
    min_item_count: int = Field(
        default=3, ge=1, description="target actions before an item has an id embedding"
    )
    strangers: float = Field(
        default=0.05, ge=0, le=1, description="share of users also met without their past"
    )
    unseen_items: float = Field(
        default=0.1, ge=0, lt=1, description="share of a batch's items met without their past"
    )
    users_per_batch: int = Field(default=768, ge=2, description="of a step")
    positives_per_user: int = Field(default=6, ge=1, description="of a step, at most")
    uniform_negatives: int = Field(
        default=2048, ge=1, description="items drawn evenly, beside those of the other users"
    )
    epochs: int = Field(default=4, ge=1, description="passes over the weeks before the ranker's")
    replay: int = Field(default=2, ge=0, description="older weeks repeated with each new week")
    table_lr: float = Field(default=0.08, gt=0, description="learning rate of embeddings")
    dense_lr: float = Field(default=0.002, gt=0, description="learning rate of layers")


class NeighboursProfile(ConfigModel):
    """Knobs of the item neighbours."""

    items: int = Field(
        default=4000, ge=1, description="those with the most users; memory is the square"
    )
    min_users: int = Field(default=2, ge=1, description="users that an item needs")
    kept: int = Field(default=100, ge=1, description="weights kept for each item")
    regularization: float = Field(default=300.0, ge=1, description="EASE's lambda")


class FactorsProfile(ConfigModel):
    """Knobs of the item factors."""

    items: int = Field(default=8000, ge=1, description="those with the most users")
    min_users: int = Field(default=2, ge=1, description="users that an item needs")
    width: int = Field(default=128, ge=1, le=512, description="of a vector")
    regularizations: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        default=(3.0, 30.0, 100.0),
        min_length=1,
        description="of least squares; the last weeks before the split choose one",
    )
    iterations: int = Field(default=10, ge=1, description="rounds of users and items in turn")


class ImpressionsProfile(ConfigModel):
    """How the ranker learns from logged pages."""

    window_hours: float = Field(default=24.0, gt=0, description="an action within it is its page's")
    min_pages: int = Field(default=200, ge=1, description="fewer logged pages are left out")
    max_pages: int = Field(default=200_000, ge=1, description="the newest of them are learned")
    max_weight: float = Field(default=10.0, ge=1, description="1 / propensity is clipped there")
    prior_pages: float = Field(
        default=2000.0,
        ge=0,
        description="pages that weigh as much as the start: clicks and carts order as the target",
    )
    places: int = Field(
        default=100, ge=1, description="places of a page whose own share of clicks is learned"
    )


class TeacherProfile(ConfigModel):
    """Knobs of the gradient-boosted trees that teach the ranker."""

    trees: int = Field(default=200, ge=0, description="how many; 0: no teacher")
    part: float = Field(
        default=0.5,
        ge=0,
        lt=1,
        description="of the target's logit that is theirs in the graph; 0: they only teach",
    )
    share: float = Field(
        default=0.5, gt=0, le=1, description="of their chance in a label; the rest: what happened"
    )
    leaves: int = Field(default=63, ge=2, le=131_072, description="leaves of a tree, at most")
    min_rows: int = Field(default=50, ge=1, description="labelled candidates of a leaf, at least")
    learning_rate: float = Field(default=0.06, gt=0, le=1, description="of each tree")


class WideQuotas(SourceQuotas):
    """How many candidates each source may propose for training."""

    repeat: int = Field(default=160, ge=0, le=LONGEST)
    neighbours: int = Field(default=120, ge=0, le=LONGEST)
    factors: int = Field(default=120, ge=0, le=LONGEST)
    two_tower: int = Field(default=150, ge=0, le=LONGEST)
    trending: int = Field(default=80, ge=0, le=LONGEST)
    new: int = Field(default=20, ge=0, le=LONGEST)
    unseen: int = Field(default=250, ge=0, le=LONGEST)

    @model_validator(mode="after")
    def _proposes(self) -> Self:
        if not any(getattr(self, source) for source in type(self).model_fields):
            raise ValueError("expected a source above 0: the ranker learns from what is proposed")
        return self


class RankerProfile(ConfigModel):
    """Knobs of the ranker and its training."""

    interest: int = Field(
        default=16, ge=0, le=256, description="width of attention to remembered items; 0: none"
    )
    shared_weight: float = Field(
        default=4.0, ge=0, description="price of what attention says to all users alike"
    )
    teacher: TeacherProfile = TeacherProfile()
    members: int = Field(default=1, ge=1, le=8, description="networks whose logits are averaged")
    hidden: tuple[Units, ...] = Field(default=(128, 64), description="units of each layer")
    dropout: float = Field(default=0.1, ge=0, lt=1, description="share of units hidden")
    snapshots: int = Field(
        default=5,
        ge=1,
        description="moments at which candidates are proposed; at most half of those whose horizon "
        "has ended",
    )
    horizon_days: float = Field(default=28.0, gt=0, description="an action within it is a hit")
    quotas: WideQuotas = Field(
        default=WideQuotas(),
        description=(
            "proposed for training; of most sources more than in serving, to draw negatives from"
        ),
    )
    impressions: ImpressionsProfile = ImpressionsProfile()
    launched_items: float = Field(
        default=0.1, ge=0, le=1, description="share of items met as if nobody had acted on them"
    )
    launch_users: float = Field(default=0.1, ge=0, le=1, description="share of users who meet them")
    negatives: int = Field(default=96, ge=1, description="kept for each user and moment")
    epochs: int = Field(default=4, ge=1, description="passes over the candidates")
    groups_per_batch: int = Field(default=64, ge=1, description="users of a step")
    lr: float = Field(default=0.001, gt=0, description="learning rate")
    listwise_weight: float = Field(
        default=0.5, ge=0, description="of the order of all candidates, against cross-entropy's 1"
    )
    new_weight: float = Field(
        default=0.2, ge=0, description="of the order among items new to the user alone"
    )


class TrainingProfile(ConfigModel):
    """One training run."""

    name: str = Field(description="as the file is called")
    description: str = Field(description="what it is for, printed when it is used")
    seed: int = Field(default=17, ge=0, lt=2**32, description="of every random draw")
    snapshots: Snapshots = Snapshots()
    neighbours: NeighboursProfile = NeighboursProfile()
    factors: FactorsProfile = FactorsProfile()
    two_tower: TwoTowerProfile = TwoTowerProfile()
    ranker: RankerProfile = RankerProfile()


def load_profile(name: str) -> TrainingProfile:
    """Read `configs/training/<name>.yaml`.

    Raises:
        NotFoundError: there is no such profile.
        ConfigError: the file has faults.
    """
    path = PROFILES / f"{name}.yaml"
    if not path.exists():
        raise NotFoundError("training profile", name, (p.stem for p in PROFILES.glob("*.yaml")))
    profile = load_yaml(path, TrainingProfile)
    if profile.name != name:  # releases and messages say the name
        raise ConfigError(
            f"{path}: name={profile.name!r}: expected {name!r}, as the file is called"
        )
    return profile


def save_profile(profile: TrainingProfile) -> Path:
    """Write `configs/training/<name>.yaml`: what differs from the defaults; returns its path."""
    said = profile.model_dump(mode="json", exclude_defaults=True)
    path = PROFILES / f"{profile.name}.yaml"
    fresh = path.with_suffix(".new")
    fresh.write_text(write_document({"name": profile.name, **said}), encoding="utf-8")
    fresh.replace(path)
    return path
