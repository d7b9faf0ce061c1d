"""Progress of a long step: a bar where somebody watches, a line now and then where nobody does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Protocol

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

#: Share of the work after which a log gets its next line.
LINE_EVERY = 0.25


class Tell(Protocol):
    """Told what was just done, how much is done, and how much there is."""

    def __call__(self, what: str, done: int, total: int, /) -> None: ...


@contextmanager
def progress(begin: str, console: Console | None = None) -> Iterator[Tell]:
    """Show progress on standard error while the block runs; `begin` names the step."""
    console = console or Console(stderr=True)
    if not console.is_terminal:
        yield _Lines(console, begin)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as bar:
        task = bar.add_task(begin, total=None)

        def tell(what: str, done: int, total: int) -> None:
            bar.update(task, description=what, completed=done, total=total)

        yield tell


def timed() -> Callable[[str], None]:
    """Tells messages on standard error, each with the seconds from now on."""
    began = monotonic()

    def tell(message: str) -> None:
        typer.echo(f"[{monotonic() - began:6.1f} s] {message}", err=True)

    return tell


class _Lines:
    """Prints a line at the beginning and for each quarter of the work."""

    def __init__(self, console: Console, step: str) -> None:
        self._console = console
        self._step = step
        self._next = 0.0

    def __call__(self, what: str, done: int, total: int, /) -> None:
        share = done / total if total else 1.0
        if share >= self._next:
            self._console.print(f"{self._step}: {share:4.0%} {what}", highlight=False)
            self._next = min(1.0, share + LINE_EVERY) if share < 1.0 else 0.0
