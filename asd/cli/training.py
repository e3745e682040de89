"""`asd fit`, `validate`, `test` and `predict`: LightningCLI with its traps closed."""

from __future__ import annotations

import logging
import pydoc
import re
import signal
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import yaml
from jsonargparse import Namespace, get_loader, set_loader
from lightning.pytorch.cli import LightningArgumentParser
from lightning.pytorch.plugins.io import CheckpointIO

from asd import plugins
from asd.cli import processes
from asd.cli.arguments import as_files, configs_first
from asd.cli.kept import with_checkpoint
from asd.cli.loggers import same_wandb_run, with_own_logger_named
from asd.cli.names import check_names
from asd.cli.usual import with_usual_classes
from asd.data.datamodule import ClipDataModule
from asd.errors import UserError
from asd.moved import current, with_current
from asd.training import checkpoints, requeue
from asd.training.callbacks import RunCheckpoint, RunOutputs, is_rehearsal, run_folder, withdraw
from asd.training.checkpoint_io import AtomicCheckpointIO
from asd.training.lightning_seams import OpenCLI
from asd.training.module import AnomalyDetector
from asd.training.outputs import following, promised
from asd.training.progress import Progress
from asd.training.warmup import WarmUp
from asd.utils.log import notice
from asd.utils.memory import keep_freed_memory
from asd.utils.precision import emulates_bfloat16
from asd.utils.yaml_file import check_yaml

_read = get_loader("yaml")


def _read_checked(text: str) -> Any:
    check_yaml(text)
    return with_current(_read(text))


set_loader("yaml", _read_checked, (yaml.YAMLError, ValueError))

_UNASKED = re.compile(
    r"Tip:|^Seed set to|^[GTH]PU available|^\[rank: \d+\] (?:Received SIGTERM|Seed set)|^Loading `train_dataloader`"
    r"|^`Trainer\.\w+` stopped"
)
_PRECISIONS = ("32", "32-true", "bf16-mixed", "bf16", "16-mixed", "16")


