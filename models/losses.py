"""Losses of the two models.

Shapes: `B` users, `I` items, `G` candidates of a group, `A` actions.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def sampled_softmax(logits_BI: Tensor, positive_BI: Tensor, log_q_I: Tensor) -> Tensor:
    """Sampled softmax with logQ correction and several positives a user.

    For each positive p of user b: `-log(exp(s_bp) / (exp(s_bp) + sum_n exp(s_bn)))` with
    `s = logit - log q` and n over the items that are no positive of b, averaged over a user's
    positives, then over users. In-batch negatives come more often the more popular they are;
    subtracting the log of an item's expected count in the batch takes that bias out
    (Bengio and Senecal, 2008; Yi et al., 2019).

    Args:
        logits_BI: scores of all items of the batch for each user.
        positive_BI: bool, which items are positives of which user.
        log_q_I: log of each item's expected count in the batch.
    """
    corrected_BI = logits_BI - log_q_I
    negatives_B = corrected_BI.masked_fill(positive_BI, -torch.inf).logsumexp(dim=1)
    loss_BI = functional.softplus(negatives_B.unsqueeze(1) - corrected_BI)
    counts_B = positive_BI.sum(dim=1)
    loss_B = (loss_BI * positive_BI).sum(dim=1) / counts_B.clamp(min=1)
    weight_B = (counts_B > 0).to(loss_B.dtype)
    return (loss_B * weight_B).sum() / weight_B.sum().clamp(min=1e-9)


def weighted_bce(
    logits_BGA: Tensor, labels_BGA: Tensor, weight_BG: Tensor, teaches_BA: Tensor | None = None
) -> Tensor:
    """Binary cross-entropy, each candidate weighted by how many it stands for.

    Negatives are subsampled; the weight (1 / sampling rate) keeps probabilities unbiased. Where
    `teaches_BA` is given, a group counts only for the actions that it teaches: the loss of an
    action is the mean over its groups, and of all the mean over those that some group teaches.
    """
    loss_BGA = functional.binary_cross_entropy_with_logits(logits_BGA, labels_BGA, reduction="none")
    if teaches_BA is None:
        return (loss_BGA.mean(dim=-1) * weight_BG).sum() / weight_BG.sum().clamp(min=1e-9)
    weight_BGA = weight_BG.unsqueeze(-1) * teaches_BA.unsqueeze(1)
    total_A = weight_BGA.sum(dim=(0, 1))
    loss_A = (loss_BGA * weight_BGA).sum(dim=(0, 1)) / total_A.clamp(min=1e-9)
    return loss_A.sum() / (total_A > 0).sum().clamp(min=1)


def listwise_softmax(logits_BG: Tensor, labels_BG: Tensor, weight_BG: Tensor) -> Tensor:
    """ListNet-style cross-entropy between the labels and the softmax over a group.

    `-sum_g y_g log softmax(s + log w)_g / sum_g y_g`, averaged over groups; slots of weight 0 are
    padding. The log weight stands in for the candidates that sampling left out. Labels may be soft:
    a group counts as much as is wanted of it, once at most, so one without a positive does not.
    """
    masked_BG = (logits_BG + weight_BG.clamp(min=1e-9).log()).masked_fill(weight_BG <= 0, -1e4)
    log_p_BG = torch.log_softmax(masked_BG, dim=1)
    labels_BG = labels_BG * (weight_BG > 0)
    total_B = labels_BG.sum(dim=1)
    loss_B = -(labels_BG * log_p_BG).sum(dim=1) / total_B.clamp(min=1.0)
    return loss_B.sum() / total_B.clamp(max=1.0).sum().clamp(min=1e-9)


def shared(added_BG: Tensor, counts_BG: Tensor, values_BG: Tensor) -> Tensor:
    """How much of what is added to logits goes to a value of an attribute whoever is asked.

    For each value: the squared mean over users of what each user's candidates of it are given on
    average, estimated without bias from pairs of different users; then the mean over values, each
    as often as users were offered it. 0 in expectation for what differs from user to user around
    0, whatever its size, so the estimate can be negative.

    Args:
        added_BG: what is added to each candidate's logit.
        counts_BG: bool, which candidates count.
        values_BG: code of each candidate's value, from 0.
    """
    values = int(values_BG.max()) + 1
    user_BG = torch.arange(len(added_BG), device=added_BG.device).unsqueeze(1)
    pairs, pair_of_row = torch.unique(
        (user_BG * values + values_BG)[counts_BG], return_inverse=True
    )  # of a user and a value
    added_R = added_BG[counts_BG]
    sums_P = added_R.new_zeros(len(pairs)).index_add(0, pair_of_row, added_R)
    rows_P = added_R.new_zeros(len(pairs)).index_add(0, pair_of_row, torch.ones_like(added_R))
    mean_P, value_P = sums_P / rows_P, pairs % values
    nothing_V = added_R.new_zeros(values)
    sum_V = nothing_V.index_add(0, value_P, mean_P)
    squares_V = nothing_V.index_add(0, value_P, mean_P**2)
    users_V = nothing_V.index_add(0, value_P, torch.ones_like(mean_P))
    # the mean of the products of two different users, as often as there are users
    common_V = (sum_V**2 - squares_V) / (users_V - 1).clamp(min=1)
    return common_V.sum() / users_V.sum().clamp(min=1)


def spread(residual_BG: Tensor, weight_BG: Tensor) -> Tensor:
    """Weighted variance of what a head adds to the one that it leans on, 0 for a constant."""
    share_BG = weight_BG / weight_BG.sum().clamp(min=1e-9)
    mean = (residual_BG * share_BG).sum()
    return ((residual_BG - mean) ** 2 * share_BG).sum()
