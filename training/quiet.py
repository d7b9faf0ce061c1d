"""Keeps the libraries' own notices out of a training run's report.

They speak of TorchRec's and PyTorch's inner deprecations and of a planner that a single worker does
not need; none of them is about the data or the settings of a run.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_LOGGERS: Final = ("torch", "torch.fx._symbolic_trace", "torch.onnx", "torchrec", "root")


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Within the block, show errors of these libraries but no warnings."""
    loggers = [logging.getLogger(None if name == "root" else name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        for category in (DeprecationWarning, FutureWarning, UserWarning):
            warnings.filterwarnings("ignore", category=category)
        try:
            for logger in loggers:
                logger.setLevel(logging.ERROR)
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
