"""BEATs' gated attention by each exact kernel that takes its bias: ``python -m tests.benchmarks.attention``.

The encoder calls ``scaled_dot_product_attention`` with the gated bias as its mask. Beside it stand plain products and a
softmax, and compiled flex attention, which computes the bias where it is needed and keeps no mask. They take turns,
because other load on the machine comes and goes; a ratio is the median of those of one round.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention.flex_attention import flex_attention

Attention = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]
USED = "scaled_dot_product_attention"


def plain(query: Tensor, key: Tensor, value: Tensor, gate: Tensor, bias: Tensor) -> Tensor:
    """``(B, H, N, D)`` with gates ``(B, H, N, 1)`` and a bias ``(H, N, N)`` to ``(B, H, N, D)``, as it is written."""
    return ((query @ key.mT) * query.shape[-1] ** -0.5 + gate * bias).softmax(-1) @ value


def masked(query: Tensor, key: Tensor, value: Tensor, gate: Tensor, bias: Tensor) -> Tensor:
    """The same by torch's kernels."""
    return F.scaled_dot_product_attention(query, key, value, attn_mask=gate * bias)


def flexible(query: Tensor, key: Tensor, value: Tensor, gate: Tensor, bias: Tensor) -> Tensor:
    """The same without a mask in memory."""

    def gated(score: Tensor, clip: Tensor, head: Tensor, one: Tensor, other: Tensor) -> Tensor:
        return score + gate[clip, head, one, 0] * bias[head, one, other]

    out: Tensor = flex_attention(query, key, value, score_mod=gated)  # type: ignore[assignment]  # no further results
    return out


def made(batch: int, heads: int, tokens: int, dtype: torch.dtype, device: torch.device) -> list[Tensor]:
    """Queries, keys, values, gates and the bias of a layer; as trained, the bias depends on the distance alone."""
    shapes = [(batch, heads, tokens, 64)] * 3 + [(batch, heads, tokens, 1)]
    rows = torch.randn(heads, 2 * tokens - 1)
    inputs = [*(torch.randn(shape) for shape in shapes), rows.unfold(1, tokens, 1).flip(1).contiguous()]
    return [one.to(device, dtype).requires_grad_() for one in inputs]


def forward(attention: Attention, inputs: list[Tensor]) -> Callable[[], object]:
    """Without gradients."""
    detached = [one.detach() for one in inputs]

    def call() -> Tensor:
        with torch.no_grad():
            return attention(*detached)

    return call


def both_ways(attention: Attention, inputs: list[Tensor]) -> Callable[[], object]:
    """With the gradients of all inputs."""
    return lambda: torch.autograd.grad(attention(*inputs).square().mean(), inputs)


def turns(calls: dict[str, Callable[[], object]], rounds: int, now: Callable[[], float]) -> dict[str, list[float]]:
    """Seconds of each call in each round, after one that is not counted; without what the device cannot do."""
    taken: dict[str, list[float]] = {}
    for turn in range(rounds + 1):
        for name, call in calls.items():
            if turn and name not in taken:
                continue
            start = now()
            try:
                call()
            except NotImplementedError:
                continue
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            taken.setdefault(name, []).append(now() - start)
    return {name: each[1:] for name, each in taken.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--heads", type=int, default=12)
    parser.add_argument("--tokens", type=int, nargs="*", default=[248, 496])
    parser.add_argument("--precision", default="32", choices=["32", "bf16"])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--processor", action="store_true", help="processor time, where other jobs share the machine")
    given = parser.parse_args()
    torch.manual_seed(0)
    now = time.process_time if given.processor else time.perf_counter
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = torch.bfloat16 if given.precision == "bf16" else torch.float32
    kernels: dict[str, Attention] = {USED: masked, "products and softmax": plain}
    kernels["flex attention, compiled"] = torch.compile(flexible, dynamic=False)
    print(f"| {device.type}, {given.precision}, batch {given.batch}, tokens | kernel | forward, ms | ratio | ", end="")
    print("both ways, ms | ratio | off by |\n|---:|---|---:|---:|---:|---:|---:|")
    for tokens in given.tokens:
        inputs = made(given.batch, given.heads, tokens, dtype, device)
        exact = plain(*(one.detach().double() for one in inputs))
        measured = [
            turns({name: way(one, inputs) for name, one in kernels.items()}, given.rounds, now)
            for way in (forward, both_ways)
        ]
        for name, one in kernels.items():
            cells = [cell for taken in measured for cell in shown(taken, name)]
            off = (forward(one, inputs)() - exact).abs().max().item()  # type: ignore[operator]
            print(f"| {tokens} | {name} | {' | '.join(cells)} | {off:.0e} |", flush=True)


def shown(taken: dict[str, list[float]], name: str) -> tuple[str, str]:
    """Milliseconds, and how many times as fast as the kernel that is used."""
    if name not in taken:
        return "-", "-"
    ratios = [other / one for one, other in zip(taken[name], taken[USED], strict=True)]
    return f"{1000 * statistics.median(taken[name]):.1f}", f"{statistics.median(ratios):.2f}"


if __name__ == "__main__":
    main()
