"""Calibrates a ranker: what its logits mean as probabilities, on what is held out in time.

Two lines (Platt, 1999) stand behind each other in every head. The first takes out what training
left of this one ranker, stopped early and with units dropped out: it is fitted on the very rows
that the ranker learned from. The second takes out what time does. It comes from a rehearsal, a
ranker that learned only what was known before the last moment: behind a first line of its own, it
is held to what followed. The ranker of the release gets its own first line and the rehearsal's
second. With one line alone the noise of two trainings goes into the probabilities.

Pages of later days are held out, too, where the rehearsal has learned from earlier ones; how likely
a place is examined is then taken from all pages, for few early ones hardly tell it.

Shapes: `R` rows, `F` features, `H` heads.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from models.calibration import Platt
from models.ranker import Ranker
from training.lesson import Lesson
from training.proposals import Examples
from training.ranker_batch import in_order


def line_through(
    ranker: Ranker,
    examples: Examples,
    lesson: Lesson,
    heads: npt.NDArray[np.bool_] | None = None,
) -> tuple[Platt, list[bool]]:
    """The line that takes a ranker's calibrated logits to what happened, and where it was fitted.

    Every head is held to the groups that teach it; on pages its probability is that the place is
    examined and the item wanted, as in training.

    Args:
        ranker: whose logits are asked.
        examples: what happened.
        lesson: which groups say something of which head.
        heads: which of them are asked, bool [H], default all; the others keep what they say.
    """
    with torch.no_grad():
        logits_RH = torch.cat(
            [
                ranker.calibrate(ranker(batch.features, batch.context))[batch.inside]
                for batch in in_order(examples)
            ]
        )
    weights_RH = lesson.weights(examples) * (1.0 if heads is None else heads)
    line = Platt(actions=logits_RH.shape[1])
    fitted = line.fit(
        logits_RH,
        torch.from_numpy(examples.labels),
        torch.from_numpy(weights_RH),
        torch.from_numpy(lesson.chances(examples)),
    )
    return line, fitted
