"""Our wheel and sdist hold what git holds and work installed bare, and so does a wheel of someone else's encoder."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

from tests.quick import QUICK

ROOT = Path(__file__).parents[2]
PACKAGES = {"asd": "asd", "plugins": "asd_plugins", "configs": "asd_configs"}
"""Folders of a checkout, and the names they are imported under."""

ENCODER = '''
"""An encoder of another distribution."""
import torch
from asd.encoders import Encoder


class Elsewhere(Encoder):
    """Root mean square of 10 ms frames, through one layer."""

    sample_rate, feature_dim = 16000, 4

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 4)

    def spectrogram(self, waveform):
        return waveform[:, : waveform.shape[1] // 160 * 160].unflatten(1, (-1, 160)).square().mean(2, keepdim=True)

    def encode(self, spectrogram):
        return self.layer(spectrogram.add(1e-6).log())[:, None]

    def stages(self):
        return [self.layer]
'''
INFO = "elsewhere_asd-1.0.dist-info"


def wheel(folder: Path) -> Path:
    """Written by hand, as the format is a zip file: building one would fetch a build back end."""
    files = {
        "elsewhere_asd.py": ENCODER,
        f"{INFO}/METADATA": "Metadata-Version: 2.1\nName: elsewhere-asd\nVersion: 1.0\n",
        f"{INFO}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{INFO}/entry_points.txt": "[asd.plugins]\nelsewhere = elsewhere_asd:Elsewhere\n",
    }
    lines = []
    for name, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        lines.append(f"{name},sha256={digest},{len(text.encode())}")
    files[f"{INFO}/RECORD"] = "\n".join([*lines, f"{INFO}/RECORD,,"]) + "\n"
    path = folder / "elsewhere_asd-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return path


def run(*command: object, cwd: Path) -> str:
    """What a command prints, without anything of the checkout in its environment."""
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, f"exit code {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def environment(folder: Path, *wheels: Path) -> Path:
    """The programs of a new environment, which has the packages of this one, but not the checkout that runs here."""
    venv.create(folder, with_pip=False)
    site, programs = (Path(sysconfig.get_path(one, "venv", {"base": str(folder)})) for one in ("purelib", "scripts"))
    # `.pth` files of the folders named here are not read, and so no editable install is seen.
    (site / "others.pth").write_text("".join(f"{path}\n" for path in sys.path if path.endswith("-packages")))
    options = ["--quiet", "--no-deps", "--no-index", "--no-compile", "--ignore-installed", "--no-build-isolation"]
    run(programs / "python", "-m", "pip", "install", *options, *wheels, cwd=folder)
    return programs


@pytest.fixture(scope="module")
def listed() -> list[str]:
    """The files that git knows or would take."""
    if not (ROOT / ".git").exists():
        pytest.skip("compares with git, and this is no checkout")
    names = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT).split("\0")
    return sorted(name for name in names if name and (ROOT / name).is_file())


@pytest.fixture(scope="module")
def tree(listed: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy to build from, with the compiled files that a checkout in use has."""
    folder = tmp_path_factory.mktemp("tree")
    for name in listed:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, folder / name)
    for place in ("asd/serve/page", "plugins", "configs", "tests"):
        (folder / place / "__pycache__").mkdir()
        (folder / place / "__pycache__" / "compiled.cpython-311.pyc").touch()
    return folder


@pytest.fixture(scope="module")
def built(tree: Path) -> tuple[Path, Path]:
    """Our wheel and sdist."""
    out = tree / "dist"
    code = f"from setuptools.build_meta import *; build_sdist({str(out)!r}); build_wheel({str(out)!r})"
    run(sys.executable, "-c", code, cwd=tree)
    return next(out.glob("*.whl")), next(out.glob("*.tar.gz"))


