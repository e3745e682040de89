"""Blocks of normal clips that resemble each other: near copies, which are held out together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

BLOCKS = 8
"""Into so many the normal clips of a machine are put at most. With fewer, limits are more cautious than new sound
needs, with more, near copies stay; see ``tests/benchmarks/verdicts.py``."""
_LEAST = 3
"""Clips of one kind whose mean tells what the kind sounds like."""


def blocks_of(
    embeddings: Tensor, group: Tensor, target: Tensor, kinds: Sequence[Hashable] = (), most: int = BLOCKS
) -> Tensor:
    """Blocks ``(N,)`` of normal clips, numbered from 0: clusters of their recordings by what they have in common.

    Where clips are cut from one day's sound, or mixed from a few recordings, each has near copies that no name tells.
    Left out alone, it scores as if it had been heard before; a clip of another day has no such copies. What is known
    of the clips, their domain and attributes, is no such likeness: another day has the same. So the mean of each kind
    is taken off first, of kinds with few clips that of the domain.

    Args:
        embeddings: ``(N, E)``.
        group: ``(N,)`` int64, equal for clips of one recording, which stay together.
        target: ``(N,)`` bool, of the target domain.
        kinds: What is known of each clip; none: nothing.
        most: How many blocks; fewer where there are fewer recordings.
    """
    recordings = group.unique(return_inverse=True)[1].cpu()
    count = int(recordings.max()) + 1
    if count <= most:
        return torch.as_tensor(recordings, device=group.device)
    rows = F.normalize(embeddings.detach().cpu().double())
    domains: list[Hashable] = target.tolist()
    own: list[Hashable] = list(zip(domains, kinds, strict=True)) if kinds else domains
    often = Counter(own)
    known = [kind if often[kind] >= _LEAST else domain for kind, domain in zip(own, domains, strict=True)]
    for kind in set(known):
        of_kind = torch.tensor([one == kind for one in known])
        rows[of_kind] -= rows[of_kind].mean(0)
    sums = torch.zeros(count, rows.shape[1], dtype=rows.dtype).index_add_(0, recordings, rows)
    means = sums / recordings.bincount()[:, None]
    # Not above: who scores does without, and starts a second sooner.
    from sklearn.cluster import KMeans

    most = min(most, len(means.unique(dim=0)))
    found = KMeans(most, n_init=4, random_state=0).fit_predict(means.numpy())
    return torch.from_numpy(found).long()[recordings].to(group.device)
