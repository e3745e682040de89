"""A detector as one file that runs without this program: waveform in, score and decision out.

A bundle is a folder with the graph, ``model.onnx`` or ``model.pt2``, and what `asd.inference.bundle` says beside it.
The graph holds front end, encoder, adapter, scorers and thresholds, in float32; linear layers in 8 bits by choice.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from asd._version import __version__
from asd.errors import UserError
from asd.inference.bundle import described, edge, readme
from asd.inference.detector import Detector
from asd.inference.quantise import Loss, loss_of, quantise
from asd.utils import strict_json
from asd.utils.files import replace_text, written

if TYPE_CHECKING:
    from asd.data.datamodule import ClipDataModule

Format = Literal["onnx", "pt2"]
MANIFEST = "manifest.json"
TOLERANCE = 1e-4
"""The most that scores of the exported graph may differ from those of torch, absolutely or relatively."""

_LARGEST_BATCH = 4096


class Graph(nn.Module):
    """What is exported: ``(B, T)`` waveforms, and the machines' numbers ``(B,)`` where there are several.

    Args:
        detector: The fitted detector.
        numbers: The sections it holds, in the order of their new numbers.
    """

    thresholds: Tensor

    def __init__(self, detector: Detector, numbers: list[int]) -> None:
        super().__init__()
        model = detector.model
        self.encoder, self.adapter = model.encoder, model.adapter
        self.scorers = nn.ModuleList(model.sections.scorers[number] for number in numbers)
        self.register_buffer("thresholds", model.sections.thresholds[numbers].clone())

    def forward(self, waveform: Tensor, machine: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Scores ``(B,)`` float32, and ``(B,)`` bool, whether each lies above its machine's threshold.

        A score that is not finite is flagged, too: the graph cannot refuse, and must not call it normal.
        """
        embeddings = self.adapter.embed(self.encoder(waveform)).float()
        if machine is None:
            scores = self.scorers[0](embeddings).float()
            return scores, _flagged(scores, self.thresholds[0])
        every = torch.stack([scorer(embeddings).float() for scorer in self.scorers], dim=1)
        scores = every.gather(1, machine[:, None])[:, 0]
        return scores, _flagged(scores, self.thresholds[machine])


