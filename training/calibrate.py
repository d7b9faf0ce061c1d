"""Calibrates a ranker: what its logits mean as probabilities, on what is held out in time.

Two lines (Platt, 1999) stand behind each other in every head. The first takes out what training
left of this one ranker, stopped early and with units dropped out: it is fitted on the very rows
that the ranker learned from. The second takes out what time does. It comes from a rehearsal, a
ranker that learned only what was known before the last moment: behind a first line of its own, it
is held to what followed. The ranker of the release gets its own first line and the rehearsal's
second. With one line alone the noise of two trainings goes into the probabilities.

Trees beside a network know the rows that they learned from by heart: a line fitted there would
sharpen what they say of others. The network's first line therefore stands before the two are
averaged, and is fitted to the network alone; the second is behind both.

Pages of later days are held out, too, where the rehearsal has learned from earlier ones; how likely
a place is examined is then taken from all pages, for few early ones hardly tell it.

Shapes: `R` rows, `F` features, `H` heads.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from models.calibration import Platt
from models.interest import Context
from models.ranker import Ranker
from training.lesson import Lesson
from training.proposals import Examples
from training.ranker_batch import in_order


def settle(ranker: Ranker, examples: Examples, lesson: Lesson) -> list[bool]:
    """Give a ranker its first lines, by the examples it learned from; says where one was fitted."""
    target = np.arange(len(lesson.by_pages)) == lesson.target
    if ranker.trees is None:
        line, fitted = line_through(ranker, examples, lesson)
        ranker.calibrate.then(line)
        return fitted
    alone, fitted = line_through(ranker.networks, examples, lesson, target)
    ranker.trees.network.copy_of(alone, lesson.target)
    if target.all():
        return fitted
    line, of_others = line_through(ranker, examples, lesson, ~target)
    ranker.calibrate.then(line)
    return [a or b for a, b in zip(fitted, of_others, strict=True)]


def held_to(
    ranker: Ranker, examples: Examples, lesson: Lesson, heads: npt.NDArray[np.bool_]
) -> tuple[Platt, list[bool]]:
    """The line that takes what a ranker says to what happened; of the heads that are asked."""

    def calibrated(features: Tensor, context: Context) -> Tensor:
        logits: Tensor = ranker.calibrate(ranker(features, context))
        return logits

    return line_through(calibrated, examples, lesson, heads)


def line_through(
    asked: Callable[[Tensor, Context], Tensor],
    examples: Examples,
    lesson: Lesson,
    heads: npt.NDArray[np.bool_] | None = None,
) -> tuple[Platt, list[bool]]:
    """The line that takes logits to what happened, and where it was fitted.

    Every head is held to the groups that teach it; on pages its probability is that the place is
    examined and the item wanted, as in training.

    Args:
        asked: takes features and context to logits of all heads.
        examples: what happened.
        lesson: which groups say something of which head.
        heads: which of them are asked, bool [H], default all; the others keep what they say.
    """
    with torch.no_grad():
        logits_RH = torch.cat(
            [asked(batch.features, batch.context)[batch.inside] for batch in in_order(examples)]
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
