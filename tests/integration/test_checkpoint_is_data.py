"""A checkpoint runs nothing and opens nothing because of what it says, in any command that reads one."""

from __future__ import annotations

import copy
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from asd.cli.kept import with_checkpoint
from asd.errors import Notice, UserError
from asd.training.restore import restore
from asd.training.restore_data import data_of

TRACE = {
    "class_path": "torch.fx.symbolic_trace",
    "init_args": {
        "root": "subprocess.getoutput",
        "concrete_args": {"cmd": "touch x-was-here", "encoding": "utf-8", "errors": "strict"},
    },
}
COMMANDS: dict[str, list[str]] = {
    "score": ["CLIP", "--checkpoint", "CKPT", "--machine", "fan"],
    "explain": ["CLIP", "--checkpoint", "CKPT", "--machine", "fan"],
    "watch": ["CLIP", "--checkpoint", "CKPT", "--machine", "fan"],
    "enroll": ["CKPT", "FOLDER", "--machine", "pump", "--out", "pump.ckpt"],
    "export": ["CKPT", "bundle", "--machine", "fan"],
    "serve": ["CKPT", "--port", "0"],
    "submit": ["write", "RUN", "--label", "A_B_task2_1", "--facts", "FACTS", "--ckpt_path", "CKPT"],
    "test": ["--ckpt_path", "CKPT"],
    "validate": ["--ckpt_path", "CKPT"],
    "predict": ["--ckpt_path", "CKPT"],
    "fit": ["--ckpt_path", "CKPT"],
}


def poked(content: dict[str, Any], place: str, value: Any) -> dict[str, Any]:
    """A copy in which the configuration says `value` at a dotted place."""
    content = copy.deepcopy(content)
    at = content["asd"]["config"]
    *way, last = place.split(".")
    for step in way:
        at = at[step]
    at[last] = value
    return content


@pytest.fixture(scope="session")
def content(trained: Path) -> dict[str, Any]:
    return torch.load(trained / "checkpoints/last.ckpt", weights_only=True)


@pytest.fixture
def run(here: Any, trained: Path, synthetic: Path, tmp_path: Path) -> Callable[..., str]:
    (tmp_path / "facts.yaml").write_text("{name: x, abbreviation: y, authors: [z]}")
    folder = synthetic / "dev_data/raw/fan/train"
    words = {
        "CKPT": tmp_path / "evil.ckpt", "CLIP": sorted(folder.iterdir())[0], "FOLDER": folder, "RUN": trained,
        "FACTS": tmp_path / "facts.yaml",
    }  # fmt: skip

    def go(command: str, content: dict[str, Any]) -> str:
        torch.save(content, tmp_path / "evil.ckpt")
        done = here(command, *(words.get(one, one) for one in COMMANDS[command]), expect=2)
        assert len([line for line in done.stderr.splitlines() if line.startswith("asd: error:")]) == 1, done.stderr
        return str(done.stderr)

    return go


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_runs_what_a_checkpoint_names(
    command: str, run: Callable[..., str], content: dict[str, Any], tmp_path: Path
) -> None:
    said = run(command, poked(content, "model.encoder.init_args.augment", TRACE))
    assert "torch.fx.symbolic_trace" in said
    assert not (tmp_path / "x-was-here").exists()


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("data", TRACE),
        ("data.init_args.noise_mix", TRACE),
        ("data.init_args.machines", [TRACE]),
        ("trainer.callbacks", [TRACE]),
        ("trainer.callbacks", TRACE),
        ("trainer.callbacks", "subprocess.getoutput"),
        ("trainer.callbacks", [{"class_path": "lightning.pytorch.callbacks.ModelCheckpoint"}]),
        ("trainer.strategy", TRACE),
        ("trainer.accelerator", TRACE),
        ("trainer.max_epochs", TRACE),
        ("warmup", TRACE),
        ("warmup", "warmup.yaml"),
        ("warmup.epochs", TRACE),
        ("checkpoint", {"dirpath": TRACE}),
        ("outputs.pictures", TRACE),
        ("seed_everything", TRACE),
    ],
    ids=lambda one: str(one)[:40],
)
def test_a_resumed_fit_takes_no_more_than_data(
    place: str, value: Any, run: Callable[..., str], content: dict[str, Any], tmp_path: Path
) -> None:
    run("fit", poked(content, place, value))
    assert not (tmp_path / "x-was-here").exists()


