"""`qianmian release`: what was published, what is live, and how to move between releases."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from qianmian.cli.metrics_table import print_calibration, print_metrics
from qianmian.cli.options import AsJson
from qianmian.cli.state import CliState
from qianmian.cli.wide import console
from qianmian.errors import ReleaseError

if TYPE_CHECKING:
    from qianmian.releases.manifest import Manifest
    from qianmian.releases.store import ReleaseStore

app = typer.Typer(
    add_completion=False,
    help="List, show, promote and roll back releases.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

Alias = Annotated[str, typer.Option(help="The name that serving knows the release by.")]
Ref = Annotated[str, typer.Argument(help="Release id, alias, or `latest`.", metavar="RELEASE")]


@app.command("list")
def list_(ctx: typer.Context, as_json: AsJson = False) -> None:
    """List the published releases, the newest first, with the aliases that point at them."""
    store = _store(ctx)
    names = _names(store)
    releases = {release: _read(store, release) for release in reversed(store.ids())}
    if as_json:
        rows = [
            {
                **(
                    {"id": release, "damaged": str(manifest)}
                    if isinstance(manifest, ReleaseError)
                    else manifest.model_dump(mode="json")
                ),
                "aliases": names.get(release, []),
            }
            for release, manifest in releases.items()
        ]
        typer.echo(json.dumps(rows, indent=2))
        return
    if not releases:
        typer.echo(f"no releases in {store.root}; publish one with `qianmian train`")
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("release", "alias", "data until", "profile", "parity", "two-stage NDCG@20"):
        table.add_column(heading)
    for release, manifest in releases.items():
        aliases = ", ".join(names.get(release, []))
        if isinstance(manifest, ReleaseError):
            table.add_row(release, aliases, "damaged")
            continue
        table.add_row(
            release,
            aliases,
            f"{manifest.data_end:%Y-%m-%d %H:%M}",
            manifest.profile,
            "proven" if manifest.parity.passed else "NOT PROVEN",
            _quality(manifest),
        )
    console().print(table)
    for manifest in releases.values():
        if isinstance(manifest, ReleaseError):
            typer.echo(f"damaged: {manifest}", err=True)


@app.command()
def show(ctx: typer.Context, release: Ref = "live", as_json: AsJson = False) -> None:
    """Show what a release was made from, how good it is and how it was proven."""
    store = _store(ctx)
    manifest = store.get(release)
    if as_json:
        typer.echo(manifest.model_dump_json(indent=2))
        return
    parity = manifest.parity
    worst = max((output.max_abs_diff for output in parity.outputs), default=0.0)
    facts = {
        "release": manifest.id,
        "aliases": ", ".join(_names(store).get(manifest.id, [])) or "none",
        "created": f"{manifest.created:%Y-%m-%d %H:%M:%S} UTC",
        "data set": manifest.dataset,
        "data": f"{manifest.data_window.start:%Y-%m-%d} to {manifest.data_window.end:%Y-%m-%d}",
        "profile": manifest.profile,
        "code": manifest.code_revision,
        "actions": ", ".join(manifest.actions),
        "taught by pages": ", ".join(manifest.page_actions) or "none",
        "dimensions": ", ".join(f"{k} {v:,}" for k, v in manifest.dimensions.items()),
        "features": ", ".join(f"{k} {v[:12]}" for k, v in manifest.feature_services.items()),
        "parity": f"{'proven' if parity.passed else 'NOT PROVEN'}: largest difference {worst:.1e} "
        f"over batches of {', '.join(map(str, parity.batch_sizes))}; "
        f"top-{parity.top_k} agreement {parity.top_k_agreement:.4f}",
        "calibration": ", ".join(
            f"{action}: {'fitted' if fitted else 'NOT FITTED to held-out time'}"
            for action, fitted in manifest.calibrated.items()
        )
        or "not told",
        "files": ", ".join(f"{k} {v.bytes / 1e6:.1f} MB" for k, v in manifest.files.items()),
    }
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, value in facts.items():
        table.add_row(name, value)
    console().print(table)
    if manifest.metrics:
        print_metrics(manifest.metrics)
    print_calibration(manifest.calibration)


@app.command()
def promote(ctx: typer.Context, release: Ref, alias: Alias = "live") -> None:
    """Point an alias at a release whose files, parity and features hold.

    A running service takes it over within seconds, without losing a request.
    """
    store = _store(ctx)
    before = store.aliases().get(alias)
    manifest = store.promote(release, alias, schema=_schema(ctx), at=datetime.now(UTC))
    if before and before.release == manifest.id:
        typer.echo(f"already there: {alias} is {manifest.id}")
    else:
        typer.echo(
            f"{alias} is now {manifest.id}" + (f", before {before.release}" if before else "")
        )


@app.command()
def rollback(ctx: typer.Context, alias: Alias = "live") -> None:
    """Point an alias back at the release before; repeat to go further back."""
    store = _store(ctx)
    before = store.aliases().get(alias)
    manifest = store.rollback(alias, schema=_schema(ctx), at=datetime.now(UTC))
    typer.echo(f"{alias} is now {manifest.id}, before {before.release if before else 'nothing'}")


def _store(ctx: typer.Context) -> ReleaseStore:
    from qianmian.releases.store import ReleaseStore

    return ReleaseStore(CliState.of(ctx).workspace.releases)


def _schema(ctx: typer.Context) -> dict[str, str]:
    from qianmian.releases.schema import current_schema

    return current_schema(CliState.of(ctx).workspace)


def _read(store: ReleaseStore, release: str) -> Manifest | ReleaseError:
    """Return the manifest, or why it cannot be read: one bad release hides no other."""
    try:
        return store.get(release)
    except ReleaseError as error:
        return error


def _names(store: ReleaseStore) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    for alias, target in store.aliases().items():
        names.setdefault(target.release, []).append(alias)
    return names


def _quality(manifest: Manifest) -> str:
    wanted: dict[str, Any] = {"system": "two_stage", "slice": "all", "k": 20}
    for row in manifest.metrics:
        if all(getattr(row, name) == value for name, value in wanted.items()):
            return f"{row.ndcg:.4f}"
    return "not measured"
