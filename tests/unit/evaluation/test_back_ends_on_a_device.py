"""Back ends that are fitted and score on another device than the embeddings lie on."""

from __future__ import annotations

import csv
import inspect
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch

from asd import cli, scoring
from asd.evaluation import back_ends
from asd.evaluation.embedding_store import SUBSETS, Store, Stored, StoredClip, write
from asd.scoring import Scorer, in_parts, kmeans
from tests.benchmarks.scoring import measure
from tests.far_device import FAR, FarTensor, PretendedDevice

SCORERS = sorted(
    (one for one in (getattr(scoring, name) for name in scoring.__all__) if inspect.isclass(one)),
    key=lambda one: one.__name__,
)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def store() -> Store:
    """Two machines, twelve normal clips of two attributes each and four to be scored."""
    generator = torch.Generator().manual_seed(3)
    found = []
    for name, count in zip(SUBSETS, (12, 4), strict=True):
        clips = tuple(
            StoredClip(
                f"{row}.wav", machine, "00", "target" if row % 3 == 0 else "source",
                "anomaly" if name == "query" and row % 2 else "normal", f"speed_{row % 2}", "",
            )
            for machine in ("fan", "pump") for row in range(count)
        )  # fmt: skip
        rows = torch.randn(len(clips), 6, generator=generator)
        found.append(Stored(rows, clips, "", 1.0))
    return Store(*found)


@pytest.mark.filterwarnings("ignore::asd.errors.Notice")
@pytest.mark.parametrize("kind", [one for one in SCORERS if issubclass(one, Scorer) and not inspect.isabstract(one)])
def test_every_scorer_fits_and_scores_there(kind: Callable[..., Scorer], store: Store) -> None:
    if "trees" in inspect.signature(kind).parameters:
        kind = partial(kind, trees=3)
    near, _ = back_ends.decided(store, kind())
    with PretendedDevice():
        far, _ = back_ends.decided(store, kind(), device=FAR)
    assert far == near


@pytest.fixture
def far_products(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Of each search for neighbours, whether it was made there."""
    made: list[bool] = []
    usual = scoring.neighbours.nearest

    def watched(queries: torch.Tensor, *given: object) -> object:
        made.append(isinstance(queries, FarTensor))
        return usual(queries, *given)

    monkeypatch.setattr("asd.scoring.neighbours.nearest", watched)
    return made


@pytest.mark.parametrize("many", [False, True])
def test_the_command_scores_there_what_it_scores_on_the_cpu(
    many: bool, store: Store, far_products: list[bool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if many:
        monkeypatch.setattr(in_parts, "MANY", 8)
        monkeypatch.setattr(in_parts, "_AT_ONCE", 12)
    for name in SUBSETS:
        write(tmp_path / f"{name}.safetensors", getattr(store, name))
    (tmp_path / "grid.yaml").write_text("- NeighboursScorer\n")
    written = []
    for device in ("cpu", "cuda"):
        far_products.clear()
        folder = tmp_path / device
        given = ["rescore", str(tmp_path), "--no-pictures", "--device", device, "--out"]
        grid = [str(folder / "grid"), "--grid", str(tmp_path / "grid.yaml"), "--choose", "pseudo"]
        with PretendedDevice():
            assert cli.main([*given, str(folder), "--scorer", "NeighboursScorer"]) == 0
            assert cli.main([*given, *grid, *(["--processes", "1"] if device == "cpu" else [])]) == 0
        assert set(far_products) == {device == "cuda"}
        tables = sorted(path for path in folder.rglob("*.csv"))
        written.append([(path.name, list(csv.reader(path.open()))) for path in tables])
    assert len(written[0]) > 2
    assert written[0] == written[1]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--device", "nonsense"), "device 'nonsense' cannot be used"),
        (("--device", "meta"), "device 'meta' cannot be used"),
        (("--device", "cuda", "--processes", "2"), "--processes is 2, but processes share no cuda; give 1"),
    ],
)
def test_what_cannot_be_is_refused(
    given: tuple[str, ...], said: str, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with PretendedDevice():
        assert cli.main(["rescore", str(tmp_path), "--scorer", "NeighboursScorer", *given]) == 2
    assert said in capsys.readouterr().err


def test_passes_of_k_means_over_many_are_made_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kmeans, "_SOME", 30 * 6)
    monkeypatch.setattr(kmeans, "_ROWS_A_CENTRE", 1)
    rows, none = torch.randn(90, 6, generator=torch.Generator().manual_seed(0)), torch.zeros(90, dtype=torch.bool)
    near = scoring.KMeansScorer(3, "euclidean", mini_batch_above=40).fit(rows, none).centres
    products: list[bool] = []
    usual = torch.addmm
    monkeypatch.setattr(
        torch,
        "addmm",
        lambda *given: (products.append(all(isinstance(one, FarTensor) for one in given)), usual(*given))[1],
    )
    with PretendedDevice():
        far = scoring.KMeansScorer(3, "euclidean", mini_batch_above=40).fit(rows.to(FAR), none.to(FAR)).centres
        assert far.device == FAR
        assert torch.equal(far.cpu(), near)
    assert products
    assert all(products)


@pytest.mark.parametrize("what", ["matrix product", "asd neighbours", "asd K-means", "scikit-learn K-means"])
def test_the_benchmark_measures_there_and_waits_for_it(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[None] = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: waited.append(None))
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda: None)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 0)
    for device, times in ((CPU, 0), (FAR, 0 if what.startswith("scikit") else 3)):
        with PretendedDevice():
            found = measure(what, 200, 20, 1, device)
        assert found["score"] > 0
        assert len(waited) == times
