"""Settings of the service: `args` and `user_config` of `configs/serving/serve.yaml`, typed.

`ServeSettings` is what a replica is built with; `LiveSettings` may change while it runs.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from qianmian.config import ConfigModel
from qianmian.errors import ConfigError
from qianmian.events.engine import EngineSettings, SqliteEngine
from qianmian.experiments import FeedParams
from qianmian.identity.gate import PrivacySettings
from qianmian.stream.settings import StreamSettings
from qianmian.workspace import CONFIGS, DEFAULT_DATASET, FEATURE_REPO, PROJECT_ROOT, Workspace
from serving.clock import ClockSettings
from serving.decision_log import DecisionLogSettings
from serving.feed.keys import KeyFile
from serving.ingest.door import IngestSettings

DEFAULT_HOME = Path("var")
KEY_FILE = "signing-keys.json"


class CacheSettings(ConfigModel):
    """The user cache in front of the online store."""

    size: Annotated[int, Field(ge=1)] = 2048
    """Users remembered, at most."""
    ttl_seconds: Annotated[float, Field(gt=0)] = 60.0
    """Age at which a remembered user is read again."""


class ServeSettings(ConfigModel):
    """What a replica is built with."""

    dataset: str = DEFAULT_DATASET
    """Data set whose releases are served."""
    home: Path | None = None
    """Folder that holds all data sets; null: `$QIANMIAN_HOME`, or `var` where Ray starts."""
    provider: Literal["cpu", "cuda"] = "cpu"
    """Where onnxruntime computes."""
    threads: Annotated[int, Field(ge=1, le=64)] = 1
    """Threads of each model."""
    cache: CacheSettings = CacheSettings()
    """The user cache."""
    privacy: PrivacySettings = PrivacySettings()
    """How ids of people are treated."""
    decision_log: DecisionLogSettings = DecisionLogSettings()
    """What is written down of each answer."""
    engine: EngineSettings = SqliteEngine()
    """Where events and what follows from them are kept: every replica's common memory."""
    stream: StreamSettings = StreamSettings()
    """Rhythm of the stream process."""
    reorder_seconds: Annotated[float, Field(gt=0)] = 10.0
    """Least time between two orderings of the pools by changed item statistics."""
    listen_seconds: Annotated[float, Field(gt=0)] = 0.05
    """How often a replica looks for changed facts (stock, features, merged visitors)."""
    ingest: IngestSettings = IngestSettings()
    """How events are taken."""
    key_file: Path | None = None
    """File with the keys that sign tokens (`qianmian keys`); null: `signing-keys.json` of the data
    set, made at the first start. Replicas on several machines need the same one."""
    watch_seconds: Annotated[float, Field(gt=0)] = 0.5
    """How often a replica looks whether a release was promoted or a venue file changed."""
    configs: Path = CONFIGS
    """Folder with `venues/`, `experiments/` and `campaigns/`."""
    feature_repo: Path = FEATURE_REPO
    """Folder with Feast's definitions and configuration."""
    web: Path = PROJECT_ROOT / "web"
    """Folder of the page at `/`."""

    def workspace(self) -> Workspace:
        """Return the paths of the data set."""
        return Workspace(self.home or DEFAULT_HOME, self.dataset)

    def keys(self) -> KeyFile:
        """Return the keys that sign tokens."""
        return KeyFile(self.key_file or self.workspace().path / KEY_FILE)


class LiveSettings(ConfigModel):
    """What may change while a replica runs (`user_config`)."""

    clock: ClockSettings = ClockSettings()
    """What time the service believes it is."""
    feed: FeedParams = FeedParams()
    """How a page is made; `feed.release` is the alias that answers."""


def serve_settings(args: dict[str, Any]) -> ServeSettings:
    """Return the settings with the data folder made absolute, for replicas start elsewhere."""
    try:
        settings = ServeSettings.model_validate(args)
    except ValidationError as error:
        raise ConfigError(_listed("args", error)) from error
    home = settings.home or Path(os.environ.get("QIANMIAN_HOME", DEFAULT_HOME))
    return settings.model_copy(update={"home": home.resolve()})


def live_settings(user_config: dict[str, Any]) -> LiveSettings:
    """Return the typed `user_config`.

    Raises:
        ConfigError: it does not fit `LiveSettings`.
    """
    try:
        return LiveSettings.model_validate(user_config)
    except ValidationError as error:
        raise ConfigError(_listed("user_config", error)) from error


def _listed(where: str, error: ValidationError) -> str:
    lines = (
        f"{where}.{'.'.join(map(str, fault['loc']))}={fault['input']!r}: {fault['msg']}"
        for fault in error.errors(include_url=False)
    )
    return "\n".join(lines)
