"""Linear layers in 8 bits, and what that costs in official score."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from asd.errors import UserError
from asd.evaluation.clip_scores import clip_score, measure
from asd.evaluation.metrics import official_score
from asd.utils.files import written

if TYPE_CHECKING:
    from asd.data.datamodule import ClipDataModule

_SCOPES = "pkg.torch.onnx.name_scopes"
_PRODUCTS = ("MatMul", "Gemm")


def quantise(path: Path, graph: nn.Module) -> None:
    """Turn the weights of linear layers into 8-bit integers; their inputs follow as the graph runs.

    Convolutions, front ends and scorers stay in float32.

    Args:
        path: The ONNX file, which is replaced.
        graph: The module it was exported from.

    Raises:
        UserError: The encoder has no linear layer.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx.load(path)
    # Found anew by the quantiser, of which older releases, such as 1.27, trip over shapes that others wrote down.
    del model.graph.value_info[:]
    products = [node for node in model.graph.node if node.op_type in _PRODUCTS]
    others = [node.name for node in products if not _is_linear(node, graph)]
    if len(others) == len(products):
        raise UserError("the encoder has no linear layer to quantise; export it without --int8")
    with written(path) as place:
        quantize_dynamic(
            model,
            place,
            op_types_to_quantize=list(_PRODUCTS),
            nodes_to_exclude=others,
            weight_type=QuantType.QInt8,
            per_channel=True,
        )


def _is_linear(node: Any, graph: nn.Module) -> bool:
    scopes = [ast.literal_eval(one.value) for one in node.metadata_props if one.key == _SCOPES]
    place = scopes[0][-2] if scopes and len(scopes[0]) > 1 else ""
    try:
        return isinstance(graph.get_submodule(place), nn.Linear)
    except AttributeError:
        return False


@dataclass(frozen=True)
class Loss:
    """What a graph makes of the test clips.

    Attributes:
        official: Official score of the graph.
        reference: Official score of the detector itself.
        difference: The largest difference of scores.
    """

    official: float
    reference: float
    difference: float


class _Runner:
    """An ONNX file on batches ``(B, T)`` and machines' numbers ``(B,)``."""

    def __init__(self, path: Path) -> None:
        import onnxruntime

        self.session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        self.names = [one.name for one in self.session.get_inputs()]

    def __call__(self, waveform: Tensor, machine: Tensor) -> Tensor:
        given = [waveform.numpy(), machine.numpy()]
        scores = self.session.run(None, dict(zip(self.names, given, strict=False)))[0]
        return torch.from_numpy(scores)


@torch.inference_mode()
def loss_of(path: Path, graph: nn.Module, machines: Sequence[str], data: ClipDataModule) -> Loss:
    """Score the labelled test clips of the machines with the file and with the module it was exported from.

    Raises:
        UserError: There are no such clips, or a score of one is not finite.
    """
    run = _Runner(path)
    rows: tuple[list[Any], list[Any]] = ([], [])
    worst = 0.0
    for batch in data.predict_dataloader()[-1]:
        clips = [data.query_clips[row] for row in batch.index.tolist()]
        names = [str(clip.machine_section) for clip in clips]
        known = [row for row, clip in enumerate(clips) if clip.condition is not None and names[row] in machines]
        if not known:
            continue
        waveform = batch.waveform[known]
        machine = torch.tensor([machines.index(names[row]) for row in known])
        inputs = (waveform,) if len(machines) == 1 else (waveform, machine)
        expected = graph(*inputs)[0]
        # One by one: 8 bits are scaled by what is in a batch, and a clip in use stands alone.
        found = torch.cat([run(*one) for one in zip(waveform.split(1), machine.split(1), strict=True)])
        apart = (found - expected).abs()
        if not bool(apart.isfinite().all()):
            raise UserError("8 bits, or the detector itself, give scores that are not finite; export without --int8")
        worst = max(worst, float(apart.max()))
        for kept, scores in zip(rows, (found, expected), strict=True):
            kept += [clip_score(clips[row], score) for row, score in zip(known, scores.tolist(), strict=True)]
    if not rows[0]:
        raise UserError(f"no labelled test clip of {', '.join(machines)}: the loss of --int8 cannot be measured")
    official, reference = (official_score(measure(kept)) for kept in rows)
    return Loss(official, reference, worst)
