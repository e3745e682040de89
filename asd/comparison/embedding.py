"""One pass of an encoder over the data, and what it took."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch

from asd.comparison.encoders import random_parts, vectors
from asd.configured import configured
from asd.data.clip import ClipBatch
from asd.data.datamodule import ClipDataModule
from asd.encoders import Adapter, Encoder
from asd.evaluation import embedding_store
from asd.run_folder import RunFolder
from asd.training.callbacks import RunOutputs
from asd.training.module import AnomalyDetector
from asd.training.statistics import fit_statistics
from asd.utils import strict_json
from asd.utils.files import replace_text

SEED = 1
"""Of random weights: the same in every comparison."""

_FACTS = "pass.json"


@dataclass(frozen=True)
class Pass:
    """What to embed with which encoder.

    Attributes:
        folder: Gets the store, in ``embeddings``, and the facts of the pass.
        encoder: Class and arguments.
        data: Class and arguments of the data module.
        what: Words for the vectors of each clip, see `asd.comparison.encoders.vectors`.
        precision: Of the trainer.
        beside: How many passes there may be at a time.
        bar: Show how far it is.
    """

    folder: Path
    encoder: dict[str, Any]
    data: dict[str, Any]
    what: Sequence[str]
    precision: str
    beside: int = 1
    bar: bool = False


@dataclass(frozen=True)
class Facts:
    """What a pass took.

    Attributes:
        vectors: Those in the store.
        missing: Vectors that were asked for and that the encoder does not give.
        random: Classes of its parts whose weights are random.
        parameters: Of the encoder.
        clips: How many were embedded.
        clips_per_second: Of the encoder and the pooling; without reading of files.
        peak_bytes: Most memory that the process had, libraries included; ``None``: not known on this system.
        gpu_bytes: Most memory of the GPU that was in use; ``None``: it ran on the CPU.
        device: What it ran on.
        beside: How many passes there were at a time, perhaps.
        sizes: Bytes of the files of the store.
    """

    vectors: list[str]
    missing: list[str]
    random: list[str]
    parameters: int
    clips: int
    clips_per_second: float
    peak_bytes: int | None
    gpu_bytes: int | None
    device: str
    beside: int = 1
    sizes: dict[str, int] = field(default_factory=dict)


def read_facts(folder: Path) -> Facts | None:
    """The facts of a pass whose store is whole; ``None``: there is none."""
    try:
        facts = Facts(**strict_json.loads((folder / _FACTS).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return facts if facts.sizes and facts.sizes == _sizes(folder) else None


def _sizes(folder: Path) -> dict[str, int]:
    return {one.name: one.stat().st_size for one in RunFolder(folder).embeddings.glob("*.safetensors")}


def embed(job: Pass, place: int = 0) -> None:
    """Embed all clips, and write the store, then its facts: a store without facts is not whole.

    Args:
        job: What to embed.
        place: Number of this pass among those at the same time, by which a GPU is chosen.

    Raises:
        UserError: The encoder cannot be built, the data cannot be used, or the embeddings cannot be scored.
    """
    pl.seed_everything(SEED, verbose=False)
    (job.folder / _FACTS).unlink(missing_ok=True)
    encoder = configured(job.encoder, Encoder, importing=True)  # type: ignore[type-abstract]
    names, missing = vectors(job.what, encoder)
    detector = AnomalyDetector(encoder, Adapter(embedding=names[0]))
    data = configured(job.data, ClipDataModule, importing=True)  # type: ignore[type-abstract]
    gpus = torch.cuda.device_count()
    if not gpus:
        torch.set_num_threads(max(1, torch.get_num_threads() // job.beside))
    watch = _Watch()
    trainer = pl.Trainer(
        accelerator="auto", devices=[place % gpus] if gpus else 1, precision=job.precision, logger=False,  # type: ignore[arg-type]
        enable_checkpointing=False, enable_progress_bar=job.bar, enable_model_summary=False,
        callbacks=[watch, RunOutputs(folder=job.folder, also=names)],
    )  # fmt: skip
    trainer.predict(detector, datamodule=data, return_predictions=False)
    embedding_store.read(job.folder)  # says what cannot be scored, such as what is not finite
    on_gpu = trainer.strategy.root_device.type == "cuda"
    facts = Facts(
        names, missing, random_parts(encoder), sum(one.numel() for one in encoder.parameters()),
        sum(len(one.clips) for one in detector.embedded.values()), watch.rate, _peak(),
        torch.cuda.max_memory_allocated() if on_gpu else None,
        torch.cuda.get_device_name() if on_gpu else trainer.strategy.root_device.type, job.beside, _sizes(job.folder),
    )  # fmt: skip
    replace_text(job.folder / _FACTS, strict_json.dumps(asdict(facts), indent=2))


class _Watch(pl.Callback):
    """Fits the statistics of a front end, as training would, and takes the time of each batch."""

    def __init__(self) -> None:
        self._taken: list[tuple[int, float]] = []
        self._begun = 0.0

    @property
    def rate(self) -> float:
        """Clips a second; the first batch, for which libraries set themselves up, counts where it is the only one."""
        counted = self._taken[1:] or self._taken
        return sum(clips for clips, _ in counted) / max(sum(seconds for _, seconds in counted), 1e-9)

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        data = getattr(trainer, "datamodule", None)
        if isinstance(pl_module, AnomalyDetector) and isinstance(data, ClipDataModule):
            loader = data.statistics_dataloader()
            fit_statistics(pl_module.encoder, (batch.waveform for batch in loader), pl_module.device)

    def on_predict_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        self._begun = _now(trainer)

    def on_predict_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: ClipBatch, *_: Any
    ) -> None:
        self._taken.append((len(batch.waveform), _now(trainer) - self._begun))


def _now(trainer: pl.Trainer) -> float:
    if trainer.strategy.root_device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def _peak() -> int | None:
    """Most bytes of memory that this process had."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most