def _flagged(scores: Tensor, thresholds: Tensor) -> Tensor:
    return ~((scores <= thresholds) & scores.isfinite())


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        folder: The bundle.
        machines: Names of the sections, in the order of their numbers.
        difference: The largest difference of scores from those of torch, before linear layers became 8 bits.
        megabytes: Size of the graph's file.
        loss: What 8 bits cost; ``None`` where all is in float32.
    """

    folder: Path
    machines: tuple[str, ...]
    difference: float
    megabytes: float
    loss: Loss | None = None


def export(
    detector: Detector,
    out: Path | str,
    machine: str | None = None,
    form: Format = "onnx",
    int8: ClipDataModule | None = None,
) -> Exported:
    """Write a bundle, and compare its scores with those of torch before it is put in place.

    Args:
        detector: The detector.
        out: The folder to make; must not be there yet.
        machine: The one machine to export; ``None``: all, told apart by a second input where there are several.
        form: ``onnx`` for onnxruntime, or ``pt2`` for `torch.export.load`.
        int8: Turn linear layers into 8 bits, and measure on the test clips of this data what it costs; ONNX alone.

    Raises:
        UserError: The folder is there, a package is missing, the encoder or scorer cannot be exported, its scores
            differ, there is nothing to turn into 8 bits or to measure it on, or nothing can be written.
    """
    if int8 is not None and form != "onnx":
        raise UserError("8 bits are made for ONNX alone; choose --format onnx, or leave --int8 out")
    if form not in get_args(Format):
        raise UserError(f"format is {form!r}; choose one of {', '.join(get_args(Format))}")
    folder = Path(out)
    if folder.exists():
        raise UserError(f"{folder} is there already; choose another folder, or remove it")
    numbers = list(range(len(detector.machines))) if machine is None else [detector.section_index(machine)]
    names = tuple(detector.machines[number] for number in numbers)
    graph = Graph(detector, numbers).eval().cpu()
    inputs = _example(detector, len(names), 2)
    program = _exported(graph, inputs)
    try:
        with written(folder) as place:
            place.mkdir()
            path = place / f"model.{form}"
            if form == "onnx":
                _write_onnx(program, inputs, path)
            else:
                torch.export.save(program, path)
            difference = _difference(graph, path, detector, len(names))
            loss = None
            if int8 is not None:
                with _quiet():
                    quantise(path, graph)
                loss = loss_of(path, graph, names, int8)
            manifest = {
                "version": __version__,
                "file": path.name,
                "sha256": _sha256(path),
                **described(detector, names),
                "linear_layers": "float32" if int8 is None else "int8",
            }
            replace_text(place / MANIFEST, strict_json.dumps(manifest, indent=2, ensure_ascii=False) + "\n")
            replace_text(place / "README.md", readme(manifest))
            if form == "onnx":
                replace_text(place / "edge.py", edge())
            megabytes = path.stat().st_size / 1e6
    except OSError as error:
        raise UserError(f"cannot write {folder}: {error.strerror or error}; choose another folder") from error
    return Exported(folder, names, difference, megabytes, loss)


def verify(folder: Path | str) -> dict[str, Any]:
    """The manifest of a bundle whose file is as it was written.

    Raises:
        UserError: No bundle, one that was changed or cut short, or without a finite threshold for each machine.
    """
    home = Path(folder)
    try:
        manifest: dict[str, Any] = strict_json.loads((home / MANIFEST).read_text(encoding="utf-8"))
        path = home / Path(manifest["file"]).name
        right, machines = manifest["sha256"], manifest["machines"]
        limits = [strict_json.finite(one) for one in manifest["thresholds"]]
        if not machines or len(limits) != len(machines) or not all(isinstance(one, str) for one in machines):
            raise ValueError("not a threshold for each machine")
        found = _sha256(path)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{home} is no bundle of `asd export` ({type(error).__name__}: {error})") from error
    if found != right:
        raise UserError(f"{path} is not the file that was exported: its checksum differs; export it again")
    return manifest


def _example(detector: Detector, machines: int, batch: int) -> tuple[Tensor, ...]:
    own = torch.Generator().manual_seed(batch)
    waveform = 0.1 * torch.randn(batch, detector.cut.samples, generator=own)
    return (waveform,) if machines == 1 else (waveform, torch.arange(batch) % machines)


def _exported(graph: Graph, inputs: tuple[Tensor, ...]) -> torch.export.ExportedProgram:
    batch = torch.export.Dim("batch", min=1, max=_LARGEST_BATCH)
    try:
        with _quiet(), torch.no_grad():
            shapes = tuple({0: batch} for _ in inputs)
            return torch.export.export(graph, inputs, dynamic_shapes=shapes, strict=False)
    except Exception as error:
        raise UserError(
            f"{type(graph.encoder).__name__} with {type(graph.scorers[0]).__name__} cannot be exported "
            f"({type(error).__name__}: {' '.join(str(error).split())[:200]}); choose another scorer"
        ) from error


def _write_onnx(program: torch.export.ExportedProgram, inputs: tuple[Tensor, ...], path: Path) -> None:
    try:
        import onnxruntime  # noqa: F401 - asked for first: without it nothing can be compared
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise UserError(f"{error}; install asd-zoo[export], or choose --format pt2") from error
    try:
        with _quiet():
            names = ["score", "anomalous"]
            written = torch.onnx.export(program, inputs, dynamo=True, verbose=False, output_names=names)
    except OSError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"the graph cannot be written as ONNX ({reason}); choose --format pt2") from error
    assert written is not None
    written.save(str(path), external_data=False)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporters' pages of warnings; what stops them is told in one line."""
    disabled = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


def _difference(graph: Graph, path: Path, detector: Detector, machines: int) -> float:
    """The largest difference of scores over batches of several sizes."""
    worst, run = 0.0, opened(path)
    for batch in (1, 2, 5):
        inputs = _example(detector, machines, batch)
        with torch.inference_mode():
            expected = graph(*inputs)[0].numpy()
        found = run(inputs)[0]
        apart = np.abs(found - expected)
        if not (apart <= TOLERANCE * np.maximum(1, np.abs(expected))).all():
            raise UserError(
                f"the exported scores differ from torch's by {apart.max():.2g}; choose another scorer or format"
            )
        worst = max(worst, float(apart.max()))
    return worst


Run = Callable[[tuple[Tensor, ...]], tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]


def opened(path: Path) -> Run:
    """An exported graph, ready to run: inputs to scores and decisions."""
    if path.suffix == ".pt2":
        module = torch.export.load(path).module()
        return lambda inputs: tuple(one.detach().numpy() for one in module(*inputs))
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_inputs()]
    return lambda inputs: session.run(None, {name: one.numpy() for name, one in zip(names, inputs, strict=True)})


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
