"""What the trainer's commands take, in one screen.

Written out, because whoever knows all options imports Lightning, which takes ten times as long as reading this.
"""

from __future__ import annotations

Options = tuple[tuple[str, str], ...]

_CONFIG: Options = (("--config NAME|FILE", "a name that `asd recipes` lists, or a file; later ones beat earlier ones"),)
_CHECKPOINT: Options = (
    ("--ckpt_path FILE", "checkpoint of a run; its settings come with it, and what is given here beats them"),
)
_DATA: Options = (
    ("--data CLASS", "how recordings lie; `asd data-modules` lists them"),
    ("--data.root DIR", "where they lie"),
    ("--data.machines LIST", "[fan, pump], or null: all that are found"),
    ("--data.batch_size N", "clips in a batch"),
)
_TRAINING: Options = (
    ("--data.calibration PART", "of the normal clips, kept out of training to set limits"),
    ("--model.encoder NAME", "`asd encoders` lists them"),
    ("--model.optimizer.lr RATE", "learning rate; encoder_lr: that of the encoder"),
    ("--warmup.epochs N", "how long the encoder stays frozen"),
    ("--trainer.max_epochs N", "epochs in all"),
    ("--trainer.logger.name TEXT", "folder of the run, in runs/"),
    ("--seed_everything N", "seed of all that is random"),
    ("--search FILE", "draw options, choose without labels; also --search.trials N, --search.folder DIR"),
)
_SCORING: Options = (
    ("--model.scorer NAME", "`asd scorers` lists them"),
    ("--false-alarms RATE", "that are put up with: 1/day, 2/week or 5%"),
    ("--outputs.pictures BOOL", "draw score histograms, curves and maps"),
)
_MACHINE: Options = (
    ("--trainer.devices N", "GPUs or processes; cluster/ddp configures several"),
    ("--trainer.precision NAME", "32 or bf16-mixed"),
)
_OUT: Options = (("--out DIR", "where results are written; the run's own folder unless given"),)
_ALSO: Options = (("--outputs.also LIST", "further vectors of each clip: [pooled, bands]"),)

OPTIONS: dict[str, Options] = {
    "fit": _CONFIG + _CHECKPOINT + _DATA + _TRAINING + _SCORING + _MACHINE,
    "validate": _CHECKPOINT + _CONFIG + _DATA + _SCORING[:2] + _MACHINE,
    "test": _CHECKPOINT + _CONFIG + _DATA + _SCORING + _OUT + _MACHINE,
    "predict": _CHECKPOINT + _CONFIG + _DATA + _ALSO + _OUT + _MACHINE,
}
"""The usual options of each command, with what they are for."""


def short_help(command: str, description: str) -> str:
    """The help of a trainer command, without all that can be set."""
    options = OPTIONS[command]
    width = max(len(option) for option, _ in options) + 2
    lines = [f"usage: asd {command} [OPTIONS]", "", f"{description[0].upper()}{description[1:]}.", ""]
    lines += [f"  {option:{width}}{text}" for option, text in options]
    more = (
        (f"asd {command} --help-all", "every option"),
        (f"asd {command} --model.encoder.help NAME", "those of a class; so for --data, --model.scorer, ..."),
        ("asd configs list", "configurations that come with the program"),
    )
    width = max(len(one) for one, _ in more) + 2
    return "\n".join([*lines, "", *(f"  {one:{width}}{text}" for one, text in more)])
