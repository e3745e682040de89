"""Time and memory of scoring against the number of reference embeddings: ``python -m tests.benchmarks.scoring``.

Nearest neighbours stand beside the bare matrix product in blocks of the same size and beside scikit-learn; every line
is measured in a process of its own, whose peak memory beyond that of the data is given. With ``--device cuda`` all but
scikit-learn computes there, and that device's memory is given. ``--grid`` measures a grid of back ends on ten machines
instead, in a process for each core and in one; ``--approximate`` an index, and ``--clusters`` K-means in parts beside
that of scikit-learn, of embeddings that lie as those of machines do: about the means of many operating states, each
spread along the same few directions.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.neighbors import NearestNeighbors

from asd.configured import configured
from asd.evaluation import back_ends, embedding_store
from asd.evaluation.embedding_store import Store, Stored, StoredClip
from asd.scoring import KMeansScorer, NeighboursScorer, Scorer
from asd.utils.devices import usable
from asd.utils.forks import each, usable_cores

WIDTH = 768
MOST_FOR_SCIKIT_LEARN = 100_000
GRID = Path(__file__).parents[2] / "configs" / "grid" / "back_ends.yaml"


def peak() -> float:
    """GB of memory at the highest, so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def forget_peak() -> None:
    """Have the highest be what it is now, on Linux."""
    Path("/proc/self/clear_refs").write_text("5")


def measure(what: str, references: int, queries: int, k: int, device: torch.device) -> dict[str, float]:
    """Seconds to fit and to score, and GB beyond the data, of the device."""
    if what.startswith("scikit"):
        device = torch.device("cpu")
    module = None if device.type == "cpu" else torch.get_device_module(device)

    def now() -> float:
        """Seconds, once all that was begun is done."""
        if module is not None:
            module.synchronize()
        return time.perf_counter()

    def most() -> float:
        """GB at the highest."""
        return peak() if module is None else module.max_memory_allocated() / 1e9

    generator = torch.Generator().manual_seed(0)
    bank = torch.randn(references, WIDTH, generator=generator).to(device)
    asked = torch.randn(queries, WIDTH, generator=generator).to(device)
    target = torch.zeros(references, dtype=torch.bool, device=device)
    torch.randn(2000, 2000).to(device) @ torch.randn(2000, 2000).to(device)
    if module is not None:  # once before, for what a device does at its first call
        NeighboursScorer(k).fit(bank[:100], target[:100])(asked[:100])
        module.reset_peak_memory_stats()
    before, start = most(), now()
    if what == "matrix product":
        fitted = now()
        for part in asked.split(1024):
            for block in bank.split(16384):
                part @ block.mT
    elif what == "asd neighbours":
        scorer = NeighboursScorer(k).fit(bank, target)
        fitted = now()
        scorer(asked)
    elif what == "scikit-learn neighbours":
        estimator = NearestNeighbors(n_neighbors=k, metric="cosine", algorithm="brute").fit(bank.numpy())
        fitted = now()
        estimator.kneighbors(asked.numpy())
    elif what == "asd K-means":
        clusters = KMeansScorer(16, "euclidean", "clustered").fit(bank, target)
        fitted = now()
        clusters(asked)
    else:
        model = KMeans(16, n_init=4, random_state=0).fit(bank.numpy())
        fitted = now()
        model.transform(asked.numpy()).min(1)
    return {"fit": fitted - start, "score": now() - fitted, "memory": most() - before}


def scaling(sizes: list[int], queries: int, k: int, device: torch.device) -> None:
    """Print a line for every number of references and every way."""
    print("| references | what | fit, s | score, s | memory beyond the data, GB | ratio to the matrix product |")
    print("|---:|---|---:|---:|---:|---:|")
    for size in sizes:
        product = 0.0
        for what in (
            "matrix product",
            "asd neighbours",
            "scikit-learn neighbours",
            "asd K-means",
            "scikit-learn K-means",
        ):
            if what.startswith("scikit") and size > MOST_FOR_SCIKIT_LEARN:
                continue
            command = [sys.executable, "-m", __spec__.name, "--one", what, "--sizes", str(size)]
            command += ["--queries", str(queries), "--k", str(k), "--device", str(device)]
            found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
            product = found["score"] if what == "matrix product" else product
            ratio = f"{product / found['score']:.2f}" if "neighbours" in what else ""
            print(
                f"| {size:,} | {what} | {found['fit']:.2f} | {found['score']:.2f} | {found['memory']:.2f} | {ratio} |",
                flush=True,
            )


def drawn(counts: tuple[int, ...], width: int) -> list[torch.Tensor]:
    """So many embeddings as those of machines lie, of the same states."""
    generator = torch.Generator().manual_seed(0)
    means, along = torch.randn(1000, width, generator=generator), torch.randn(16, width, generator=generator)
    found = []
    for count in counts:
        found.append(torch.empty(count, width))
        for part in found[-1].split(2**18):
            part[:] = means[torch.randint(1000, (len(part),), generator=generator)]
            part += 0.3 * torch.randn(len(part), 16, generator=generator) @ along
            part += 0.1 * torch.randn(len(part), width, generator=generator)
    return found


