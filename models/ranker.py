"""The ranking model: one probability for each action, from a candidate's ranking features.

Wide and deep (Cheng et al., 2016): a linear path keeps what a single strong feature says (a decayed
personal frequency is hard to beat on retail data), a deep path finds the crosses. Each action has
its own head; blending them is the venue's business.

A head that logged pages teach leans on the target's head: pages are few and hold only what an
earlier release ranked high, while the target is known of every item. Such a head learns a slope on
the target's logit and how its action differs from it, by a network of its own: a shared one serves
pages at the target's expense. Once pages teach it, the target has two heads: within the horizon,
shown or not, and on a page.

A ranker may hold several of these, its members, which learn apart, each from a start of its own.
The graph averages their logits (deep ensembles, Lakshminarayanan et al., 2017), so that what one of
them owes to its start and its batches weighs less; calibration stands behind the mean.

Where it is given a context, a member also asks what the user's memory says of candidates that
are new to the user (`models.interest`), and adds it to the target's logit.

Trees (`models.trees`) may stand beside the members: a part of the target's logit is then theirs,
the rest, attention with it, the members'. What leans on the target leans on both.

Shapes: `B` users, `N` candidates, `F` features, `A` actions, `H` heads (`A`, or one more).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from models.calibration import Platt
from models.interest import Context, Interest
from models.layers import MLP, Standardize
from models.trees import Beside, Trees


class WideAndDeep(nn.Module):
    """Features [..., F] to a number for each head, [..., H]."""

    def __init__(self, *, features: int, heads: int, hidden: Sequence[int], dropout: float) -> None:
        super().__init__()
        self.wide = nn.Linear(features, heads)
        self.deep = MLP(in_width=features, widths=(*hidden, heads), dropout=dropout)

    def forward(self, x_F: Tensor) -> Tensor:
        said_H: Tensor = self.wide(x_F) + self.deep(x_F)
        return said_H

    def say_nothing(self) -> None:
        """Start at 0 for all heads, whatever the features."""
        with torch.no_grad():
            for last in (self.wide, self.deep.head):
                last.weight.zero_()
                last.bias.zero_()


class Member(nn.Module):
    """Standardized features [B, N, F] to logits [B, N, H], by networks that no other member has."""

    def __init__(
        self,
        *,
        features: int,
        heads: int,
        hidden: Sequence[int],
        dropout: float,
        target: int,
        leaning: Sequence[int],
        interest: Interest | None,
    ) -> None:
        """`leaning` heads start in the order of the `target` head and learn what differs."""
        super().__init__()

        def network() -> WideAndDeep:
            return WideAndDeep(features=features, heads=heads, hidden=hidden, dropout=dropout)

        self.plain = network()
        self.differing = network() if leaning else None
        self.interest = interest
        self.target = target
        self.leaning: Tensor
        self.register_buffer("leaning", torch.zeros(heads))
        self.slope = nn.Parameter(torch.ones(heads))
        self.leaning[list(leaning)] = 1.0
        self._of_target: Tensor
        self.register_buffer("_of_target", torch.zeros(heads), persistent=False)
        self._of_target[target] = 1.0
        if self.differing is not None:
            self.differing.say_nothing()

    def forward(
        self,
        x_BNF: Tensor,
        new_BN: Tensor | None = None,
        context: Context | None = None,
        beside: Beside | None = None,
    ) -> Tensor:
        """Logits of all heads; the target's takes no gradient from the heads that lean on it.

        `beside` takes what the member says of the target, [B, N], to what it and trees say of it.
        """
        own_BNH, added_BN = self.own(x_BNF), self.added(x_BNF, new_BN, context)
        target_BN = own_BNH[..., self.target]
        if added_BN is not None:
            target_BN = target_BN + added_BN
        if beside is not None:
            target_BN = beside(target_BN)
        own_BNH = torch.where(self._of_target > 0, target_BN.unsqueeze(-1), own_BNH)
        return self.lean(own_BNH, target_BN)

    def added(
        self, x_BNF: Tensor, new_BN: Tensor | None = None, context: Context | None = None
    ) -> Tensor | None:
        """What the memory adds to the target's logit, [B, N]: 0 for what is not new to the user.

        None of a member that does not attend; only one that does reads what is new and the context.
        """
        if self.interest is None:
            return None
        if new_BN is None or context is None:
            raise ValueError("a ranker that attends to what users remember must be given it")
        added_BN: Tensor = self.interest(x_BNF, context) * new_BN
        return added_BN

    def own(self, x_BNF: Tensor) -> Tensor:
        """What each head says of features, [B, N, H]: of a leaning one, how it differs."""
        plain_BNH: Tensor = self.plain(x_BNF)
        if self.differing is None:
            return plain_BNH
        return torch.where(self.leaning > 0, self.differing(x_BNF), plain_BNH)

    def lean(self, own_BNH: Tensor, target_BN: Tensor) -> Tensor:
        """What the heads say by themselves to logits, [B, N, H].

        Those that lean do so on the target's logit, [B, N], which takes no gradient from them.
        """
        return own_BNH + target_BN.detach().unsqueeze(-1) * (self.leaning * self.slope)

    def start_at(self, odds_H: Tensor) -> None:
        """Begin each head at what it says on average, before it knows of features."""
        with torch.no_grad():
            self.plain.wide.bias.copy_(odds_H)
            if self.differing is not None:
                self.differing.wide.bias.copy_(odds_H)

    def parts(self) -> list[list[nn.Parameter]]:
        """Parameters that learn apart: of what does not lean, of what does, of attention."""
        differing = [] if self.differing is None else list(self.differing.parameters())
        interest = [] if self.interest is None else list(self.interest.parameters())
        return [list(self.plain.parameters()), [self.slope, *differing], interest]


class Ranker(nn.Module):
    """Features [B, N, F] to logits [B, N, H]: the mean of what its members say."""

    def __init__(
        self,
        *,
        features: int,
        actions: int,
        hidden: Sequence[int],
        dropout: float = 0.1,
        target: int = 0,
        leaning: Sequence[int] = (),
        target_on_page: bool = False,
        members: int = 1,
        repeat: int = 0,
        interest: int = 0,
        codes: Tensor | None = None,
        types: int = 0,
        trees: Trees | None = None,
    ) -> None:
        """`leaning` heads start in the order of the `target` action and learn what differs.

        With `target_on_page` there is a head behind those of the actions: the target on a page.
        With an `interest` above 0, its width, members attend to what users remember, by the
        attribute `codes` of the items, int32 [n + 1, K], and the number of the `types` of actions;
        `repeat` is the index of the feature that is above 0 for items the user did the target
        action on before. A part of the target's logit is that of `trees`.
        """
        super().__init__()
        heads = actions + target_on_page
        self.standardize = Standardize(width=features)
        self.attends = interest > 0 and codes is not None and codes.shape[1] > 0
        if self.attends and types < 1:
            raise ValueError("a ranker that attends must know how many types of actions there are")
        self._repeat = repeat

        def asks() -> Interest | None:
            if not self.attends or codes is None:
                return None
            return Interest(features=features, codes=codes, types=types, width=interest)

        networks = nn.ModuleList(
            Member(
                features=features,
                heads=heads,
                hidden=hidden,
                dropout=dropout,
                target=target,
                leaning=leaning,
                interest=asks(),
            )
            for _ in range(members)
        )
        self.members = cast("Sequence[Member]", networks)  # torch's list does not say of what
        self.trees = trees
        self.calibrate = Platt(actions=heads)
        self._actions = list(range(actions))
        self._on_page = [heads - 1 if action == target else action for action in self._actions]
        if not target_on_page:
            self._on_page = self._actions

    def forward(self, features_BNF: Tensor, context: Context | None = None) -> Tensor:
        """Logits of all heads, before calibration; a ranker that attends needs the context."""
        if self.trees is None:
            return self.networks(features_BNF, context)
        beside = self.trees.beside(self.trees(features_BNF))
        return self.networks(features_BNF, context, beside)

    def networks(
        self, features_BNF: Tensor, context: Context | None = None, beside: Beside | None = None
    ) -> Tensor:
        """What the members say: alone, or with what takes their word of the target to another."""
        x_BNF, new_BN = self.standardize(features_BNF), self.new(features_BNF)
        said = [member(x_BNF, new_BN, context, beside) for member in self.members]
        return torch.stack(said).mean(dim=0)

    def new(self, features_BNF: Tensor) -> Tensor:
        """Which candidates the user did not do the target action on before, bool [B, N]."""
        return features_BNF[..., self._repeat] <= 0

    def probabilities(
        self, features_BNF: Tensor, context: Context | None = None
    ) -> tuple[Tensor, Tensor]:
        """Calibrated probability of each action on a page and within the horizon, [B, N, A] each.

        They differ in the target alone, and only where pages taught it.
        """
        p_BNH = torch.sigmoid(self.calibrate(self(features_BNF, context)))
        return p_BNH[..., self._on_page], p_BNH[..., self._actions]
