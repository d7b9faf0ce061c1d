"""Configuration: a YAML file becomes a frozen, fully checked pydantic model or a list of faults.

Every part of qianmian that is set by a file (data sets, venues, experiments, training, serving)
declares a `ConfigModel` beside the code that consumes it and reads it with `load_yaml`.
"""

from qianmian.config.load import (
    Finding,
    dump_yaml,
    load_yaml,
    parse_yaml,
    read_listed,
    read_text,
    yaml_files,
)
from qianmian.config.model import ConfigModel

__all__ = [
    "ConfigModel",
    "Finding",
    "dump_yaml",
    "load_yaml",
    "parse_yaml",
    "read_listed",
    "read_text",
    "yaml_files",
]
