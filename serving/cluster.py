"""Run the service on a Ray of its own: what `qianmian serve` does after `prepare`.

On a cluster that is there already, `serve run` or `serve deploy` take the same config file.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import ray
from pydantic import ValidationError
from ray import serve
from ray.serve.schema import ServeDeploySchema

from qianmian.errors import ConfigError
from serving.app import VenueFeed
from serving.launch import ServeFile

_OBJECT_STORE: Final = 100 * 2**20  # bytes; requests do not pass through it


@contextmanager
def running(file: ServeFile, *, cpus: int | None = None) -> Iterator[str]:
    """Run the service that a config file describes on a Ray of its own; yields its URL.

    The application is built here rather than by a task of the cluster, which saves seconds.
    `serving.environment.prepare` must have run.

    Raises:
        ConfigError: the file is not in Serve's form, or no replica could be started with it.
    """
    deployment = _checked(file)
    application = deployment.applications[0]
    options = application.deployments[0].model_dump(exclude_unset=True)
    options.pop("name")
    logs = application.logging_config or deployment.logging_config
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    ray.init(
        address="local",
        num_cpus=cpus,
        include_dashboard=False,
        object_store_memory=_OBJECT_STORE,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
    try:
        serve.start(
            proxy_location=deployment.proxy_location,
            http_options=deployment.http_options.model_dump(),
        )
        serve.run(
            VenueFeed.options(**options).bind(file.settings),
            name=application.name,
            route_prefix=application.route_prefix,
            logging_config=dict(logs.model_dump()) if logs else None,
        )
        yield f"http://{file.host}:{file.port}"
    except RuntimeError as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        raise ConfigError(f"the service did not start: {lines[-1] if lines else error}") from error
    finally:
        ray.shutdown()


def _checked(file: ServeFile) -> ServeDeploySchema:
    try:
        return ServeDeploySchema.model_validate(file.raw)
    except ValidationError as error:
        faults = (
            f"{'.'.join(map(str, fault['loc']))}={fault['input']!r}: {fault['msg']}"
            for fault in error.errors(include_url=False)
        )
        raise ConfigError("\n".join(faults)) from error
