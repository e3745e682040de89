"""More target embeddings than there are target clips, for scorers that would overlook a few among many."""

from __future__ import annotations

import copy
from typing import Literal, Self, get_args

import torch
from torch import Tensor

from asd.errors import UserError
from asd.scoring.base import Scorer, own_recordings
from asd.scoring.distances import nearest, placed
from asd.scoring.kmeans import KMeansScorer

Method = Literal["smote", "memory_mixup"]


class Oversampled(Scorer):
    """Fits a scorer on the normal clips and on embeddings made up between them in the target domain.

    ``smote`` puts new embeddings between a target clip and one of its nearest target clips (Chawla et al. 2002);
    ``memory_mixup`` puts them between a target clip and one of its nearest source clips, nearer to the target clip.
    A made-up embedding belongs to the recording of the target clip that it was made from.

    Args:
        scorer: What is fitted; ``None``: K-means over all clips.
        method: How embeddings are made up.
        part: Target embeddings, made-up ones included, in parts of the number of source clips.
        k: Among how many nearest clips the second one is drawn.
        share: ``memory_mixup``: weight of the target clip.
        seed: Of the draw.
    """

    def __init__(
        self,
        scorer: Scorer | None = None,
        method: Method = "smote",
        part: float = 0.2,
        k: int = 2,
        share: float = 0.9,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if method not in get_args(Method) or not 0 < part <= 1 or k < 1 or not 0.5 <= share <= 1:
            raise UserError(
                f"Oversampled: method is {method!r}, part {part}, k {k} and share {share}; choose of "
                f"{', '.join(get_args(Method))}, part in (0, 1], k of 1 or more, share in [0.5, 1]"
            )
        self.scorer = KMeansScorer(target="clustered") if scorer is None else copy.deepcopy(scorer)
        self.method = method
        self.part = part
        self.k = k
        self.share = share
        self.seed = seed

    def fit(self, embeddings: Tensor, target: Tensor, group: Tensor | None = None) -> Self:
        """Make embeddings up and fit the scorer."""
        self.check_reference(embeddings)
        group = own_recordings(embeddings) if group is None else group
        made, origin = self._made_up(embeddings.detach().float(), target.bool())
        self.scorer.fit(
            torch.cat([embeddings.float(), made]),
            torch.cat([target.bool(), torch.ones(len(made), dtype=torch.bool, device=target.device)]),
            torch.cat([group, group[origin]]),
        )
        self.remember()
        return self

    def _made_up(self, embeddings: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """New embeddings ``(n, E)`` and the rows ``(n,)`` of the target clips they were made from."""
        targets, sources = torch.nonzero(target).flatten(), torch.nonzero(~target).flatten()
        missing = round(self.part * len(sources)) - len(targets)
        partners = targets if self.method == "smote" else sources
        fewest = 2 if self.method == "smote" else 1
        if missing <= 0 or len(targets) == 0 or len(partners) < fewest:
            return embeddings[:0], targets[:0]
        generator = torch.Generator().manual_seed(self.seed)
        first = targets[torch.arange(missing, device=targets.device) % len(targets)]
        rows = placed(embeddings, "euclidean")
        own = own_recordings(rows)
        near = nearest(rows[targets], rows[partners], self.k, "euclidean", (own[targets], own[partners]))
        known = near[0].isfinite().sum(1).clamp_min(1).cpu()
        turn = torch.arange(missing) % len(targets)
        drawn = (torch.rand(missing, generator=generator) * known[turn]).long()
        second = partners[near[1][turn.to(rows.device), drawn.to(rows.device)]]
        if self.method == "smote":
            share = torch.rand(missing, 1, generator=generator).to(rows.device)
        else:
            share = torch.full((missing, 1), self.share, device=rows.device)
        return share * rows[first] + (1 - share) * rows[second], first

    def forward(self, embeddings: Tensor) -> Tensor:
        """``(B, E)`` to the scores ``(B,)`` of the scorer."""
        self.check_fitted()
        scores: Tensor = self.scorer(embeddings)
        return scores
