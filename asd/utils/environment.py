"""What a run was made with, for whoever wants to make it again."""

from __future__ import annotations

import json
import platform
import re
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from asd._version import __version__

_PACKAGES = ("torch", "torchaudio", "lightning", "transformers", "scikit-learn", "numpy", "soxr", "soundfile")


def found(device: torch.device, wandb: str | None = None) -> dict[str, Any]:
    """Versions, machine and time, of now, and the run of wandb, where there is one."""
    on_gpu = device.type == "cuda"
    return {
        "asd": __version__,
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "system": platform.platform(),
        "device": torch.cuda.get_device_name(device) if on_gpu else platform.machine(),
        "accelerator": device.type,
        "threads": torch.get_num_threads(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "trained_seconds": None,
        "wandb_run": wandb,
    }


def wandb_run(path: Path) -> str | None:
    """The run of wandb that a file of `found` tells of; ``None``: no file that can be read, or no run."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    run = content.get("wandb_run") if isinstance(content, dict) else None
    # It becomes the name of a folder, and a file may say anything.
    return run if isinstance(run, str) and re.fullmatch(r"[\w-]{1,64}", run) else None


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