@pytest.mark.parametrize("name", ["subprocess.getoutput", "torch.nn.Linear", "asd.testing.check_encoder"])
def test_yaml_of_back_ends_names_registered_scorers_alone(name: str, here: Any, trained: Path, tmp_path: Path) -> None:
    here("predict", "--ckpt_path", trained / "checkpoints/last.ckpt", "--out", "store")
    store = tmp_path / "store"
    spec = f"{{class_path: {name}, init_args: {{cmd: touch x-was-here}}}}"
    inside = f"{{class_path: LocalDensity, init_args: {{scorer: {spec}}}}}"
    for text in (spec, inside):
        (tmp_path / "grid.yaml").write_text(f"[{text}]")
        assert "which is no registered Scorer" in here("rescore", store, "--grid", "grid.yaml", expect=2).stderr
        (tmp_path / "fused.yaml").write_text(f"{{runs: [{store}, {store}], fuse: embeddings, scorer: {text}}}")
        assert "which is no registered Scorer" in here("ensemble", "--config", "fused.yaml", expect=2).stderr
        here("rescore", store, "--scorer", text, expect=2)
    assert not (tmp_path / "x-was-here").exists()


def test_a_report_runs_nothing(here: Any, trained: Path, content: dict[str, Any], tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path / "run")
    torch.save(poked(content, "model.encoder.init_args.augment", TRACE), tmp_path / "run/checkpoints/last.ckpt")
    here("report", "run", expect=2)
    assert not (tmp_path / "x-was-here").exists()


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Files opened and addresses connected to, as the interpreter tells them."""
    seen: list[str] = []
    on = True

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if on and event in (
            "open",
            "socket.connect",
            "socket.getaddrinfo",
            "subprocess.Popen",
            "os.mkdir",
            "os.remove",
        ):
            seen.append(f"{event} {arguments}")

    sys.addaudithook(hook)
    yield seen
    on = False


def test_loading_opens_nothing_that_the_checkpoint_names(
    content: dict[str, Any], opened: list[str], tmp_path: Path
) -> None:
    bad = poked(content, "data.init_args.root", str(tmp_path / "named" / "root"))
    bad = poked(bad, "data.init_args.disk_cache", str(tmp_path / "named" / "cache"))
    bad = poked(bad, "trainer.logger.init_args.save_dir", str(tmp_path / "named" / "log"))
    bad = poked(bad, "trainer.default_root_dir", str(tmp_path / "named"))
    torch.save(bad, tmp_path / "x.ckpt")
    opened.clear()
    restore(tmp_path / "x.ckpt")
    assert not [one for one in opened if "named" in one or one.startswith(("socket", "subprocess"))]


@pytest.mark.parametrize("root", ["http://127.0.0.1:{port}/shards", "//127.0.0.1/share", "\\\\127.0.0.1\\share"])
def test_data_elsewhere_are_for_the_user_to_name(
    root: str, content: dict[str, Any], here: Any, trained: Path, tmp_path: Path
) -> None:
    listening = socket.create_server(("127.0.0.1", 0))
    listening.setblocking(False)
    where = root.format(port=listening.getsockname()[1])
    bad = poked(content, "data", {"class_path": "asd.data.sharded.Shards", "init_args": {"root": where}})
    torch.save(bad, tmp_path / "x.ckpt")
    for command in ("test", "predict", "fit"):
        done = here(command, "--ckpt_path", tmp_path / "x.ckpt", expect=2)
        assert "--data.root" in done.stderr
    with pytest.raises(UserError, match="--data ROOT"):
        data_of(bad["asd"]["config"], 16000)
    with pytest.raises(BlockingIOError):
        listening.accept()
    listening.close()


def test_where_results_go_is_not_for_a_file_to_say(content: dict[str, Any], tmp_path: Path) -> None:
    torch.save(poked(content, "outputs.folder", str(tmp_path / "elsewhere")), tmp_path / "x.ckpt")
    for command in ("fit", "test"):
        with with_checkpoint([command, "--ckpt_path", str(tmp_path / "x.ckpt")]) as complete:
            kept = yaml.safe_load(Path(complete[2]).read_text())
        assert "elsewhere" not in str(kept)
        assert "elsewhere" not in str(complete)


def test_weights_and_hubs_are_not_asked(content: dict[str, Any], opened: list[str], tmp_path: Path) -> None:
    hub = {"class_path": "TransformersAudio", "init_args": {"weights": "org/model", "download": True}}
    torch.save(poked(content, "model.encoder", hub), tmp_path / "x.ckpt")
    opened.clear()
    with pytest.raises(UserError, match="far larger"):
        restore(tmp_path / "x.ckpt")
    assert not [one for one in opened if one.startswith("socket") or "org/model" in one]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("config", "config.yaml"),
        ("config", {"model": {}}),
        ("config", {"model": [], "data": {}, "trainer": {}}),
        ("classes", [1]),
        ("classes", None),
        ("sections", ["../../x"]),
        ("sections", "fan_section_00"),
        ("sections", ["a\nb"]),
        ("sections", [""]),
    ],
)
def test_what_it_says_of_itself_has_its_form(key: str, value: Any, run: Callable[..., str], content: Any) -> None:
    bad = {**content, "asd": {**content["asd"], key: value}}
    assert "asd fit" in run("score", bad)


def test_a_newer_one_says_so(content: dict[str, Any], tmp_path: Path) -> None:
    newer = {**content, "asd": {**content["asd"], "version": "99.1"}}
    torch.save(newer, tmp_path / "x.ckpt")
    with pytest.warns(Notice, match=r"99\.1, newer than"):
        restore(tmp_path / "x.ckpt")
    torch.save(poked(newer, "model.novelty", 1), tmp_path / "x.ckpt")
    with pytest.warns(Notice), pytest.raises(UserError, match=r"novelty.*update asd"):
        restore(tmp_path / "x.ckpt")


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("data.init_args.seconds", 1e12),
        ("data.init_args.seconds", "ten"),
        ("data.init_args.seconds", float("nan")),
        ("data.init_args.seconds", 0),
        ("data.init_args.pad", ["repeat"]),
        ("data.init_args.channel", "left"),
        ("data.init_args.channel", -1),
        ("data.init_args.channels", ["near"]),
        ("data.init_args", "file.yaml"),
        ("model.encoder.init_args.width", 100_000),
        ("model.encoder", {"class_path": "Dasheng", "init_args": {"shape": {"width": 1, "depth": 10**9, "heads": 1}}}),
        ("model.encoder.init_args.width", -1),
    ],
)
def test_sizes_in_it_take_no_memory(place: str, value: Any, run: Callable[..., str], content: dict[str, Any]) -> None:
    run("score", poked(content, place, value))


@pytest.mark.parametrize("command", ["test", "fit"])
def test_a_network_far_larger_than_its_weights_is_not_built(
    command: str, run: Callable[..., str], content: dict[str, Any]
) -> None:
    deep = {"class_path": "Dasheng", "init_args": {"shape": {"width": 1, "depth": 10**9, "heads": 1}}}
    assert "far larger" in run(command, poked(content, "model.encoder", deep))


def test_shapes_that_are_forged_take_no_memory(content: dict[str, Any], run: Callable[..., str]) -> None:
    forged = dict(content["state_dict"])
    key = next(key for key in forged if key.endswith("centres"))
    forged[key] = torch.ones(1).expand(100_000, 1_000_000)
    assert "bytes of weights" in run("score", {**content, "state_dict": forged})
    assert "no tensors by name" in run("score", {**content, "state_dict": {"a": [1]}})
