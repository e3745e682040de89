"""What a user gets wrong: one clear line, exit code 2, nothing lost."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from asd.cli import main
from tests.quick import QUICK

CONFIG = Path(__file__).parents[2] / "configs" / "quickstart.yaml"
SMALL = [
    "--config", str(CONFIG), "--data", "ToyADMOS2", "--data.init_args.seconds=1",
    "--data.init_args.machines=null", "--data.init_args.batch_size=8",
    "--model.encoder.init_args.seconds=1", "--model.encoder.init_args.width=4", "--trainer.max_epochs=1", *QUICK,
]  # fmt: skip
TRAIN = "dev_data/raw/fan/train"


@pytest.fixture
def data(synthetic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy that may be damaged, and a working folder of its own."""
    root = tmp_path / "data"
    shutil.copytree(synthetic, root)
    monkeypatch.chdir(tmp_path)
    return root


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Run in this process; return the one line of error."""
    code = main(list(map(str, arguments)))
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("asd: error:")]
    assert code == 2
    assert len(lines) == 1
    return lines[0]


def first(folder: Path) -> Path:
    return sorted(folder.glob("*.wav"))[0]


def write(path: Path, samples: np.ndarray) -> None:
    soundfile.write(path, samples, 16000, subtype="FLOAT")


def no_train(root: Path) -> None:
    shutil.rmtree(root / TRAIN)


def corrupt(root: Path) -> None:
    first(root / TRAIN).write_bytes(b"RIFF" + bytes(20))


def text(root: Path) -> None:
    first(root / TRAIN).write_text("this is no sound\n")


def empty(root: Path) -> None:
    write(first(root / TRAIN), np.zeros(0, dtype="f4"))


def not_finite(root: Path) -> None:
    write(first(root / TRAIN), np.full(16000, np.nan, dtype="f4"))


def silent(root: Path) -> None:
    write(first(root / TRAIN), np.zeros(16000, dtype="f4"))


def unparsable(root: Path) -> None:
    path = first(root / TRAIN)
    path.rename(path.with_name("recording (copy).wav"))


def unknown_row(root: Path) -> None:
    with (root / "dev_data/raw/fan/attributes_00.csv").open("a") as file:
        file.write("fan/train/section_00_source_train_normal_9999_no_such_file.wav,spd,1\n")


@pytest.mark.parametrize(
    ("damage", "shown"),
    [
        (no_train, "fan"),
        (corrupt, "section_00_source_train_normal_0000"),
        (text, "section_00_source_train_normal_0000"),
        (empty, "section_00_source_train_normal_0000"),
        (not_finite, "section_00_source_train_normal_0000"),
        (silent, "section_00_source_train_normal_0000"),
        (unparsable, "recording (copy).wav"),
        (unknown_row, "section_00_source_train_normal_9999"),
    ],
)
def test_damaged_data_is_named(
    damage: Callable[[Path], None], shown: str, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damage(data)
    assert shown in refused(capsys, "fit", *SMALL, "--data.init_args.root", data)


def test_unreadable_training_clips_are_skipped_on_demand(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text(data)
    arguments = ["fit", *SMALL, "--data.init_args.root", str(data), "--data.init_args.on_bad_file=skip"]
    with pytest.warns(UserWarning, match="section_00_source_train_normal_0000"):
        assert main(arguments) == 0
    assert "official" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["--data.init_args.root", "absent"], "absent"),
        (["--data.init_args.machines=[fna]"], "fan"),
        (["--model.encoder", "DualBranchCN"], "Did you mean DualBranchCNN?"),
        (["--model.encoder", "no.such.module.Encoder"], "no.such.module"),
        (["--model.head", "ArcFce"], "Did you mean ArcFace?"),
        (["--model.scorer", "KMeans"], "KMeansScorer"),
        (["--trainer.max_epoch=3"], "max_epoch"),
        (["--data.init_args.second=3"], "second"),
        (["--data.seconds=0"], "error: data.seconds must be more than 0, got 0.0"),
        (["--data.crop_seconds=0.5"], "built for 1 s; set data.crop_seconds to null"),
        (["--warmup.epochs=5"], "warmup.epochs"),
        (["--model.optimizer.lr=-1"], "model.optimizer.lr"),
        (["--trainer.precision=16-true"], "choose 32, bf16-mixed or 16-mixed"),
        (["--model.encoder=BEATs", "--data.seconds=0.1"], "BEATs: clips of 8 frames; it needs at least 16"),
        (["--model.encoder=BEATs", "--model.encoder.layers=13"], "give 1 to 12"),
        (["--config", "absent.yaml"], "absent.yaml"),
        (["--ckpt_path", "absent.ckpt"], "absent.ckpt"),
    ],
)
def test_wrong_arguments_are_named(
    arguments: list[str], shown: str, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shown in refused(capsys, "fit", *SMALL, "--data.init_args.root", data, *arguments)


def test_missing_data_are_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert "add --data.root" in refused(capsys, "fit", "--model.encoder", "DualBranchCNN")


def test_a_file_that_is_no_checkpoint_is_named(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "fake.ckpt").write_bytes(b"not a checkpoint")
    assert "fake.ckpt" in refused(capsys, "test", "--ckpt_path", tmp_path / "fake.ckpt")


def test_an_output_folder_that_cannot_be_made_is_named(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "taken").write_text("a file where the folder should be\n")
    error = refused(
        capsys, "fit", *SMALL, "--data.init_args.root", data, f"--trainer.logger.init_args.save_dir={tmp_path}/taken"
    )
    assert "taken" in error


def test_a_full_disk_leaves_no_half_written_checkpoint(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    def full(content: object, path: Path) -> None:
        Path(path).write_bytes(b"half a file")
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(torch, "save", full)
    error = refused(capsys, "fit", *SMALL, "--data.init_args.root", data)
    assert "checkpoint" in error
    assert "No space left" in error
    assert not [path for path in tmp_path.rglob("*") if "ckpt" in path.name]


def test_a_rate_that_the_encoder_does_not_take_is_said_once(
    data: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    arguments = [
        "fit",
        *SMALL,
        "--data.init_args.root",
        str(data),
        "--model.encoder=MobileNet",
        "--model.encoder.width=0.1",
    ]
    assert main(arguments) == 0
    said = [record for record in caplog.records if "are resampled to the 32000 Hz" in record.message]
    assert len(said) == 1
    assert "16000 Hz" in said[0].message


def test_a_gpu_without_bfloat16_is_named(
    data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: False)
    error = refused(capsys, "fit", *SMALL, "--data.init_args.root", data, "--trainer.precision=bf16-mixed")
    assert "this GPU lacks" in error


@pytest.mark.parametrize(("precision", "said"), [("bf16-mixed", 1), ("32", 0)])
def test_a_cpu_that_emulates_bfloat16_is_said(
    precision: str,
    said: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    recwarn: pytest.WarningsRecorder,
) -> None:
    monkeypatch.setattr("asd.cli.training.emulates_bfloat16", lambda device: device.type == "cpu")
    refused(capsys, "fit", *SMALL, "--data.init_args.root=absent", f"--trainer.precision={precision}")
    assert sum("has no bfloat16" in str(one.message) for one in recwarn) == said


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 139 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory"),
    ],
    ids=["GPU", "CPU"],
)
def test_a_step_that_memory_does_not_suffice_for_says_what_helps(
    error: Exception, capsys: pytest.CaptureFixture[str], data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def needs_more(*given: object) -> None:
        raise error

    monkeypatch.setattr("asd.training.module.features_of", needs_more)
    line = refused(capsys, "fit", *SMALL, "--data.init_args.root", data)
    assert line.startswith(f"asd: error: out of memory ({error}")
    for option in ("data.batch_size", "gradient_checkpointing", "trainer.precision"):
        assert option in line
