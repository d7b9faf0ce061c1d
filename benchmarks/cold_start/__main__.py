"""Cold start: items without any event and users without any, by holding out whole ones.

    python -m benchmarks.cold_start > cold_start.json
    python -m benchmarks.cold_start --profile quick --seeds 17 > cold_start.json

Progress goes to stderr, one JSON object to stdout. From Complete Journey every event before the
split of a tenth of its users and of a tenth of the items ordered in it is taken out, whether they
come back or not; both models are trained on what is left. Then

- `users` ranks all items for the held-out users, of whom nothing but their declared tags is known;
- `items` ranks the held-out items, known by their attributes alone, for the other users;
- `among_all` ranks them among all items, as serving proposes candidates, and says which share of
  the first 20 places and of the hits there is theirs, and which share of what was ordered.

Two baselines can rank such items: `attribute_affinity`, what the user acts on by attribute, then
how popular the attribute is; and `taste`, by which the source `unseen` proposes. A seed draws whom
and what is held out, too: rows as in `qianmian evaluate --json` are means over the seeds, intervals
are over users and seeds. Results lie in `--home`: a stopped run goes on where it was.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from benchmarks import command
from benchmarks.cold_start.held_out import prepared
from benchmarks.cold_start.judged import judged
from benchmarks.cold_start.report import joined
from benchmarks.remembered import Code, remembered
from training.profile import load_profile


def main() -> None:
    """Hold out, train and judge with each seed, and print."""
    options = _options()
    profile, code = load_profile(options.profile), Code(["benchmarks/cold_start"])
    found = []
    for seed in options.seeds:
        seeded = profile.model_copy(update={"seed": seed})
        workspace, held_out = prepared(options.home, seeded, command.say)
        run = partial(judged, workspace, held_out, seeded, command.say)
        found.append(remembered("cold-start", workspace, seeded, code, run, command.say))
    command.report({**joined(found), "profile": profile.name, "seeds": options.seeds})


def _options() -> argparse.Namespace:
    parser = command.parser("cold_start", __doc__)
    parser.add_argument("--home", type=Path, default=Path("var/benchmarks/quality"))
    parser.add_argument("--profile", default="standard", help="a file of configs/training/")
    command.add_seeds(parser, command.SEEDS)
    return parser.parse_args()


if __name__ == "__main__":
    command.run(main)