def clusters(sizes: list[int], width: int, k: int = 16) -> None:
    """Print a line for every number of embeddings and every way: processor time, memory, what is left of distances."""
    print("| embeddings | 16 centres by | fit, processor s | memory beyond the data, GB | inertia, ratio to asd |")
    print("|---:|---|---:|---:|---:|")
    for size in sizes:
        (bank,) = drawn((size,), width)
        target, ours = torch.zeros(size, dtype=torch.bool), 0.0
        ways = {
            "asd": lambda: KMeansScorer(k, "euclidean", "clustered").fit(bank, target).centres,  # noqa: B023
            "scikit-learn MiniBatchKMeans": lambda: MiniBatchKMeans(k, n_init=4, random_state=0).fit(bank.numpy()),  # noqa: B023
            "scikit-learn KMeans": lambda: KMeans(k, n_init=4, random_state=0).fit(bank.numpy()),  # noqa: B023
        }
        for name, way in ways.items():
            if name == "scikit-learn KMeans" and size > MOST_FOR_SCIKIT_LEARN:
                continue
            forget_peak()
            before, start = peak(), time.process_time()
            found = way()
            seconds, memory = time.process_time() - start, peak() - before
            centres = found if isinstance(found, torch.Tensor) else torch.from_numpy(found.cluster_centers_)
            inertia = sum(float(torch.cdist(part, centres).amin(1).square().sum()) for part in bank.split(2**18))
            ours = ours or inertia
            print(f"| {size:,} | {name} | {seconds:.2f} | {memory:.2f} | {inertia / ours:.4f} |", flush=True)


def approximate(sizes: list[int], queries: int, k: int, probes: int, width: int) -> None:
    """Print a line for every number of references: time, memory and recall beside the exact neighbours."""
    print(
        "| references | exact, s | fit, s | from a checkpoint, s | approximate, s | ratio | recall | score, off by "
        "| memory beyond the data, GB |"
    )
    print("|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
    for size in sizes:
        bank, asked = drawn((size, queries), width)
        target = torch.zeros(size, dtype=torch.bool)
        ours, seconds = NeighboursScorer(k, index="approximate", probes=probes), []
        steps = (
            lambda: ours.fit(bank, target), lambda: ours(asked[:1]), lambda: ours(asked),  # noqa: B023
            lambda: NeighboursScorer(k).fit(bank, target)(asked),  # noqa: B023
        )  # fmt: skip
        forget_peak()
        before = memory = peak()
        for step in steps:
            memory = peak()
            start = time.perf_counter()
            found = step()
            seconds.append(time.perf_counter() - start)
        scores = ours(asked)
        hits = float((scores <= found + 1e-6).float().mean())
        off = float(((scores - found) / found).mean())
        cells = [seconds[3], *seconds[:3], seconds[3] / seconds[2]]
        figures = f"{' | '.join(f'{cell:.2f}' for cell in cells)} | {hits:.4f} | {off:.2%} | {memory - before:.2f}"
        print(f"| {size:,} | {figures} |", flush=True)


def grid(machines: int = 10, references: int = 1000, queries: int = 200) -> None:
    """Time a whole grid on stored embeddings."""
    generator = torch.Generator().manual_seed(0)
    parts = []
    for name, count in (("reference", references), ("query", queries)):
        clips = tuple(
            StoredClip(f"{name}{row}.wav", f"machine{machine}", "00", ("source", "target")[row % 50 == 0],
                       ("normal", "anomaly")[name == "query" and row % 2], "", "")
            for machine in range(machines) for row in range(count)
        )  # fmt: skip
        parts.append(Stored(torch.randn(len(clips), WIDTH, generator=generator), clips, "", 10.0))
    with tempfile.TemporaryDirectory() as folder:
        for name, part in zip(embedding_store.SUBSETS, parts, strict=True):
            embedding_store.write(Path(folder) / f"{name}.safetensors", part)
        found: Store = embedding_store.read(Path(folder))
        specs = back_ends.read_grid(GRID)

        def scored(number: int) -> float:
            begin = time.perf_counter()
            back_ends.score(found, configured(specs[number], Scorer))  # type: ignore[type-abstract]
            return time.perf_counter() - begin

        print(f"{len(specs)} back ends, {machines} machines x {references + queries} embeddings of {WIDTH}, seconds:")
        for processes in dict.fromkeys((usable_cores(), 1)):  # copies first: of a process that has no threads yet
            start = time.perf_counter()
            each_took = list(each(scored, len(specs), processes))
            print(f"  {time.perf_counter() - start:5.1f}  in processes: {processes}", flush=True)
    for spec, seconds in sorted(zip(specs, each_took, strict=True), key=lambda pair: -pair[1])[:5]:
        print(f"  {seconds:5.2f}  {back_ends.describe(spec)}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--sizes", type=int, nargs="*", default=[1000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--queries", type=int, default=10_000)
    parser.add_argument("--k", type=int, default=1)
    parser.add_argument("--device", type=usable, default="cpu", help="where asd computes (cpu), of the scaling")
    parser.add_argument("--grid", action="store_true", help="time configs/grid/back_ends.yaml")
    parser.add_argument("--approximate", action="store_true", help="measure the index beside exact neighbours")
    parser.add_argument("--clusters", action="store_true", help="measure K-means beside scikit-learn's")
    parser.add_argument("--width", type=int, default=256, help="columns, of the last two")
    parser.add_argument("--probes", type=int, default=16)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measure(given.one, given.sizes[0], given.queries, given.k, given.device)))
    elif given.grid:
        grid()
    elif given.approximate:
        approximate(given.sizes, given.queries, given.k, given.probes, given.width)
    elif given.clusters:
        clusters(given.sizes, given.width)
    else:
        scaling(given.sizes, given.queries, given.k, given.device)


if __name__ == "__main__":
    main()
