"""What makes training faster without changing what it learns: compilation, and how processes share gradients."""

from __future__ import annotations

from types import MethodType
from typing import cast

import lightning.pytorch as pl
import torch
from torch import nn

from asd.encoders.base import Encoder
from asd.errors import UserError
from asd.training.lightning_seams import keep_from_replicas, share_gradients_in_place
from asd.training.network import Network

_USUAL = "inductor"


def compile_encoder(encoder: Encoder, backend: bool | str, divided: bool = False) -> None:
    """Compile the encoder's trunk in place.

    Args:
        encoder: Its front end stays as it is.
        backend: Of `torch.compile`; true: the usual one; false: nothing is done.
        divided: Its weights are going to be divided among processes, so each layer is compiled by itself. What brings
            the weights of a layer together cannot be compiled, and the graph of the whole trunk would break at each.

    Raises:
        UserError: There is no such backend.
    """
    if backend is False:
        return
    name = _USUAL if backend is True else backend
    known = torch.compiler.list_backends(exclude_tags=())
    if name not in known:
        raise UserError(f"model.compile is {name!r}; give true, false or a backend: {', '.join(known)}")
    layers = _layers(encoder) if divided else []
    for layer in layers:
        # The hooks of `divide` stay outside; parameters keep their names.
        layer.forward = MethodType(torch.compile(type(layer).forward, backend=name), layer)
    if not layers:
        encoder.compile_trunk(backend=name)


def _layers(encoder: Encoder) -> list[nn.Module]:
    """Those stages that are called as a whole."""
    return [one for one in encoder.stages() if not isinstance(one, nn.ModuleList | nn.ParameterList)]


def compile_anew(module: nn.Module) -> None:
    """Forget what was compiled, if anything was: once other parameters train, all graphs change, and few are kept."""
    if getattr(module, "compiles", False):
        torch.compiler.reset()


def divide(module: pl.LightningModule) -> None:
    """Divide the weights of a detector among the processes, where the strategy asks for it: layer by layer, then all.

    Args:
        module: A `Network` with the head that training needs.

    Raises:
        UserError: The encoder has weights that cannot be divided.
    """
    if module.device_mesh is None:
        return
    from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method  # few runs need it

    network, mesh = cast(Network, module), module.device_mesh["data_parallel"]
    if isinstance(network.encoder, FSDPModule):  # the test after a fit
        return
    for part in (*_layers(network.encoder), network.encoder, network.adapter, network.head):
        try:
            fully_shard(part, mesh=mesh)
        except NotImplementedError as error:  # such as of a CNN whose channels come last in memory
            name = type(network.encoder).__name__
            raise UserError(
                f"the weights of {name} cannot be divided among processes: {error}; let each have all (cluster/ddp)"
            ) from None
    for part, methods in ((network.adapter, ("embed", "pool")), (network.head, ("logits",))):
        for name in methods:
            register_fsdp_forward_method(part, name)


def share_gradients(trainer: pl.Trainer, module: pl.LightningModule) -> None:
    """Have processes share the gradients of `module` as fast as can be; before the strategy wraps it, also anew.

    What is not frozen as it is wrapped never will be, so that every step is like the first where nothing is.
    """
    whole = all(parameter.requires_grad for parameter in module.parameters())
    # Of several batches that share a step, the first ones' gradients stay here, which a static graph does not know.
    share_gradients_in_place(trainer, static=whole and trainer.accumulate_grad_batches == 1)
    # Scorers are fitted once and the same everywhere: a bank of references is not sent along with every batch.
    fitted = [name for name, _ in module.named_buffers() if name.startswith("sections.")]
    keep_from_replicas(module, fitted)