class Parser(LightningArgumentParser):
    """Refuses truncated flags, and says what is wrong in one line instead of a page of usage."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "allow_abbrev": False})

    def error(self, message: str, ex: Exception | None = None) -> None:
        """Raise the message as a `UserError`."""
        missing = re.search(r'key "(\S+?)".*arguments are required: (\w+)', message, re.S)
        if missing:
            message = f"{missing[1]}.{missing[2]} is not given; add --{missing[1]}.{missing[2]}"
        old = next((key for key in checkpoints.RENAMED if f"Option '{key}' is not accepted" in message), None)
        if old is not None:
            message = f"Option '{old}' is not accepted: that of an encoder is called {checkpoints.RENAMED[old]} now"
        raise UserError(f"{' '.join(message.split())[:600]}; see `asd {sys.argv[1] if sys.argv[1:] else ''} --help`")


class TrainingCLI(OpenCLI):
    """LightningCLI over `AnomalyDetector` and any `ClipDataModule`.

    What is given on the command line beats the config files, which beat the configuration kept in the checkpoint,
    which beats the defaults.
    """

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the blocks every run has, whatever callbacks a config lists."""
        parser.add_lightning_class_args(WarmUp, "warmup")
        parser.add_lightning_class_args(RunCheckpoint, "checkpoint")
        parser.add_lightning_class_args(RunOutputs, "outputs")
        parser.add_lightning_class_args(Progress, "progress")
        parser.set_defaults({"data": {"class_path": "asd.data.ToyADMOS2"}})

    def complete_subcommand(self, name: str, parser: LightningArgumentParser) -> None:
        """Print no second table after a test: that of `RunOutputs` says the same, machine by machine."""
        if name == "test":
            parser.set_defaults({"verbose": False})

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse the completed arguments, which are not those of the process."""
        self.config = parser.parse_args(args)

    def before_instantiate_classes(self) -> None:
        """Refuse functions where classes are due: jsonargparse would call them."""
        _refuse_functions(self.config)

    def instantiate_classes(self) -> None:
        """Build model, data and trainer; a run that goes on is the same to wandb."""
        checkpoint = self.part(self.config, "ckpt_path") if self.command == "fit" else None
        with same_wandb_run(self.part(self.config, "trainer"), checkpoint):
            super().instantiate_classes()

    def instantiate_trainer(self, **kwargs: Any) -> Any:
        """The trainer, which writes checkpoints whole or not at all."""
        part = self.part(self.config_init, "trainer")
        _check_precision(part.get("precision"))
        given = part.get("plugins") or []
        given = given if isinstance(given, list) else [given]
        if not any(isinstance(one, CheckpointIO) for one in given):
            given = [*given, AtomicCheckpointIO()]
        own = requeue.folder(part.get("default_root_dir")) if self.command == "fit" and part.get("logger") else None
        if own is not None:
            kwargs["default_root_dir"] = own
        try:
            trainer = super().instantiate_trainer(plugins=given, **kwargs)
        except UserError:
            raise
        except (ValueError, TypeError) as error:  # of Lightning, about what it was given
            raise UserError(f"trainer: {' '.join(str(error).split())[:400]}") from error
        if str(trainer.precision).startswith("bf16") and emulates_bfloat16(trainer.strategy.root_device):
            notice("this CPU has no bfloat16 and is several times as fast without: --trainer.precision 32")
        return trainer

    def after_instantiate_classes(self) -> None:
        """Give the data the encoder's sample rate, and the model its configuration, for the checkpoint."""
        self.datamodule.sample_rate = self.model.encoder.sample_rate
        config = self.plain_config()
        self.model.config = {key: config[key] for key in checkpoints.SECTIONS}

    def run_subcommand(self, run: Callable[[], None]) -> None:
        """Run it; what ends it decides the exit code."""
        try:
            run()
        except BaseException as error:
            withdraw(self.trainer)
            code = processes.exit_code(self.trainer, error)
            if code is not None:
                raise SystemExit(code) from error
            # Lightning turns Ctrl-C into exit code 1.
            if isinstance(error, SystemExit) and self.trainer.interrupted:
                raise KeyboardInterrupt from error
            if isinstance(error, SystemExit) and self.trainer.received_sigterm:
                # It would end without a code, as if all were done.
                raise SystemExit(128 + signal.SIGTERM) from error
            raise
        for outputs in self._outputs():
            if outputs.summary:
                print(outputs.summary, flush=True)

    def _outputs(self) -> list[RunOutputs]:
        return [one for one in getattr(self.trainer, "callbacks", []) if isinstance(one, RunOutputs)]

    def after_fit(self) -> None:
        """Test with the weights and scorers just fitted."""
        if self.trainer.interrupted or is_rehearsal(self.trainer):
            return
        requeue.spend(self.trainer)
        if self.datamodule.query_clips:
            self.trainer.test(self.model, datamodule=self.datamodule, verbose=False)
        else:
            sections, run = self.model.sections, run_folder(self.trainer).path
            lines = ["no test clips: nothing is measured", *promised(sections, self.datamodule.seconds)]
            print("\n".join([*lines, following(sections, run), str(run)]), flush=True)
        for outputs in self._outputs():
            if outputs.embeddings:
                summary = outputs.summary
                self.trainer.predict(self.model, datamodule=self.datamodule, return_predictions=False)
                outputs.summary = summary


def _refuse_functions(config: Any) -> None:
    parts = vars(config) if isinstance(config, Namespace) else config
    if isinstance(parts, dict) and isinstance(path := parts.get("class_path"), str):
        found = pydoc.locate(path)
        if not isinstance(found, type):
            raise UserError(f"{path} is no class; where class_path stands, name one")
    for part in parts.values() if isinstance(parts, dict) else parts if isinstance(parts, list | tuple) else ():
        _refuse_functions(part)


