"""Assignment of users and visitors to arms by salted hash.

A unit's bucket is `blake2b(salt, layer, unit) mod 10000`; the arms of a layer own consecutive
ranges of buckets. The same unit is always in the same arm, in each layer independently of the
others (PlanOut, Bakshy et al. 2014; overlapping layers, Tang et al. 2010).
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from qianmian.config import parse_yaml, read_listed, yaml_files
from qianmian.errors import ConfigError
from qianmian.experiments.params import FeedOverrides, FeedParams
from qianmian.experiments.schema import ExperimentFile, Unit

BUCKETS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Arm:
    """An arm that holds a unit."""

    layer: str
    experiment: str
    name: str
    overrides: FeedOverrides = field(compare=False, repr=False)


def bucket(salt: str, layer: str, unit: str) -> int:
    """Return the bucket of a unit in a layer, 0 <= bucket < BUCKETS.

    >>> bucket("2017-12", "sources", "user:1228") == bucket("2017-12", "sources", "user:1228")
    True
    """
    key = f"{salt}\x1f{layer}\x1f{unit}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big") % BUCKETS


class Layer:
    """One experiment's arms over the buckets of its layer."""

    def __init__(self, file: ExperimentFile) -> None:
        self.name = file.layer
        self.arms = tuple(
            Arm(file.layer, file.experiment, arm.name, arm.overrides) for arm in file.arms
        )
        self._salt = file.salt
        self._unit = file.unit
        ends, total = [], 0.0
        for arm in file.arms:
            total += arm.share
            ends.append(round(total * BUCKETS))
        self._ends = ends

    def arm_of(self, user_id: str | None, visitor_id: str | None) -> Arm | None:
        """Return the arm that holds a shopper; None for the rest, and for who has no id."""
        if self._unit is Unit.USER and user_id is not None:
            unit = f"user:{user_id}"
        elif visitor_id is not None:
            unit = f"visitor:{visitor_id}"
        else:
            return None
        at = bisect_right(self._ends, bucket(self._salt, self.name, unit))
        return self.arms[at] if at < len(self.arms) else None


class Experiments:
    """All layers that run on a data set, and the parameters that their arms make."""

    def __init__(self, layers: Sequence[Layer], base: FeedParams) -> None:
        self.layers = tuple(layers)
        self.base = base
        self._made: dict[tuple[Arm, ...], FeedParams] = {(): base}

    def assign(self, user_id: str | None, visitor_id: str | None) -> tuple[Arm, ...]:
        """Return the arm of each layer that holds the shopper, in the order of the layers."""
        held = (layer.arm_of(user_id, visitor_id) for layer in self.layers)
        return tuple(arm for arm in held if arm is not None)

    def params(self, arms: tuple[Arm, ...]) -> FeedParams:
        """Return the feed's parameters in these arms; made once for each combination."""
        made = self._made.get(arms)
        if made is None:
            made = self.base
            for arm in arms:
                made = arm.overrides.apply(made)
            self._made[arms] = made
        return made

    def release_aliases(self) -> frozenset[str]:
        """Return every release alias that some shopper may be answered from."""
        arms = (arm for layer in self.layers for arm in layer.arms)
        named = {arm.overrides.release for arm in arms if arm.overrides.release}
        return frozenset({self.base.release, *named})


def load_experiments(folder: Path, dataset: str, base: FeedParams) -> Experiments:
    """Read all experiments of a folder that run on a data set.

    Raises:
        ConfigError: a file holds faults or is not called `.yaml`, two files use one layer, or two
            layers change the same parameter.
    """
    files = {
        path: parse_yaml(read_listed(path), str(path), ExperimentFile)
        for path in yaml_files(folder)
    }
    running = {p: f for p, f in files.items() if not f.datasets or dataset in f.datasets}
    if faults := [*_shared_layers(running), *_shared_parameters(running)]:
        raise ConfigError("\n".join(faults))
    layers = sorted((Layer(file) for file in running.values()), key=lambda layer: layer.name)
    return Experiments(layers, base)


def _shared_layers(files: Mapping[Path, ExperimentFile]) -> list[str]:
    owner: dict[str, Path] = {}
    faults = []
    for path, file in files.items():
        if file.layer in owner:
            faults.append(
                f"{path}: layer={file.layer!r}: expected a layer of its own; "
                f"{owner[file.layer]} has it"
            )
        owner.setdefault(file.layer, path)
    return faults


def _shared_parameters(files: Mapping[Path, ExperimentFile]) -> list[str]:
    owner: dict[str, Path] = {}
    faults = []
    for path, file in files.items():
        changed = frozenset[str]().union(*(arm.overrides.paths() for arm in file.arms))
        faults += [
            f"{path}: arms change {parameter}, as {owner[parameter]} does in another layer; "
            "expected each parameter in one layer only"
            for parameter in sorted(changed & owner.keys())
        ]
        owner |= dict.fromkeys(changed - owner.keys(), path)
    return faults
