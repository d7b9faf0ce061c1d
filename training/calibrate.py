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
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from models.calibration import Platt
from models.interest import Context
from models.ranker import Ranker
from training.foretold import Foretold
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


@dataclass(frozen=True, slots=True)
class Held:
    """A ranker held to what it had not learned from."""

    line: Platt  # takes what the ranker says to what happened
    fitted: list[bool]  # where there is one, [H]
    foretold: Foretold  # what was predicted of each half behind the line of the other


def held_to(
    ranker: Ranker, examples: Examples, lesson: Lesson, heads: npt.NDArray[np.bool_]
) -> Held:
    """Hold a ranker to what happened; of the heads that are asked, bool [H].

    How chances hold is judged in two halves of the groups, each behind the line that the other half
    gives: no line is judged by what it was fitted to. A head that has no line in one of them is not
    judged.
    """

    def calibrated(features: Tensor, context: Context) -> Tensor:
        logits: Tensor = ranker.calibrate(ranker(features, context))
        return logits

    said = _Said.of(calibrated, examples, lesson, heads)
    sizes, predicted_RH = np.diff(examples.starts), np.zeros(said.labels.shape, dtype=np.float32)
    half_R = np.repeat(np.random.default_rng(0).permutation(len(sizes)) % 2, sizes)
    (line, fitted), held_H = said.line(), np.ones(predicted_RH.shape[1], dtype=np.bool_)
    for half in (half_R == 0, half_R == 1):
        other, found = said.rows(~half).line()
        predicted_RH[half] = said.rows(half).chances(other)
        held_H &= found
    happened_RH, weights_RH = examples.labels > 0, said.weights.numpy() * (held_H & fitted)
    foretold = Foretold()
    bounds = zip(examples.starts[:-1].tolist(), examples.starts[1:].tolist(), strict=True)
    for rows, segments in zip(bounds, examples.segments.tolist(), strict=True):
        of = slice(*rows)
        foretold.add(predicted_RH[of], happened_RH[of], segments, weights_RH[of])
    return Held(line, fitted, foretold)


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
    return _Said.of(asked, examples, lesson, heads).line()


@dataclass(frozen=True, slots=True)
class _Said:
    """What a ranker says, and what happened; all [R, H]."""

    logits: Tensor
    labels: Tensor
    weights: Tensor  # how much a row says of a head
    examined: Tensor  # that its place is

    @classmethod
    @torch.no_grad()
    def of(
        cls,
        asked: Callable[[Tensor, Context], Tensor],
        examples: Examples,
        lesson: Lesson,
        heads: npt.NDArray[np.bool_] | None,
    ) -> _Said:
        parts = [asked(batch.features, batch.context)[batch.inside] for batch in in_order(examples)]
        return cls(
            torch.cat(parts),
            torch.from_numpy(examples.labels),
            torch.from_numpy(lesson.weights(examples) * (1.0 if heads is None else heads)),
            torch.from_numpy(lesson.chances(examples)),
        )

    def rows(self, chosen: npt.NDArray[np.bool_]) -> _Said:
        """Those that a mask [R] chooses."""
        mask = torch.from_numpy(chosen)
        sides = self.logits, self.labels, self.weights, self.examined
        return _Said(*(side[mask] for side in sides))

    def line(self) -> tuple[Platt, list[bool]]:
        """Through these rows, and where it was fitted."""
        line = Platt(actions=self.logits.shape[1])
        return line, line.fit(self.logits, self.labels, self.weights, self.examined)

    def chances(self, line: Platt) -> npt.NDArray[np.floating]:
        """Of an action on each row, behind a line."""
        chances = self.examined * torch.sigmoid(line(self.logits))
        return np.asarray(chances)
