"""What several people teach at once: nothing is lost, whoever's turn comes first, and no recording is held whole."""

from __future__ import annotations

import shutil
import threading
import weakref
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from asd.inference import Detector
from asd.inference.feedback import log_of, read
from asd.inference.windows import BATCH
from asd.serve import teaching
from asd.serve.limits import Limits
from asd.serve.service import Kept, Service
from asd.training import checkpoints
from tests.integration.serve.client import RATE, held, running, sound, until

NEW = "new.ckpt"


@pytest.fixture
def service(trained: Path, tmp_path: Path) -> Service:
    checkpoint = Path(shutil.copy(trained / "checkpoints/last.ckpt", tmp_path / "own.ckpt"))
    return Service(lambda: Detector.load(checkpoint), Limits(), kept=Kept(checkpoint, tmp_path / NEW))


def noise(seconds: int) -> bytes:
    return sound(np.random.default_rng(seconds).normal(0, 0.1, seconds * RATE))


def calibrating(machine: str) -> tuple[str, bytes]:
    return f"/calibrate?machine={machine}&false_alarms=20%25", noise(8)


@contextmanager
def writing(patch: pytest.MonkeyPatch) -> Iterator[tuple[threading.Event, threading.Event]]:
    """Events: a checkpoint is about to be written; it may be."""
    begun, may, write = threading.Event(), threading.Event(), teaching.rewrite

    def waits(*given: Any) -> None:
        begun.set()
        assert may.wait(60)
        write(*given)

    with patch.context() as patched:
        patched.setattr(teaching, "rewrite", waits)
        try:
            yield begun, may
        finally:
            may.set()


def told(folder: Path) -> list[str]:
    """The machines of which the history of the new checkpoint tells."""
    history = checkpoints.history(checkpoints.load(folder / NEW)["asd"])
    return sorted(str(one["machine"]).split()[0].split("_")[0] for one in history)


def test_of_two_calibrations_at_once_both_are_written(service: Service, tmp_path: Path) -> None:
    with running(service) as client, ThreadPoolExecutor(2) as pool:
        with held(service):
            asked = [pool.submit(client.ask, *calibrating(machine)) for machine in ("fan", "bearing")]
            until(lambda: len(service.worker._jobs) == 2)
        assert [one.result(60)[0] for one in asked] == [200, 200]
    assert told(tmp_path) == ["bearing", "fan"]


def test_feedback_between_two_calibrations_is_kept_with_both(
    service: Service, tmp_path: Path, clips: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = ("/feedback?machine=fan&kind=false_alarm&name=between", clips[0].read_bytes())
    with running(service) as client, ThreadPoolExecutor(3) as pool:
        with writing(monkeypatch) as (begun, may):
            asked = [pool.submit(client.ask, *calibrating("fan"))]
            assert begun.wait(60)
            for number, other in enumerate((said, calibrating("bearing")), 1):
                asked.append(pool.submit(client.ask, *other))
                until(lambda number=number: len(service.worker._jobs) == number)
            may.set()
            assert [one.result(60)[0] for one in asked] == [200, 200, 200]
        now = {one["name"]: one["threshold"] for one in client.ask("/machines")[1]["machines"]}
    assert told(tmp_path) == ["bearing", "fan"]
    assert [one.clip for one in read(log_of(tmp_path / NEW))] == ["between"]
    assert read(log_of(tmp_path / "own.ckpt")) == []
    started = Detector.load(tmp_path / NEW)
    limits = [started.model.sections.limits(number).alarm for number in range(len(started.machines))]
    assert now == pytest.approx(dict(zip(started.machines, limits, strict=True)), rel=1e-3)


def test_limits_are_told_once_they_are_kept(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(service) as client, ThreadPoolExecutor(2) as pool:
        before = client.ask("/machines")[1]
        with writing(monkeypatch) as (begun, may):
            asked = pool.submit(client.ask, *calibrating("fan"))
            assert begun.wait(60)
            monkeypatch.setattr(checkpoints, "save", lambda *given: 1 / 0)
            listed = pool.submit(client.ask, "/machines")
            until(lambda: listed.done() or service.worker._jobs)
            may.set()
            assert asked.result(60)[0] == 500
            assert listed.result(60)[1] == before


def test_of_a_long_recording_the_embeddings_alone_are_held(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    alive: list[weakref.ref[torch.Tensor]] = []
    most: list[tuple[int, int]] = []
    embed = service.detector.embed

    def counted(windows: Iterable[torch.Tensor]) -> torch.Tensor:
        given = list(windows)
        alive.extend(map(weakref.ref, given))
        most.append((len(given), sum(one() is not None for one in alive)))
        return embed(given)

    monkeypatch.setattr(service.detector, "embed", counted)
    with running(service) as client:
        assert client.ask("/feedback?machine=fan&kind=missed", noise(5 * BATCH))[0] == 200
    assert max(given for given, _ in most) <= BATCH
    assert max(held for _, held in most) <= 2 * BATCH
    assert len(alive) == 5 * BATCH, "each is embedded once"