def _check_precision(precision: object) -> None:
    if precision is not None and str(precision) not in _PRECISIONS:
        raise UserError(
            f"trainer.precision is {precision}: front ends and scorers compute in float32, so weights have to be; "
            "choose 32, bf16-mixed or 16-mixed"
        )
    if str(precision).startswith("bf16") and torch.cuda.is_available() and not torch.cuda.is_bf16_supported():
        raise UserError("trainer.precision is bf16-mixed, which this GPU lacks; choose 16-mixed or 32")


def _quiet() -> None:
    # Advertisements among Lightning's messages, and what our own lines say.
    for name in ("pytorch.utilities.rank_zero", "fabric.utilities.seed", "pytorch.trainer.connectors.signal_connector"):
        logging.getLogger(f"lightning.{name}").addFilter(lambda record: not _UNASKED.search(record.getMessage()))
    logging.getLogger("lightning.fabric.strategies.launchers.subprocess_script").setLevel(logging.WARNING)
    # Hints that do not apply: loading is fast without workers, and repeats of a distributed sampler are dropped.
    for text in (".*does not have many workers.*", ".*It is recommended to use `self.log.*sync_dist=True.*"):
        warnings.filterwarnings("ignore", message=text)
    warnings.filterwarnings("ignore", message=".*using `DistributedSampler` with the dataloaders.*")
    # Frozen parts are in evaluation mode on purpose; a resumed run gets a folder of its own, and knows its place.
    warnings.filterwarnings("ignore", message=r".*module\(s\) in eval mode at the start of training.*")
    warnings.filterwarnings("ignore", message=".*The dirpath has changed from.*")
    warnings.filterwarnings("ignore", message=".*your dataloader is not resumable.*")
    warnings.filterwarnings("ignore", message=".*is not supported by the model summary.*")
    warnings.filterwarnings("ignore", message=".*is smaller than the logging interval.*")
    # Where there are no test clips, which is said otherwise.
    warnings.filterwarnings("ignore", message=".*Total length of `DataLoader` across ranks is zero.*")
    # Embeddings are gathered and written, not returned.
    warnings.filterwarnings("ignore", message=".*predict returned None.*")
    warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")


def run_trainer(arguments: list[str]) -> int:
    """Run one of the trainer's commands; returns the exit code."""
    _quiet()
    keep_freed_memory()
    processes.watch_children()
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    arguments = configs_first(_out_named(arguments))
    arguments = [_of_today(one) for one in arguments]
    plugins.load_all()
    with with_checkpoint(arguments) as complete, as_files(complete) as plain:
        if not {"-h", "--help"} & set(plain):
            check_names(plain)
        training_cli(with_own_logger_named(with_usual_classes(plain)))
    return 0


def _of_today(argument: str) -> str:
    """An argument with the class that it names, if any, where that is now."""
    flag, equals, value = argument.rpartition("=")
    return flag + equals + current(value)


def _out_named(arguments: list[str]) -> list[str]:
    """``--out`` is what other commands call the folder that they write into, ``--false-alarms`` what they allow."""
    arguments = [re.sub(r"^--false-alarms(?==|$)", "--model.threshold.false_alarms", one) for one in arguments]
    if arguments[0] == "fit":
        return arguments
    return [re.sub(r"^--out(?==|$)", "--outputs.folder", one) for one in arguments]


def training_cli(arguments: list[str], cli: type[TrainingCLI] = TrainingCLI) -> TrainingCLI:
    """Parse `arguments`, build model, data and trainer, and run the command."""
    plugins.load_ours()  # the parser takes short names of classes that are there
    return cli(
        AnomalyDetector,
        ClipDataModule,
        subclass_mode_data=True,
        save_config_callback=None,
        seed_everything_default=1,
        auto_configure_optimizers=False,
        load_from_checkpoint_support=False,
        parser_class=Parser,
        trainer_defaults={
            "max_epochs": 10,
            "num_sanity_val_steps": 0,
            "log_every_n_steps": 10,
            "enable_model_summary": False,  # the first line says what is trained
            "logger": {
                "class_path": "lightning.pytorch.loggers.CSVLogger",
                "init_args": {"save_dir": "runs", "name": "asd"},
            },
        },
        args=arguments,
    )
