"""A service, a detector and recordings for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from asd.inference import Detector
from tests.integration.serve.client import Started


@pytest.fixture(scope="module")
def started(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    client = Started(trained, tmp_path_factory.mktemp("tmp"), "--max-megabytes", 2, "--max-seconds", 60)
    yield client
    code, errors = client.stop()
    assert code == 0
    told = [line for line in errors.splitlines() if not line.startswith("asd: warning: the recording: ")]
    assert told == [], "nothing that was sent brought the service to a traceback"
    assert client.left_over() == [], "nothing that was sent stays"


@pytest.fixture(scope="module")
def clips(synthetic: Path) -> list[Path]:
    return [
        path for name in ("fan", "bearing") for path in sorted((synthetic / "dev_data/raw" / name / "test").glob("*"))
    ]


@pytest.fixture(scope="module")
def detector(trained: Path) -> Detector:
    """In full precision, which does not depend on what a clip is batched with."""
    one = Detector.load(trained)
    one.precision = "32"
    return one
