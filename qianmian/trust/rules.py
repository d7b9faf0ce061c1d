"""What counts as implausible: the schema of `configs/trust/`, one section a kind of fraud.

`default.yaml` holds for every data set; `<data set>.yaml` beside it replaces it as a whole. A kind
whose section is null is not looked for.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

from pydantic import Field

from qianmian.config import ConfigModel, parse_yaml, read_listed, yaml_files
from qianmian.workspace import CONFIGS

TRUST: Final = CONFIGS / "trust"
DEFAULT_FILE: Final = "default.yaml"

Seconds = Annotated[float, Field(gt=0, le=30 * 86_400)]
Hours = Annotated[float, Field(gt=0, le=30 * 24)]
Count = Annotated[int, Field(ge=1)]


class ClickRate(ConfigModel):
    """More clicks on pages than what was shown there can explain."""

    window_seconds: Seconds = 3600
    """Clicks are counted over it, impressions over twice as long."""
    min_clicks: Count = 20
    """Fewer clicks in a window say nothing."""
    max_rate: Annotated[float, Field(gt=0)] = 0.6
    """Clicks for each impression, at most."""


class Burst(ConfigModel):
    """More actions than hands can do."""

    window_seconds: Seconds = 10
    """Actions are counted over it; the lines of one order count once."""
    max_actions: Count = 15
    """Actions in a window, at most."""


class SharedDevice(ConfigModel):
    """One device with many accounts."""

    window_seconds: Seconds = 86_400
    """Accounts are counted over it."""
    max_users: Count = 5
    """Accounts on a device in a window, at most."""


class UnseenOrder(ConfigModel):
    """An order that names a page on which its item was not shown to the shopper before."""

    lookback_seconds: Seconds = 604_800
    """An impression may be this much older than the order."""
    grace_seconds: Seconds = 60
    """And this much younger: pages report in batches."""


class SelfShare(ConfigModel):
    """A visit by a share link, from the account or the device of the one who shared."""

    window_seconds: Seconds = 86_400
    """The sharer was seen on the device this long before or after."""


class TrustRules(ConfigModel):
    """A trust file."""

    click_rate: ClickRate | None = ClickRate()
    """More clicks on pages than what was shown there can explain."""
    burst: Burst | None = Burst()
    """More actions than hands can do."""
    shared_device: SharedDevice | None = SharedDevice()
    """One device with many accounts."""
    unseen_order: UnseenOrder | None = UnseenOrder()
    """An order that names a page on which its item was not shown to the shopper before."""
    self_share: SelfShare | None = SelfShare()
    """A visit by a share link, from the account or the device of the one who shared."""

    @property
    def memory_seconds(self) -> float:
        """How far back, at most, an event can change what is thought of a new one."""
        return max(
            2 * self.click_rate.window_seconds if self.click_rate else 0.0,
            self.burst.window_seconds if self.burst else 0.0,
            self.shared_device.window_seconds if self.shared_device else 0.0,
            self.unseen_order.lookback_seconds if self.unseen_order else 0.0,
            self.self_share.window_seconds if self.self_share else 0.0,
        )


def load_rules(dataset: str, folder: Path = TRUST) -> TrustRules:
    """Read the rules of a data set.

    Raises:
        ConfigError: the file has faults, each named with its line and a suggestion.
    """
    own = [path for path in yaml_files(folder) if path.stem == dataset]
    path = own[0] if own else folder / DEFAULT_FILE
    return parse_yaml(read_listed(path), str(path), TrustRules)
