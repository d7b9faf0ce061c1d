"""What the command lines of benchmarks share: options, progress, the report, mistakes in a line.

Progress goes to stderr, one JSON object to stdout.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from qianmian.errors import QianmianError
from qianmian.leave import leave_quietly
from qianmian.workspace import DEFAULT_DATASET


def parser(name: str, doc: str | None) -> argparse.ArgumentParser:
    """A parser for `python -m benchmarks.NAME`, which the module's docstring describes."""
    return argparse.ArgumentParser(
        prog=f"python -m benchmarks.{name}",
        description=doc,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_workspace(to: argparse.ArgumentParser) -> None:
    """Options that say whose features and releases are used: `home` and `dataset`."""
    home = Path(os.environ.get("QIANMIAN_HOME", "var"))
    to.add_argument("--home", type=_folder, default=home.resolve(), help="of all data sets")
    to.add_argument("--dataset", default=DEFAULT_DATASET)


def at_least(least: int) -> Callable[[str], int]:
    """Type of an option that says how many."""

    def count(text: str) -> int:
        number = int(text)
        if number < least:
            raise argparse.ArgumentTypeError(f"expected {least} or more, got {number}")
        return number

    return count  # its name is in the message for what is no number


#: Of tables that tell how far seeds differ.
SEEDS: Final = (17, 18, 19, 20, 21)

count = at_least(1)
_seed = at_least(0)


def add_seeds(to: argparse.ArgumentParser, default: Sequence[int]) -> None:
    """Option `seeds`: different ones, since one that counts twice would narrow an interval."""
    to.add_argument(
        "--seeds", nargs="+", type=_seed, action=_Different, default=[*default], metavar="SEED"
    )


class _Different(argparse.Action):
    """Keeps values that are named once each."""

    def __call__(self, _: Any, namespace: argparse.Namespace, values: Any, *__: Any) -> None:
        if len(set(values)) < len(values):
            given = " ".join(map(str, values))
            raise argparse.ArgumentError(self, f"expected different ones, got {given}")
        setattr(namespace, self.dest, values)


def say(message: str) -> None:
    """Tell progress."""
    print(message, file=sys.stderr, flush=True)


def report(found: Mapping[str, Any]) -> None:
    """Print what was found, and where."""
    print(json.dumps({**found, "machine": machine()}, indent=2))


def machine() -> str:
    """Cores, architecture and Python."""
    cores, kind = os.cpu_count(), platform.machine()
    return f"{cores} cores, {kind}, Python {platform.python_version()}"


def run(main: Callable[[], int | None]) -> None:
    """Run a benchmark; a mistake that its maker can mend ends it with a line and exit code 2."""
    leave_quietly()
    try:
        code = main()
    except QianmianError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    if code:
        raise SystemExit(code)


def _folder(text: str) -> Path:
    return Path(text).resolve()
