r"""Ranking quality: the two-stage model beside everything a team could pick, in one run.

    python -m benchmarks.quality > quality.json
    python -m benchmarks.quality --profile quick --seeds 17 --cases ml-100k campaign-8

Progress goes to stderr, one JSON object to stdout: `rows` as `qianmian evaluate --json` writes them
(means over the seeds) and `ratio_to_best` of the first case, and the same of every case below
`cases`. Protocol: a global split in time, all items with a target action before it ranked (a
campaign: those of its pool), NDCG with intervals over users and seeds. Every seed trains everything
anew, the baselines with it. Results lie in `--home`: a stopped run goes on where it was.

SASRec reads packages of its own before the project's; they are installed when it first runs. Leave
it out with `--no-sasrec`.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any, Final

from benchmarks import command
from training.machine import let_waiting_threads_rest

#: Settings that slow numpy down; dropped before numpy is imported.
SLOWING: Final = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")


def main() -> None:
    """Run every case and seed and print."""
    options = _options()
    for name in SLOWING:
        os.environ.pop(name, None)
    let_waiting_threads_rest()
    from benchmarks.quality.cases import case_of, prepare
    from benchmarks.quality.report import report_of
    from benchmarks.quality.seeds import result_of
    from training.profile import load_profile
    from training.revision import code_revision

    revision = code_revision()
    profile = load_profile(options.profile)
    cases: dict[str, Any] = {}
    for case in [case_of(name) for name in options.cases]:
        workspace = prepare(case, options.home, profile, command.say)
        results = [
            result_of(
                case,
                workspace,
                profile.model_copy(update={"seed": seed}),
                with_sequence=options.sasrec,
                progress=command.say,
            )
            for seed in options.seeds
        ]
        cases[case.name] = {"what": case.what, **report_of(results)}
    first = cases[options.cases[0]]
    report = {
        "rows": first["rows"],
        "ratio_to_best": first["ratio_to_best"],
        "profile": profile.name,
        "code": revision,
        "cases": cases,
    }
    command.report(report)


def _options() -> argparse.Namespace:
    parser = command.parser("quality", __doc__)
    parser.add_argument("--cases", nargs="+", default=["complete-journey"], metavar="CASE")
    command.add_seeds(parser, command.SEEDS)
    parser.add_argument("--profile", default="standard", help="a file of configs/training/")
    parser.add_argument("--home", type=Path, default=Path("var/benchmarks/quality"))
    parser.add_argument("--no-sasrec", dest="sasrec", action="store_false")
    return parser.parse_args()


if __name__ == "__main__":
    command.run(main)
