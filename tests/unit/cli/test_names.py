"""A class name that nobody knows is told at once, for every kind and at every depth, with what was likely meant."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from asd.cli.arguments import configs_first
from asd.cli.names import check_names
from asd.errors import UserError

CONFIGS = Path(__file__).parents[3] / "configs"
OF_RUNS = [
    path
    for path in sorted(CONFIGS.rglob("*.yaml"))
    if path.relative_to(CONFIGS).parts[0] not in ("ensemble", "grid", "sweep", "deploy")
]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("--model.encoder BEAT", "unknown encoder 'BEAT'. Did you mean BEATs?"),
        ("--model.head=ArcFac", "unknown head 'ArcFac'. Did you mean ArcFace?"),
        ("--model.scorer Mahalanobis", "unknown scorer 'Mahalanobis'. Did you mean MahalanobisScorer?"),
        ("--model.threshold Gama", "unknown threshold 'Gama'. Did you mean GammaThreshold? Known: "),
        ("--model.threshold.class_path gamma", "Did you mean GammaThreshold?"),
        ("--model.adapter Adaptr", "unknown adapter 'Adaptr'. Did you mean Adapter?"),
        ("--model.mixup MixUpp", "unknown mixup 'MixUpp'. Did you mean Mixup?"),
        ("--data Toyadmos", "unknown data module 'Toyadmos'. Did you mean ToyADMOS2?"),
        ("--data Shards --data.noise_mix Noise", "unknown noise mix 'Noise'. Did you mean NoiseMix?"),
        ("--trainer.callbacks AveragedWeigths", "unknown callback 'AveragedWeigths'. Did you mean AveragedWeights?"),
        ("--trainer.callbacks+=AveragedWeigths", "Did you mean AveragedWeights?"),
        ("--trainer.callbacks Timer --trainer.callbacks+ WarmUpp", "Did you mean WarmUp?"),
        ("--model.encoder BEATs --model.encoder.augment SpecAug", "unknown augmentation 'SpecAug'. Did you mean"),
        ("--model.encoder.augment.class_path SpecAug --model.encoder BEATs", "Did you mean SpecAugment?"),
        ("--model.scorer LocalDensity --model.scorer.init_args.scorer KMean", "Did you mean KMeansScorer?"),
        ("--model.scorer {class_path: LocalDensity, init_args: {scorer: KMean}}", "Did you mean KMeansScorer?"),
        ("--model.encoder no.such.Module", "unknown encoder 'no.such.Module' (ModuleNotFoundError"),
        ("--model.encoder asd.heads.ArcFace", "it is not a subclass of asd.encoders.base.Encoder"),
    ],
)  # fmt: skip
def test_a_name_on_the_command_line(flags: str, said: str) -> None:
    flag, _, rest = flags.partition(" {")
    arguments = flag.split() + (["{" + rest] if rest else [])
    with pytest.raises(UserError) as caught:
        check_names(["fit", *arguments])
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def spec(path: str, **arguments: object) -> dict[str, object]:
    return {"class_path": path, "init_args": arguments}


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"model": {"head": "ArcFac"}}, "model.head: unknown head"),
        ({"model": {"encoder": spec("BEATs", augment=spec("SpecAug"))}}, "model.encoder.augment: unknown augmentation"),
        (
            {"model": {"encoder": spec("Fusion", encoders=[spec("BEATs"), spec("Dashing")])}},
            "model.encoder.encoders[1]: unknown encoder 'Dashing'. Did you mean Dasheng?",
        ),
        (
            {"model": {"encoder": spec("LoRA", encoder=spec("BEATs", augment="SpecAug"))}},
            "model.encoder.encoder.augment: unknown augmentation",
        ),
        (
            {"model": {"scorer": spec("ScoreFusion", scorer=spec("LocalDensity", scorer="Neighbour"))}},
            "model.scorer.scorer.scorer: unknown scorer 'Neighbour'. Did you mean NeighboursScorer?",
        ),
        ({"data": spec("Record", root="x")}, "data: unknown data module 'Record'. Did you mean Recordings?"),
        ({"trainer": {"callbacks": [spec("EarlyStop", monitor="x")]}}, "Did you mean EarlyStopping?"),
    ],
)
def test_a_name_in_a_config(config: dict[str, Any], said: str, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(UserError) as caught:
        check_names(["fit", "--config", str(tmp_path / "c.yaml")])
    assert said in str(caught.value)


def test_only_the_name_that_counts_is_looked_up(tmp_path: Path) -> None:
    (tmp_path / "wrong.yaml").write_text(yaml.safe_dump({"model": {"head": spec("ArcFac", scale=3.0)}}))
    (tmp_path / "right.yaml").write_text(yaml.safe_dump({"model": {"head": spec("ArcFace")}}))
    check_names(["fit", "--config", str(tmp_path / "wrong.yaml"), "--model.head", "ArcFace"])
    check_names(["fit", "--config", str(tmp_path / "wrong.yaml"), "--config", str(tmp_path / "right.yaml")])
    with pytest.raises(UserError, match="ArcFac"):
        check_names(["fit", "--config", str(tmp_path / "right.yaml"), "--config", str(tmp_path / "wrong.yaml")])


@pytest.mark.parametrize(
    "flags",
    [
        "--model.threshold null --model.head encoder.yaml --trainer.strategy ddp --trainer.profiler simple",
        "--trainer.callbacks EarlyStopping --trainer.callbacks.monitor loss --trainer.logger false",
        "--trainer.callbacks lightning.pytorch.callbacks.Timer --trainer.logger CSVLogger",
        "--model.encoder asd_plugins.beats.BEATs --model.encoder.weights Gama --model.mixup.probability 0.5",
        "--data asd.data.Recordings --data.root Toy --data.machines [fan,pumpp] --trainer.max_epochs 3",
        "--model.optimizer.name Adam --model.encoder.shape {width: 16}",
    ],
)
def test_what_is_right_or_no_class_is_left_to_the_parser(flags: str) -> None:
    check_names(["fit", *flags.replace(": ", ":").split()])


@pytest.mark.parametrize("path", OF_RUNS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_config_of_ours_names_classes_that_there_are(path: Path) -> None:
    check_names(configs_first(["fit", "--config", str(path)]))


def test_it_is_one_line_and_exit_code_two(here: Callable[..., Any]) -> None:
    done = here("fit", "--model.threshold", "Gama", expect=2)
    assert done.stderr.startswith("asd: error: model.threshold: unknown threshold 'Gama'. Did you mean GammaThreshold?")
    assert len(done.stderr.strip().splitlines()) == 1
