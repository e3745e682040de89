"""What a run was made with, for whoever wants to make it again."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from asd._version import __version__

_PACKAGES = ("torch", "torchaudio", "lightning", "transformers", "scikit-learn", "numpy", "soxr", "soundfile")


def found(device: torch.device) -> dict[str, Any]:
    """Versions, machine and time, of now."""
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
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