@pytest.fixture(scope="module")
def bare(built: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment with our wheel, and one of someone else's."""
    folder = tmp_path_factory.mktemp("bare")
    return environment(folder / "venv", built[0], wheel(folder))


def test_the_wheel_holds_what_git_holds(built: tuple[Path, Path], listed: list[str]) -> None:
    with zipfile.ZipFile(built[0]) as archive:
        files = {name for name in archive.namelist() if ".dist-info/" not in name}
    parts = {name: name.split("/", 1) for name in listed}
    assert files == {f"{PACKAGES[top]}/{rest[0]}" for top, *rest in parts.values() if top in PACKAGES}


def test_the_sdist_holds_what_git_holds(built: tuple[Path, Path], listed: list[str]) -> None:
    with tarfile.open(built[1]) as archive:
        files = {one.name.split("/", 1)[1] for one in archive.getmembers() if one.isfile()}
    made = {name for name in files if name in ("PKG-INFO", "setup.cfg") or name.startswith("asd_zoo.egg-info/")}
    assert files - made == {name for name in listed if not name.startswith(".")}
    assert "CHANGELOG.md" in files


def test_others_find_no_fault_with_what_would_be_published(built: tuple[Path, Path], tmp_path: Path) -> None:
    from validate_pyproject.api import Validator

    Validator()(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8")))
    assert run(sys.executable, "-m", "twine", "check", "--strict", *built, cwd=tmp_path).count("PASSED") == 2


USE = """
import importlib, pkgutil, sys
import asd, asd_configs, asd_plugins, elsewhere_asd
from asd.cli import main
from asd.testing import check_encoder
for package in (asd, asd_configs, asd_plugins):
    assert package.__file__.startswith(sys.prefix), package.__file__
    for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not found.name.endswith("__main__"):
            importlib.import_module(found.name)
            print("module", found.name)
checkout, *command = sys.argv[1:]
assert not [name for name, one in sys.modules.items() if str(getattr(one, "__file__", "")).startswith(checkout)]
check_encoder(elsewhere_asd.Elsewhere())
main(["encoders"])
sys.exit(main(command))
"""


def test_the_wheel_works_anywhere_beside_the_encoder_of_another(bare: Path, synthetic: Path, tmp_path: Path) -> None:
    """Every module is imported, the other encoder found, checked and trained, in one process to save its start-up."""
    shown = run(
        bare / "python", "-c", USE, ROOT / "asd", "fit", "--config", "quickstart", "--data", "ToyADMOS2",
        "--data.root", synthetic, "--data.seconds=1", "--data.machines=null", "--model.encoder", "Elsewhere",
        "--model.adapter", "Adapter", "--model.adapter.embedding_dim=8", "--warmup.epochs=1",
        "--trainer.max_epochs=2", *QUICK, cwd=tmp_path,
    )  # fmt: skip
    modules = {line.removeprefix("module ") for line in shown.splitlines() if line.startswith("module ")}
    files = [
        path.relative_to(ROOT).with_suffix("") for top in ("asd", "plugins") for path in (ROOT / top).rglob("*.py")
    ]
    names = {".".join((PACKAGES[one.parts[0]], *one.parts[1:])).removesuffix(".__init__") for one in files}
    assert modules == names - {"asd", "asd_plugins", "asd.__main__"}
    assert "| Elsewhere " in shown
    assert "| BEATs " in shown
    assert "official score" in shown
    assert (tmp_path / "runs/quickstart/version_0/config.yaml").is_file()


def test_its_program_knows_the_configs_that_come_with_it(bare: Path, tmp_path: Path) -> None:
    assert "BEATs, fine-tuned" in run(bare / "asd", "configs", "list", cwd=tmp_path)
    assert "class_path: KMeansScorer" in run(bare / "asd", "configs", "show", "recipe/beats", cwd=tmp_path)


def test_an_editable_install_sees_a_new_file_at_once(tree: Path, tmp_path: Path) -> None:
    code = f"from setuptools.build_meta import build_editable; build_editable({str(tmp_path)!r})"
    run(sys.executable, "-c", code, cwd=tree)
    programs = environment(tmp_path / "venv", next(tmp_path.glob("*.whl")))
    assert "recipe/newest" not in run(programs / "asd", "configs", "list", cwd=tmp_path)
    (tree / "configs/recipe/newest.yaml").write_text("# A recipe of today.\nbase: beats.yaml\n")
    (tree / "plugins/newest.py").write_text("")
    assert "A recipe of today" in run(programs / "asd", "configs", "list", cwd=tmp_path)
    run(programs / "python", "-c", "import asd_plugins.newest", cwd=tmp_path)
