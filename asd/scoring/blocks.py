"""Blocks of normal clips that resemble each other: near copies, which are held out together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from asd.scoring.in_parts import are_many, parts

BLOCKS = 8
"""Into so many the normal clips of a machine are put at most. With fewer, limits are more cautious than new sound
needs, with more, near copies stay; see ``tests/benchmarks/verdicts.py``."""
_LEAST = 3
"""Clips of one kind whose mean tells what the kind sounds like."""
_SOME = 2**22
"""Numbers of the recordings among which blocks are found, where there are many; the others go to the nearest."""
_FEWEST = 1000


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
    domains: list[Hashable] = target.tolist()
    own: list[Hashable] = list(zip(domains, kinds, strict=True)) if kinds else domains
    often = Counter(own)
    known = [kind if often[kind] >= _LEAST else domain for kind, domain in zip(own, domains, strict=True)]
    if are_many(embeddings):
        return _blocks_of_many(embeddings.detach(), recordings, known, most).to(group.device)
    rows = F.normalize(embeddings.detach().cpu().double())
    for kind in set(known):
        of_kind = torch.tensor([one == kind for one in known])
        rows[of_kind] -= rows[of_kind].mean(0)
    sums = torch.zeros(count, rows.shape[1], dtype=rows.dtype).index_add_(0, recordings, rows)
    means = sums / recordings.bincount()[:, None]
    return _clusters(means, most)[0][recordings].to(group.device)


def _clusters(means: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """The cluster ``(R,)`` of each recording, and the centres."""
    # Not above: who scores does without, and starts a second sooner.
    from sklearn.cluster import KMeans

    most = min(most, len(means.unique(dim=0)))
    found = KMeans(most, n_init=4, random_state=0).fit(means.numpy())
    return torch.from_numpy(found.labels_).long(), torch.from_numpy(found.cluster_centers_)


def _blocks_of_many(embeddings: Tensor, recordings: Tensor, known: Sequence[Hashable], most: int) -> Tensor:
    """As above, by clusters of some recordings, and with no copy of the rows."""
    numbers = {kind: number for number, kind in enumerate(dict.fromkeys(known))}
    kind = torch.tensor([numbers[one] for one in known])
    width = embeddings.shape[1]

    def placed(rows: Tensor) -> Tensor:
        return F.normalize(rows.cpu().double())

    usual = torch.zeros(len(numbers), width, dtype=torch.float64)
    for place, some in parts(embeddings):
        usual.index_add_(0, kind[place], placed(some))
    usual /= kind.bincount()[:, None]
    clips = recordings.bincount()
    chosen = torch.zeros(len(clips), dtype=torch.bool)
    order = torch.randperm(len(clips), generator=torch.Generator().manual_seed(0))
    chosen[order[: max(_SOME // width, _FEWEST)]] = True
    place_of, index = chosen.cumsum(0) - 1, torch.nonzero(chosen[recordings]).flatten()
    sums = torch.zeros(int(chosen.sum()), width, dtype=torch.float64)
    for place, some in parts(embeddings, index):
        sums.index_add_(0, place_of[recordings[index[place]]], placed(some) - usual[kind[index[place]]])
    centres = _clusters(sums / clips[chosen][:, None], most)[1]
    # The nearest centre to a mean has the largest product with it, less half its square, which is a mean of products.
    near = torch.zeros(len(clips), len(centres), dtype=torch.float64)
    for place, some in parts(embeddings):
        near.index_add_(0, recordings[place], (placed(some) - usual[kind[place]]) @ centres.mT)
    found = (near / clips[:, None] - 0.5 * centres.square().sum(1)).argmax(1)
    number = found.unique(return_inverse=True)[1]
    return torch.as_tensor(number[recordings])
