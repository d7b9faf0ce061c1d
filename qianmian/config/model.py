"""The base of every schema that is read from a configuration file."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class ConfigModel(BaseModel):
    """A frozen schema that forbids unknown keys, and numbers that are none.

    A validator that refuses a value raises `ValueError("expected ...")`: the text stands behind
    `file:line: path=value: ` in the fault that the author of the file reads.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False
    )
