"""What was tried to run, mislead or break the program, and what held: ``python -m tests.benchmarks.robustness``.

The whole suite prints the same table with ``pytest -p tests.benchmarks.robustness``.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
KINDS: dict[str, list[str]] = {
    "a checkpoint or config that names code, files or addresses": [
        "unit/test_trust.py", "integration/test_checkpoint_is_data.py",
    ],
    "weights of any envelope, prefix and format; cut, forged, with code": [
        "unit/encoders/test_weights_file.py", "unit/training/test_checkpoints.py",
    ],
    "weights, limits or scores that are not finite": [
        "integration/test_not_finite.py", "unit/utils/test_strict_json.py",
    ],
    "exit codes of every command": ["unit/cli/test_exit_codes.py"],
    "headers that promise what is not there; dead and short recordings": [
        "unit/data/audio/test_containers.py", "unit/data/audio/test_decoding.py", "unit/inference/test_windows.py",
        "unit/inference/test_watching.py",
    ],
    "folders and tables as people have them": [
        "unit/data/layouts/test_own_folders.py", "unit/data/layouts/test_own_attributes.py",
        "unit/data/layouts/test_recordings.py",
    ],
    "names that are no text, consoles of any encoding": [
        "unit/utils/test_text.py", "integration/test_hostile_names.py",
    ],
    "training that cannot learn, checkpoints that are not there, full disks": ["integration/test_says_so.py"],
    "writers killed, runs resumed, processes that fail": [
        "integration/test_killed.py", "integration/test_resume.py", "integration/test_processes.py",
    ],
    "YAML and archives that are odd": ["unit/utils/test_yaml_file.py", "unit/data/download/test_unzip.py"],
    "other platforms: imports, locks, precision": [
        "unit/test_dependencies.py", "unit/utils/test_precision.py", "integration/test_platforms.py",
    ],
    "the service: refusals, slow and many clients, hosts, its end, random requests": [
        "unit/serve/test_hosts.py", "integration/serve",
    ],
}  # fmt: skip


_tried: Counter[str] = Counter()
_held: Counter[str] = Counter()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Count a test by its kind."""
    if report.when != "call" or report.skipped:
        return
    for kind, places in KINDS.items():
        if report.nodeid.startswith(tuple(f"tests/{place}" for place in places)):
            _tried[kind] += 1
            _held[kind] += report.passed


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table."""
    lines = ["", "| fault | tries | held |", "|---|---:|---:|"]
    lines += [f"| {kind} | {_tried[kind]} | {_held[kind]} |" for kind in KINDS]
    for line in [*lines, f"| all | {_tried.total()} | {_held.total()} |"]:
        terminalreporter.write_line(line)


def main() -> int:
    """Run the tests; returns pytest's exit code."""
    places = [str(ROOT / "tests" / place) for kind in KINDS.values() for place in kind]
    return int(pytest.main(["-q", "--no-header", "-p", "tests.benchmarks.robustness", *places]))


if __name__ == "__main__":
    raise SystemExit(main())
