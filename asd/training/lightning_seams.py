"""Every use of what Lightning does not call public, in one place: what may break with its next release breaks here."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

# LightningCLI calls what jsonargparse means to drop; read when jsonargparse is imported.
os.environ.setdefault("JSONARGPARSE_DEPRECATION_WARNINGS", "off")

import lightning.pytorch as pl
from lightning.fabric.strategies.launchers import subprocess_script
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy
from torch import nn
from torch.nn.parallel import DistributedDataParallel

_GIVEN: WeakKeyDictionary[DDPStrategy, dict[str, Any]] = WeakKeyDictionary()
"""Options of DDP that the user gave, by strategy."""


def whole_checkpoint(trainer: pl.Trainer) -> dict[str, Any]:
    """Weights and description of the module, as a checkpoint has them, without the state of the training."""
    return trainer._checkpoint_connector.dump_checkpoint(weights_only=True)


def trainer_of(module: pl.LightningModule) -> pl.Trainer | None:
    """The trainer that a module is attached to; the public attribute raises where there is none."""
    return module._trainer


def is_training(module: pl.LightningModule) -> bool:
    """Whether a trainer that trains is attached."""
    trainer = trainer_of(module)
    return trainer is not None and bool(trainer.training)


def trained_batches(trainer: pl.Trainer) -> int:
    """How many batches of the epoch a resumed run has trained on, as the loop knows when it asks for its first one."""
    loop = trainer.fit_loop
    return loop.batch_idx + 1 if loop.restarting else 0


def interrupted_within_step(trainer: pl.Trainer) -> bool:
    """Whether the checkpoint of a resumed run is of the middle of a batch, or of batches that were to share a step."""
    batches: Any = trainer.fit_loop.epoch_loop.batch_progress.current
    begun = batches.started != batches.processed
    left = batches.processed < trainer.num_training_batches
    shared = left and batches.processed % trainer.accumulate_grad_batches != 0
    return bool(trainer.fit_loop.restarting and (begun or shared))


def begin_next_epoch(trainer: pl.Trainer) -> None:
    """Have a run that was interrupted between two epochs begin the next; with `max_steps` it would skip it."""
    loop = trainer.fit_loop
    if loop.restarted_on_epoch_end:
        loop.epoch_progress.increment_completed()
        loop._restarting = loop.epoch_loop.restarting = False
        loop.reset_restart_stage()


def wrap_anew(trainer: pl.Trainer, module: pl.LightningModule) -> None:
    """Have DDP look again at which parameters are trained: it shares the gradients of those it saw when it wrapped."""
    strategy = trainer.strategy
    if isinstance(strategy, DDPStrategy):
        strategy.model = strategy._setup_model(module)
        strategy._register_ddp_hooks()


def share_gradients_in_place(trainer: pl.Trainer, static: bool) -> None:
    """Have DDP keep gradients where it sends them from; options that the user gave stay.

    Args:
        trainer: Before it wraps the model, also anew.
        static: What takes part is the same in every step.
    """
    strategy = trainer.strategy
    if isinstance(strategy, DDPStrategy):
        options = {"gradient_as_bucket_view": True, "static_graph": static}
        strategy._ddp_kwargs = options | _GIVEN.setdefault(strategy, strategy._ddp_kwargs)


def keep_from_replicas(module: nn.Module, names: list[str]) -> None:
    """Have DDP leave parameters and buffers of `module` as they are in each process; before it wraps it."""
    DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(module, names)


class FullySharded(ModelParallelStrategy):
    """Data-parallel training in which each process keeps a part of weights, gradients and optimizer state (FSDP2).

    For models that one GPU cannot hold with their optimizer. Checkpoints are those of any other run.
    """

    def __init__(self) -> None:
        super().__init__(tensor_parallel_size=1, save_distributed_checkpoint=False)

    def setup_environment(self) -> None:
        """Every process takes part; by itself Lightning would divide the layers among those of a machine."""
        self._data_parallel_size = self.num_nodes * self.num_processes
        super().setup_environment()

    def optimizer_state(self, optimizer: Any) -> dict[str, Any]:
        """The state as that of whole weights: a run that goes on with these takes parameters by their place."""
        assert self.lightning_module is not None
        state = super().optimizer_state(optimizer)
        number = {id(parameter): one for one, parameter in enumerate(self.lightning_module.parameters())}
        for group, own in zip(state.get("param_groups", []), optimizer.param_groups, strict=False):
            group["params"] = [number[id(parameter)] for parameter in own["params"]]
        return state

    def load_checkpoint(self, checkpoint_path: Any, weights_only: bool | None = None) -> dict[str, Any]:
        """Load weights and optimizer; whatever the file says of its kind, nothing in it is run."""
        # Lightning would take the numbers in the file for places in the model, not in the groups of the optimizer.
        assert self.model is not None
        optimizers, self.optimizers = self.optimizers, []
        loaded = super().load_checkpoint(checkpoint_path, weights_only=True)
        self.optimizers = optimizers
        # What is frozen as a run begins may have been trained before; torch would leave out its optimizer's state.
        frozen = [one for one in self.model.parameters() if not one.requires_grad]
        for parameter in frozen:
            parameter.requires_grad_(True)
        try:
            for state, optimizer in zip(loaded["optimizer_states"] if optimizers else (), optimizers, strict=True):
                _load_optimizer(self.model, optimizer, state)
        finally:
            for parameter in frozen:
                parameter.requires_grad_(False)
        # The weights are where they belong by then, but callbacks look for them.
        return {"state_dict": {}, **loaded}


def _load_optimizer(model: nn.Module, optimizer: Any, state: dict[str, Any]) -> None:
    """Give each process its part of the state of an optimizer over whole weights, which all of them have read."""
    from torch.distributed.checkpoint.state_dict import StateDictOptions, set_optimizer_state_dict

    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups: list[dict[str, Any]] = []
    renamed: dict[int, str] = {}
    for group, own in zip(state["param_groups"], optimizer.param_groups, strict=True):
        # Not every step over whole weights can be taken in one kernel over parts of them.
        kept = {"fused": own["fused"], "params": [names[id(parameter)] for parameter in own["params"]]}
        groups.append({**group, **kept})
        renamed |= dict(zip(group["params"], groups[-1]["params"], strict=True))
    named: dict[str, Any] = {
        "state": {renamed[number]: one for number, one in state["state"].items()},
        "param_groups": groups,
    }
    options = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True)
    set_optimizer_state_dict(model, optimizer, optim_state_dict=named, options=options)


def on_failed_child(end: Callable[[Sequence[subprocess.Popen[bytes]]], int]) -> None:
    """End this process with the code of `end` where one that it started fails; Lightning would kill it."""

    class Observer(subprocess_script._ChildProcessObserver):
        def _terminate_all(self) -> None:
            code = end(self._child_processes)
            sys.stdout.flush()
            os._exit(code)

    subprocess_script._ChildProcessObserver = Observer  # type: ignore[misc]


class OpenCLI(LightningCLI):
    """LightningCLI whose private steps have names that a subclass may override.

    Args:
        model: Class of the model.
        data: Class of the data module.
        args: Of the program, the subcommand first.
        rest: Of `LightningCLI`.
    """

    def __init__(self, model: type, data: type, *, args: list[str], **rest: Any) -> None:
        self.command = next(iter(args), "")
        super().__init__(model, data, args=args, **rest)

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]  # Lightning asks the object, too
        """The one subcommand that runs: parsers of all of them take longer than the rest of the start."""
        every = super().subcommands()
        return {name: skipped for name, skipped in every.items() if name == self.command} or every

    def complete_subcommand(self, name: str, parser: LightningArgumentParser) -> None:
        """Change the parser of a subcommand."""

    def run_subcommand(self, run: Callable[[], None]) -> None:
        """Run the subcommand."""
        run()

    def part(self, config: Any, key: str) -> Any:
        """A part of the configuration of the subcommand."""
        return self._get(config, key)

    def plain_config(self) -> dict[str, Any]:
        """The whole configuration as plain values."""
        self._dump_config()
        return dict(self.config_dump)

    def _prepare_subcommand_parser(self, klass: type, subcommand: str, **kwargs: Any) -> LightningArgumentParser:
        parser = super()._prepare_subcommand_parser(klass, subcommand, **kwargs)
        self.complete_subcommand(subcommand, parser)
        return parser

    def _parse_ckpt_path(self) -> None:
        # Lightning lets the checkpoint's hyper-parameters beat the command line; ours came first, as a config.
        return

    def _run_subcommand(self, subcommand: str) -> None:
        self.run_subcommand(lambda: super(OpenCLI, self)._run_subcommand(subcommand))
