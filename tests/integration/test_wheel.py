"""A distribution of someone else's offers an encoder: built into a wheel, installed, found by its entry point."""

from __future__ import annotations

import base64
import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

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


def test_an_installed_wheel_brings_its_encoder(asd, synthetic: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", site, wheel(tmp_path)],
        check=True,
    )
    done = asd("encoders", cwd=tmp_path, PYTHONPATH=str(site))
    assert "Elsewhere" in done.stdout
    done = asd(
        "fit", "--model.encoder", "Elsewhere", "--data.root", synthetic, "--data.seconds=1", "--trainer.max_epochs=2",
        "--model.adapter", "asd.encoders.adapter.Adapter", "--model.adapter.embedding_dim=8", "--warmup.epochs=1",
        "--trainer.accelerator=cpu", cwd=tmp_path, PYTHONPATH=str(site),
    )  # fmt: skip
    assert "official score" in done.stdout
    check = "from asd.testing import check_encoder; from elsewhere_asd import Elsewhere; check_encoder(Elsewhere())"
    subprocess.run([sys.executable, "-c", check], check=True, env={"PYTHONPATH": str(site), "PATH": ""})
