"""What a member of the ranker loses on a batch of labelled groups, padded to one length.

Features: cross-entropy for every head; listwise for the order of the target, of all that was
proposed and of what is new to the user; of each head that pages teach its order on the page, with a
price for the variance of what it adds to the target. Labels of the target are soft
(`training.teacher`).

Attention: what it adds to the features' logit, which takes no gradient from it, held to what
happened by the same losses, with a price for what it says to all users alike.

Shapes: `B` groups of a batch, `N` candidates (padded), `F` features, `H` heads, `P` places, `R`
rows of all groups.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from models.interest import Interest
from models.losses import listwise_softmax, shared, spread, weighted_bce
from models.position import acting
from models.ranker import Member
from qianmian.features.item_table import Float64
from training.lesson import Lesson
from training.profile import RankerProfile
from training.proposals import Examples
from training.ranker_batch import Batch
from training.teacher import Taught


@dataclass(frozen=True, slots=True)
class RankerLoss:
    """The loss of a member on a batch."""

    profile: RankerProfile
    lesson: Lesson
    taught: Taught  # labels of the target as the features learn them, and what trees say
    chance: Tensor  # [P + 1, H], that a place is examined; empty without pages
    prior: Float64  # [H], price of the variance of what a head adds to the target

    @classmethod
    def of(
        cls, examples: Examples, profile: RankerProfile, lesson: Lesson, taught: Taught
    ) -> RankerLoss:
        """Weigh the terms by what there is to learn from."""
        if (given := len(taught.soft)) != len(examples.weights):
            raise ValueError(f"expected {len(examples.weights)} soft labels, got {given}")
        prior = lesson.prior(examples, profile.impressions.prior_pages)
        return cls(profile, lesson, taught, torch.from_numpy(lesson.chance).float(), prior)

    def of_batch(self, member: Member, x_BNF: Tensor, new_BN: Tensor, batch: Batch) -> Tensor:
        """Loss of a member that is given the batch's features standardized, and what is new."""
        own_BNH, added_BN = member.own(x_BNF), member.added(x_BNF, new_BN, batch.context)
        terms = self._of_features(member, own_BNH, added_BN, new_BN, batch)
        if added_BN is not None and member.interest is not None:
            target_BN = own_BNH[..., self.lesson.target].detach()
            terms += self._of_attention(target_BN, added_BN, new_BN, batch)
            terms.append(self._of_fashion(added_BN, member.interest, new_BN, batch))
        return torch.stack(terms).sum()

    def _of_features(
        self,
        member: Member,
        own_BNH: Tensor,
        added_BN: Tensor | None,
        new_BN: Tensor,
        batch: Batch,
    ) -> list[Tensor]:
        """Of the target without attention and trees; what leans on it leans on all of them."""
        target = self.lesson.target
        target_BN = own_BNH[..., target]
        leaned_BN = target_BN if added_BN is None else target_BN + added_BN
        if beside := self.taught.beside(batch.rows):
            leaned_BN = beside(leaned_BN)
        logits_BNH = member.lean(own_BNH, leaned_BN)
        if len(self.chance):
            logits_BNH = acting(logits_BNH, batch.positions, self.chance)
        soft_BN = torch.from_numpy(self.taught.soft[batch.rows]) * (batch.weights > 0)
        labels_BNH = batch.labels.clone()
        labels_BNH[..., target] = soft_BN
        return [
            _cross_entropy(logits_BNH, labels_BNH, batch, self.lesson),
            *self._of_order(logits_BNH[..., target], soft_BN, new_BN, batch),
            *self._of_pages(own_BNH, logits_BNH, batch),
        ]

    def _of_attention(
        self, target_BN: Tensor, added_BN: Tensor, new_BN: Tensor, batch: Batch
    ) -> list[Tensor]:
        """Of the target as features and attention say it together; proposals alone teach it.

        Cross-entropy weighs as much as that of one head among all.
        """
        logits_BN, happened_BN = target_BN + added_BN, batch.labels[..., self.lesson.target]
        logits_BN1, happened_BN1 = logits_BN.unsqueeze(-1), happened_BN.unsqueeze(-1)
        return [
            weighted_bce(logits_BN1, happened_BN1, _proposed(batch)) / batch.labels.shape[-1],
            *self._of_order(logits_BN, happened_BN, new_BN, batch),
        ]

    def _of_order(
        self, scores_BN: Tensor, wanted_BN: Tensor, new_BN: Tensor, batch: Batch
    ) -> list[Tensor]:
        """The target's order: of all that was proposed, and of what is new to the user."""
        proposed_BN = _proposed(batch)
        # what was launched may have been the user's own: nothing tells what is new
        new_BN = new_BN & ~torch.from_numpy(batch.launched).unsqueeze(-1)
        wanted_BN = wanted_BN * proposed_BN  # of all that a row stands for
        of_all = listwise_softmax(scores_BN, wanted_BN, proposed_BN)
        of_new = listwise_softmax(scores_BN, wanted_BN * new_BN, proposed_BN * new_BN)
        return [self.profile.listwise_weight * of_all, self.profile.new_weight * of_new]

    def _of_fashion(
        self, added_BN: Tensor, interest: Interest, new_BN: Tensor, batch: Batch
    ) -> Tensor:
        """The price of what attention says of an attribute's value to everybody.

        That is what was wanted in the weeks it learned from, and it does not last.
        """
        counts_BN = new_BN & (batch.weights > 0)
        codes_BNK = interest.codes[batch.context.items].long()
        prices = [shared(added_BN, counts_BN, codes_BN) for codes_BN in codes_BNK.unbind(dim=-1)]
        return self.profile.shared_weight * torch.stack(prices).mean()

    def _of_pages(self, own_BNH: Tensor, logits_BNH: Tensor, batch: Batch) -> list[Tensor]:
        """Of each head that pages teach: its order there, and the price of leaving the target."""
        on_page_BN, terms = batch.weights - _proposed(batch), []
        for head in np.flatnonzero(self.lesson.by_pages).tolist():
            acted_BN = batch.labels[..., head]
            order = listwise_softmax(logits_BNH[..., head], acted_BN, on_page_BN)
            difference = spread(own_BNH[..., head], on_page_BN)
            terms += [self.profile.listwise_weight * order, self.prior[head] * difference]
        return terms


def _proposed(batch: Batch) -> Tensor:
    """Weights of what was proposed, [B, N]; 0 for what a page showed."""
    return batch.weights * torch.from_numpy(~batch.shown).float().unsqueeze(-1)


def _cross_entropy(logits_BNH: Tensor, labels_BNH: Tensor, batch: Batch, lesson: Lesson) -> Tensor:
    """What proposals teach weighs as much beside pages as without them."""
    if not (lesson.by_pages.any() or batch.shown.any()):
        return weighted_bce(logits_BNH, labels_BNH, batch.weights)
    taught = torch.from_numpy(lesson.teaches(batch.shown)).float()
    of_pages = torch.from_numpy(lesson.by_pages).float()
    total = logits_BNH.new_zeros(())
    for heads in (1.0 - of_pages, of_pages):
        total = total + weighted_bce(logits_BNH, labels_BNH, batch.weights, taught * heads)
    return total
