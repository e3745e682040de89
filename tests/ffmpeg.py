"""What is skipped where ffmpeg is not installed."""

from __future__ import annotations

import shutil

import pytest

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
