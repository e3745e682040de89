"""Every config is understood by the program, alone or after a recipe; by file and by name, with what it builds on."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
import yaml

from asd.cli import main
from asd.cli.arguments import as_files, given
from asd.utils import configs

CONFIGS = Path(__file__).parents[3] / "configs"
NAMED = sorted(path for path in CONFIGS.rglob("*.yaml") if configs.DEPLOYMENT not in path.relative_to(CONFIGS).parts)
# Grids, ensembles, searches and sweeps are read by others, whose tests take them.
FILES = [path for path in NAMED if path.parent.name not in ("grid", "ensemble", "search", "sweep")]
RECIPE = CONFIGS / "recipe" / "dual_branch.yaml"
FINETUNE = CONFIGS / "finetune.yaml"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refusal(*arguments: object) -> str:
    """The one line that the program says, on its way out with exit code 2."""
    error = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stderr", error)
        assert main(list(map(str, arguments))) == 2
    lines = error.getvalue().splitlines()
    assert len(lines) == 1
    return lines[0]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(CONFIGS)))
def test_every_config_is_understood(path: Path, parse) -> None:
    content = configs.read(path)
    complete = "encoder" in content.get("model", {}) and "data" in content
    assert complete or path.parent.name != "recipe", "a recipe is one name"
    flags = [part for config in ([path] if complete else [RECIPE, path]) for part in ("--config", str(config))]
    config = parse(["fit", *flags, "--data.root", "somewhere"])
    assert str(config.data.init_args.root) == "somewhere"
    assert config.model.encoder.class_path


# One of them freezes whatever encoder a recipe has.
ENCODERS = [path for path in FILES if path.parent.name == "encoder" and "encoder" in configs.read(path)["model"]]


@pytest.mark.parametrize("path", ENCODERS, ids=lambda path: path.stem)
def test_every_encoder_completes_what_recipes_share(path: Path, parse) -> None:
    config = parse(["fit", "--config", str(FINETUNE), "--config", str(path)])
    assert (
        config.model.encoder.class_path.rpartition(".")[2]
        == yaml.safe_load(path.read_text())["model"]["encoder"]["class_path"]
    )
    assert config.warmup.epochs == 2


@pytest.mark.parametrize("path", sorted((CONFIGS / "cluster").glob("*.yaml")), ids=lambda path: path.stem)
def test_clusters_run_several_processes(path: Path, parse) -> None:
    strategy = parse(["fit", "--config", str(RECIPE), "--config", str(path)]).trainer.strategy
    assert getattr(strategy, "class_path", strategy) in ("ddp", "asd.training.lightning_seams.FullySharded")


# -- by name


def test_every_file_has_a_name_and_says_what_it_is() -> None:
    found = configs.packaged()
    assert set(found.values()) == set(NAMED)
    assert all(len(configs.summary(path)) > 10 for path in found.values())


@pytest.mark.parametrize(
    "name", ["recipe/beats", "recipe/beats.yaml", "configs/recipe/beats", "configs/recipe/beats.yaml", "./recipe/beats"]
)
def test_a_config_that_comes_with_the_program_is_found_from_anywhere(name: str, folder: Path, parse) -> None:
    assert configs.find(name) == CONFIGS / "recipe/beats.yaml"
    config = parse(["fit", "--config", name])
    assert config.model.encoder.init_args.weights == "beats_iter3_plus_as2m"
    assert config.trainer.logger.init_args.name == "beats"
    assert config.warmup.epochs == 2, "what it builds on"


@pytest.mark.parametrize("name", ["quickstart", "configs/quickstart.yaml"])
def test_a_file_that_is_there_wins(name: str, folder: Path, parse) -> None:
    file = folder / name
    file.parent.mkdir(exist_ok=True)
    file.write_text("trainer: {max_epochs: 77}\nmodel: {encoder: DualBranchCNN}\n")
    assert parse(["fit", "--config", name, f"--data.root={folder}"]).trainer.max_epochs == 77


def test_a_folder_of_that_name_does_not(folder: Path) -> None:
    (folder / "quickstart").mkdir()
    assert configs.find("quickstart") == CONFIGS / "quickstart.yaml"


@pytest.mark.parametrize(
    ("command", "meant"),
    [
        (["fit", "--config", "quickstrat"], "did you mean quickstart?"),
        (["fit", "--config=beats"], "did you mean recipe/beats?"),
        (["test", "-c", "ast.yaml"], "did you mean encoder/ast or recipe/ast?"),
        (["ensemble", "--config", "ensemble/rport"], "did you mean ensemble/report?"),
        (["rescore", "STORE", "--grid", "back_ends"], "did you mean grid/back_ends?"),
        (["configs", "show", "recipe/baets"], "did you mean recipe/beats?"),
        (["configs", "copy", "zzz"], "`asd configs list`"),
        (["fit", "--config", "x" * 5000], "`asd configs list`"),
        (["fit", "--config", "/configs/quickstart.yaml"], "`asd configs list`"),
        (["fit", "--config", ""], "`asd configs list`"),
    ],
)
def test_an_unknown_name_is_one_line_with_the_nearest(
    command: list[str], meant: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asd.evaluation.embedding_store.read", lambda path: None)
    assert meant in refusal(*command)


def test_an_ensemble_and_a_grid_are_found_by_name(folder: Path) -> None:
    assert "runs/dual_branch/version_0" in refusal("ensemble", "--config", "ensemble/report")
    from asd.evaluation.back_ends import read_grid

    assert read_grid(Path("grid/back_ends")) == read_grid(CONFIGS / "grid/back_ends.yaml")


def test_without_its_configs_the_program_says_how_to_get_them(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(configs, "_PACKAGE", "asd_configs_that_are_absent")
    assert "install it anew" in refusal("fit", "--config", "quickstart")


# -- what a config builds on


def test_a_config_builds_on_files_and_on_names(folder: Path) -> None:
    (folder / "low.yaml").write_text("trainer: {max_epochs: 1, precision: 32}\nother: [1, 2]\nkept: null\n")
    (folder / "below").mkdir()
    (folder / "below/top.yaml").write_text(
        "base: [quickstart, ../low.yaml]\ntrainer: {precision: 16}\nother: [3]\nmodel: {head: {class_path: AdaCos}}\n"
    )
    found = configs.read(folder / "below/top.yaml")
    assert found["trainer"]["max_epochs"] == 1, "the later of two"
    assert found["trainer"]["precision"] == 16, "its own beats what it builds on"
    assert found["trainer"]["log_every_n_steps"] == 5, "of the first"
    assert found["other"] == [3], "lists are replaced"
    assert found["kept"] is None
    assert "base" not in found
    assert given(["fit", "--config", "below/top.yaml"], "trainer.max_epochs") == 1


@pytest.mark.parametrize(
    ("over", "arguments"),
    [({"class_path": "A", "init_args": {"y": 3}}, {"x": 1, "y": 3}), ({"class_path": "B"}, None)],
)
def test_arguments_stay_with_their_class(over: dict[str, object], arguments: dict[str, int] | None) -> None:
    below = {"encoder": {"class_path": "A", "init_args": {"x": 1, "y": 2}}}
    assert configs.merged(below, {"encoder": over})["encoder"].get("init_args") == arguments
    assert below["encoder"]["init_args"] == {"x": 1, "y": 2}, "what is merged stays as it was"


@pytest.mark.parametrize(
    ("base", "said"),
    [
        ("top.yaml", "builds on itself"),
        ("round.yaml", "builds on itself"),
        ("absent.yaml", "there is no file"),
        ("list.yaml", "holds no mapping"),
        ("broken.yaml", "is not YAML"),
        ("/etc/hostname", "relative to this file"),
        ("C:/x.yaml", "relative to this file"),
        (r"..\x.yaml", "relative to this file"),
        ("~/x.yaml", "relative to this file"),
        ("https://example.org/x.yaml", "there is no file"),
        ("", "give the file or the name"),
        ("[]", "give the file or the name"),
        ("[quickstart, 3]", "give the file or the name"),
        ("{a: b}", "give the file or the name"),
        ("null", "give the file or the name"),
    ],
)
def test_a_base_that_will_not_do_is_one_line(base: str, said: str, folder: Path) -> None:
    (folder / "round.yaml").write_text("base: top.yaml\n")
    (folder / "list.yaml").write_text("- a\n- list\n")
    (folder / "broken.yaml").write_text("a: [unclosed")
    (folder / "top.yaml").write_text(f"base: {base or repr('')}\n")
    for command in (["fit", "--config", "top.yaml"], ["configs", "show", "top.yaml"]):
        line = refusal(*command)
        assert said in line
        assert (base.split(".")[0] if base.endswith(".yaml") and "/" not in base else "top.yaml") in line


def test_what_the_parser_gets_is_what_the_config_says(folder: Path) -> None:
    other = folder / "other"
    other.mkdir()
    (other / "beats.yaml").write_text("base: recipe/dasheng\ntrainer: {max_epochs: 3}\n")
    (folder / "plain.yaml").write_text("trainer: {max_epochs: 4}\n")
    command = ["fit", "--config", "recipe/beats", "--config=other/beats.yaml", "--config", "plain.yaml", "--a", "1"]
    with as_files(command) as files:
        assert [one for one in files if "yaml" not in one] == ["fit", "--config", "--config", "--a", "1"]
        first, second, third = files[2], files[3].removeprefix("--config="), files[5]
        assert yaml.safe_load(Path(first).read_text()) == configs.read("recipe/beats")
        assert yaml.safe_load(Path(second).read_text()) == configs.read(other / "beats.yaml")
        assert third == "plain.yaml", "a file that builds on nothing is taken where it lies"
    assert not Path(first).exists()


# -- the command


def test_list_names_all(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["configs", "list"]) == 0
    shown = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert set(shown) == set(configs.packaged())
    assert shown["recipe/beats"] == "BEATs, fine-tuned"


@pytest.mark.parametrize("name", sorted(configs.packaged()))
def test_a_config_is_shown_whole(name: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["configs", "show", name]) == 0
    shown = capsys.readouterr().out
    assert yaml.safe_load(shown) == configs.read(name)
    source = configs.packaged()[name].read_text(encoding="utf-8")
    assert shown.startswith(source.splitlines()[0])
    assert shown == source or "\nbase:" in source, "comments stay"
    if name == "recipe/beats":
        assert "\n# Built on finetune:\n" in shown
        assert "encoder frozen for 2 epochs" in shown


def test_a_copy_stands_alone(folder: Path, capsys: pytest.CaptureFixture[str], parse) -> None:
    assert main(["configs", "copy", "recipe/mobilenet", "mine/deep"]) == 0
    place = Path(capsys.readouterr().out.strip())
    assert place == Path("mine/deep/mobilenet.yaml")
    assert yaml.safe_load(place.read_text()) == configs.read("recipe/mobilenet")
    assert main(["configs", "copy", "quickstart"]) == 0
    assert (folder / "quickstart.yaml").read_text() == (CONFIGS / "quickstart.yaml").read_text()


def test_a_copy_replaces_nothing_unless_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "quickstart.yaml").write_text("mine: 1\n")
    assert "quickstart.yaml is there already" in refusal("configs", "copy", "configs/quickstart")
    assert (folder / "quickstart.yaml").read_text() == "mine: 1\n"
    assert main(["configs", "copy", "recipe/ast"]) == 0
    assert "ast.yaml is there already" in refusal("configs", "copy", "encoder/ast")
    assert main(["configs", "copy", "encoder/ast", "--force"]) == 0
    assert (folder / "ast.yaml").read_text() == (CONFIGS / "encoder/ast.yaml").read_text()
    (folder / "beats.yaml").mkdir()
    assert "is there already" in refusal("configs", "copy", "recipe/beats", "--force")
    assert "cannot write" in refusal("configs", "copy", "recipe/dasheng", "quickstart.yaml")
