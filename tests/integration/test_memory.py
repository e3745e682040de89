"""What programs hold in memory at the most, in processes of their own: small machines run them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT


def most(code: str, *arguments: object) -> float:
    """Megabytes that a process which runs `code` holds at the most."""
    code += "\nprint(next(one.split()[1] for one in open('/proc/self/status') if one.startswith('VmHWM')))"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    return int(done.stdout.splitlines()[-1]) / 1024


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_check_of_data_needs_no_torch(synthetic: Path) -> None:
    code = "import sys\nfrom asd.cli import main\nmain(['data', 'check', sys.argv[1]])"
    assert most(code, synthetic) < 200


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_detector_needs_little_beside_torch(trained: Path) -> None:
    """Of which 494 MB are those of torch alone."""
    code = "import sys\nfrom asd.inference import Detector\nDetector.load(sys.argv[1])"
    assert most(code, trained) < 600
