"""`qianmian evaluate`: a release against its baselines on what came after the split."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import orjson
import typer

from qianmian.cli.metrics_table import print_calibration, print_metrics, print_segments
from qianmian.cli.state import CliState
from qianmian.errors import FieldError


def evaluate(
    ctx: typer.Context,
    release: Annotated[str, typer.Option(help="Release id, alias, or `latest`.")] = "latest",
    json: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the metric rows as JSON.")
    ] = None,
    calibration: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the calibration rows as JSON.")
    ] = None,
    lists: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write every ranked list as Parquet.")
    ] = None,
    by: Annotated[
        list[str] | None,
        typer.Option(metavar="TAG", help="Judge the values of a user tag apart; may be repeated."),
    ] = None,
) -> None:
    """Measure a release against its baselines: repeats, new items, cold users and segments apart.

    All items with a target action before the split are ranked, for every user with one after it.
    Rows of the metrics: system, slice, k, recall, ndcg, mrr, map, ci_low and ci_high (of the
    NDCG), users; ratio, ratio_low, ratio_high (NDCG of two_stage over the row's, paired over
    users); for the slice `all` also coverage, gini, novelty, diversity. Rows of the calibration:
    action, segment, candidates, predicted, actual, ratio, ece, period; none where the test period
    is shorter than the horizon. Rows of the lists: system, user_id, item_id, rank, score. Data in
    which a test event precedes a training event, or events have no time, is refused.
    """
    workspace = CliState.of(ctx).workspace
    for name, path in (("--json", json), ("--calibration", calibration), ("--lists", lists)):
        if path and (path.is_dir() or not path.absolute().parent.is_dir()):
            raise FieldError(name, str(path), "a file in a folder that exists")
    from training.judge import judge

    found = judge(
        workspace,
        release,
        by=by or (),
        lists=lists,
        progress=lambda text: typer.echo(text, err=True),
    )
    for path, rows in ((json, found.metrics), (calibration, found.calibration)):
        if path:
            records = [row.model_dump(mode="json") for row in rows]
            path.write_bytes(orjson.dumps(records, option=orjson.OPT_INDENT_2))
    print_metrics(found.metrics)
    print_segments(found.metrics, by or ())
    print_calibration(found.calibration)
