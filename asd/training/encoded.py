"""Training on vectors that the encoder made before: what it can do, and whether they are of this encoder.

Shapes: ``B`` clips, ``T`` samples, ``P`` width of the pooled vector.
"""

from __future__ import annotations

from typing import Any, cast

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from asd.data.datamodule import ClipDataModule
from asd.encoders.adapter import Adapter
from asd.encoders.base import Statistics
from asd.encoders.scored import Tokens
from asd.errors import UserError
from asd.training.lightning_seams import trainer_of
from asd.training.network import Network
from asd.training.warmup import WarmUp

_NUMBERS = 16
_TOLERANCE = 0.02
"""Part of its length by which a probe may differ: half precision and other devices stay below, other weights do not."""


def origin_of(network: Network, data: ClipDataModule) -> dict[str, Any]:
    """What a store of embeddings says of where its pooled vectors come from: a probe, and how clips were heard."""
    heard = {"pad": data.pad, "channels": data.channel, "band": data.band_hz}
    return {"heard": heard, "probe": _probe(network)}


def features_of(module: pl.LightningModule, waveform: Tensor) -> Tensor:
    """``(B, T)`` to ``(B, L, F', D)``; where the data are stored vectors, these ``(B, P)`` as they are."""
    data, encoder = getattr(trainer_of(module), "datamodule", None), cast(nn.Module, module.encoder)
    features: Tensor = waveform if getattr(data, "encoded", None) else encoder(waveform)
    return features


def check_encoded(network: Network, data: ClipDataModule, warmup: WarmUp | None) -> None:
    """Make sure that a detector can be trained, or scored, on stored vectors, where the data are these.

    Args:
        network: With its options for training, as far as it has some.
        data: Perhaps stored vectors.
        warmup: What freezes the encoder in training; ``None``: nothing is trained.

    Raises:
        UserError: It would need the encoder, or vectors of another width.
    """
    if data.encoded is None:
        return
    place, adapter = data.encoded.place, network.adapter
    fault = _fault_of_adapter(adapter) or (None if warmup is None else _fault_of_training(network, warmup))
    if fault is not None:
        raise UserError(f"{place} holds pooled vectors: {fault}")
    if data.encoded.width != adapter.pooled_dim:
        raise UserError(
            f"{place} holds vectors of {data.encoded.width} numbers, but encoder and adapter pool to "
            f"{adapter.pooled_dim}; store them with the same model: `asd predict --outputs.also [pooled]`"
        )


def _fault_of_adapter(adapter: Adapter) -> str | None:
    if adapter.pooling_trains:
        return (
            "the adapter's pooling has parameters of its own; set adapter.layers to last or concatenate, and "
            "pooling to one such as mean"
        )
    if Tokens.parse(adapter.embedding) is not None:
        return f"adapter.embedding is {adapter.embedding}, of tokens that are not there; set it to projected"
    return None


def _fault_of_training(network: Network, warmup: WarmUp) -> str | None:
    if warmup.epochs != -1:
        return "the encoder is not heard there; set warmup.epochs to -1"
    if getattr(network, "mixup", None) is not None:
        return "mixup is of waveforms; set model.mixup to null"
    if network.exchange is not None:
        return "features of branches are exchanged before they are pooled; set model.exchange to null"
    if network.adapter.embedding == "pooled" or not len(network.adapter.projection):
        return "training changes nothing of what is scored; set adapter.embedding to projected, and give embedding_dim"
    return None


def check_probe(network: Network, data: ClipDataModule) -> None:
    """Make sure that stored vectors, where the data are these, are what encoder and adapter make of the clips.

    Raises:
        UserError: They are of other weights, or were pooled otherwise.
    """
    if data.encoded is None:
        return
    if any(isinstance(one, Statistics) and not bool(one.fitted) for one in network.encoder.modules()):
        raise UserError(
            f"{data.encoded.place} is of another encoder: the front end of this one is fitted on waveforms, which are "
            "not there; give model.encoder weights, or choose another"
        )
    own, theirs = torch.tensor(_probe(network)), torch.tensor(list(data.encoded.probe))
    if own.shape != theirs.shape or not bool((own - theirs).norm() <= _TOLERANCE * theirs.norm()):
        raise UserError(
            f"{data.encoded.place} is of other weights than this encoder, or was pooled otherwise; give the same "
            "model.encoder and model.adapter as to `asd predict`, or store the vectors anew"
        )


@torch.no_grad()
def _probe(network: Network) -> list[float]:
    """A few numbers that tell what is made of a second of noise: products of the pooled vector with random ones."""
    generator = torch.Generator().manual_seed(0)
    parameter = next(network.encoder.parameters())
    noise = 0.1 * torch.randn(1, network.encoder.sample_rate, generator=generator)
    pooled = network.adapter.pool(network.encoder(noise.to(parameter)))[0].float().cpu()
    found: list[float] = (torch.randn(_NUMBERS, len(pooled), generator=generator) @ pooled).tolist()
    return found
